"""What the cycle model knows before it sees an image: every operation's constants, and which spikes it will meet."""

from collections.abc import Mapping

import numpy as np

from firstspike.compiler import mapping
from firstspike.compiler.stages import payload_words
from firstspike.processor.walks import Walks
from firstspike.spec.network import INPUT, Conv2d, Flatten, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Operation, Pool, Program, Window, descriptor_words

EVENTS = (
    "cycles",
    "walk_cycles",
    "fire_cycles",
    "wait_cycles",
    "rows",
    "sops",
    "lane_adds",
    "threshold_steps",
    "activation_read_bits",
    "activation_write_bits",
    "weight_read_bits",
    "weight_write_bits",
    "bias_read_bits",
    "bias_write_bits",
    "membrane_read_bits",
    "membrane_write_bits",
    "dram_read_bits",
    "dram_write_bits",
)
"""Names of the counted fields of `LayerCounts`, in order."""

TAKE = 1
"""Cycles in which the controller takes an operation from the loader."""
PIXEL = 1
"""Cycles that start a window."""
ISSUE = 1
"""Cycles from a window's start to its first word."""
DRAIN = 2
"""Cycles from the last word to the last membrane update."""
NEXT = 1
"""Cycles that end a window."""
LATENCY = 1
"""Cycles from a read request to the data of an on-chip memory."""
BURST = 1
"""Cycles of a burst request that is accepted at once."""


