"""A dense accelerator with linear weights on the same network, as a baseline.

ZigZag (PyPI ``zigzag-dse``) chooses spatial and temporal mapping of every layer by energy-delay product and counts memory
accesses on chip (Mei et al., IEEE Transactions on Computers 70(8), 2021), or these are the fewest of any mapping (`bound`).
DRAM traffic is what no schedule can avoid (`traffic`); cycles are those of an array that is always full, or of a port that
never waits. The array, two on-chip memories and the DRAM port are described here with the energies of our technology file.
What is not modelled is taken in the baseline's favour (docs/explanation/energy.md, "Baselines").
"""

import contextlib
import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from firstspike.arith import LogWeights, checks
from firstspike.compiler.packing import is_zero
from firstspike.processor.cycles import EVENTS
from firstspike.processor.energy import COMPONENTS, Cost, LayerCost
from firstspike.processor.rates import clock_pj, switches_of
from firstspike.processor.sram import Buffer
from firstspike.processor.technology import Technology
from firstspike.spec.interval import ZERO, Interval, plain, total
from firstspike.spec.network import INPUT, Conv2d, Linear, Network, Synaptic
from firstspike.spec.trace import Trace

INSTALL = "the dense baseline needs ZigZag; install it with: pip install 'firstspike[baselines]'"
"""What to tell a user without it."""

BITS = 8
"""Bits of weights and activations."""

SUM_BITS = 32
"""Bits of a partial sum."""

WORD_BITS = 128
"""Bits of a word of the on-chip memories; up to `PORT_WORDS` are accessed at once."""

PORT_WORDS = 4
PORT_BITS = 64
"""Width of the DRAM port, as ours."""

ORDERINGS = 5
"""Loop factors that ZigZag permutes (``lpf_limit``): more find no better mapping here, but take minutes a layer."""

MAPPINGS = 3
"""Spatial mappings that ZigZag makes up a layer."""


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Size of the accelerator.

    Attributes:
        rows, columns: multipliers of the array.
        weight_kib, activation_kib: on-chip memories.
        images: images of a batch, which share fetches of weights.
        clock_mhz: clock frequency in MHz.
        bits: of a linear weight.
        banks: macros of each memory. With more than one, those that a layer does not need are switched
            off, as in ours, and wake up in no time and for nothing.
    """

    rows: int = 16
    columns: int = 16
    weight_kib: int = 64
    activation_kib: int = 160
    images: int = 1
    clock_mhz: float = 250.0
    bits: int = BITS
    banks: int = 1

    def __post_init__(self) -> None:
        for name, high in (("rows", 256), ("columns", 256), ("weight_kib", 1 << 16), ("activation_kib", 1 << 16)):
            checks.integer(f"Dense.{name}", getattr(self, name), low=1, high=high)
        checks.integer("Dense.banks", self.banks, low=1, high=64)
        checks.integer("Dense.images", self.images, low=1, high=1024)
        checks.integer("Dense.bits", self.bits, low=2, high=BITS)
        if not 0 < self.clock_mhz <= 10_000:
            raise ValueError(f"Dense.clock_mhz must be in (0, 10000], not {self.clock_mhz!r}")


def logic_mm2(design: Dense, technology: Technology) -> Interval:
    """Area of the array and of a controller like ours."""
    array = technology.baseline.dense_area.times(design.rows * design.columns)
    return (array + technology.logic.control_area).times(1e-6)


def area_mm2(design: Dense, technology: Technology) -> Interval:
    """Area of logic and memories."""
    memories = total([buffer.area_mm2 for buffer in _buffers(design, technology)])
    if design.banks > 1:
        memories = memories + memories.by(switches_of(technology).area.times(0.01))
    return memories + logic_mm2(design, technology)


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What ZigZag counts on a network.

    Attributes:
        design: the accelerator.
        layers: of every layer with weights, by name, for all images of a batch: memory energy in pJ of ``weights`` (of 8
            bits) and ``activations``; ZigZag's own ``cycles``, ``read_bits`` and ``write_bits`` of the DRAM are not priced.
        bound: these are the fewest of any mapping, not ZigZag's.
    """

    design: Dense
    layers: dict[str, dict[str, float]]
    bound: bool = False


