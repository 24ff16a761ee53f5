"""Every figure of docs/results/index.md, made anew: the published table beside ours; for each network of the zoo the
baselines, which constant decides, and what batches, buffers and codes save.

Number: the whole page docs/results/index.md and its pictures in docs/images/NETWORK.
n: the whole test sets for accuracy (--quick: 100 images), 96 images for cost.
Needs: the networks of the zoo, the data sets, pip install 'firstspike[baselines]'.

    python -m studies.results --data-root DIR
"""

import argparse
import datetime
import platform
import subprocess
import sys
from pathlib import Path

from firstspike import files, zoo
from firstspike.cli.reproduce import PUBLISHED, Published

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "index.md"

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
    shown = ["python", *arguments] if arguments[1].startswith("studies.") else ["firstspike", *arguments[2:]]
    return " ".join([*shown, "--data-root", "DIR"]), done.stdout.strip()


def sections(column: Published) -> str:
    """What there is on one network."""
    model, pictures = f"zoo/{column.network}.safetensors", f"docs/images/{column.network}"
    limited = ["--accuracy-images", "100"] if options.quick else []
    compared = run(["-m", "studies.baselines", model, "--data", column.data, *limited, "--out", pictures])
    tables = "\n".join(line for line in compared[1].splitlines() if not line.startswith("wrote "))
    saved = run(["-m", "studies.batches", model, "--data", column.data])
    shown = pictures.replace("docs/", "../", 1)
    return f"""### {column.title}

#### Baselines

`{compared[0]}`

{tables}

![Energy per image of every design]({shown}/baselines.png)

#### Which constant decides

![Swing of the energy with each constant]({shown}/sensitivity.png)

#### Designs, codes, and what more would save

`{saved[0]}`

{saved[1]}

"""


quick = ["--quick"] if options.quick else []
reproduced = run(["-m", "firstspike.cli", "reproduce", *quick], statuses=(0, 1))
command = "python -m studies.results --data-root DIR" + (" --quick" if options.quick else "")
page = f"""# Results

Made by `{command}` on {datetime.date.today()}, {options.machine}.
Run it again when a network, a data set or a constant changes. Accuracy and energy are counted, not timed: they do not depend
on the machine. What the energies mean and how far to trust them: [energy.md](../explanation/energy.md).

## The published table

`{reproduced[0]}`

SET stands for cifar10, cifar100 and tiny-imagenet. A network that is not in the zoo shows as "not trained", and the command
then ends with status 1. "Published stands" says where the published energy lies in our interval.

```text
{reproduced[1]}
```

## Networks

For each network of the zoo: *Baselines* run the same network, spikes and images and are priced by the same file; what each is,
and in which of its details it is favoured: [energy.md](../explanation/energy.md#baselines).
The dense accelerator is taken to be as accurate.
*Which constant decides* is the energy with one constant at an end of its interval and all others at their values; in `flat-4pj`
the energy of a DRAM bit is a convention and has no interval: the choice of the scenario moves the total more than any
constant does. *Designs* are batches and buffer sizes, and *what more would save* is what was weighed and not built:
[energy.md](../explanation/energy.md#a-better-processor) draws the conclusions.

{"".join(sections(column) for column in PUBLISHED if column.network in zoo.names()).rstrip()}
"""
files.write(PAGE, page)
print(f"wrote {PAGE.relative_to(ROOT)}")
