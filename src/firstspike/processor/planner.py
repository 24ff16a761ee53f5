"""Makes the plan of a network's program: operation by operation, then layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from firstspike.compiler import mapping
from firstspike.compiler.channels import resolve
from firstspike.compiler.packing import weight_words
from firstspike.compiler.stages import payload_words
from firstspike.compiler.timing import constant_cycles, cover, coverage, fire_cycles, settle_cycles
from firstspike.processor.plan import EVENTS, Plan
from firstspike.processor.walks import Walks
from firstspike.spec.fan_out import nonzero_leaving
from firstspike.spec.network import INPUT, Conv2d, Flatten, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Operation, Pool, Program, Window, descriptor_words

_Share = tuple[int, int, int, int, int]
"""A count in proportion to a walk's spikes (0) or cycles (1): event, layer, walk, which, factor."""


def plan(network: Network, processor: ProcessorSpec, program: Program | None = None) -> Plan:
    """The plan of a network on a processor.

    Args:
        network: the integer network.
        processor: the processor.
        program: ``mapping.program(network, processor)``, if at hand.

    Raises:
        ValueError: the network does not fit the processor.
    """
    network = resolve(network)
    operations = (program or mapping.program(network, processor)).operations
    return _Planner(network=network, processor=processor).plan(operations)


