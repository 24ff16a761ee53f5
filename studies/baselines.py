"""Our processor beside other designs on the same network, images and technology file, and which constant decides.

Number: tables and pictures "Baselines" and "Which constant decides" of docs/results/index.md.
n: --limit test images for energy (96: six batches), --accuracy-images for accuracy (all).
Needs: pip install 'firstspike[baselines]' for the dense accelerator (ZigZag; its counts are kept in studies/records).
Writes baselines.csv, baselines.png, sensitivity.csv and sensitivity.png to --out.

    python -m studies.baselines zoo/vgg16-cifar10.safetensors --data cifar10 --data-root DIR --out docs/images
"""

import argparse
import csv
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from firstspike import files
from firstspike.data import load as load_images
from firstspike.processor import GROUPS, Cost, Processor, baselines, cycles, designs, energy, sensitivity, technology
from firstspike.processor.rates import rates
from firstspike.spiking import load
from firstspike.zoo.published import PUBLISHED
from studies.rivals import dense

COLOURS = ("#4477aa", "#66ccee", "#ccbb44", "#bbbbbb", "#ee6677")
RECORDS = Path(__file__).resolve().parent / "records"
DENSE = {
    1: (dense.Dense(rows=16, columns=16, weight_kib=56, activation_kib=216),),
    16: (dense.Dense(rows=16, columns=16, weight_kib=56, activation_kib=256, images=16),),
}
"""Dense accelerators tried, by images a batch."""

SHOWN = 12
"""Constants in the picture."""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("network", help="model file")
parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
parser.add_argument("--data-root", help="where named data sets lie")
parser.add_argument("--limit", type=int, default=96, help="images priced (%(default)s)")
parser.add_argument("--accuracy-images", type=int, help="images classified (all)")
parser.add_argument("--technology", help="technology file (the package's 28 nm)")
parser.add_argument("--map", action="store_true", help="let ZigZag map the dense accelerators anew (minutes)")
parser.add_argument("--no-dense", action="store_true", help="leave the dense accelerator out")
parser.add_argument("--out", default=".", help="folder of the files (%(default)s)")
options = parser.parse_args()
published = next((column for column in PUBLISHED if column.data == options.data), None)

constants = technology.load(options.technology) if options.technology else technology.default()
snn = load(options.network)
images = load_images(options.data, split="test", data_root=options.data_root)
tested = images.limit(options.accuracy_images) if options.accuracy_images else images
right = [
    np.asarray(snn.classify(tested.pixels(start, min(start + 256, len(tested))))) == tested.labels[start : start + 256]
    for start in range(0, len(tested), 256)
]
accuracy = 100 * float(np.mean(np.concatenate(right)))
priced = images.limit(options.limit)
trace = snn.trace(priced.pixels(0, len(priced)))
times = trace.times
bits = snn.network.weights.bits


def mapped(design: dense.Dense) -> dense.Mapped | None:
    """What ZigZag counts: from its record, or anew with --map."""
    size = f"{design.rows}x{design.columns}-{design.weight_kib}-{design.activation_kib}-{design.images}"
    path = RECORDS / f"dense-{Path(options.network).stem}-{size}.json"
    if options.map:
        print(f"ZigZag maps {design}: minutes", file=sys.stderr, flush=True)
        record = json.dumps(asdict(dense.map_network(snn.network, design, constants)), indent=1)
        files.write(path, record + "\n")
    if not path.exists():
        print(f"left out, not mapped yet (--map): {design}")
        return None
    found = json.loads(path.read_text())
    return dense.Mapped(design=dense.Dense(**found["design"]), layers=found["layers"])


def rival(processor: Processor) -> list[dense.Mapped]:
    """The dense accelerator of least energy among those tried that are no larger than the processor."""
    budget = rates(processor, bits, constants, "flat-4pj").area_mm2.value
    tried = []
    for design in DENSE[processor.images]:
        area = dense.area_mm2(design, constants).value
        if area > budget:
            print(f"left out, for {area:.3f} mm² are more than our {budget:.3f}: {design}")
            continue
        found = mapped(design)
        if found is None:
            continue
        tried.append((dense.cost(snn.network, trace, found, constants).energy_uj, found))
        print(f"dense, {area:.3f} of our {budget:.3f} mm², {tried[-1][0]:.1f} µJ: {design}")
    return [found for _, found in sorted(tried, key=lambda pair: pair[0])[:1]]


def compare(dram: str, rivals: list[dense.Mapped]) -> list[Cost]:
    """All designs in one DRAM scenario."""
    ours = [
        energy.cost(
            cycles.count(snn.network, times, designs.load("batch")), weight_bits=bits, technology=constants, dram=dram
        )
    ]
    found = baselines.compare(snn.network, trace, processor=Processor(), technology=constants, dram=dram)
    return [*found.values(), *(dense.cost(snn.network, trace, rival, constants, dram) for rival in rivals), *ours]


def write(name: str, rows: list[dict[str, object]]) -> None:
    stream = io.StringIO()
    table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    save(name, stream.getvalue().encode())


