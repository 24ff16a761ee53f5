"""Stages of a batch: which layers run for one image after the other, and which for several images together."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from firstspike.compiler import pixel_groups
from firstspike.compiler.packing import weight_words
from firstspike.compiler.residence import resident
from firstspike.compiler.spread import Spread
from firstspike.compiler.storage import Layout, allocate, origins
from firstspike.compiler.tiles import operations_of
from firstspike.spec.network import INPUT, Flatten, MaxPool2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Operation, Store, Window, descriptor_words


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Consecutive layers that run for ``images`` images together, then for the next as many, until the batch is done.

    Attributes:
        layers: their numbers.
        images: images at a time.
        layout: where their maps lie.
        exits: names of their maps that later stages read: these go to DRAM.
    """

    layers: range
    images: int
    layout: Layout
    exits: tuple[str, ...]


def stages(network: Network, processor: ProcessorSpec) -> tuple[Stage, ...]:
    """The stages of a batch with the fewest words from and to DRAM, the fewest stages of equals.

    Images that run together share the weights of every operation, but their maps must fit the activation buffer
    together; between stages maps pass through DRAM. Every stage takes more images at a time than the one before, and a
    divisor of the batch. A single image has one stage.

    Raises:
        ValueError: the network does not fit.
    """
    count = len(network.layers)
    chosen = _Search(network, processor).best(0, 0) if processor.images > 1 else None
    if chosen is None:
        return (stage_of(network, processor, range(count), 1),)
    result, start = [], 0
    for stop, size in chosen[1]:
        result.append(stage_of(network, processor, range(start, stop), size))
        start = stop
    return tuple(result)


class _Search:
    """Dynamic programming over the layers at which a stage starts; what it asks twice it remembers.

    Attributes:
        sizes: images at a time, the divisors of the batch, ascending.
        starts: layers at which a stage may start.
    """

    def __init__(self, network: Network, processor: ProcessorSpec) -> None:
        self.network = network
        self.processor = processor
        self.count = len(network.layers)
        self.sizes = [size for size in range(1, processor.images + 1) if processor.images % size == 0]
        self.starts = [index for index, layer in enumerate(network.layers) if not isinstance(layer, Flatten)]
        # One cache a search: a cache of the class would keep every network alive.
        self.best = cache(self._best)
        self.words = cache(self._words)
        self.compute = cache(self._compute)

    def _best(self, start: int, least: int) -> tuple[int, tuple[tuple[int, int], ...]] | None:
        """Fewest words from a layer on, with stages ``(stop, size)``, sizes from the ``least``-th on."""
        if start == self.count:
            return 0, ()
        ways = []
        for number, size in enumerate(self.sizes[least:], start=least):
            for stop in [*(index for index in self.starts if index > start), self.count]:
                here = self.words(start, stop, size)
                rest = None if here is None else self.best(stop, number + 1)
                if here is not None and rest is not None:
                    ways.append((here + rest[0], ((stop, size), *rest[1])))
        return min(ways, key=lambda way: (way[0], len(way[1]))) if ways else None

    def _words(self, start: int, stop: int, size: int) -> int | None:
        """Words of the whole batch in one stage; None where its maps do not fit."""
        parts = [self.compute(index, size) for index in range(start, stop) if index in self.starts]
        if size > 1 and None in parts:
            return None
        stage = self._stage(range(start, stop), size)
        if stage is None:
            return None
        network, processor = self.network, self.processor
        if size == 1:  # maps may be spilled: count all operations
            return processor.images * traffic(network, processor, operations(network, stage, processor))
        logits = [network.layers[-1].name] if stop == self.count else []
        maps = [stage.layout.maps[name] for name in (*stage.layout.entries, *stage.exits, *logits)]
        moved = sum(m.size + descriptor_words(processor) for m in maps)
        return processor.images // size * (moved + sum(part for part in parts if part is not None))

    def _compute(self, index: int, size: int) -> int | None:
        """Words of a layer's operations and payloads; None where its maps do not fit."""
        stage = self._stage(range(index, index + 1), size)
        if stage is None:
            return None
        work = operations(self.network, stage, self.processor)
        windows = [operation for operation in work if isinstance(operation, Window)]
        return traffic(self.network, self.processor, windows)

    def _stage(self, layers: range, size: int) -> Stage | None:
        try:
            return stage_of(self.network, self.processor, layers, size)
        except ValueError:
            return None


