"""Sorted spike lists and a min-find merge, beside the dense maps and the walker that the processor has.

Number: the tables "Why spikes are not sorted" of docs/explanation/processor.md: area and energy per spike of list encoder,
merge and walker, synthesised and driven by the spikes of a real layer on real images; and what a network's images would cost or
save with sorted lists: bits, cycles, energy.
n: the images of --images; the windows and spikes that are priced are printed.
Needs: pip install 'firstspike[rtl]'.

    python -m studies.spike_sorting zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv3_2 --liberty FILE ...

In favour of sorting: no address generator and no memory for its lists' starts is priced, its lists are packed without gaps,
and max pooling (which would have to merge lists, too) is left out.
"""

import argparse
from pathlib import Path

import numpy as np
from amaranth.sim import SimulatorContext

from firstspike import records
from firstspike.arith import NO_SPIKE
from firstspike.compiler import mapping
from firstspike.data import load as load_images
from firstspike.gates import scaling
from firstspike.gates.liberty import Library
from firstspike.processor import cycles, technology
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.parameters import Parameters
from firstspike.spec import INPUT, Conv2d, ProcessorSpec
from firstspike.spec.program import Convolve
from firstspike.spiking import load
from studies.sorting.merge import Merge
from studies.sorting.replay import Recording, Tick, price, record
from studies.sorting.spike_list import ListEncoder

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
options = parser.parse_args()

snn, processor = load(options.network), ProcessorSpec()
net = snn.network
parameters = Parameters.of(net, processor)
images = load_images(options.data, split="test", data_root=options.data_root)
times = snn.encode(images.pixels(0, options.images))
maps = {INPUT: times, **snn.engine.layers(times)}
layer = net.layer(options.layer)
if not isinstance(layer, Conv2d):
    raise SystemExit(f"--layer must be a convolution, not {options.layer!r}")
library = Library(options.liberty)
node = scaling.node_of(library.name)
index_bits = (processor.pes - 1).bit_length()
source = maps[layer.source][0][: processor.pes]  # one image, one tile of channels
rng = np.random.default_rng(0)
pixels = rng.permutation(np.argwhere(np.ones(source.shape[1:], dtype=bool)))


def sorted_list(y: int, x: int) -> list[dict[str, int]]:
    """The spikes of a pixel by time, then channel, and the end; outside the map the end alone."""
    inside = 0 <= y < source.shape[1] and 0 <= x < source.shape[2]
    column = source[:, y, x] if inside else np.array([], dtype=np.uint8)
    spikes = sorted((int(t), c) for c, t in enumerate(column) if t != NO_SPIKE)
    return [*({"time": t, "index": c, "end": 0} for t, c in spikes), {"time": 0, "index": 0, "end": 1}]


def encoder_recording(block: ListEncoder) -> tuple[Recording, int]:
    """First crossings of pixel after pixel."""
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        ctx.set(block.spikes.ready, 1)
        for y, x in pixels:
            if given >= options.spikes:
                break
            column = source[:, y, x]
            for step in range(net.code.T):
                crossed = sum(1 << int(c) for c in np.flatnonzero(column == step))
                ctx.set(block.steps.valid, 1)
                ctx.set(block.steps.payload, {"time": step, "neurons": crossed, "last": step == net.code.T - 1})
                while not ctx.get(block.steps.ready):
                    await tick()
                await tick()
            given += int((column != NO_SPIKE).sum())
        ctx.set(block.steps.valid, 0)
        for _ in range(processor.pes):
            await tick()

    return record(block, bench), given


