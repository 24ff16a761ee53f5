"""What saves energy: images that share weights, buffer sizes, entropy coding, zero codes, gating. Each with its number.

Number: the tables "Batches, and what more would save" of docs/results/NETWORK.md; with --out their CSV files.
n: --limit images of the data set (96 by default, six batches of the design "batch").
Machine: any; energies are counted, not timed. Versions: the firstspike of the checkout, any numpy.
--shapes: VGG-16 of the three data sets' sizes too, with the same activity, map by map, as this network on these images (shapes
alone: nothing is classified). A trained network of theirs is priced by `firstspike cost NET --data NAME --processor batch`.

    python -m studies.batches zoo/vgg16-cifar10.safetensors --data cifar10 --data-root DIR
"""

import argparse
import csv
import heapq
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from firstspike import files, records
from firstspike.compiler import mapping
from firstspike.compiler.stages import stages
from firstspike.compiler.storage import allocate, origins
from firstspike.data import load as load_images
from firstspike.processor import Processor, cycles, designs, energy, technology
from firstspike.processor.energy import Cost
from firstspike.processor.rates import memories
from firstspike.processor.technology import Technology
from firstspike.spec import INPUT, Network
from firstspike.spec.program import Convolve
from firstspike.spiking import load
from firstspike.zoo.published import PUBLISHED
from studies.rivals import shapes

Row = dict[str, Any]

DRAM = "flat-4pj"
BANK_KIB = 32
"""Size of a bank of the activation buffer that could be switched off alone."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file")
    parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=96, help="how many images (%(default)s)")
    parser.add_argument("--shapes", action="store_true", help="the three data sets' networks by shape, too")
    parser.add_argument("--technology", help="technology file (the package's 28 nm)")
    parser.add_argument("--json", help="file for the records")
    parser.add_argument("--out", help="folder for designs.csv, codes.csv and savings.csv")
    return parser.parse_args()


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A network, its spike times on some images, and what it is priced with."""

    network: Network
    times: Mapping[str, np.ndarray]
    constants: Technology

    def cost(self, processor: Processor) -> Cost:
        """What the images cost on a processor."""
        return priced(self.network, self.times, processor, self.constants)


def priced(network: Network, times: Mapping[str, np.ndarray], processor: Processor, constants: Technology) -> Cost:
    """What images cost on a processor."""
    counts = cycles.count(network, times, processor)
    return energy.cost(counts, weight_bits=network.weights.bits, technology=constants, dram=DRAM)


