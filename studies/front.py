"""Accuracy against energy of all networks, one image at a time, in every DRAM scenario.

Number: picture "Accuracy against energy" of docs/results/index.md.
n: what the CSV files say that `studies.baselines` wrote, one for each network; nothing is measured here.
Machine: any. Versions: the firstspike of the checkout.

    python -m studies.front docs/images/*/baselines.csv --images 10000 --out docs/images/front.png
"""

import argparse
import csv
import io
from math import sqrt
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from firstspike import files
from firstspike.zoo.published import PUBLISHED

Row = dict[str, str]

MARKS = "osD^vP"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path, help="baselines.csv of each network, in a folder of its name")
    parser.add_argument("--images", type=int, default=10000, help="test images of each accuracy (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    return parser.parse_args()


def read(path: Path) -> list[Row]:
    """Rows of designs that take one image at a time."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            row
            for row in csv.DictReader(stream)
            if row.get("images_a_batch", "1") == "1" and "a batch" not in row["design"]
        ]


def draw(axis: Axes, dram: str, tables: dict[str, list[Row]], images: int) -> None:
    """Every design of every network, with the interval of its constants and the standard error of its accuracy."""
    designs = list(dict.fromkeys(row["design"] for rows in tables.values() for row in rows))
    for name, rows in tables.items():
        mark = MARKS[list(tables).index(name) % len(MARKS)]
        for row in (row for row in rows if row["dram"] == dram):
            low, energy, high = (float(row[key]) for key in ("low_uj", "energy_uj", "high_uj"))
            share = float(row["accuracy_percent"]) / 100
            ours = row["design"].startswith("firstspike")
            axis.errorbar(
                energy,
                100 * share,
                xerr=[[energy - low], [high - energy]],
                yerr=100 * sqrt(share * (1 - share) / images),
                fmt=mark,
                color=plt.get_cmap("tab20")(designs.index(row["design"]) % 20),
                alpha=1.0 if ours else 0.45,
                capsize=2,
                linewidth=0.8,
                label=row["design"] if name == next(iter(tables)) else None,
            )
    for column in PUBLISHED:
        if any(name.startswith(column.network) for name in tables) and dram == "flat-4pj":
            axis.plot(column.energy_uj, 100 * column.accuracy, "k*", markersize=11)
            place = (column.energy_uj, 100 * column.accuracy)
            text = f"published, {column.title}"
            axis.annotate(text, place, xytext=(6, -11), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("energy, µJ per image, one at a time")
    axis.set_title(f"DRAM {dram}")


def main() -> None:
    """Draw."""
    options = arguments()
    tables = {path.parent.name: read(path) for path in options.tables}
    scenarios = list(dict.fromkeys(row["dram"] for rows in tables.values() for row in rows))
    figure, axes = plt.subplots(1, len(scenarios), figsize=(13, 5), sharey=True, squeeze=False, layout="constrained")
    for axis, dram in zip(axes[0], scenarios, strict=True):
        draw(axis, dram, tables, options.images)
    axes[0][0].set_ylabel("accuracy, %")
    axes[0][-1].legend(fontsize=7, loc="center right")
    shapes = ", ".join(f"{mark} {name}" for mark, name in zip("●■◆▼▲", tables, strict=False))
    figure.suptitle(f"Accuracy against energy: {shapes}; ours full, others pale")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    files.write(options.out, stream.getvalue())
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