def map_network(network: Network, design: Dense, technology: Technology, dram: str = "flat-4pj") -> Mapped:
    """Let ZigZag map every layer, by energy-delay product: minutes.

    Raises:
        RuntimeError: ZigZag is not installed.
        ValueError: a layer has groups or residual inputs, or the scenario is unknown.
    """
    if find_spec("zigzag") is None:
        raise RuntimeError(INSTALL)
    technology.memory(dram)
    kept = design.images == 1 and _largest(network) <= design.activation_kib * 1024
    mapped: dict[tuple[int, ...], dict[str, float]] = {}
    layers = {}
    with _quiet():
        for layer in network.synaptic:
            shape = _shape(network, layer)
            if shape not in mapped:
                mapped[shape] = _zigzag(shape, design, technology, dram, kept=kept)
            layers[layer.name] = mapped[shape]
    return Mapped(design=design, layers=layers)


def traffic(network: Network, design: Dense) -> dict[str, tuple[float, float]]:
    """Bits that every layer reads from and writes to DRAM, mean per image, as few as any order of a batch needs."""
    layers, held = network.synaptic, _held(network)
    chosen = schedule(network, design)
    moved = [True, *(not _stays(held, chosen, at, design) for at in range(1, len(layers))), True]
    return {
        layer.name: (
            weight_bits(network, layer, design.bits) / size + (held[at] if at and moved[at] else 0),
            held[at + 1] if moved[at + 1] else 0.0,
        )
        for at, (layer, size) in enumerate(zip(layers, chosen, strict=True))
    }


def schedule(network: Network, design: Dense) -> list[int]:
    """For how many images of a batch each layer runs together, so that the fewest bits move.

    Weights come once for the images that a layer runs for together. A map stays on chip where those of these images fit
    the memory beside each other, and goes through DRAM otherwise, and where the next layer runs for more images. Numbers
    divide the batch and grow from layer to layer, as in ours (`firstspike.compiler.stages`).
    """
    layers, held = network.synaptic, _held(network)
    weights = [weight_bits(network, layer, design.bits) for layer in layers]
    sizes = [size for size in range(1, design.images + 1) if design.images % size == 0]
    best = {size: (weights[0] / size, [size]) for size in sizes}
    for index in range(1, len(layers)):
        known, best = best, {}
        for size in sizes:
            ways = []
            for bits, chosen in (known[before] for before in sizes if before <= size):
                longer = [*chosen, size]
                through = 0 if _stays(held, longer, index, design) else 2 * held[index]
                ways.append((bits + weights[index] / size + through, longer))
            best[size] = min(ways)
    return min(best.values())[1]


def _held(network: Network) -> list[int]:
    """Bits of one image's maps: of each layer's input, and of the logits."""
    inputs = [math.prod(network.shapes[layer.source]) * BITS for layer in network.synaptic]
    return [*inputs, math.prod(network.shapes[network.synaptic[-1].name]) * SUM_BITS]


def _stays(held: list[int], chosen: list[int], at: int, design: Dense) -> bool:
    """Whether the map that layer ``at`` reads stays on chip: two maps of all images beside each other, before and after."""
    size = chosen[at]
    pairs = (held[at - 1] + held[at], held[at] + held[at + 1])
    return chosen[at - 1] == size and size * max(pairs) <= design.activation_kib * 8192