def candidates() -> dict[str, Processor]:
    """The designs compared, by name."""
    default, best = Processor(), designs.load("batch")
    return {
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


def row(name: str, network: Network, processor: Processor, cost: Cost) -> Row:
    """A design's line of designs.csv."""
    groups = {group: round(part.value, 1) for group, part in cost.groups.items()}
    return {
        "design": name,
        "energy_uj": round(cost.energy_uj, 1),
        "low_uj": round(cost.energy.low, 1),
        "high_uj": round(cost.energy.high, 1),
        **{f"{group.replace(' ', '_')}_uj": value for group, value in groups.items()},
        "area_mm2": round(cost.area.value, 3),
        "images_per_second": round(cost.frames_per_second),
        "latency_ms": round(cost.latency_us / 1e3, 1),
        "stages": " ".join(str(part.images) for part in stages(network, processor)),
    }


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


def coded(network: Network) -> list[Row]:
    """Of each layer: bits of its codes at their entropy and in a Huffman code, and the share of zeros."""
    rows = []
    for layer in network.synaptic:
        zero = network.weights.zero_level
        codes = np.where(layer.codes & zero == zero, zero, layer.codes)
        shares = np.bincount(codes.ravel()) / codes.size
        some = shares[shares > 0]
        rows.append(
            {
                "layer": layer.name,
                "codes": codes.size,
                "entropy_bits": round(float(-(some * np.log2(some)).sum()), 3),
                "huffman_bits": round(huffman_bits(shares), 3),
                "zero_share": round(float(shares[zero]), 4),
            }
        )
    return rows


def fetched_bits(network: Network, processor: Processor) -> dict[str, float]:
    """Bits of weight codes that each layer fetches from DRAM, per image."""
    bits = dict.fromkeys((layer.name for layer in network.synaptic), 0.0)
    for operation in mapping.program(network, processor).operations:
        if isinstance(operation, Convolve):
            row_bits = processor.pes * network.weights.bits
            bits[operation.layer] += operation.rows * row_bits / processor.images
    return bits


def coding_saves(measured: Measured, processor: Processor, codes: Sequence[Row], key: str) -> float:
    """µJ an image that codes of so many bits would save."""
    bits = fetched_bits(measured.network, processor)
    per_bit = measured.constants.memory(DRAM).read.value * 1e-6
    return sum(bits[entry["layer"]] * (1 - entry[key] / 5) for entry in codes) * per_bit


def idle_share(network: Network, processor: Processor, cost: Cost) -> float:
    """Share of the cycles in layers that keep no partial sums."""
    whole = {layer.name for layer in cost.layers if layer.kind == "maxpool2d"}
    whole |= {layer.name for layer in network.synaptic}
    operations = mapping.program(network, processor).operations
    whole -= {o.layer for o in operations if isinstance(o, Convolve) and not o.first}
    return sum(layer.events["cycles"] for layer in cost.layers if layer.name in whole) / cost.cycles_per_image


def resting(measured: Measured, processor: Processor, cost: Cost) -> float:
    """µJ an image that banks of the activation buffer would not leak while no map lies in them; one image at a time."""
    network, layout = measured.network, allocate(measured.network, processor)
    words = BANK_KIB * 8192 // processor.word_bits
    banks = -(-processor.activation_words // words)
    cycles = {layer.name: layer.events["cycles"] for layer in cost.layers}
    alias, order = origins(network), [INPUT, *(layer.name for layer in network.layers)]
    last = {name: at for at, name in enumerate(order)}
    for at, layer in enumerate(network.layers, start=1):
        for name in layer.inputs:
            last[alias[name]] = max(last[alias[name]], at)
    off = 0.0
    for at, name in enumerate(order):
        if name in layout.strips or name not in cycles:
            continue  # strips of spilled maps: all banks stay on
        alive = [
            m for other, m in layout.maps.items() if order.index(other) <= at <= last[alias[other]] and m.region is None
        ]
        used = {bank for m in alive for bank in range(m.address // words, (m.address + m.size - 1) // words + 1)}
        off += cycles[name] * (1 - len(used) / banks)
    leakage = memories(processor, network.weights.bits, measured.constants).activation.leakage_mw.value
    return off * leakage / processor.clock_mhz * 1e-3


def savings(measured: Measured, codes: Sequence[Row], cost: Cost) -> list[Row]:
    """Lines of savings.csv: what each idea would save at most of the design "batch", which costs ``cost``."""
    network, default, best = measured.network, Processor(), designs.load("batch")
    adds = {layer.name: layer.events["lane_adds"] for layer in cost.layers}
    zero_adds = sum(adds[entry["layer"]] * entry["zero_share"] for entry in codes) / sum(adds.values())
    membrane_mw = memories(best, network.weights.bits, measured.constants).membrane.leakage_mw.value
    idle = idle_share(network, best, cost) * membrane_mw * cost.cycles_per_image / best.clock_mhz * 1e-3
    parts = cost.components
    saved = {
        "weights coded at their entropy": coding_saves(measured, best, codes, "entropy_bits"),
        "weights in a Huffman code a layer": coding_saves(measured, best, codes, "huffman_bits"),
        "the same, on the default design": coding_saves(measured, default, codes, "huffman_bits"),
        "zero codes skipped": zero_adds * parts["pe"].value,
        "clock and control gated entirely": parts["clock"].value + parts["control"].value,
        "membrane memory off while partial sums are not kept": idle,
        f"activation banks of {BANK_KIB} KiB off while empty, on the design default": resting(
            measured, default, measured.cost(default)
        ),
    }
    return [{"candidate": name, "at_most_uj": round(value, 2)} for name, value in saved.items()]


def by_shape(measured: Measured) -> list[Row]:
    """The three data sets' networks, by shape and measured activity."""
    activity, batch = shapes.measure(measured.network, measured.times), designs.load("batch").images
    rows = []
    for column, size, classes in zip(PUBLISHED, (32, 32, 64), (10, 100, 200), strict=True):
        shape = shapes.vgg16(size=size, classes=classes, hidden=512)
        known = {key: value for key, value in activity.items() if key == INPUT or key in shape.shapes}
        spikes = {key: np.repeat(value, batch, axis=0) for key, value in shapes.spikes(shape, known).items()}
        for design in ("default", "batch"):
            processor = designs.load(design)
            cost = priced(shape, spikes, processor, measured.constants)
            rows.append(
                {
                    "network": f"VGG-16, {size} x {size}, {classes} classes ({column.title})",
                    "design": design,
                    "energy_uj": round(cost.energy_uj, 1),
                    "low_uj": round(cost.energy.low, 1),
                    "high_uj": round(cost.energy.high, 1),
                    "DRAM_uj": round(cost.groups["DRAM"].value, 1),
                    "published_uj": column.energy_uj,
                    "share": round(cost.energy_uj / column.energy_uj, 3),
                    "stages": " ".join(str(part.images) for part in stages(shape, processor)),
                }
            )
    return rows


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for entries in rows:
        print(f"| {' | '.join(str(value) for value in entries.values())} |")


def write(target: Path, rows: Sequence[Row]) -> None:
    """Rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, stream.getvalue())


def main() -> None:
    """Count, print the tables, and write what was asked for."""
    options = arguments()
    snn = load(options.network)
    images = load_images(options.data, split="test", data_root=options.data_root).limit(options.limit)
    measured = Measured(
        network=snn.network,
        times=snn.trace(images.pixels(0, len(images))).times,
        constants=technology.load(options.technology) if options.technology else technology.default(),
    )
    chosen = candidates()
    costs = {name: measured.cost(processor) for name, processor in chosen.items()}
    table = [row(name, snn.network, chosen[name], cost) for name, cost in costs.items()]
    show(f"Designs: {options.network} on {images.name}, {len(images)} images, {DRAM}", table)
    codes = coded(snn.network)
    show("Weight codes", codes)
    per_bit = measured.constants.memory(DRAM).read.value * 1e-6
    weights = [sum(fetched_bits(snn.network, chosen[name]).values()) * per_bit for name in ("default", "design batch")]
    print(f"\nWeights from DRAM: {weights[0]:.1f} µJ an image by default, {weights[1]:.1f} µJ in the design batch")
    default, best = costs["default"], costs["design batch"]
    waits = sum(layer.events["wait_cycles"] for layer in default.layers) / default.cycles_per_image
    print(f"Cycles of waiting for DRAM by default: {waits:.1%}")
    losers = savings(measured, codes, best)
    show(f"What more would save, of {best.energy_uj:.1f} µJ", losers)
    others = by_shape(measured) if options.shapes else []
    if others:
        show("The three data sets' networks, by shape and measured activity", others)
    if options.out:
        for name, rows in (("designs", table), ("codes", codes), ("savings", losers)):
            write(Path(options.out, f"{name}.csv"), rows)
    if options.json:
        record = {"weights_uj": weights, "waits": waits, "designs": table, "codes": codes}
        records.write(options.json, {**record, "more": losers, "shapes": others})


if __name__ == "__main__":
    main()