class Plan:
    """Static part of the model of one network on one processor: of a run, which is one batch of ``processor.images`` images.

    The walk of a window box over a map is linear in two numbers per word, its spikes and whether it has none; so all walks
    over a map are one product with the number of windows that see each pixel. Equal walks of different tiles are shared.

    Attributes:
        layers: name and kind of every layer that takes operations, by execution, ``"input"`` first.

    Args:
        network: the integer network.
        processor: the processor.
        program: ``mapping.program(network, processor)``, if at hand.

    Raises:
        ValueError: the network does not fit the processor.
    """

    def __init__(self, network: Network, processor: ProcessorSpec, program: Program | None = None) -> None:
        self.network = network
        self.processor = processor
        operations = (program or mapping.program(network, processor)).operations
        names = list(dict.fromkeys(operation.layer for operation in operations))
        self.layers = tuple((name, "input" if name == INPUT else network.layer(name).kind) for name in names)
        self._sources: dict[str, Walks] = {}
        self._outside: list[int] = []
        number = len(operations)
        self._layer = np.array([names.index(operation.layer) for operation in operations])
        self._walk_of = np.full(number, -1)
        self._images = np.zeros((number, 2), dtype=np.int64)
        self._constant = np.zeros(number, dtype=np.int64)
        self._bursts = np.zeros((number + 1, 2), dtype=np.int64)
        self._transfer = np.zeros((number, 3), dtype=np.int64)
        self._static = np.zeros((len(EVENTS), len(names)), dtype=np.int64)
        dynamic: list[tuple[int, int, int, int, int]] = []
        for index, operation in enumerate(operations):
            self._bursts[index] = (1, descriptor_words(processor.word_bits))
            if isinstance(operation, Convolve):
                self._walk_of[index] = walk = self._share(operation)
                self._bursts[index] += (1, payload_words(network, processor, operation))
                self._images[index] = (operation.image, operation.image + operation.images)
                self._constant[index] = operation.pixels * (PIXEL + ISSUE + DRAIN + self._fire(operation) + NEXT)
                if operation.image == 0:  # the other images of the batch have the same operations
                    dynamic += self._spike_events(self._layer[index], walk, operation)
            elif isinstance(operation, Pool):
                window = PIXEL + ISSUE + operation.kernel[0] * operation.kernel[1] + 1 + NEXT
                self._constant[index] = operation.pixels * operation.words * window
            else:
                self._transfer[index] = (1, isinstance(operation, Load), operation.words)
            self._count(self._static[:, self._layer[index]], operation)
        self._bursts[number] = (1, descriptor_words(processor.word_bits))
        halt = descriptor_words(processor.word_bits) * processor.word_bits
        self._static[EVENTS.index("dram_read_bits"), 0] += halt
        for index, (name, _) in enumerate(self.layers):
            layer = None if name == INPUT else network.layer(name)
            if isinstance(layer, Synaptic):
                walk, factor = self._synapses(layer)
                dynamic.append((EVENTS.index("sops"), index, walk, 0, factor))
        self._dynamic = np.zeros((2, len(EVENTS) * len(names), len(self._outside)), dtype=np.int64)
        for event, layer_index, walk, cycles, factor in dynamic:
            self._dynamic[cycles, event * len(names) + layer_index, walk] += factor
        self._dynamic_rows = np.flatnonzero(self._dynamic.any(axis=(0, 2)))
        self._dynamic = self._dynamic[:, self._dynamic_rows].astype(np.float64)
        self._offsets = np.array(self._outside, dtype=np.int64)[:, None]
        self._walking = np.flatnonzero(self._walk_of >= 0)
        self._transfers = np.flatnonzero(self._transfer[:, 0])
        self._of_layer = (self._layer == np.arange(len(names))[:, None]).astype(np.float64)

    def walk(self, times: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Cycles of every shared walk and spikes met in it, int64 ``[walks, runs, images of a run]`` each."""
        images = len(times[INPUT])
        walks = np.zeros((len(self._outside), images), dtype=np.int64)
        spikes = np.zeros_like(walks)
        for name, source in self._sources.items():
            source.count(times[name], walks, spikes)
        walks += self._offsets
        shape = (len(walks), -1, self.processor.images)
        return walks.reshape(shape), spikes.reshape(shape)

    def schedule(self, walks: np.ndarray, stall: float) -> tuple[np.ndarray, np.ndarray]:
        """Cycles of every layer, and of these the cycles of waiting for DRAM, int64 ``[layers, runs]`` each."""
        beat = self.processor.dram_cycles_per_word - 1 + 1 / (1 - stall)
        request = BURST / (1 - stall)
        latency = self.processor.dram_latency_cycles
        fetch = self._bursts[:, 0] * (request + latency) + self._bursts[:, 1] * beat
        transfers, loads, words = self._transfer.T
        single = stall == 0 and self.processor.dram_cycles_per_word == 1
        static = (
            self._constant + transfers * request + words * beat + np.where(loads, latency, transfers * LATENCY * single)
        )
        execute = np.repeat(static[:, None], walks.shape[1], axis=1)
        before = np.zeros((*walks.shape[:2], walks.shape[2] + 1), dtype=np.int64)
        np.cumsum(walks, axis=2, out=before[:, :, 1:])
        walk, (first, last) = self._walk_of[self._walking], self._images[self._walking].T
        execute[self._walking] += before[walk, :, last] - before[walk, :, first]
        ahead = fetch[1:, None]
        slots = np.maximum(execute, ahead)
        slots[self._transfers] = execute[self._transfers] + ahead[self._transfers]
        taking = TAKE * self._of_layer.sum(axis=1, keepdims=True)
        cycles = self._of_layer @ slots + taking
        waits = cycles - (self._of_layer @ execute + taking)
        cycles[0] += fetch[0] + TAKE
        waits[0] += fetch[0]
        return np.rint(cycles).astype(np.int64), np.rint(waits).astype(np.int64)

    def events(self, walks: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """All other counts, int64 ``[events, layers, runs]``."""
        walks, spikes = walks.sum(axis=2), spikes.sum(axis=2)
        events = np.repeat(self._static.reshape(-1, 1), walks.shape[1], axis=1)
        counted = self._dynamic[0] @ spikes.astype(np.float64) + self._dynamic[1] @ walks.astype(np.float64)
        events[self._dynamic_rows] += counted.astype(np.int64)
        return events.reshape(len(EVENTS), len(self.layers), -1)

    def _fire(self, operation: Convolve) -> int:
        """Cycles of a window after its walk."""
        steps = self.network.code.T + LATENCY
        cycles = 0
        if operation.residual is not None:
            cycles += -(-operation.outputs[1] // self.processor.lanes) + LATENCY + steps
        if not operation.last:
            return cycles + 1
        return cycles + (steps if operation.fires else 0) + operation.out_words

    def _share(self, operation: Convolve) -> int:
        """Number of an operation's walk."""
        layer = self.network.layer(operation.layer)
        assert isinstance(layer, Synaptic)
        rows, columns = _coverage(operation)
        shape = self.network.neuron_shape(self._origin(layer.source))
        below = (shape[1] if len(shape) == 3 else 1) - operation.in_first - len(rows)
        rows = np.pad(rows, (operation.in_first, below))
        positions = operation.height * operation.width * operation.kernel[0] * operation.kernel[1]
        return self._add(layer.source, rows, columns, operation.channel_word, operation.words, positions)

    def _synapses(self, layer: Synaptic) -> tuple[int, int]:
        """Walk that meets every spike of a layer's windows once, and the synapses each spike meets there."""
        name = self._origin(layer.source)
        shape = self.network.neuron_shape(name)
        size = shape[1:] if len(shape) == 3 else (1, 1)
        words = -(-shape[0] // self.processor.lanes)
        if not isinstance(layer, Conv2d):
            rows, columns = (np.ones(extent, dtype=np.int64) for extent in size)
            return self._add(name, rows, columns, 0, words, 0), layer.outputs
        target, kernel = self.network.shapes[layer.name][1:], layer.weight_shape[2:]
        rows, columns = (
            cover(target[axis], kernel[axis], layer.stride[axis], -layer.padding[axis], size[axis]) for axis in (0, 1)
        )
        return self._add(name, rows, columns, 0, words, 0), layer.outputs // layer.groups

    def _add(self, source: str, rows: np.ndarray, columns: np.ndarray, word: int, words: int, positions: int) -> int:
        name = self._origin(source)
        outside = positions - int(rows.sum() * columns.sum()) if positions else 0
        if name not in self._sources:
            channel_words = -(-self.network.neuron_shape(name)[0] // self.processor.lanes)
            self._sources[name] = Walks(channel_words, self.processor.lanes)
        number = self._sources[name].share(rows, columns, word, words, outside, len(self._outside))
        if number == len(self._outside):
            self._outside.append(outside)
        return number

    def _origin(self, name: str) -> str:
        """Name of the map behind flattenings."""
        while name != INPUT and isinstance(layer := self.network.layer(name), Flatten):
            name = layer.source
        return name

    def _spike_events(self, layer: int, walk: int, operation: Convolve) -> list[tuple[int, int, int, int, int]]:
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
        events = {"dram_read_bits": descriptor_words(word) * word}
        if isinstance(operation, Window):
            rows, columns = _coverage(operation)
            read = int(rows.sum() * columns.sum()) * operation.words * operation.images
        if isinstance(operation, Convolve):
            accumulators = processor.pes * processor.accumulator_bits
            added = -(-operation.outputs[1] // processor.lanes) if operation.residual is not None else 0
            sweeps = (operation.residual is not None) + (operation.last and operation.fires)
            events["fire_cycles"] = operation.pixels * self._fire(operation)
            events["threshold_steps"] = operation.pixels * self.network.code.T * sweeps
            events["activation_read_bits"] = (read + operation.pixels * added) * word
            events["activation_write_bits"] = operation.pixels * operation.out_words * operation.last * word
            events["weight_write_bits"] = operation.rows * processor.pes * self.network.weights.bits
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


def _coverage(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """How many windows see each input row and column."""
    rows, columns = (
        cover(size, window.kernel[axis], window.stride[axis], window.origin[axis], window.in_size[axis])
        for axis, size in enumerate((window.height, window.width))
    )
    return rows, columns


def cover(outputs: int, kernel: int, stride: int, origin: int, extent: int) -> np.ndarray:
    """Number of (output, kernel position) pairs that fall on each of ``extent`` input positions, int64.

    >>> cover(3, 3, 1, -1, 3).tolist(), cover(2, 2, 2, 0, 5).tolist()
    ([2, 3, 2], [1, 1, 1, 1, 0])
    """
    positions = origin + stride * np.arange(outputs)[:, None] + np.arange(kernel)
    inside = positions[(positions >= 0) & (positions < extent)]
    return np.bincount(inside, minlength=extent).astype(np.int64)