@dataclass(kw_only=True)
class _Planner:
    """Walks that were found so far: over which map, and the cycles of each outside it."""

    network: Network
    processor: ProcessorSpec
    sources: dict[str, Walks] = field(default_factory=dict)
    outside: list[int] = field(default_factory=list)

    def plan(self, operations: Sequence[Operation]) -> Plan:
        names = list(dict.fromkeys(operation.layer for operation in operations))
        layer_of = np.array([names.index(operation.layer) for operation in operations])
        walk_of = np.array([self._share(o) if isinstance(o, Convolve) else -1 for o in operations])
        synapses: list[tuple[str, int, np.ndarray]] = []
        shares = [
            share
            for layer, walk, operation in zip(layer_of.tolist(), walk_of.tolist(), operations, strict=True)
            # the other images of the batch have the same operations
            if isinstance(operation, Convolve) and operation.image == 0
            for share in self._spike_events(layer, walk, operation)
        ]
        for index, name in enumerate(names):
            layer = None if name == INPUT else self.network.layer(name)
            if isinstance(layer, Synaptic):
                for connection in layer.connections:
                    walk, factor = self._synapses(layer, connection)
                    shares.append((EVENTS.index("sops"), index, walk, 0, factor))
                    origin = self._origin(connection.source)
                    synapses.append((origin, index, nonzero_leaving(self.network, connection, origin)))
        dynamic, rows = self._dynamic(shares, len(names))
        masks = [0, *(operation.awake for operation in operations)]
        woken = np.array([after & ~before for before, after in pairwise(masks)], dtype=np.int64)
        return Plan(
            processor=self.processor,
            layers=tuple((name, "input" if name == INPUT else self.network.layer(name).kind) for name in names),
            sources=self.sources,
            offsets=np.array(self.outside, dtype=np.int64),
            layer_of=layer_of,
            walk_of=walk_of,
            images=np.array([_images(operation) for operation in operations], dtype=np.int64),
            constant=np.array(
                [constant_cycles(self.network, self.processor, operation) for operation in operations], dtype=np.int64
            )
            + self.processor.wake_cycles * (woken != 0),
            bursts=np.array([*map(self._bursts, operations), self._bursts(None)], dtype=np.int64),
            transfer=np.array([_transfer(operation) for operation in operations], dtype=np.int64),
            payload=np.array([*map(_fetches, operations), 0], dtype=np.int64),
            resting=np.array([self._resting(operation) for operation in operations], dtype=np.int64),
            static=self._static(operations, layer_of, len(names), woken),
            dynamic=dynamic,
            dynamic_rows=rows,
            synapses=tuple(synapses),
        )

    def _bursts(self, operation: Operation | None) -> tuple[int, int, int]:
        """Bursts and words that the loader fetches, and cycles in which it asks for nothing: the descriptor (of the end:
        None), and a payload, which has no words where the rows of a chunk in the middle stayed in their bank."""
        bursts, words = 1, descriptor_words(self.processor)
        if isinstance(operation, Convolve):
            payload = payload_words(self.network, self.processor, operation)
            return bursts + (payload > 0), words + payload, int(payload == 0)
        return bursts, words, 0

    def _resting(self, operation: Operation) -> tuple[int, int, int]:
        """Banks of the activation buffer that are off, whether the membrane memory is, and weight banks that are."""
        processor = self.processor
        if not processor.switched:
            return 0, 0, 0
        membrane = operation.awake >> processor.banks
        weights = operation.weights_awake.bit_count() if processor.resident_weights else isinstance(operation, Convolve)
        return processor.banks + membrane - operation.awake.bit_count(), 1 - membrane, 2 - weights

    def _woken(self, operation: Operation, mask: int) -> int:
        """Bits of the memories that are switched on for an operation."""
        processor = self.processor
        if not processor.switched:
            return 0
        membrane = mask >> processor.banks
        bits = (mask.bit_count() - membrane) * processor.bank_words * processor.word_bits
        bits += membrane * processor.membrane_rows * processor.pes * processor.accumulator_bits
        weights = self.network.weights
        return bits + _fetches(operation) * processor.weight_rows(weights) * processor.pes * weights.bits

    def _static(
        self, operations: Sequence[Operation], layer_of: np.ndarray, layers: int, woken: np.ndarray
    ) -> np.ndarray:
        """Counts whatever the spikes, int64 ``[events, layers]``; the HALT's descriptor is the first layer's."""
        static = np.zeros((len(EVENTS), layers), dtype=np.int64)
        for layer, operation, mask in zip(layer_of, operations, woken.tolist(), strict=True):
            self._count(static[:, layer], operation)
            static[EVENTS.index("woken_bits"), layer] += self._woken(operation, mask)
        halt = descriptor_words(self.processor) * self.processor.word_bits
        static[EVENTS.index("dram_read_bits"), 0] += halt
        return static

    def _dynamic(self, shares: Sequence[_Share], layers: int) -> tuple[np.ndarray, np.ndarray]:
        """Factors of the walks' spikes and cycles, for the rows of all counts that have any, and these rows."""
        whole = np.zeros((2, len(EVENTS) * layers, len(self.outside)), dtype=np.int64)
        for event, layer, walk, cycles, factor in shares:
            whole[cycles, event * layers + layer, walk] += factor
        rows = np.flatnonzero(whole.any(axis=(0, 2)))
        return whole[:, rows].astype(np.float64), rows

    def _share(self, operation: Convolve) -> int:
        """Number of an operation's walk."""
        layer = self.network.connection(operation.connection)
        rows, columns = coverage(operation)
        shape = self.network.neuron_shape(self._origin(layer.source))
        size = shape[1:] if len(shape) == 3 else (1, 1)
        rows = _every(rows, operation.in_first, operation.grid[0], size[0])
        columns = _every(columns, operation.in_column, operation.grid[1], size[1])
        positions = operation.height * operation.width * operation.kernel[0] * operation.kernel[1]
        return self._add(layer.source, rows, columns, operation.channel_word, operation.words, positions)

    def _synapses(self, owner: Synaptic, layer: Synaptic) -> tuple[int, int]:
        """Walk that meets every spike of a connection's windows once, and the synapses each spike meets there."""
        name = self._origin(layer.source)
        shape = self.network.neuron_shape(name)
        size = shape[1:] if len(shape) == 3 else (1, 1)
        words = -(-shape[0] // self.processor.lanes)
        if not isinstance(layer, Conv2d):
            rows, columns = (np.ones(extent, dtype=np.int64) for extent in size)
            return self._add(name, rows, columns, 0, words, 0), layer.outputs
        target, kernel = self.network.shapes[owner.name][1:], layer.weight_shape[2:]
        rows, columns = (
            cover(
                target[axis], kernel[axis], layer.stride[axis], -layer.padding[axis], size[axis], layer.dilation[axis]
            )
            for axis in (0, 1)
        )
        return self._add(name, rows, columns, 0, words, 0), layer.outputs // layer.groups

    def _add(self, source: str, rows: np.ndarray, columns: np.ndarray, word: int, words: int, positions: int) -> int:
        name = self._origin(source)
        outside = positions - int(rows.sum() * columns.sum()) if positions else 0
        if name not in self.sources:
            channel_words = -(-self.network.neuron_shape(name)[0] // self.processor.lanes)
            self.sources[name] = Walks(channel_words, self.processor.lanes)
        number = self.sources[name].share(rows, columns, word, words, outside, len(self.outside))
        if number == len(self.outside):
            self.outside.append(outside)
        return number

    def _origin(self, name: str) -> str:
        """Name of the map behind flattenings."""
        while name != INPUT and isinstance(layer := self.network.layer(name), Flatten):
            name = layer.source
        return name

    def _spike_events(self, layer: int, walk: int, operation: Convolve) -> list[_Share]:
        """Counts in proportion to the spikes (0) or cycles (1) of a walk: event, layer, walk, which, factor."""
        row = self.processor.pes * self.network.weights.bits
        return [
            (EVENTS.index("rows"), layer, walk, 0, 1),
            (EVENTS.index("lane_adds"), layer, walk, 0, operation.outputs[1]),
            (EVENTS.index("weight_read_bits"), layer, walk, 0, row),
            (EVENTS.index("walk_cycles"), layer, walk, 1, 1),
        ]

    def _count(self, static: np.ndarray, operation: Operation) -> None:
        """Add what an operation counts whatever the spikes."""
        processor = self.processor
        word = processor.word_bits
        events = {"dram_read_bits": descriptor_words(processor) * word}
        if isinstance(operation, Window):
            rows, columns = coverage(operation)
            read = int(rows.sum() * columns.sum()) * operation.words * operation.images
        if isinstance(operation, Convolve):
            accumulators = processor.pes * processor.accumulator_bits
            added = -(-operation.outputs[1] // processor.lanes) if operation.residual is not None else 0
            sweeps = (operation.residual is not None) + (operation.last and operation.fires)
            events["fire_cycles"] = operation.pixels * fire_cycles(self.network, processor, operation)
            settle = settle_cycles(self.network, operation) if operation.last and operation.fires else 0
            events["threshold_steps"] = operation.pixels * (self.network.code.T * sweeps + settle)
            events["activation_read_bits"] = (read + operation.pixels * added) * word
            events["activation_write_bits"] = operation.pixels * operation.out_words * operation.last * word
            if not operation.kept:
                events["weight_write_bits"] = operation.rows * processor.pes * self.network.weights.bits
            if processor.packed_rows and not operation.kept:
                events["unpacked_bits"] = weight_words(self.network, processor, operation)[0] * word
            events["bias_read_bits"] = operation.pixels * operation.first * accumulators
            events["bias_write_bits"] = operation.first * accumulators
            events["membrane_read_bits"] = operation.pixels * (not operation.first) * accumulators
            events["membrane_write_bits"] = operation.pixels * (not operation.last) * accumulators
            events["dram_read_bits"] += payload_words(self.network, processor, operation) * word
        elif isinstance(operation, Pool):
            positions = operation.pixels * operation.words
            events["walk_cycles"] = positions * operation.kernel[0] * operation.kernel[1]
            events["fire_cycles"] = positions
            events["activation_read_bits"] = read * word
            events["activation_write_bits"] = positions * word
        elif isinstance(operation, Load):
            events["dram_read_bits"] += operation.words * word
            events["activation_write_bits"] = operation.words * word
        else:
            events["activation_read_bits"] = operation.words * word
            events["dram_write_bits"] = operation.words * word
        for name, value in events.items():
            static[EVENTS.index(name)] += value


def _images(operation: Operation) -> tuple[int, int]:
    """First image that a convolution works on and the one after its last; nothing for other operations."""
    return (operation.image, operation.image + operation.images) if isinstance(operation, Convolve) else (0, 0)


def _fetches(operation: Operation) -> int:
    """Whether weight rows are fetched for it."""
    return int(isinstance(operation, Convolve) and not operation.kept)


def _transfer(operation: Operation) -> tuple[int, int, int]:
    """Whether it is a transfer, whether a load, and its words."""
    return (0, 0, 0) if isinstance(operation, Window) else (1, isinstance(operation, Load), operation.words)


def _every(counts: np.ndarray, first: int, step: int, extent: int) -> np.ndarray:
    """Counts of every ``step``-th position from ``first`` on, at all ``extent`` positions; 0 at the others."""
    whole = np.zeros(extent, dtype=np.int64)
    whole[first + step * np.arange(len(counts))] = counts
    return whole