def drawn(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def save(name: str, content: bytes) -> None:
    target = Path(options.out, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, content)
    print(f"wrote {target}")


rivals: list[dense.Mapped] = []
if options.no_dense:
    print("dense accelerator left out (--no-dense)")
else:
    rivals = [*rival(Processor()), *rival(designs.load("batch"))]
rows, costs = [], {}
for dram in constants.dram:
    costs[dram] = compare(dram, rivals)
    for place, cost in enumerate(costs[dram]):
        ours_batched = place == len(costs[dram]) - 1
        name = f"firstspike, {designs.load('batch').images} images a batch" if ours_batched else cost.design
        row: dict[str, object] = {"dram": dram, "design": name, "accuracy_percent": round(accuracy, 2)}
        row |= {"energy_uj": round(cost.energy.value, 1), "low_uj": round(cost.energy.low, 1)}
        row |= {"high_uj": round(cost.energy.high, 1)}
        row |= {f"{group.replace(' ', '_')}_uj": round(part.value, 1) for group, part in cost.groups.items()}
        row |= {"area_mm2": round(cost.area.value, 3), "frames_per_second": round(cost.frames_per_second, 1)}
        rows.append(row)
        if not place:
            print(f"\nDRAM {dram}; {len(priced)} images priced, accuracy on {len(tested)}\n")
            print("| " + " | ".join(str(key) for key in list(row)[1:]) + " |")
            print("|" + "---|" * (len(row) - 1))
        print("| " + " | ".join(str(value) for value in list(row.values())[1:]) + " |")
write("baselines.csv", rows)

figure, axes = plt.subplots(1, 3, figsize=(15, 5.5), width_ratios=(1, 1, 0.8), layout="constrained")
for axis, dram in zip(axes, costs, strict=False):
    names = [str(row["design"]) for row in rows if row["dram"] == dram]
    left = np.zeros(len(names))
    for group, colour in zip(GROUPS, COLOURS, strict=True):
        part = np.array([cost.groups[group].value for cost in costs[dram]])
        axis.barh(names, part, left=left, color=colour, label=group)
        left += part
    low = [cost.energy.value - cost.energy.low for cost in costs[dram]]
    high = [cost.energy.high - cost.energy.value for cost in costs[dram]]
    axis.errorbar(left, names, xerr=[low, high], fmt="none", ecolor="black", capsize=3, linewidth=1)
    if dram == "flat-4pj" and published:
        axis.axvline(published.energy_uj, color="black", linestyle=":", label="published")
    axis.invert_yaxis()
    axis.set_xlabel("energy, µJ per image")
    axis.set_title(f"DRAM {dram}")
axes[1].set_yticklabels([])
axes[0].legend(fontsize=8)
scatter = axes[2]
for row in (row for row in rows if row["dram"] == "flat-4pj"):
    scatter.errorbar(
        row["energy_uj"], row["accuracy_percent"],
        xerr=[[row["energy_uj"] - row["low_uj"]], [row["high_uj"] - row["energy_uj"]]],
        fmt="o", capsize=2, label=row["design"],
    )  # fmt: skip
if published:
    scatter.plot(published.energy_uj, 100 * published.accuracy, "k*", markersize=12, label="published (DAC 2022)")
scatter.set_xscale("log")
scatter.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
scatter.xaxis.set_major_formatter("{x:.0f}")
scatter.xaxis.set_minor_formatter(ticker.NullFormatter())
scatter.set_xlabel("energy, µJ per image (flat-4pj)")
scatter.set_ylabel("accuracy, %")
scatter.set_ylim(0, 100)  # a narrower axis makes points out of test images
scatter.set_title("energy against accuracy")
scatter.legend(fontsize=7)
figure.suptitle(f"{Path(options.network).stem}, {len(priced)} images of {options.data}, technology {constants.name}")
save("baselines.png", drawn(figure))

counts = cycles.count(snn.network, times, Processor())
swung = {d: sensitivity.of_counts(counts, weight_bits=bits, technology=constants, dram=d) for d in constants.dram}
write(
    "sensitivity.csv",
    [
        {"dram": d, "constant": s.key, "low_uj": round(s.low_uj, 2), "high_uj": round(s.high_uj, 2)}
        for d, found in swung.items()
        for s in found
    ],
)
figure, axes = plt.subplots(1, len(swung), figsize=(13, 4.8), layout="constrained")
for axis, (dram, found) in zip(axes, swung.items(), strict=True):
    centre = costs[dram][0].energy_uj
    widest = found[:SHOWN]
    axis.barh([s.key for s in widest], [s.width_uj for s in widest], left=[s.low_uj for s in widest], color=COLOURS[0])
    axis.axvline(centre, color="black", linewidth=1)
    axis.use_sticky_edges = False
    axis.margins(x=0.05)
    axis.invert_yaxis()
    axis.set_xlabel("energy, µJ per image, with one constant at its ends")
    axis.set_title(f"DRAM {dram}: {widest[0].key} decides")
    print(
        f"\nDRAM {dram}: {widest[0].key} decides, {widest[0].low_uj:.1f} to {widest[0].high_uj:.1f} µJ of {centre:.1f}"
    )
totals = ", ".join(f"{dram} {found[0].energy_uj:.0f} µJ" for dram, found in costs.items())
figure.suptitle(f"Which constant decides, processor default; the choice of DRAM: {totals}")
save("sensitivity.png", drawn(figure))
