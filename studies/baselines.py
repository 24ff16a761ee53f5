"""Our processor beside other designs on the same network, images and technology file, and which constant decides.

Number: tables and pictures "Against other designs" and "Which constant decides" of docs/results/NETWORK.md.
n: --limit test images for energy (96: six batches), --accuracy-images for accuracy (all).
Machine: any; energies and accuracy are counted, not timed. Versions: the firstspike of the checkout, any numpy.
Needs: pip install 'firstspike[baselines]' for the dense accelerator (ZigZag; its counts are kept in studies/records).
Writes baselines.csv, baselines.png, sensitivity.csv and sensitivity.png to --out.

    python -m studies.baselines zoo/vgg16-cifar10.safetensors --data cifar10 --data-root DIR --out docs/images/vgg16-cifar10
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firstspike import files
from firstspike.data import ImageSet
from firstspike.data import load as load_images
from firstspike.figures import palette
from firstspike.processor import GROUPS, Cost, Processor, baselines, cycles, designs, energy, sensitivity, technology
from firstspike.processor.rates import rates
from firstspike.processor.technology import Technology
from firstspike.spec import Network, Trace
from firstspike.spiking import SpikingNetwork, load
from firstspike.zoo.published import PUBLISHED
from studies.lean import suited
from studies.rivals import dense

COLOURS = tuple(palette.LIGHT[f"g{index}"] for index in range(5))
RECORDS = Path(__file__).resolve().parent / "records"
DENSE = {
    1: (
        dense.Dense(rows=16, columns=16, weight_kib=56, activation_kib=216),
        dense.Dense(rows=8, columns=16, weight_kib=56, activation_kib=248),
        dense.Dense(rows=16, columns=32, weight_kib=32, activation_kib=168),
    ),
    16: (
        dense.Dense(rows=16, columns=16, weight_kib=56, activation_kib=256, images=16),
        dense.Dense(rows=8, columns=16, weight_kib=56, activation_kib=288, images=16),
        dense.Dense(rows=16, columns=32, weight_kib=32, activation_kib=208, images=16),
    ),
}
"""Dense accelerators tried, by images a batch; ZigZag mapped the first of each."""

LINEAR_BITS = (8, 5, 4)
"""Bits of their weights."""

SHOWN = 12
"""Constants in the picture."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file")
    parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=96, help="images priced (%(default)s)")
    parser.add_argument("--accuracy-images", type=int, help="images classified (all)")
    parser.add_argument("--accuracy", type=float, help="percent, as `firstspike evaluate` says (measured)")
    parser.add_argument("--technology", help="technology file (the package's 28 nm)")
    parser.add_argument("--map", action="store_true", help="let ZigZag map the dense accelerators anew (minutes)")
    parser.add_argument("--no-dense", action="store_true", help="leave the dense accelerator out")
    parser.add_argument("--draw", action="store_true", help="measure nothing: the pictures from the CSV files in --out")
    parser.add_argument("--out", default=".", help="folder of the files (%(default)s)")
    return parser.parse_args()


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A network on some images, and what it is priced with.

    Attributes:
        name: of its file.
        network, trace: it and its spikes on the images that are priced.
        accuracy_percent: on the images that are classified.
        constants: the technology.
    """

    name: str
    network: Network
    trace: Trace
    accuracy_percent: float
    constants: Technology


def accuracy(snn: SpikingNetwork, images: ImageSet) -> float:
    """Percent of the images whose class is right."""
    right = 0
    for start in range(0, len(images), 256):
        stop = min(start + 256, len(images))
        right += int((snn.classify(images.pixels(start, stop)) == images.labels[start:stop]).sum())
    return 100 * right / len(images)


def mapped(measured: Measured, design: dense.Dense, *, anew: bool) -> list[dense.Mapped]:
    """What ZigZag counts, for weights of 8 bits: from its record, or anew; nothing where there is none."""
    size = f"{design.rows}x{design.columns}-{design.weight_kib}-{design.activation_kib}-{design.images}"
    path = RECORDS / f"dense-{measured.name}-{size}.json"
    if anew:
        print(f"ZigZag maps {design}: minutes", file=sys.stderr, flush=True)
        record = json.dumps(asdict(dense.map_network(measured.network, design, measured.constants)), indent=1)
        files.write(path, record + "\n")
    if not path.exists():
        print(f"left out, not mapped yet (--map): {design}")
        return []
    found = json.loads(path.read_text())
    return [dense.Mapped(design=dense.Dense(**found["design"]), layers=found["layers"])]


def rivals(measured: Measured, processor: Processor, *, anew: bool) -> list[dense.Mapped]:
    """Dense accelerators that are no larger than the processor, for each width of weights.

    The one that ZigZag mapped, and at its bound the size of least energy. They have the processor's clock and switch off as
    many banks; beside a processor that is smaller than the package's ``default`` or ``batch`` they may be as large as that.
    """
    constants = measured.constants
    plain = designs.load("default" if processor.images == 1 else "batch")
    own = measured.network.weights.bits
    budget = max(rates(one, own, constants, "flat-4pj").area_mm2.value for one in (processor, plain))
    equal = [replace(one, banks=processor.banks, clock_mhz=processor.clock_mhz) for one in DENSE[processor.images]]
    tried = [design for design in equal if dense.area_mm2(design, constants).value <= budget]
    whole = mapped(measured, DENSE[processor.images][0], anew=anew) if processor.banks == 1 else []
    found = []
    for bits in LINEAR_BITS:
        found += [replace(one, design=replace(one.design, bits=bits)) for one in whole]
        sizes = [dense.bound(measured.network, replace(design, bits=bits), constants) for design in tried]
        energies = [dense.cost(measured.network, measured.trace, one, constants).energy_uj for one in sizes]
        for one, energy_uj in zip(sizes, energies, strict=True):
            print(
                f"dense at its bound, {energy_uj:.1f} µJ, {dense.area_mm2(one.design, constants).value:.3f} mm²: {one.design}"
            )
        found += [one for one, energy_uj in zip(sizes, energies, strict=True) if energy_uj == min(energies)][:1]
    return found


def compare(measured: Measured, dram: str, others: Sequence[dense.Mapped]) -> dict[str, Cost]:
    """All designs in one DRAM scenario, by name."""
    network, trace, constants = measured.network, measured.trace, measured.constants
    costs = baselines.compare(network, trace, processor=Processor(), technology=constants, dram=dram)
    for one in others:
        cost = dense.cost(network, trace, one, constants, dram)
        costs[cost.design] = cost
    for name in ("lean", "batch", "lean-batch"):
        design = suited(designs.load(name), network)
        costs[f"firstspike {name}"] = energy.cost(
            cycles.count(network, trace.times, design),
            weight_bits=network.weights.bits,
            technology=constants,
            dram=dram,
        )
    return costs


def row(measured: Measured, dram: str, design: str, cost: Cost) -> dict[str, object]:
    """A design's line of baselines.csv."""
    return {
        "dram": dram,
        "design": design,
        "images_a_batch": max(1, round(cost.images / cost.batches)),
        "accuracy_percent": round(measured.accuracy_percent, 2),
        "energy_uj": round(cost.energy.value, 1),
        "low_uj": round(cost.energy.low, 1),
        "high_uj": round(cost.energy.high, 1),
        **{f"{group.replace(' ', '_')}_uj": round(part.value, 1) for group, part in cost.groups.items()},
        "area_mm2": round(cost.area.value, 3),
        "frames_per_second": round(cost.frames_per_second, 1),
        "latency_ms": round(cost.latency_us / 1e3, 2),
    }


