"""Networks past one processor: a row of chips, each with some layers or a part of one (docs/explanation/scaling.md). On paper.

The events of every layer are those of one processor, counted by `firstspike.processor.cycles`; here they are dealt out to
chips, and priced as `firstspike.processor.energy` prices them. What is new is the link between neighbours.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from firstspike.arith import NO_SPIKE, checks
from firstspike.compiler import mapping
from firstspike.compiler.storage import origins
from firstspike.processor import cycles, energy
from firstspike.processor.cycles import EVENTS, Counts, LayerCounts
from firstspike.processor.rates import rates
from firstspike.processor.technology import Technology
from firstspike.spec.interval import Interval, total
from firstspike.spec.network import INPUT, Conv2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve

COMPONENTS: Mapping[str, str] = {
    **energy.COMPONENTS,
    "weight_store": "weight store, reads",
    "link": "links between chips",
}
"""Components by key with their names for readers: one processor's, and two more."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    **energy.GROUPS,
    "SRAM": (*energy.GROUPS["SRAM"], "weight_store"),
    "link": ("link",),
}
"""Components that plots take together."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Work that is not divided by layers: a layer with weights, the pooling behind it, the image's load before the first.

    Attributes:
        names: its layers, in order.
        cycles: clock cycles per image on one chip.
        tiles, rows: tiles of output channels and rows of output pixels: into at most so many parts it can be split.
        weight_bits: all its weight rows once, as DRAM holds them.
        fetched_bits: weight rows that one chip fetches per image: once for every block of pixels.
        halo: share of the input's rows that two neighbouring parts of rows both need.
    """

    names: tuple[str, ...]
    cycles: float
    tiles: int
    rows: int
    weight_bits: int
    fetched_bits: int
    halo: float


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network's work per image on one processor, ready to be dealt out.

    Attributes:
        network, processor: whose.
        counts: events by layer.
        items: by execution.
        map_bits: of every map but the input, what a chip sends: see `map_bits`.
        stored_bits: of these, what they take in an activation buffer: a byte a neuron, whole words.
        readers: of these, the items (by number) that read them.
        writers: of every layer, the item that holds it.
    """

    network: Network
    processor: ProcessorSpec
    counts: Counts
    items: tuple[Item, ...]
    map_bits: Mapping[str, float]
    stored_bits: Mapping[str, float]
    readers: Mapping[str, tuple[int, ...]]
    writers: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an item runs.

    Attributes:
        first: number of its first chip. chips: how many it has: several only if it has them for itself.
        split: "tiles" or "rows": what its chips divide; "whole" on one chip.
    """

    first: int
    chips: int
    split: str


@dataclass(frozen=True, kw_only=True)
class System:
    """A network on a row of chips, mean per image.

    Attributes:
        chips: chips in use; those that would not raise the throughput are left out.
        resident: whether weights stay in the chips' weight stores; else they come from DRAM.
        places: of every item of the workload.
        clock_mhz: clock frequency in MHz.
        period_cycles: cycles from one image to the next: those of the busiest chip or link.
        latency_cycles: cycles of one image through all chips and links.
        link_bits: bits over the link behind each chip but the last.
        parts: energy in µJ by component.
        area: of all chips in mm².
        weight_dram_bits: weight bits read from DRAM.
    """

    chips: int
    resident: bool
    places: tuple[Place, ...]
    clock_mhz: float
    period_cycles: float
    latency_cycles: float
    link_bits: tuple[float, ...]
    parts: Mapping[str, Interval]
    area: Interval
    weight_dram_bits: float

    @property
    def frames_per_second(self) -> float:
        """Images per second with all chips at work on successive images."""
        return 1e6 * self.clock_mhz / self.period_cycles

    @property
    def latency_us(self) -> float:
        """Time of one image in microseconds."""
        return self.latency_cycles / self.clock_mhz

    @property
    def energy(self) -> Interval:
        """Energy per image in µJ."""
        return total(list(self.parts.values()))

    @property
    def groups(self) -> dict[str, Interval]:
        """Energy per image in µJ by group of components."""
        return {group: total([self.parts[key] for key in keys]) for group, keys in GROUPS.items()}

    def record(self) -> dict[str, Any]:
        """All figures as a flat dictionary whose keys carry units."""
        record: dict[str, Any] = {
            "chips": self.chips,
            "weights": "resident" if self.resident else "streamed",
            "frames_per_second": self.frames_per_second,
            "latency_us": self.latency_us,
            "period_cycles": self.period_cycles,
            "link_bits_per_image": sum(self.link_bits),
            "busiest_link_bits_per_image": max(self.link_bits, default=0.0),
            "weight_dram_bits_per_image": self.weight_dram_bits,
            "power_mw": self.energy.value * 1e-3 * self.frames_per_second,
            "area_mm2": self.area.value,
        }
        for key, part in (("energy", self.energy), *self.groups.items()):
            key = key.replace(" ", "_")
            record |= {f"{key}_uj": part.value, f"{key}_uj_low": part.low, f"{key}_uj_high": part.high}
        return record


