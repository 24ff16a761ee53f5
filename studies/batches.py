"""What saves energy: images that share weights, buffer sizes, entropy coding, zero codes, gating. Each with its number.

Number: the tables "Batches, and what more would save" of docs/results/NETWORK.md; with --out their CSV files.
n: --limit images of the data set (96 by default, six batches of the design "batch").
--shapes: VGG-16 of the three data sets' sizes too, with the same activity, map by map, as this network on these images (shapes
alone: nothing is classified). A trained network of theirs is priced by `firstspike cost NET --data NAME --processor batch`.
Other data sets: VGG-16 of their sizes with the same activity, map by map, as this network on these images (shapes alone:
nothing is classified). A trained network of theirs is priced by `firstspike cost NET --data NAME --processor batch`.

    python -m studies.batches zoo/vgg16-cifar10.safetensors --data cifar10 --data-root DIR
"""

import argparse
import csv
import heapq
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from firstspike import files, records
from firstspike.compiler import mapping
from firstspike.compiler.stages import stages
from firstspike.data import load as load_images
from firstspike.processor import Processor, cycles, designs, energy, technology
from firstspike.processor.energy import Cost
from firstspike.processor.rates import memories
from firstspike.spec import INPUT, Network
from firstspike.spec.program import Convolve
from firstspike.spiking import load
from firstspike.zoo.published import PUBLISHED
from studies.rivals import shapes

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("network", help="model file")
parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
parser.add_argument("--data-root", help="where named data sets lie")
parser.add_argument("--limit", type=int, default=96, help="how many images (%(default)s)")
parser.add_argument("--shapes", action="store_true", help="the three data sets' networks by shape, too")
parser.add_argument("--technology", help="technology file (the package's 28 nm)")
parser.add_argument("--json", help="file for the records")
parser.add_argument("--out", help="folder for designs.csv, codes.csv and savings.csv")
options = parser.parse_args()

constants = technology.load(options.technology) if options.technology else technology.default()
snn = load(options.network)
images = load_images(options.data, split="test", data_root=options.data_root).limit(options.limit)
trace = snn.trace(images.pixels(0, len(images)))
times = trace.times
best = designs.load("batch")


def cost(processor: Processor, network: Network = snn.network, spikes: dict[str, np.ndarray] = times) -> Cost:
    counts = cycles.count(network, spikes, processor)
    return energy.cost(counts, weight_bits=network.weights.bits, technology=constants)


def row(name: str, processor: Processor, found: Cost) -> dict[str, object]:
    groups = {group: round(part.value, 1) for group, part in found.groups.items()}
    return {
        "design": name,
        "energy_uj": round(found.energy_uj, 1),
        "low_uj": round(found.energy.low, 1),
        "high_uj": round(found.energy.high, 1),
        **{f"{group.replace(' ', '_')}_uj": value for group, value in groups.items()},
        "area_mm2": round(found.area.value, 3),
        "images_per_second": round(found.frames_per_second),
        "latency_ms": round(found.latency_us / 1e3, 1),
        "stages": " ".join(str(part.images) for part in stages(snn.network, processor)),
    }