def bound(network: Network, design: Dense, technology: Technology) -> Mapped:
    """Memory energy that no mapping beats, for sizes that ZigZag did not map.

    Each weight is written and read once for the images that share it. Each input is read once for every ``columns``
    outputs, each output is written once; sums never leave the array.
    """
    weights, activations = _buffers(design, technology)
    write, read = (port.value / WORD_BITS for port in (weights.write_pj, weights.read_pj))
    layers = {}
    for layer, size in zip(network.synaptic, schedule(network, design), strict=True):
        passes = -(-layer.outputs // design.columns)
        moved = math.prod(network.shapes[layer.source]) * passes * activations.read_pj.value
        moved += math.prod(network.shapes[layer.name]) * activations.write_pj.value
        layers[layer.name] = {
            "weights": layer.weight_count * BITS * (write + read) * design.images / size,
            "activations": moved * BITS / WORD_BITS * design.images,
        }
    return Mapped(design=design, layers=layers, bound=True)


def weight_bits(network: Network, layer: Synaptic, bits: int) -> float:
    """Bits of a layer's weights in DRAM: all, or a bitmap and those that are not zero, whichever is shorter."""
    size = layer.weight_count
    return float(min(size * bits, size + _kept(layer, network.weights) * bits))


@lru_cache(maxsize=256)
def _kept(layer: Synaptic, weights: LogWeights) -> int:
    """Weights of a layer that are not zero; its codes lie packed, so they are looked at once."""
    return int(np.count_nonzero(~is_zero(layer.codes, weights)))


def product_pj(design: Dense, technology: Technology) -> Interval:
    """Energy of a product: the multiplier's part of `dense_operation` shrinks with the weight, the adder's does not.

    The adder is `add_operation`, whose accumulator has three bits more; low: all of it shrinks, high: nothing does.
    """
    whole, adder = technology.baseline.dense_operation, technology.baseline.add_operation
    share = design.bits / BITS
    value = adder.value + (whole.value - adder.value) * share
    return technology.wired(Interval(low=whole.low * share, value=value, high=whole.high))


def cost(network: Network, trace: Trace, mapped: Mapped, technology: Technology, dram: str = "flat-4pj") -> Cost:
    """Energy per image: on-chip accesses by ZigZag, compulsory DRAM traffic, products of two numbers that are not zero.

    Cycles are those of the full array or of the port, whichever takes longer, layer by layer.

    Raises:
        ValueError: the scenario is unknown.
    """
    memory, design = technology.memory(dram), mapped.design
    leakage = leakage_mw(network, design, technology)
    bits = float(math.prod(network.input_shape) * BITS)
    moved = traffic(network, design)
    multipliers = design.rows * design.columns
    layers = [_layer(INPUT, INPUT, {"dram_read_bits": bits}, {"dram_read": memory.read.times(bits)})]
    for layer in network.synaptic:
        counted = {key: value / design.images for key, value in mapped.layers[layer.name].items()}
        # narrower weights are as many in a word, and as many fewer words
        counted["weights"] *= design.bits / BITS
        products = float(trace.layers[layer.name].sops_nonzero.mean())
        read, written = moved[layer.name]
        cycles = max(_products(network, layer) / multipliers, (read + written) / PORT_BITS)
        time_ns = cycles / design.clock_mhz * 1e3
        pages = (read + written) / memory.page.value
        events = {
            "cycles": cycles,
            "sops": float(trace.layers[layer.name].sops.mean()),
            "lane_adds": products,
            "nonzero_adds": products,
            "dram_read_bits": read,
            "dram_write_bits": written,
        }
        components = {
            "pe": product_pj(design, technology).times(products),
            "weight_read": _accesses(technology, counted["weights"]),
            "activation_read": _accesses(technology, counted["activations"]),
            "control": plain(technology.logic.control_cycle).times(cycles),
            "clock": clock_pj(technology, multipliers).times(cycles),
            "leakage": leakage[layer.name].times(time_ns),
            "dram_read": memory.read.times(read),
            "dram_write": memory.write.times(written),
            "dram_activate": memory.activate.times(pages * 1e3),
            "dram_standby": memory.standby.times(time_ns),
        }
        layers.append(_layer(layer.name, layer.kind, events, components))
    name = f"dense {design.bits}-bit" + (f", {design.rows} x {design.columns} at its bound" if mapped.bound else "")
    name += f", {design.banks} banks at {design.clock_mhz:g} MHz" if design.banks > 1 else ""
    return Cost(
        images=trace.images,
        batches=-(-trace.images // design.images),
        latency_cycles=sum(layer.events["cycles"] for layer in layers) * design.images,
        design=name if design.images == 1 else f"{name}, {design.images} images a batch",
        clock_mhz=design.clock_mhz,
        technology=technology.name,
        dram=dram,
        layers=tuple(layers),
        area=area_mm2(design, technology),
    )


def _accesses(technology: Technology, picojoules: float) -> Interval:
    """Energy of on-chip accesses between the technology's bounds."""
    sram = technology.sram
    return Interval(low=picojoules * sram.low_factor, value=picojoules, high=picojoules * sram.high_factor)


def _products(network: Network, layer: Synaptic) -> int:
    """Products of a layer and image, zeros included."""
    return math.prod(network.shapes[layer.name]) * math.prod(layer.weight_shape[1:])


def _layer(name: str, kind: str, events: dict[str, float], components: dict[str, Interval]) -> LayerCost:
    return LayerCost(
        name=name,
        kind=kind,
        events={event: events.get(event, 0.0) for event in EVENTS},
        components={key: components.get(key, ZERO) for key in COMPONENTS},
    )


def leakage_mw(network: Network, design: Dense, technology: Technology) -> dict[str, Interval]:
    """Leakage while each layer runs. A layer needs its weights, and both of its maps, of the images that it runs for together."""
    buffers, logic = _buffers(design, technology), logic_mm2(design, technology).by(technology.logic.leakage)
    held, sizes = _held(network), [kib * 8192 for kib in (design.weight_kib, design.activation_kib)]
    found = {}
    for at, (layer, images) in enumerate(zip(network.synaptic, schedule(network, design), strict=True)):
        needed = (layer.weight_count * design.bits, (held[at] + held[at + 1]) * images)
        parts = [
            _leaks(buffer.leakage_mw, min(1.0, bits / size), design, technology)
            for buffer, bits, size in zip(buffers, needed, sizes, strict=True)
        ]
        found[layer.name] = total(parts) + logic
    return found


def _leaks(whole: Interval, share: float, design: Dense, technology: Technology) -> Interval:
    """Leakage of a memory of which a share is needed, in whole banks."""
    if design.banks == 1:
        return whole
    on = math.ceil(share * design.banks) / design.banks
    return whole.times(on) + whole.by(switches_of(technology).leakage.times(0.01)).times(1 - on)


def _buffers(design: Dense, technology: Technology) -> list[Buffer]:
    """Both memories, each of so many banks."""
    return [
        technology.sram.buffer(capacity_kib=kib / design.banks, width_bits=WORD_BITS).times(design.banks)
        for kib in (design.weight_kib, design.activation_kib)
    ]


def _largest(network: Network) -> int:
    """Bytes of the largest layer's input and output together."""
    return max(
        math.prod(network.shapes[layer.source]) + math.prod(network.shapes[layer.name]) for layer in network.synaptic
    )


def _shape(network: Network, layer: Synaptic) -> tuple[int, ...]:
    """Outputs, inputs, output rows and columns, kernel rows and columns, strides, padding: what a mapping depends on."""
    if layer.residuals or (isinstance(layer, Conv2d) and layer.groups > 1):
        raise ValueError(f"layer {layer.name!r}: the dense baseline has no groups and no residual inputs")
    if isinstance(layer, Conv2d):
        outputs, inputs, *kernel = layer.weight_shape
        return (outputs, inputs, *network.shapes[layer.name][1:], *kernel, *layer.stride, *layer.padding)
    assert isinstance(layer, Linear)
    return (*layer.weight_shape, 1, 1, 1, 1, 1, 1, 0, 0)


def _workload(shape: tuple[int, ...], images: int) -> dict[str, Any]:
    outputs, inputs, rows, columns, tall, wide, down, across, top, left = shape
    layer: dict[str, Any] = {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "dimension_relations": [f"ix={across}*ox+1*fx", f"iy={down}*oy+1*fy"],
        "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
        "loop_sizes": [images, outputs, inputs, rows, columns, tall, wide],
        "operand_precision": {"W": BITS, "I": BITS, "O": SUM_BITS, "O_final": BITS},
        "operand_source": {},
    }
    if top or left:
        layer["pr_loop_dims"] = ["IX", "IY"]
        layer["pr_loop_sizes"] = [
            (columns - 1) * across + wide - 2 * left,
            (rows - 1) * down + tall - 2 * top,
        ]
        layer["padding"] = [[left, left], [top, top]]
    return layer


def _accelerator(design: Dense, technology: Technology, dram: str, *, kept: bool) -> dict[str, Any]:
    """The accelerator in ZigZag's terms."""
    return {
        "name": "dense",
        "memories": _memories(design, technology, dram, kept=kept),
        "operational_array": {
            "unit_energy": technology.baseline.dense_operation.value,
            "unit_area": 0.0,
            "dimensions": DIMENSIONS,
            "sizes": [design.rows, design.columns],
        },
    }


def _memories(design: Dense, technology: Technology, dram: str, *, kept: bool) -> dict[str, Any]:
    """Memories from the innermost out: size in bits, pJ of an access, operands, dimensions served, ports."""
    weights, activations = _buffers(design, technology)
    memory, wide = technology.memory(dram), WORD_BITS * PORT_WORDS
    moves = ["I2, fh", "I2, tl"]
    moves = moves if kept else ["I1, fh", "I1, tl", *moves, "O, fh", "O, tl", "O, fl", "O, th"]
    sums = [("read", ["O, tl"]), ("read", ["O, th"]), ("write", ["O, fh"]), ("write", ["O, fl"])]
    maps = [("read", ["I1, tl", "O, tl", "O, th"]), ("write", ["I1, fh", "O, fh", "O, fl"])]
    codes = [("read", ["I2, tl"]), ("write", ["I2, fh"])]
    return {
        "weight_register": _memory(BITS, (0, 0), ["I2"], [], _ports(codes, BITS)),
        "sum_register": _memory(SUM_BITS, (0, 0), ["O"], [], _ports(sums, SUM_BITS)),
        "weights": _memory(
            design.weight_kib * 8192,
            (weights.read_pj.value * PORT_WORDS, weights.write_pj.value * PORT_WORDS),
            ["I2"],
            DIMENSIONS,
            _ports(codes, wide, least=WORD_BITS),
        ),
        "activations": _memory(
            design.activation_kib * 8192,
            (activations.read_pj.value * PORT_WORDS, activations.write_pj.value * PORT_WORDS),
            ["I1", "O"],
            DIMENSIONS,
            _ports(maps, wide, least=WORD_BITS),
        ),
        "dram": _memory(
            10**10,
            (memory.read.value * PORT_BITS, memory.write.value * PORT_BITS),
            ["I2"] if kept else ["I1", "I2", "O"],
            DIMENSIONS,
            _ports([("read_write", moves)], PORT_BITS),
        ),
    }


DIMENSIONS = ["D1", "D2"]


def _memory(
    bits: int, access_pj: tuple[float, float], operands: list[str], serves: list[str], ports: list[Any]
) -> dict[str, Any]:
    read, write = access_pj
    return {
        "size": bits,
        "r_cost": float(read),
        "w_cost": float(write),
        "area": 0.0,
        "latency": 1,
        "operands": operands,
        "served_dimensions": serves,
        "ports": ports,
    }


def _ports(moves: list[tuple[str, list[str]]], bits: int, *, least: int | None = None) -> list[dict[str, Any]]:
    """Ports by kind and what they move; those of a kind are numbered."""
    ports: list[dict[str, Any]] = []
    for kind, allocation in moves:
        number = 1 + sum(port["type"] == kind for port in ports)
        ports.append(
            {
                "name": f"{KINDS[kind]}_port_{number}",
                "type": kind,
                "bandwidth_min": least or bits,
                "bandwidth_max": bits,
                "allocation": allocation,
            }
        )
    return ports


KINDS = {"read": "r", "write": "w", "read_write": "rw"}


def _zigzag(
    shape: tuple[int, ...], design: Dense, technology: Technology, dram: str, *, kept: bool
) -> dict[str, float]:
    """Cycles, DRAM bits and memory energy in pJ of a layer for all images of a batch."""
    import yaml
    from zigzag.api import get_hardware_performance_zigzag

    memory = technology.memory(dram)
    mapping = [{"name": "default", "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"}}]
    documents = {
        "workload": [_workload(shape, design.images)],
        "accelerator": _accelerator(design, technology, dram, kept=kept),
        "mapping": mapping,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, document in documents.items():
            paths[name] = str(Path(folder, f"{name}.yaml"))
            Path(paths[name]).write_text(yaml.safe_dump(document, sort_keys=False))  # their order is the hierarchy
        *_, evaluated = get_hardware_performance_zigzag(
            paths["workload"],
            paths["accelerator"],
            paths["mapping"],
            opt="EDP",
            dump_folder=str(Path(folder, "out")),
            lpf_limit=ORDERINGS,
            nb_spatial_mappings_generated=MAPPINGS,
            loma_show_progress_bar=False,
        )
    whole, parts = evaluated[0]  # type: ignore[misc]
    levels = {str(operand): [float(v) for v in values] for operand, values in parts[0][0].mem_energy_breakdown.items()}
    read = levels["W"][2] + (0.0 if kept else levels["I"][1])
    return {
        "cycles": float(whole.latency_total2),
        "weights": levels["W"][1],
        "activations": levels["I"][0] + levels["O"][1],
        "read_bits": read / memory.read.value,
        "write_bits": 0.0 if kept else levels["O"][2] / memory.write.value,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ZigZag logs every layer and sets the root logger up."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