def operations(network: Network, stage: Stage, processor: ProcessorSpec) -> list[Operation]:
    """A stage's operations for the first images of the batch (offsets in DRAM regions are the first image's)."""
    maps = stage.layout.maps
    work = [layer for index in stage.layers if not isinstance(layer := network.layers[index], Flatten)]
    reader = work[0].name if stage.layers.start else INPUT
    result: list[Operation] = []
    for name in stage.layout.entries:
        m = maps[name]
        if m.region is None:
            result.append(Load(layer=reader, region=region(name), offset=0, address=m.address, words=m.size))
    for layer in work:
        if not isinstance(layer, Synaptic | MaxPool2d | Spread):
            raise ValueError(f"layer {layer.name!r}: the processor has no operation for {layer.kind!r}")
        fused = stage.layout.fused
        if layer.name in fused.values():
            continue  # with the pooling layer that comes next
        if layer.name in fused:
            source = network.layer(fused[layer.name])
            assert isinstance(source, Synaptic) and isinstance(layer, MaxPool2d)
            result += _cheapest(network, processor, source, stage.layout, pool=layer)
        else:
            result += _cheapest(network, processor, layer, stage.layout)
        m = maps[layer.name]
        if layer.name in stage.exits and m.region is None:
            result.append(Store(layer=layer.name, region=region(layer.name), offset=0, address=m.address, words=m.size))
    if stage.layers.stop == len(network.layers):
        last = network.layers[-1].name
        result.append(Store(layer=last, region=LOGITS, offset=0, address=maps[last].address, words=maps[last].size))
    return result


def _cheapest(
    network: Network,
    processor: ProcessorSpec,
    layer: Synaptic | MaxPool2d | Spread,
    layout: Layout,
    *,
    pool: MaxPool2d | None = None,
) -> list[Operation]:
    """A layer's operations, in groups of pixels by which cycles and DRAM bytes add up to the least.

    A byte counts as a cycle: at 4 pJ a bit both cost some 30 pJ, the cycle in leakage and clock.
    """
    groups = pixel_groups.sizes(network, processor, layer) if isinstance(layer, Synaptic) else (1,)
    ways = [operations_of(network, processor, layer, layout, group=group, pool=pool) for group in groups]
    if processor.resident_weights:
        ways = [resident(work) for work in ways]
    if len(ways) == 1:
        return ways[0]

    def cost(work: list[Operation]) -> float:
        cycles = pixel_groups.estimated_cycles(network, processor, work)
        return cycles + traffic(network, processor, work) * processor.word_bits / 8

    return min(ways, key=cost)


LOGITS = "logits"
"""DRAM region of the logits."""


def region(name: str) -> str:
    """DRAM region of a map."""
    return INPUT if name == INPUT else f"map {name}"


def payload_words(network: Network, processor: ProcessorSpec, operation: Convolve) -> int:
    """DRAM words of an operation's biases, thresholds and weight rows, if they are fetched."""
    words = 0 if operation.kept else weight_words(network, processor, operation)[0]
    return words + operation.first * processor.bias_words + threshold_words(network, processor, operation)


def threshold_words(network: Network, processor: ProcessorSpec, operation: Convolve) -> int:
    """DRAM words of an operation's thresholds, and of the shifts of its channels if its layer has any."""
    layer = network.layer(operation.layer)
    shifts = isinstance(layer, Synaptic) and any(layer.shifts)
    return operation.thresholds * (network.code.T + shifts * processor.shift_words)


def traffic(network: Network, processor: ProcessorSpec, work: Iterable[Operation]) -> int:
    """DRAM words that operations read and write: descriptors, payloads, maps."""
    words = 0
    for operation in work:
        words += descriptor_words(processor)
        if isinstance(operation, Convolve):
            words += payload_words(network, processor, operation)
        elif isinstance(operation, Load | Store):
            words += operation.words
    return words


def stage_of(network: Network, processor: ProcessorSpec, layers: range, images: int) -> Stage:
    """A stage of these layers.

    Raises:
        ValueError: its maps do not fit.
    """
    names = origins(network)
    inside = {names[network.layers[index].name] for index in layers}
    later = {names[name] for layer in network.layers[layers.stop :] for name in layer.inputs}
    return Stage(
        layers=layers,
        images=images,
        layout=allocate(network, processor, layers=layers, images=images),
        exits=tuple(name for name in dict.fromkeys(names.values()) if name in inside & later),
    )
