"""Every figure of docs/results.md, made anew: the published table beside ours, the baselines, which constant decides.

Number: the whole page docs/results.md and its pictures in docs/images.
n: the whole test sets for accuracy (--quick: 100 images), 96 images for cost.
Needs: the networks of the zoo, the data sets, pip install 'firstspike[baselines]'.

    python experiments/results.py --data-root DIR
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
NETWORK = "zoo/vgg16-cifar10.safetensors"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data-root", help="where the data sets lie")
parser.add_argument("--quick", action="store_true", help="accuracy on 100 images")
parser.add_argument(
    "--machine", default=platform.processor() or platform.machine(), help="machine, for the page (%(default)s)"
)
options = parser.parse_args()


def run(arguments: list[str], *, statuses: tuple[int, ...] = (0,)) -> tuple[str, str]:
    """The command as a reader types it, and what it printed."""
    data = ["--data-root", options.data_root] if options.data_root else []
    done = subprocess.run([sys.executable, *arguments, *data], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode not in statuses:
        raise SystemExit(f"{' '.join(arguments)} ended with status {done.returncode}")
    shown = ["firstspike", *arguments[2:]] if arguments[0] == "-m" else ["python", *arguments]
    return " ".join([*shown, "--data-root", "DIR"]), done.stdout.strip()


quick = ["--quick"] if options.quick else []
reproduced = run(["-m", "firstspike.cli", "reproduce", *quick], statuses=(0, 1))
limited = ["--accuracy-images", "100"] if options.quick else []
compared = run(["experiments/baselines.py", NETWORK, "--data", "cifar10", *limited, "--out", "docs/images"])
tables = "\n".join(line for line in compared[1].splitlines() if not line.startswith("wrote "))
command = "python experiments/results.py --data-root DIR" + (" --quick" if options.quick else "")
page = f"""# Results

Made by `{command}` on {datetime.date.today()}, {options.machine}.
Run it again when a network, a data set or a constant changes. Accuracy and energy are counted, not timed: they do not depend
on the machine. What the energies mean and how far to trust them: [energy.md](energy.md).

## The published table

`{reproduced[0]}`

SET stands for cifar10, cifar100 and tiny-imagenet. A network that is not in the zoo shows as "not trained", and the command
then ends with status 1. "Published stands" says where the published energy lies in our interval.

```text
{reproduced[1]}
```

## Baselines

`{compared[0]}`. All designs run the same network, spikes and images and are priced by the same file; what each is, and in which
of its details it is favoured: [energy.md](energy.md#baselines). The dense accelerator is taken to be as accurate.

{tables}

![Energy per image of every design](images/baselines.png)

## Which constant decides

The energy with one constant at an end of its interval and all others at their values; the last lines above name the widest.
In `flat-4pj` the energy of a DRAM bit is a convention and has no interval: the choice of the scenario moves the total
more than any constant does.

![Swing of the energy with each constant](images/sensitivity.png)
"""
temporary = PAGE.with_suffix(".part")
temporary.write_text(page, encoding="utf-8")
os.replace(temporary, PAGE)
print(f"wrote {PAGE.relative_to(ROOT)}")
