"""Sorted spike lists and a min-find merge, beside the dense maps and the walker that the processor has.

Number: the tables "Why spikes are not sorted" of docs/explanation/sorting.md: area and energy per spike of list encoder,
merge and walker, synthesised and driven by the spikes of a real layer on real images; and what a network's images would cost or
save with sorted lists: bits, cycles, energy.
n: the images of --images; the windows and spikes that are priced are printed.
Machine: any; nothing is timed. Versions: of Yosys and OpenSTA, stated in docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]'.

    python -m studies.spike_sorting zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv3_2 --liberty FILE ...

In favour of sorting: no address generator and no memory for its lists' starts is priced, its lists are packed without gaps,
and max pooling (which would have to merge lists, too) is left out.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from firstspike import records
from firstspike.arith import NO_SPIKE
from firstspike.compiler import mapping
from firstspike.data import load as load_images
from firstspike.gates import scaling
from firstspike.gates.liberty import Library
from firstspike.processor import cycles, technology
from firstspike.processor.cycles import LayerCounts
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.parameters import Parameters
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spec.network import Synaptic
from firstspike.spec.program import Convolve
from firstspike.spiking import load
from studies.sorting.drive import Drive, encoder_recording, merge_recording, walker_recording
from studies.sorting.merge import Merge
from studies.sorting.replay import Recording, price
from studies.sorting.spike_list import ListEncoder

Row = dict[str, Any]
Recorder = Callable[[wiring.Component], tuple[Recording, int]]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file (.safetensors)")
    parser.add_argument("--data", required=True, help="test images")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--images", type=int, default=1, help="first test images (%(default)s)")
    parser.add_argument("--layer", required=True, help="convolution whose input map drives the blocks")
    parser.add_argument("--spikes", type=int, default=1500, help="about how many spikes are priced (%(default)s)")
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    parser.add_argument("--block", action="append", metavar="NAME", help="a block by its name, may be repeated (all)")
    parser.add_argument("--json", help="file for the record")
    return parser.parse_args()


def blocks(parameters: Parameters, drive: Drive) -> dict[str, tuple[Callable[[], wiring.Component], Recorder]]:
    """What is priced, by name: how it is built, and how it is driven."""
    processor = parameters.processor
    address_bits, row_bits = (processor.activation_words - 1).bit_length(), (parameters.weight_rows - 1).bit_length()
    times, index = parameters.time_bits, (processor.pes - 1).bit_length()
    found: dict[str, tuple[Callable[[], wiring.Component], Any]] = {
        "walker": (lambda: Walker(parameters, address_bits, row_bits), lambda b: walker_recording(b, drive)),
        "list encoder, 128 neurons": (lambda: ListEncoder(times, processor.pes), lambda b: encoder_recording(b, drive)),
        "merge of 9": (lambda: Merge(9, times, index), lambda b: merge_recording(b, drive, 3)),
        "merge of 16": (lambda: Merge(16, times, index), lambda b: merge_recording(b, drive, 4)),
    }
    return found


def price_block(
    name: str, build: Callable[[], wiring.Component], drive: Recorder, library: Library, clock_ns: float
) -> Row:
    """Area, delay and energy per spike of one block."""
    recording, spikes = drive(build())
    synthesis, energy = price(build(), "block", recording, library, clock_ns=clock_ns)
    node = scaling.node_of(library.name)
    factor = None if node is None else scaling.scaling(node, library.voltage)
    return {
        "block": name,
        "gate_equivalents": synthesis.gate_equivalents,
        "flipflops": sum(block.flipflops for block in synthesis.blocks),
        "area_um2": synthesis.area_um2,
        "delay_ns": None if synthesis.timing is None else synthesis.timing.critical_ns,
        "spikes": spikes,
        "cycles": recording.cycles,
        "energy_per_spike_fj": energy["total"] / spikes,
        "area_28nm_um2": None if factor is None else synthesis.area_um2 * factor.area,
        "energy_per_spike_28nm_pj": None if factor is None else energy["total"] / spikes * factor.energy / 1000,
    }


def stored_bits(network: Network, maps: Mapping[str, np.ndarray], processor: ProcessorSpec, item_bits: int) -> Row:
    """Bits of all maps: dense words as they are, and lists of (time, channel) items with an end each."""
    sums = {"dense_bits": 0.0, "list_bits": 0.0}
    for name, spikes in maps.items():
        if spikes.dtype != np.uint8 or name == network.layers[-1].name:
            continue
        if name != INPUT and network.layer(name).kind == "flatten":
            continue
        flat = spikes.reshape(len(spikes), spikes.shape[1], -1)
        pixels, tiles = len(flat) * flat.shape[2], -(-flat.shape[1] // processor.pes)
        sums["dense_bits"] += pixels * -(-flat.shape[1] // processor.lanes) * processor.word_bits
        sums["list_bits"] += (int((flat != NO_SPIKE).sum()) + pixels * tiles) * item_bits
    return sums


def walks(
    network: Network,
    layer: Synaptic,
    entry: LayerCounts,
    operations: Sequence[Convolve],
    images: int,
    item_bits: int,
    processor: ProcessorSpec,
) -> Row:
    """Cycles and words that a layer's input takes, walked as it is and merged from lists."""
    windows = images * sum(operation.pixels for operation in operations)
    lists = max(
        operation.kernel[0] * operation.kernel[1] * -(-operation.words * processor.lanes // processor.pes)
        for operation in operations
    )
    merged = float(entry.rows.sum())
    return {
        "spikes_merged": merged,
        "windows": windows,
        "dense_walk": float(entry.walk_cycles.sum()),
        "list_walk_low": merged + windows,
        "list_walk_high": merged + windows * (1 + lists),
        "dense_read_words": float(entry.activation_read_bits.sum()) / processor.word_bits,
        "list_read_words": (merged + windows * lists) * item_bits / processor.word_bits,
        "merges": merged * (1 if lists <= 16 else 2),
    }


def firing(network: Network, layer: Synaptic, times: np.ndarray, processor: ProcessorSpec) -> Row:
    """Cycles that firing takes, as it is and into lists."""
    made = times.reshape(len(times), layer.outputs, -1)
    sums = {"dense_fire": 0.0, "list_fire": 0.0, "spikes_made": float((made != NO_SPIKE).sum())}
    for first in range(0, layer.outputs, processor.pes):
        tile = made[:, first : first + processor.pes]
        windows = tile.shape[0] * tile.shape[2]
        crossed = np.stack([(tile == step).sum(axis=1) for step in range(network.code.T)])
        sums["list_fire"] += int(np.maximum(crossed, 1).sum()) + windows
        sums["dense_fire"] += windows * (network.code.T + 1 + -(-tile.shape[1] // processor.lanes))
    return sums


def per_image(network: Network, maps: Mapping[str, np.ndarray], parameters: Parameters) -> tuple[Row, float]:
    """What a network's images would take, dense and in lists; and the processor's cycles; both per image."""
    processor, images = parameters.processor, len(maps[INPUT])
    counts = {entry.name: entry for entry in cycles.count(network, maps, processor).layers}
    item_bits = parameters.time_bits + (processor.pes - 1).bit_length() + 1
    operations = [op for op in mapping.program(network, processor).operations if isinstance(op, Convolve)]
    sums = stored_bits(network, maps, processor, item_bits)
    for layer in network.synaptic:
        own = [op for op in operations if op.layer == layer.name]
        parts = [walks(network, layer, counts[layer.name], own, images, item_bits, processor)]
        if layer.fires:
            parts.append(firing(network, layer, maps[layer.name], processor))
        for part in parts:
            for key, value in part.items():
                sums[key] = sums.get(key, 0.0) + value
    total = float(np.mean(sum(entry.cycles for entry in counts.values())))
    return {key: value / images for key, value in sums.items()}, total


def energies(taken: Row, rows: Sequence[Row], processor: ProcessorSpec) -> tuple[Row, float]:
    """nJ an image of what differs, at 28 nm, and pJ of a read of the activation buffer."""
    by_name = {row["block"]: row["energy_per_spike_28nm_pj"] for row in rows}
    sram = technology.default().sram
    macro = sram.buffer(capacity_kib=processor.activation_buffer_kib, width_bits=processor.word_bits)
    read = macro.read_pj.value
    return {
        "walker_nj": taken["spikes_merged"] * by_name["walker"] / 1000,
        "merge_nj": taken["merges"] * by_name["merge of 16"] / 1000,
        "encoder_nj": taken["spikes_made"] * by_name["list encoder, 128 neurons"] / 1000,
        "dense_reads_nj": taken["dense_read_words"] * read / 1000,
        "list_reads_nj": taken["list_read_words"] * read / 1000,
    }, read


def main() -> None:
    """Synthesise and drive the blocks, count what a network would take, print both."""
    options = arguments()
    snn, processor = load(options.network), ProcessorSpec()
    network = snn.network
    parameters = Parameters.of(network, processor)
    images = load_images(options.data, split="test", data_root=options.data_root)
    times = snn.encode(images.pixels(0, options.images))
    maps = {INPUT: times, **snn.engine.layers(times)}
    layer = network.layer(options.layer)
    if not isinstance(layer, Conv2d):
        raise SystemExit(f"--layer must be a convolution, not {options.layer!r}")
    source = maps[layer.source][0][: processor.pes]  # one image, one tile of channels
    drive = Drive(
        source=source,
        pixels=np.random.default_rng(0).permutation(np.argwhere(np.ones(source.shape[1:], dtype=bool))),
        spikes=options.spikes,
        T=network.code.T,
        lanes=processor.lanes,
        neurons=processor.pes,
    )
    library = Library(options.liberty)
    print(
        f"{library.name}, {library.voltage} V, {options.clock} ns; layer {layer.name} of {Path(options.network).name}"
    )
    print(
        "| block | GE | flip-flops | area µm² | delay ns | spikes | cycles | energy/spike fJ | 28 nm: area µm² "
        "| energy/spike pJ |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for name, (build, record) in blocks(parameters, drive).items():
        if options.block and name not in options.block:
            continue
        rows.append(price_block(name, build, record, library, options.clock))
        cells = (
            f"{value:,.4g}" if isinstance(value, float) else "-" if value is None else f"{value}"
            for value in rows[-1].values()
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    taken, total = per_image(network, maps, parameters)
    print(f"\nper image, n = {options.images} of {images.name}: {total:,.0f} cycles with the walker")
    for key, value in taken.items():
        print(f"  {key}: {value:,.0f}")
    costs: Row = {}
    node = scaling.node_of(library.name)
    if node is not None and not options.block:
        costs, read = energies(taken, rows, processor)
        print(
            f"energy per image at 28 nm, from {node} nm; a read of the activation buffer at {read:.2f} pJ (28 nm table):"
        )
        for key, value in costs.items():
            print(f"  {key}: {value:,.1f}")
    if options.json:
        result = {"blocks": rows, "per_image": taken, "cycles": total, "energy": costs, "images": options.images}
        records.write(options.json, result)


if __name__ == "__main__":
    main()