def workload(network: Network, times: Mapping[str, np.ndarray], processor: ProcessorSpec) -> Workload:
    """Count a network's work.

    Args:
        network: a network, or its shapes (`studies.rivals.shapes`).
        times: spike times as `firstspike.processor.cycles.count` takes them.
        processor: one chip.

    Raises:
        ValueError: a layer does not fit the processor, or the processor works on several images at a time.
    """
    if processor.images != 1:
        raise ValueError(f"Processor.images must be 1 for a row of chips, not {processor.images!r}")
    program = mapping.program(network, processor)
    counts = cycles.count(network, times, processor, program)
    once: dict[str, dict[tuple[object, ...], int]] = {}
    fetched: dict[str, int] = {}
    row_bits = processor.row_words(network.weights) * processor.word_bits
    for operation in program.operations:
        if isinstance(operation, Convolve):
            key = (operation.outputs, operation.kernel_offset, operation.channel_word, operation.empty)
            once.setdefault(operation.layer, {})[key] = operation.rows * row_bits
            fetched[operation.layer] = fetched.get(operation.layer, 0) + operation.rows * row_bits
    weights = {name: sum(rows.values()) for name, rows in once.items()}
    groups: list[list[LayerCounts]] = [[]]
    for part in counts.layers:
        if part.name in weights and any(other.name in weights for other in groups[-1]):
            groups.append([])
        groups[-1].append(part)
    items = tuple(_item(network, processor, group, weights, fetched) for group in groups)
    names = origins(network)
    writers = {name: index for index, item in enumerate(items) for name in item.names}
    readers: dict[str, list[int]] = {}
    for layer in network.layers:
        for source in layer.inputs:
            if layer.name in writers:
                readers.setdefault(names[source], []).append(writers[layer.name])
    return Workload(
        network=network,
        processor=processor,
        counts=counts,
        items=items,
        map_bits={name: map_bits(times[name], network.code.T) for name in readers if name != INPUT},
        stored_bits={name: _stored_bits(network, name, processor) for name in readers if name != INPUT},
        readers={name: tuple(found) for name, found in readers.items() if name != INPUT},
        writers=writers,
    )