def show(title: str, rows: list[dict[str, object]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for entries in rows:
        print(f"| {' | '.join(str(value) for value in entries.values())} |")


def huffman_bits(shares: np.ndarray) -> float:
    """Mean bits of a Huffman code: every merge lengthens the codes below it by one."""
    heap = [float(share) for share in shares if share]
    heapq.heapify(heap)
    bits = 0.0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        bits += merged
        heapq.heappush(heap, merged)
    return bits


default = Processor()
candidates = {
    "default": default,
    **{f"{n} images": replace(default, images=n) for n in (2, 4, 8, 16)},
    **{f"{n} images, 128 membrane rows": replace(default, images=n, membrane_rows=128) for n in (1, 4, 8, 16, 32)},
    **{f"{n} images, 256 membrane rows": replace(default, images=n, membrane_rows=256) for n in (1, 4, 8, 16, 32)},
    "design batch": best,
    "batch, 512 membrane rows": replace(best, membrane_rows=512),
    "batch, activation buffer 96 KiB": replace(best, activation_buffer_kib=96),
    "batch, activation buffer 256 KiB": replace(best, activation_buffer_kib=256),
    "batch, weight buffer 45 KiB": replace(best, weight_buffer_kib=45),
    "batch, weight buffer 180 KiB": replace(best, weight_buffer_kib=180),
    "batch, words of 128 bits": replace(best, word_bits=128),
    "batch, 64 PEs, weight buffer 45 KiB": replace(best, pes=64, weight_buffer_kib=45),
    "batch, 256 PEs, weight buffer 180 KiB": replace(best, pes=256, weight_buffer_kib=180),
    "batch, 500 MHz": replace(best, clock_mhz=500.0),
}
priced = {name: cost(processor) for name, processor in candidates.items()}
table = [row(name, candidates[name], found) for name, found in priced.items()]
show(f"Designs: {options.network} on {images.name}, {len(images)} images, flat-4pj", table)

coded = []
for layer in snn.network.synaptic:
    zero = snn.network.weights.zero_level
    codes = np.where(layer.codes & zero == zero, zero, layer.codes)
    shares = np.bincount(codes.ravel()) / codes.size
    some = shares[shares > 0]
    coded.append(
        {
            "layer": layer.name,
            "codes": codes.size,
            "entropy_bits": round(float(-(some * np.log2(some)).sum()), 3),
            "huffman_bits": round(huffman_bits(shares), 3),
            "zero_share": round(float(shares[zero]), 4),
        }
    )
show("Weight codes", coded)


def fetched_bits(processor: Processor) -> dict[str, float]:
    """Bits of weight codes that each layer fetches from DRAM, per image."""
    bits = dict.fromkeys((layer.name for layer in snn.network.synaptic), 0.0)
    for operation in mapping.program(snn.network, processor).operations:
        if isinstance(operation, Convolve):
            row_bits = processor.pes * snn.network.weights.bits
            bits[operation.layer] += operation.rows * row_bits / processor.images
    return bits


def coding_saves(processor: Processor, key: str) -> float:
    """µJ an image that codes of so many bits would save."""
    bits, per_bit = fetched_bits(processor), constants.memory("flat-4pj").read.value * 1e-6
    return sum(bits[str(entry["layer"])] * (1 - float(str(entry[key])) / 5) for entry in coded) * per_bit


found = priced["design batch"]
adds = {layer.name: layer.events["lane_adds"] for layer in found.layers}
zero_adds = sum(adds[str(entry["layer"])] * float(str(entry["zero_share"])) for entry in coded) / sum(adds.values())
whole = {layer.name for layer in found.layers if layer.kind == "maxpool2d"}  # layers that keep no partial sums
whole |= {layer.name for layer in snn.network.synaptic}
whole -= {o.layer for o in mapping.program(snn.network, best).operations if isinstance(o, Convolve) and not o.first}
idle = sum(layer.events["cycles"] for layer in found.layers if layer.name in whole) / found.cycles_per_image
membrane = memories(best, snn.network.weights.bits, constants).membrane.leakage_mw.value
parts = found.components
losers = [
    {"candidate": "weights coded at their entropy", "at_most_uj": round(coding_saves(best, "entropy_bits"), 2)},
    {"candidate": "weights in a Huffman code a layer", "at_most_uj": round(coding_saves(best, "huffman_bits"), 2)},
    {"candidate": "the same, on the default design", "at_most_uj": round(coding_saves(default, "huffman_bits"), 2)},
    {"candidate": "zero codes skipped", "at_most_uj": round(zero_adds * parts["pe"].value, 2)},
    {
        "candidate": "clock and control gated entirely",
        "at_most_uj": round(parts["clock"].value + parts["control"].value, 2),
    },
    {
        "candidate": "membrane memory off while partial sums are not kept",
        "at_most_uj": round(idle * membrane * found.cycles_per_image / best.clock_mhz * 1e-3, 2),
    },
]
weights_uj = [
    sum(fetched_bits(processor).values()) * constants.memory("flat-4pj").read.value * 1e-6
    for processor in (default, best)
]
print(f"\nWeights from DRAM: {weights_uj[0]:.1f} µJ an image by default, {weights_uj[1]:.1f} µJ in the design batch")
waits = sum(layer.events["wait_cycles"] for layer in priced["default"].layers) / priced["default"].cycles_per_image
print(f"Cycles of waiting for DRAM by default: {waits:.1%}")
show(f"What more would save, of {found.energy_uj:.1f} µJ", losers)

others = []
if options.shapes:
    activity = shapes.measure(snn.network, times)
    for column, size, classes in zip(PUBLISHED, (32, 32, 64), (10, 100, 200), strict=True):
        shape = shapes.vgg16(size=size, classes=classes, hidden=512)
        known = {key: value for key, value in activity.items() if key == INPUT or key in shape.shapes}
        spikes = {key: np.repeat(value, best.images, axis=0) for key, value in shapes.spikes(shape, known).items()}
        for design in ("default", "batch"):
            processor = designs.load(design)
            priced_shape = cost(processor, shape, spikes)
            others.append(
                {
                    "network": f"VGG-16, {size} x {size}, {classes} classes ({column.title})",
                    "design": design,
                    "energy_uj": round(priced_shape.energy_uj, 1),
                    "low_uj": round(priced_shape.energy.low, 1),
                    "high_uj": round(priced_shape.energy.high, 1),
                    "DRAM_uj": round(priced_shape.groups["DRAM"].value, 1),
                    "published_uj": column.energy_uj,
                    "share": round(priced_shape.energy_uj / column.energy_uj, 3),
                    "stages": " ".join(str(part.images) for part in stages(shape, processor)),
                }
            )
    show("The three data sets' networks, by shape and measured activity", others)
if options.out:
    for name, rows in (("designs", table), ("codes", coded), ("savings", losers)):
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write(Path(options.out, f"{name}.csv"), stream.getvalue())
if options.json:
    record = {
        "weights_uj": weights_uj,
        "waits": waits,
        "designs": table,
        "codes": coded,
        "more": losers,
        "shapes": others,
    }
    records.write(options.json, record)
