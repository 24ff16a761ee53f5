"""Every figure of docs/results/index.md and of the pages of the networks beside it, made anew.

The published table beside ours; for each network of the zoo the baselines, which constant decides, and what batches, buffers
and codes save.

Number: the whole pages, and tables and pictures in docs/images/NETWORK.
n: the whole test sets for accuracy (--quick: 100 images), 96 images for cost (--quick: 16).
Machine: any, stated in the pages; accuracy and energy are counted, not timed. Versions: the firstspike of the checkout.
Needs: the networks of the zoo, the data sets, pip install 'firstspike[baselines]'.

    python -m studies.results --data-root DIR
"""

import argparse
import csv
import datetime
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from firstspike import files, zoo
from firstspike.zoo.published import PUBLISHED, Published

ROOT = Path(__file__).resolve().parents[1]
AREA = "{area_mm2:.3f} ({area_mm2_low:.3f} to {area_mm2_high:.3f})"

Row = dict[str, str]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="where the data sets lie")
    parser.add_argument("--quick", action="store_true", help="accuracy on 100 images, cost on 16")
    parser.add_argument(
        "--record",
        type=Path,
        help="measure nothing: the pages from what `firstspike reproduce --json` wrote and the CSV files",
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the pages (the checkout's)")
    parser.add_argument(
        "--machine", default=platform.processor() or platform.machine(), help="machine, for the pages (%(default)s)"
    )
    return parser.parse_args()


def run(command: list[str], data_root: str | None, *, statuses: tuple[int, ...] = (0,)) -> None:
    """Run a module; ends the script where its status is none of these."""
    data = ["--data-root", data_root] if data_root else []
    done = subprocess.run([sys.executable, "-m", *command, *data], cwd=ROOT)
    if done.returncode not in statuses:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, figures to the right.

    >>> print(table(["design", "energy, µJ"], [["default", "441.5"]]))
    | design | energy, µJ |
    |---|--:|
    | default | 441.5 |
    """
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(
        f"|{'|'.join(line)}|" if place == 1 else f"| {' | '.join(line)} |" for place, line in enumerate(lines)
    )


def read(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


Line = Callable[[str, Callable[[dict[str, Any]], str]], list[str]]
"""A row of a table: its title, and what to show of each network."""


def by_design(ours: list[dict[str, Any]], place: int) -> Line:
    """Rows from what each network costs on the design and DRAM scenario that stands at a place of the record."""
    costs = [one["costs"][place] for one in ours]
    return lambda title, show: [title, *(show(cost) for cost in costs)]


def energies(ours: list[dict[str, Any]]) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Rows of the energies, of published over ours, and of ours relative to the first network."""
    first = ours[0]
    absolute = [["published", *(f"{one['published_energy_uj']:,.1f}" for one in ours)]]
    relative = [["published", *(f"{one['published_energy_uj'] / first['published_energy_uj']:.3f}" for one in ours)]]
    over = []
    for place, cost in enumerate(first["costs"]):
        title = f"{cost['processor']}, {cost['dram']}"
        values = [one["costs"][place]["energy_uj_per_image"] for one in ours]
        ends = [[one["costs"][place][f"energy_uj_per_image_{end}"] for end in ("low", "high")] for one in ours]
        absolute.append(
            [
                title,
                *(f"{value:,.1f} ({low:,.1f} to {high:,.1f})" for value, (low, high) in zip(values, ends, strict=True)),
            ]
        )
        if cost["images"] == cost["batches"]:  # what is published is of one inference
            over.append(
                [title, *(f"{one['published_energy_uj'] / v:.2f}" for one, v in zip(ours, values, strict=True))]
            )
        relative.append([title, *(f"{value / values[0]:.3f}" for value in values)])
    return absolute, over, relative


def times(ours: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of latency, frames, area by design; operations; power by design and DRAM scenario."""
    costs = ours[0]["costs"]
    rows: list[list[str]] = []
    for name in dict.fromkeys(cost["processor"] for cost in costs):
        line = by_design(ours, next(place for place, cost in enumerate(costs) if cost["processor"] == name))
        rows.append(line(f"latency, µs: {name}", lambda c: f"{c['latency_us']:,.0f}"))
        rows.append(line(f"frames/s: {name}", lambda c: f"{c['frames_per_second']:,.1f}"))
        rows.append(line(f"area, mm²: {name}", lambda c: AREA.format(**c)))
    rows.append(by_design(ours, 0)("SOPs, millions", lambda c: f"{c['sops_per_image'] / 1e6:,.2f}"))
    for place, cost in enumerate(costs):
        title = f"{cost['processor']}, {cost['dram']}"
        rows.append(by_design(ours, place)(f"power, mW: {title}", lambda c: f"{c['power_mw']:.1f}"))
        rows.append(by_design(ours, place)(f"pJ/SOP: {title}", lambda c: f"{c['pj_per_sop']:.2f}"))
    return rows


def published_page(record: dict[str, Any], *, made: str) -> str:
    """The page of the published table from the record of ``firstspike reproduce``.

    Args:
        record: data set -> what the command's ``--json`` holds of it.
        made: the sentence that says by what, when and where the figures were made.
    """
    columns = [column for column in PUBLISHED if record[column.key]["costs"]]
    heads = ["", *(f"[{column.title}]({column.network}.md)" for column in columns)]
    ours = [record[column.key] for column in columns]
    accuracies = [
        ["published, %", *(f"{100 * one['published_accuracy']:.1f}" for one in ours)],
        ["ours, %", *(f"{100 * one['accuracy']:.2f}" for one in ours)],
        ["test images", *(f"{one['accuracy_images']:,}" for one in ours)],
        ["latency, steps", *(str(one["latency_steps"]) for one in ours)],
    ]
    absolute, over, relative = energies(ours)
    return f"""# Results

The published table (arXiv 2208.04494) beside ours: VGG-16, T = 24, 5-bit logarithmic weights.

{made} Accuracy and energy are counted, not timed: they do not depend on the machine. What the energies mean:
[Energy](../explanation/energy.md#how-far-to-trust-it).

    firstspike reproduce --data-root DIR

prints these figures; its status is 1 where a network or a data set is missing.

## Accuracy

{table(heads, accuracies)}

`firstspike evaluate vgg16-SET --data SET`, where SET is cifar10, cifar100 or tiny-imagenet.

## Energy

µJ an image, in brackets the interval, by processor and DRAM scenario:

{table(heads, absolute)}

Published, which is of one inference, over ours of one image at a time:

{table(heads, over)}

`firstspike cost vgg16-SET --data SET --limit {ours[0]["costs"][0]["images"]} --processor DESIGN --dram SCENARIO`: means
of so many test images. The design `batch` lets 16 images share the weights they fetch.

Every design that takes one image at a time, of every network, with the interval of its constants and the standard error of its
accuracy; ours full, others pale (`python -m studies.front docs/images/vgg16-*/baselines.csv --out docs/images/front.png`):

![Accuracy against energy of all networks, in each DRAM scenario](../images/front.png)

## Time, area, power

{table(heads, times(ours))}

## Relative to CIFAR-10

No constant of the technology that scales everything alike moves these:

{table(heads, relative)}
"""


def columns(rows: Sequence[Row], shown: dict[str, str]) -> str:
    """A table of some columns of a CSV file: head -> name of the column."""
    return table(list(shown), [[row[key] for key in shown.values()] for row in rows])


def rivals_table(path: Path) -> tuple[Row, str]:
    """Our own row in the DRAM scenario of the publication, and the table of all designs in all scenarios."""
    rows = read(path)
    scenarios = list(dict.fromkeys(row["dram"] for row in rows))
    shown: dict[str, Row] = {}
    for row in rows:
        one = shown.setdefault(row["design"], dict(row))
        one[row["dram"]] = f"{row['energy_uj']} ({row['low_uj']} to {row['high_uj']})"
    heads = {"design": "design", "images a batch": "images_a_batch", "latency, ms": "latency_ms"}
    heads |= {f"µJ an image, {dram}": dram for dram in scenarios}
    return rows[0], columns(list(shown.values()), {**heads, "area, mm²": "area_mm2"})


def batches_table(path: Path) -> str:
    """The table of batches."""
    rows = [row for row in read(path) if row["design"] in ("default", "16 images", "design batch")]
    for row in rows:
        row["design"] = row["design"].removeprefix("design ")
    heads = {"design": "design", "energy, µJ": "energy_uj", "area, mm²": "area_mm2", "images/s": "images_per_second"}
    return columns(rows, {**heads, "latency, ms": "latency_ms", "images of its stages": "stages"})


def savings_table(path: Path) -> str:
    """The table of what more would save."""
    return columns(read(path), {"candidate": "candidate", "saves at most, µJ": "at_most_uj"})


def network_page(column: Published, pictures: Path, *, made: str) -> str:
    """The page of one network from the CSV files of `studies.baselines` and `studies.batches`.

    Args:
        column: the network and what is published of it.
        pictures: folder of its files.
        made: the sentence that says by what, when and where the figures were made.
    """
    shown, out = f"../images/{pictures.name}", f"docs/images/{pictures.name}"
    model = f"zoo/{column.network}.safetensors"
    ours, rivals = rivals_table(pictures / "baselines.csv")
    return f"""# VGG-16, {column.title}

**{ours["accuracy_percent"]} %** of the test images, where {100 * column.accuracy:.1f} % are published.
**{ours["energy_uj"]} µJ** an image on the default processor, where {column.energy_uj:,.1f} µJ are published.

{made}

## Against other designs

The same network, spikes and images, priced by the same file in every DRAM scenario; what each design is, and in which of its
details it is favoured: [Baselines](../explanation/energy.md#baselines). The dense accelerators are taken to be as accurate. The
published energy is of a single inference: only designs of 1 image a batch stand beside it. The lean designs have
accumulators of the network's 32 bits here, for its membranes do not fit their 24.

{rivals}

![Energy per image of every design]({shown}/baselines.png)

    python -m studies.baselines {model} --data {column.data} --data-root DIR \\
        --out {out}

All figures: [baselines.csv]({shown}/baselines.csv).

## Which constant decides

The energy with one constant at an end of its interval and all others at their values. In `flat-4pj` the energy of a DRAM bit is
a convention and has no interval: the choice of the scenario moves the total more than any constant does.

![Swing of the energy with each constant]({shown}/sensitivity.png)

All figures: [sensitivity.csv]({shown}/sensitivity.csv).

## Batches, and what more would save

{batches_table(pictures / "designs.csv")}

What was weighed and not built, of the energy of `batch`:

{savings_table(pictures / "savings.csv")}

    python -m studies.batches {model} --data {column.data} --data-root DIR \\
        --out {out}

All designs: [designs.csv]({shown}/designs.csv); the entropy of each layer's codes:
[codes.csv]({shown}/codes.csv). What they say: [A better processor](../explanation/energy.md#a-better-processor).

## Card

--8<-- "src/firstspike/zoo/{column.network}.md:3:"
"""


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """What ``firstspike reproduce`` says, by data set."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "record.json")
        quick = ["--quick"] if options.quick else []
        run(["firstspike.cli", "reproduce", *quick, "--json", str(target)], options.data_root, statuses=(0, 1))
        record: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return record


def main() -> None:
    """Measure, then write the pages."""
    options = arguments()
    command = "python -m studies.results --data-root DIR" + (" --quick" if options.quick else "")
    made = f"Made by `{command}` on {datetime.date.today()}, {options.machine}."
    pages = options.docs.resolve() / "results"
    pages.mkdir(parents=True, exist_ok=True)
    record = measured(options) if options.record is None else json.loads(options.record.read_text(encoding="utf-8"))
    limited = ["--limit", "16"] if options.quick else []
    for column in PUBLISHED:
        if column.network not in zoo.names():
            continue
        out = options.docs.resolve() / "images" / column.network
        given = [f"zoo/{column.network}.safetensors", "--data", column.data, *limited, "--out", str(out)]
        known = ["--accuracy", str(100 * record[column.key]["accuracy"])]
        if options.record is None:
            run(["studies.baselines", *given, *known], options.data_root)
            run(["studies.batches", *given], options.data_root)
        files.write(pages / f"{column.network}.md", network_page(column, out, made=made))
    files.write(pages / "index.md", published_page(record, made=made))
    print(f"wrote {pages}")


if __name__ == "__main__":
    main()