def swings(measured: Measured) -> list[dict[str, object]]:
    """Lines of sensitivity.csv: the energy with each constant at the ends of its interval, widest first."""
    counts, constants = cycles.count(measured.network, measured.trace.times, Processor()), measured.constants
    bits = measured.network.weights.bits
    return [
        {"dram": dram, "constant": s.key, "low_uj": round(s.low_uj, 2), "high_uj": round(s.high_uj, 2)}
        for dram in constants.dram
        for s in sensitivity.of_counts(counts, weight_bits=bits, technology=constants, dram=dram)
    ]


def measure(options: argparse.Namespace) -> None:
    """Write baselines.csv and sensitivity.csv."""
    snn = load(options.network)
    images = load_images(options.data, split="test", data_root=options.data_root)
    tested = images.limit(options.accuracy_images) if options.accuracy_images else images
    priced = images.limit(options.limit)
    measured = Measured(
        name=Path(options.network).stem,
        network=snn.network,
        trace=snn.trace(priced.pixels(0, len(priced))),
        accuracy_percent=accuracy(snn, tested) if options.accuracy is None else options.accuracy,
        constants=technology.load(options.technology) if options.technology else technology.default(),
    )
    others: list[dense.Mapped] = []
    if options.no_dense:
        print("dense accelerator left out (--no-dense)")
    else:
        lean = [one for one in map(designs.load, ("lean", "lean-batch")) if suited(one, snn.network) == one]
        for processor in (Processor(), designs.load("batch"), *lean):
            others += rivals(measured, processor, anew=options.map)
    rows = []
    for dram in measured.constants.dram:
        costs = compare(measured, dram, others)
        shown = [row(measured, dram, name, cost) for name, cost in costs.items()]
        print(f"\nDRAM {dram}; {len(priced)} images priced\n")
        print("| " + " | ".join(list(shown[0])[1:]) + " |\n|" + "---|" * (len(shown[0]) - 1))
        for line in shown:
            print("| " + " | ".join(str(value) for value in list(line.values())[1:]) + " |")
        rows += shown
    write(Path(options.out, "baselines.csv"), rows)
    write(Path(options.out, "sensitivity.csv"), swings(measured))