def merge_recording(block: Merge, kernel: int) -> tuple[Recording, int]:
    """The lists of window after window of ``kernel * kernel`` positions, items offered in every cycle."""
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        ctx.set(block.spikes.ready, 1)
        queues: list[list[dict[str, int]]] = [[] for _ in range(block.lists)]
        chosen = 0
        while given < options.spikes or any(queues):
            if given < options.spikes and not all(queues):
                y, x = pixels[chosen % len(pixels)]
                chosen += 1
                for number, queue in enumerate(queues):
                    fresh = sorted_list(y + number // kernel - kernel // 2, x + number % kernel - kernel // 2)
                    given += len(fresh) - 1
                    queue += fresh
            for number, queue in enumerate(queues):
                port = getattr(block, f"list{number}")
                ctx.set(port.valid, int(bool(queue)))
                if queue:
                    ctx.set(port.payload, queue[0])
            for number, queue in enumerate(queues):
                if queue and ctx.get(getattr(block, f"list{number}").ready):
                    queue.pop(0)
            await tick()
        for number in range(block.lists):
            ctx.set(getattr(block, f"list{number}").valid, 0)
        for _ in range(4):
            await tick()

    return record(block, bench), given


def walker_recording(block: Walker) -> tuple[Recording, int]:
    """The walk of window after window of 3 x 3 positions over the same map."""
    channels, height, width = source.shape
    words = -(-channels // processor.lanes)
    padded = np.full((height, width, words * processor.lanes), NO_SPIKE, dtype=np.uint8)
    padded[:, :, :channels] = source.transpose(1, 2, 0)
    memory = [int.from_bytes(bytes(row), "little") for row in padded.reshape(-1, processor.lanes)]
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        fixed = {"kernel_height": 3, "kernel_width": 3, "words": words, "in_height": height, "in_width": width,
                 "in_pixel": words, "in_row": words * width, "position_rows": words * processor.lanes}  # fmt: skip
        for name, value in fixed.items():
            ctx.set(getattr(block.window, name), value)
        ctx.set(block.spikes.ready, 1)
        for y, x in pixels:
            if given >= options.spikes:
                break
            ctx.set(block.window.start, 1)
            ctx.set(block.window.y, int(y) - 1)
            ctx.set(block.window.x, int(x) - 1)
            ctx.set(block.window.address, int((y - 1) * words * width + (x - 1) * words) % (1 << block.address_bits))
            done = False
            while not done:
                given += ctx.get(block.spikes.valid)
                done = bool(ctx.get(block.window.done))
                address = ctx.get(block.buffer.address) if ctx.get(block.buffer.enable) else None
                await tick()
                ctx.set(block.window.start, 0)
                if address is not None:
                    ctx.set(block.buffer.data, memory[address])

    return record(block, bench), given


address_bits, row_bits = (processor.activation_words - 1).bit_length(), (parameters.weight_rows - 1).bit_length()
blocks = [
    ("walker", lambda: Walker(parameters, address_bits, row_bits), walker_recording),
    ("list encoder, 128 neurons", lambda: ListEncoder(parameters.time_bits, processor.pes), encoder_recording),
    ("merge of 9", lambda: Merge(9, parameters.time_bits, index_bits), lambda block: merge_recording(block, 3)),
    ("merge of 16", lambda: Merge(16, parameters.time_bits, index_bits), lambda block: merge_recording(block, 4)),
]
print(f"{library.name}, {library.voltage} V, {options.clock} ns; layer {layer.name} of {Path(options.network).name}")
print(
    "| block | GE | flip-flops | area µm² | delay ns | spikes | cycles | energy/spike fJ | 28 nm: area µm² | energy/spike pJ |"
)
print("|---|---|---|---|---|---|---|---|---|---|")
rows = []
for name, build, drive in blocks:
    if options.block and name not in options.block:
        continue
    recording, spikes = drive(build())  # type: ignore[no-untyped-call]
    synthesis, energy = price(build(), "block", recording, library, clock_ns=options.clock)
    factor = None if node is None else scaling.scaling(node, library.voltage)
    row = {
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
    rows.append(row)
    cells = [
        f"{value:,.4g}" if isinstance(value, float) else "-" if value is None else f"{value}" for value in row.values()
    ]
    print(f"| {' | '.join(cells)} |", flush=True)

# What a network's images would cost: dense words as they are, and lists of (time, channel) items with an end each.
operations = [op for op in mapping.program(net, processor).operations if isinstance(op, Convolve)]
counts = {entry.name: entry for entry in cycles.count(net, maps, processor).layers}
item_bits = parameters.time_bits + index_bits + 1
sums = dict.fromkeys(
    ("dense_bits", "list_bits", "dense_walk", "list_walk_low", "list_walk_high", "dense_fire", "list_fire", "spikes_merged",
     "spikes_made", "windows", "dense_read_words", "list_read_words", "merges"),
    0.0,
)  # fmt: skip
for name, spikes_of in maps.items():
    if spikes_of.dtype != np.uint8 or name == net.layers[-1].name:
        continue
    flat = spikes_of.reshape(options.images, spikes_of.shape[1], -1)
    tiles = -(-flat.shape[1] // processor.pes)
    if name == INPUT or net.layer(name).kind != "flatten":
        sums["dense_bits"] += (
            options.images * flat.shape[2] * -(-flat.shape[1] // processor.lanes) * processor.word_bits
        )
        sums["list_bits"] += (int((flat != NO_SPIKE).sum()) + options.images * flat.shape[2] * tiles) * item_bits
for target in net.synaptic:
    own = [op for op in operations if op.layer == target.name]
    entry = counts[target.name]
    windows = options.images * sum(op.pixels for op in own)
    in_tiles = max(1, -(-net.shapes[target.source][0] // processor.pes))
    lists = max(op.kernel[0] * op.kernel[1] * -(-op.words * processor.lanes // processor.pes) for op in own)
    merged = float(entry.rows.sum())
    sums["spikes_merged"] += merged
    sums["windows"] += windows
    sums["dense_walk"] += float(entry.walk_cycles.sum())
    sums["list_walk_low"] += merged + windows
    sums["list_walk_high"] += merged + windows * (1 + lists)
    sums["dense_read_words"] += float(entry.activation_read_bits.sum()) / processor.word_bits
    sums["list_read_words"] += (merged + windows * lists) * item_bits / processor.word_bits
    sums["merges"] += merged * (1 if lists <= 16 else 2)
    if not target.fires:
        continue
    made = maps[target.name].reshape(options.images, target.outputs, -1)
    for first in range(0, target.outputs, processor.pes):
        tile = made[:, first : first + processor.pes]
        crossed = np.stack([(tile == step).sum(axis=1) for step in range(net.code.T)])
        sums["list_fire"] += int(np.maximum(crossed, 1).sum()) + tile.shape[0] * tile.shape[2]
        sums["dense_fire"] += tile.shape[0] * tile.shape[2] * (net.code.T + 1 + -(-tile.shape[1] // processor.lanes))
    sums["spikes_made"] += int((made != NO_SPIKE).sum())
per_image = {key: value / options.images for key, value in sums.items()}
total_cycles = float(np.mean(sum(entry.cycles for entry in counts.values())))
print(f"\nper image, n = {options.images} of {images.name}: {total_cycles:,.0f} cycles with the walker")
for key, value in per_image.items():
    print(f"  {key}: {value:,.0f}")
by_name = {row["block"]: row["energy_per_spike_28nm_pj"] for row in rows}
macro = technology.default().sram.buffer(capacity_kib=processor.activation_buffer_kib, width_bits=processor.word_bits)
read = macro.read_pj.value
costs = {}
if node is not None and not options.block:
    costs = {
        "walker_nj": per_image["spikes_merged"] * by_name["walker"] / 1000,
        "merge_nj": per_image["merges"] * by_name["merge of 16"] / 1000,
        "encoder_nj": per_image["spikes_made"] * by_name["list encoder, 128 neurons"] / 1000,
        "dense_reads_nj": per_image["dense_read_words"] * read / 1000,
        "list_reads_nj": per_image["list_read_words"] * read / 1000,
    }
    print(f"energy per image at 28 nm, from {node} nm; a read of the activation buffer at {read:.2f} pJ (28 nm table):")
    for key, value in costs.items():
        print(f"  {key}: {value:,.1f}")
if options.json:
    result = {"blocks": rows, "per_image": per_image, "cycles": total_cycles, "energy": costs, "images": options.images}
    records.write(options.json, result)