def _item(
    network: Network,
    processor: ProcessorSpec,
    group: Sequence[LayerCounts],
    weights: Mapping[str, int],
    fetched: Mapping[str, int],
) -> Item:
    names = tuple(layer.name for layer in group)
    synaptic = next((network.layer(name) for name in names if name in weights), None)
    shape = network.shapes[names[-1]]
    halo = 0.0
    if isinstance(synaptic, Conv2d):
        height = network.shapes[synaptic.source][1]
        halo = max(0, synaptic.weight_shape[2] - synaptic.stride[0]) / height
    return Item(
        names=names,
        cycles=sum(float(layer.cycles.mean()) for layer in group),
        tiles=-(-synaptic.outputs // processor.pes) if isinstance(synaptic, Synaptic) else 1,
        rows=shape[1] if len(shape) == 3 else 1,
        weight_bits=sum(weights.get(name, 0) for name in names),
        fetched_bits=sum(fetched.get(name, 0) for name in names),
        halo=halo,
    )


def _stored_bits(network: Network, name: str, processor: ProcessorSpec) -> float:
    channels, *pixels = network.shapes[name]
    return math.prod(pixels) * -(-channels // processor.lanes) * processor.word_bits


def map_bits(times: np.ndarray, steps: int) -> float:
    """Bits of a map on a link, mean per image: a byte a neuron, or lists, whichever is shorter.

    A list has, per pixel, a count and per spike its channel and its time, each in as many bits as it needs.

    Args:
        times: spike times, uint8 ``[n, channels, ...]``.
        steps: ``T``.

    >>> one = np.full((1, 64, 2, 2), 255, dtype=np.uint8)
    >>> one[0, 0, 0, 0] = 3
    >>> map_bits(one, 24), map_bits(one * 0, 24)
    (39.0, 2048.0)
    """
    images, channels = times.shape[:2]
    neurons = times.size / images
    spikes = int(np.count_nonzero(times != NO_SPIKE)) / images
    entry = math.ceil(math.log2(steps)) + math.ceil(math.log2(channels))
    return min(8 * neurons, neurons / channels * math.ceil(math.log2(channels + 1)) + spikes * entry)


# ---- partition ----------------------------------------------------------------------------------------------------


def part_cycles(item: Item, chips: int, split: str, processor: ProcessorSpec) -> float:
    """Cycles of the largest of an item's parts; infinite where it has fewer parts than chips.

    A part of rows needs all weights, and takes at least the time that fetching them once takes.
    """
    if split == "whole":
        return item.cycles if chips == 1 else math.inf
    most = item.tiles if split == "tiles" else item.rows
    if chips > most:
        return math.inf
    share = math.ceil(most / chips) / most * item.cycles
    once = item.weight_bits / processor.dram_bits_per_cycle
    return share if split == "tiles" else max(share, min(once, item.cycles))


def part_bits(item: Item, chips: int, split: str) -> float:
    """Weight bits that the largest part needs."""
    return item.weight_bits * (math.ceil(item.tiles / chips) / item.tiles if split == "tiles" else 1)


def partition(
    items: Sequence[Item], chips: int, processor: ProcessorSpec, capacity_bits: float = math.inf
) -> tuple[Place, ...] | None:
    """Places of items on at most ``chips`` chips with the shortest time of the busiest chip; None if there are none.

    Neighbouring items share a chip, or one item has several chips for itself; no chip holds more than ``capacity_bits``
    of weights. The shortest time is one of finitely many: a sum of neighbours, or a part. For a given time, filling chips
    in order takes the fewest.
    """
    candidates = {
        part_cycles(item, count, split, processor)
        for item in items
        for count in range(2, chips + 1)
        for split in ("tiles", "rows")
    }
    for start in range(len(items)):
        load = 0.0
        for item in items[start:]:
            load += item.cycles
            candidates.add(load)
    bounds = sorted(candidates - {math.inf})
    index = bisect_left(
        bounds, True, key=lambda bound: _fill(items, bound, chips, processor, capacity_bits) is not None
    )
    return _fill(items, bounds[index], chips, processor, capacity_bits) if index < len(bounds) else None


def _fill(
    items: Sequence[Item], bound: float, chips: int, processor: ProcessorSpec, capacity_bits: float
) -> tuple[Place, ...] | None:
    places: list[Place] = []
    used, load, held = 0, math.inf, 0.0  # no chip is open
    for item in items:
        if item.cycles <= bound and item.weight_bits <= capacity_bits:
            if load + item.cycles > bound or held + item.weight_bits > capacity_bits:
                used, load, held = used + 1, 0.0, 0.0
            load, held = load + item.cycles, held + item.weight_bits
            places.append(Place(first=used - 1, chips=1, split="whole"))
        else:
            fitting = (
                (count, part_cycles(item, count, split, processor), split)
                for count in range(2, chips - used + 1)
                for split in ("tiles", "rows")
                if part_bits(item, count, split) <= capacity_bits
            )
            found = next(((count, split) for count, length, split in fitting if length <= bound), None)
            if found is None:
                return None
            places.append(Place(first=used, chips=found[0], split=found[1]))
            used, load = used + found[0], math.inf
    return tuple(places) if used <= chips else None


# ---- traffic ------------------------------------------------------------------------------------------------------


def link_bits(work: Workload, places: Sequence[Place]) -> tuple[float, ...]:
    """Bits over the link behind each chip but the last: of every map what is made before it and needed behind it.

    A map passes every link from its first writer to its last reader once; chips on the way take what they need.
    """
    chips = max(place.first + place.chips for place in places)
    return tuple(
        math.fsum(
            bits
            * _made(places[work.writers[name]], link)
            * max(_needed(places[reader], work.items[reader], link) for reader in work.readers[name])
            for name, bits in work.map_bits.items()
        )
        for link in range(chips - 1)
    )


def copied_bits(work: Workload, places: Sequence[Place]) -> tuple[float, float]:
    """Bits read from activation buffers to be sent, and written where they are received; whole words.

    A map is read once if any other chip needs it, and written once for each place that reads it: by every chip where
    tiles are divided.
    """
    read = written = 0.0
    for name, bits in work.stored_bits.items():
        writer = places[work.writers[name]]
        remote = {places[reader] for reader in work.readers[name]} - {writer}
        copies = {place.first: place.chips if place.split == "tiles" else 1 for place in remote}
        read += bits * bool(copies)
        written += bits * sum(copies.values())
    return read, written


def _made(place: Place, link: int) -> float:
    """Share of an item's output that chips up to number ``link`` make."""
    return min(1.0, max(0.0, (link + 1 - place.first) / place.chips))


def _needed(place: Place, item: Item, link: int) -> float:
    """Share of an item's input that chips behind number ``link`` need: all of it, or their rows and what overlaps."""
    behind = 1 - _made(place, link)
    return min(1.0, behind + item.halo) if place.split == "rows" and 0 < behind < 1 else float(behind > 0)


# ---- the whole ----------------------------------------------------------------------------------------------------


def system(
    work: Workload,
    chips: int,
    *,
    technology: Technology,
    dram: str = "flat-4pj",
    store_kib: int = 0,
    link_bits_per_cycle: int = 64,
) -> System:
    """A workload on at most ``chips`` chips.

    Args:
        work: the network's work.
        chips: how many chips there are.
        technology: energy per event.
        dram: name of one of the technology's DRAM scenarios.
        store_kib: on-chip memory of each chip for weights that stay, KiB; 0: weights come from DRAM for every image.
        link_bits_per_cycle: width of the link between neighbours.

    Raises:
        ValueError: the chips' stores cannot hold the weights, or an option is out of range.
    """
    checks.integer("chips", chips, low=1, high=4096)
    checks.integer("store_kib", store_kib, low=0, high=1 << 20)
    checks.integer("link_bits_per_cycle", link_bits_per_cycle, low=1, high=1 << 16)
    processor = work.processor
    resident = store_kib > 0
    capacity = store_kib * 8192.0 if resident else math.inf
    places = partition(work.items, chips, processor, capacity)
    if places is None:
        needed = sum(item.weight_bits for item in work.items) / 8192
        raise ValueError(
            f"chips: weights of {needed:,.0f} KiB must fit {chips} stores of {store_kib} KiB by layers or parts"
        )
    used = places[-1].first + places[-1].chips
    loads = [0.0] * used
    latency = 0.0
    for item, place in zip(work.items, places, strict=True):
        length = part_cycles(item, place.chips, place.split, processor)
        latency += length
        for chip in range(place.first, place.first + place.chips):
            loads[chip] += length
    crossing = link_bits(work, places)
    period = max(*loads, *(bits / link_bits_per_cycle for bits in crossing), 0.0)
    return System(
        chips=used,
        resident=resident,
        places=places,
        clock_mhz=processor.clock_mhz,
        period_cycles=period,
        latency_cycles=latency + sum(crossing) / link_bits_per_cycle,
        link_bits=crossing,
        **_price(work, places, used, period, sum(crossing), technology, dram, store_kib),
    )


def _price(
    work: Workload,
    places: Sequence[Place],
    used: int,
    period: float,
    crossing: float,
    technology: Technology,
    dram: str,
    store_kib: int,
) -> dict[str, Any]:
    """Energy by component, area, and weight bits from DRAM."""
    processor = work.processor
    bits, product = work.network.weights.bits, work.network.product_bits
    chosen = rates(processor, bits, technology, dram, product_bits=product)
    dealt: list[LayerCounts] = []
    fetched = 0.0
    by_name = {layer.name: layer for layer in work.counts.layers}
    for item, place in zip(work.items, places, strict=True):
        bits = _fetched(item, place)
        fetched += bits
        for name in item.names:
            dealt.append(_dealt(by_name[name], item, place, processor, bits, resident=store_kib > 0))
    images = len(dealt[0].cycles)
    cost = energy.price(dealt, chosen, images=images, design="row of chips", technology=technology.name, dram=dram)
    parts = dict(cost.components)
    nanoseconds = period / processor.clock_mhz * 1e3
    leakage, area = chosen.leakage_mw, chosen.area_mm2
    store = Interval(low=0, value=0, high=0)
    if store_kib:
        buffer = technology.sram.buffer(capacity_kib=store_kib, width_bits=processor.word_bits)
        leakage, area = leakage + buffer.leakage_mw, area + buffer.area_mm2
        store = buffer.read_pj.times(fetched / processor.word_bits)
    parts["leakage"] = leakage.times(used * nanoseconds * 1e-6)
    parts["dram_standby"] = chosen.dram.standby.times(used * nanoseconds * 1e-6)
    read, written = copied_bits(work, places)
    parts["activation_read"] += chosen.activation_read_pj.times(read * 1e-6)
    parts["activation_write"] += chosen.activation_write_pj.times(written * 1e-6)
    parts["weight_store"] = store.times(1e-6)
    parts["link"] = technology.link.transfer.times(crossing * 1e-6)
    return {
        "parts": parts,
        "area": area.times(used),
        "weight_dram_bits": 0.0 if store_kib else fetched,
    }


def _fetched(item: Item, place: Place) -> float:
    """Weight bits that all chips of an item fetch per image: parts of rows fetch every weight at least once each."""
    return max(item.fetched_bits, place.chips * item.weight_bits) if place.split == "rows" else item.fetched_bits


def _dealt(
    layer: LayerCounts, item: Item, place: Place, processor: ProcessorSpec, fetched: float, resident: bool
) -> LayerCounts:
    """A layer's events on all its chips together."""
    if place.chips == 1 and not resident:
        return layer
    weights = item.fetched_bits if layer.kind in ("conv2d", "linear") else 0
    fetched = fetched if weights else 0.0
    others = layer.dram_read_bits - weights  # maps, biases, thresholds, descriptors
    copies = place.chips if place.split == "tiles" else 1  # each tile of outputs needs the whole input
    factor = place.chips * part_cycles(item, place.chips, place.split, processor) / item.cycles
    changed = {
        "cycles": layer.cycles * factor,
        "weight_write_bits": layer.weight_write_bits * (fetched / weights if weights else 1),
        "dram_read_bits": others * copies + (0 if resident else fetched),
        "dram_write_bits": layer.dram_write_bits + others * (copies - 1) * (layer.kind != "input"),
    }
    assert changed.keys() <= set(EVENTS)
    return replace(layer, **{name: np.rint(value).astype(np.int64) for name, value in changed.items()})