def write(target: Path, rows: Sequence[dict[str, object]]) -> None:
    """Rows as CSV."""
    stream = io.StringIO()
    table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    save(target, stream.getvalue().encode())


def save(target: Path, content: bytes) -> None:
    """Content as a file, its folder made if need be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, content)
    print(f"wrote {target}")


Row = dict[str, str]


def read(path: Path) -> dict[str, list[Row]]:
    """Rows of a CSV file by DRAM scenario."""
    scenarios: dict[str, list[Row]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            scenarios.setdefault(line["dram"], []).append(line)
    return scenarios


def drawn(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    plt.close(figure)
    return stream.getvalue()


def draw_designs(axis: Axes, rows: Sequence[Row]) -> None:
    """Bars of the designs' energies, by group, with their intervals."""
    names = [line["design"] for line in rows]
    left = np.zeros(len(names))
    for group, colour in zip(GROUPS, COLOURS, strict=True):
        part = np.array([float(line[f"{group.replace(' ', '_')}_uj"]) for line in rows])
        axis.barh(names, part, left=left, color=colour, label=group)
        left += part
    low, value, high = (np.array([float(line[key]) for line in rows]) for key in ("low_uj", "energy_uj", "high_uj"))
    axis.errorbar(value, names, xerr=[value - low, high - value], fmt="none", ecolor="black", capsize=3, linewidth=1)
    axis.invert_yaxis()
    axis.set_xlabel("energy, µJ per image")
    axis.set_title(f"DRAM {rows[0]['dram']}")


def draw_swings(axis: Axes, rows: Sequence[Row], centre_uj: float) -> None:
    """Bars of the constants that move the energy most."""
    widest = rows[:SHOWN]
    low, high = (np.array([float(line[key]) for line in widest]) for key in ("low_uj", "high_uj"))
    axis.barh([line["constant"] for line in widest], high - low, left=low, color=COLOURS[0])
    axis.axvline(centre_uj, color="black", linewidth=1)
    axis.use_sticky_edges = False
    axis.margins(x=0.05)
    axis.invert_yaxis()
    axis.set_xlabel("energy, µJ per image, with one constant at its ends")
    axis.set_title(f"DRAM {widest[0]['dram']}: {widest[0]['constant']} decides")


def draw(folder: Path, *, name: str, data: str) -> None:
    """The pictures from the CSV files in a folder, to the same folder."""
    plt.style.use("firstspike.figures.plots")
    scenarios = read(folder / "baselines.csv")
    published = next((column for column in PUBLISHED if column.data == data), None)
    figure, axes = plt.subplots(1, len(scenarios), figsize=(13, 5), sharey=True, layout="constrained")
    for axis, (dram, rows) in zip(axes, scenarios.items(), strict=True):
        draw_designs(axis, rows)
        if dram == "flat-4pj" and published:
            axis.axvline(published.energy_uj, color="black", linestyle=":", label="published")
    axes[0].invert_yaxis()  # both turned the axis that they share
    axes[0].legend(fontsize=9)
    first = next(iter(scenarios.values()))[0]
    reached = f"{first['accuracy_percent']} %" + (f" ({100 * published.accuracy:.1f} published)" if published else "")
    figure.suptitle(f"{name} on {data}: energy of every design, at {reached} of the test images")
    save(folder / "baselines.png", drawn(figure))

    swung = read(folder / "sensitivity.csv")
    figure, axes = plt.subplots(1, len(swung), figsize=(13, 4.8), layout="constrained")
    for axis, (dram, rows) in zip(axes, swung.items(), strict=True):
        draw_swings(axis, rows, float(scenarios[dram][0]["energy_uj"]))
    totals = ", ".join(f"{dram} {rows[0]['energy_uj']} µJ" for dram, rows in scenarios.items())
    figure.suptitle(f"Which constant decides, processor default; the choice of DRAM: {totals}")
    save(folder / "sensitivity.png", drawn(figure))


def main() -> None:
    """Measure unless told not to, then draw."""
    options = arguments()
    if not options.draw:
        measure(options)
    draw(Path(options.out), name=Path(options.network).stem, data=options.data)


if __name__ == "__main__":
    main()
