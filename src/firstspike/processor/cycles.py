"""Exact cycle and event counts of the processor, in closed form from the spikes (docs/processor.md, "Cycles").

The RTL executes one operation after the other while the loader fetches the next one, so with an ideal DRAM

    cycles = fetch[0] + sum over operations i of max(execute[i], fetch[i+1])   (their sum instead after a transfer)

and ``execute`` is a sum over output pixels of the window's walk, in which a word of the activation buffer takes as many
cycles as it holds spikes, but at least one, plus constants of the layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.processor import mapping
from firstspike.spec.network import INPUT, Conv2d, Flatten, Network, Synaptic
from firstspike.spec.processor import Processor
from firstspike.spec.program import Convolve, Load, Operation, Pool, Program, Window, descriptor_words

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


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCounts:
    """Events of one layer (or ``"input"``, the image's load); every field but the names is int64 ``[n]``, per image.

    Attributes:
        name: the layer's name; kind: its kind, ``"input"`` for the load.
        cycles: clock cycles from the start of its first operation to the start of the next layer's.
        walk_cycles: of these, cycles in which words of receptive fields (or pooling windows) are looked at.
        fire_cycles: of these, cycles of residual inputs, thresholds and write-back.
        wait_cycles: of these, cycles in which the finished controller waits for DRAM (weights, descriptors).
        rows: weight rows read: one per spike of a receptive field, tile and pixel.
        sops: synaptic operations as numerics section 5 counts them (zero weights included, padding not).
        lane_adds: products added in elements that hold an output: ``sops`` plus, in grouped layers, zero weights.
        threshold_steps: cycles in which a threshold is broadcast to all processing elements (firing and residuals).
        activation_read_bits, activation_write_bits: activation buffer, whole words.
        weight_read_bits, weight_write_bits: weight buffer, whole rows of ``pes`` codes (written from DRAM).
        bias_read_bits, bias_write_bits: bias registers, whole tiles of ``pes`` accumulators.
        membrane_read_bits, membrane_write_bits: membrane memory, whole rows of ``pes`` accumulators.
        dram_read_bits, dram_write_bits: DRAM port, whole words: descriptors, biases, thresholds, weights, maps, logits.
    """

    name: str
    kind: str
    cycles: np.ndarray
    walk_cycles: np.ndarray
    fire_cycles: np.ndarray
    wait_cycles: np.ndarray
    rows: np.ndarray
    sops: np.ndarray
    lane_adds: np.ndarray
    threshold_steps: np.ndarray
    activation_read_bits: np.ndarray
    activation_write_bits: np.ndarray
    weight_read_bits: np.ndarray
    weight_write_bits: np.ndarray
    bias_read_bits: np.ndarray
    bias_write_bits: np.ndarray
    membrane_read_bits: np.ndarray
    membrane_write_bits: np.ndarray
    dram_read_bits: np.ndarray
    dram_write_bits: np.ndarray


EVENTS = tuple(field.name for field in fields(LayerCounts) if field.name not in ("name", "kind"))
"""Names of the counted fields of `LayerCounts`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of a network over ``n`` images.

    Attributes:
        layers: by execution: ``"input"`` first, then every layer that takes operations (not flattening).
        processor: the processor that was counted.
    """

    layers: tuple[LayerCounts, ...]
    processor: Processor

    def total(self, event: str) -> np.ndarray:
        """Sum of a field over all layers, int64 ``[n]``.

        Raises:
            ValueError: there is no such field.
        """
        if event not in EVENTS:
            raise ValueError(f"event must be one of {', '.join(EVENTS)}, not {event!r}")
        return np.sum([getattr(layer, event) for layer in self.layers], axis=0)

    @property
    def cycles(self) -> np.ndarray:
        """Clock cycles of every image, int64 ``[n]``."""
        return self.total("cycles")


def count(
    network: Network, times: Mapping[str, np.ndarray], processor: Processor, program: Program | None = None
) -> Counts:
    """Count the cycles and events of images whose spike times are known.

    Args:
        network: the integer network.
        times: spike times of ``"input"`` and of every firing, pooling and flattening layer, uint8 ``[n, *shape]``.
        processor: the processor.
        program: ``mapping.program(network, processor)``, if at hand.

    Raises:
        ValueError: the network does not fit the processor.
    """
    program = program or mapping.program(network, processor)
    model = _Model(network, processor, times)
    operations = program.operations
    execute = np.array([model.execute(operation) for operation in operations])
    fetch = [model.fetch(operation) for operation in operations] + [model.fetch(None)]
    slots = np.empty_like(execute)
    for index, operation in enumerate(operations):
        ahead = fetch[index + 1]
        if isinstance(operation, Convolve | Pool):
            slots[index] = np.maximum(execute[index], ahead)
        else:
            slots[index] = execute[index] + ahead
    slots += TAKE
    first = fetch[0] + TAKE
    order = list(dict.fromkeys(operation.layer for operation in operations))
    layers = []
    for name in order:
        chosen = np.array([operation.layer == name for operation in operations])
        events = model.events(name, [operation for operation in operations if operation.layer == name])
        events["cycles"] = slots[chosen].sum(axis=0) + (first if name == order[0] else 0)
        events["wait_cycles"] = (slots - TAKE - execute)[chosen].sum(axis=0) + (fetch[0] if name == order[0] else 0)
        kind = "input" if name == INPUT else network.layer(name).kind
        layers.append(LayerCounts(name=name, kind=kind, **events))
    return Counts(layers=tuple(layers), processor=processor)


class _Model:
    """Durations and events of single operations on given spikes, with the sums they share kept."""

    def __init__(self, network: Network, processor: Processor, times: Mapping[str, np.ndarray]) -> None:
        self.network = network
        self.processor = processor
        self.times = times
        self.images = len(times[INPUT])
        self._spikes: dict[str, np.ndarray] = {}
        self._planes: dict[tuple[str, int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._walks: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray, int]] = {}

    def fetch(self, operation: Operation | None) -> int:
        """Cycles in which the loader fetches an operation (None: the final HALT)."""
        processor = self.processor
        cycles = self._burst(descriptor_words(processor.word_bits))
        if isinstance(operation, Convolve):
            cycles += self._burst(self._payload(operation))
        return cycles

    def _burst(self, words: int) -> int:
        return BURST + self.processor.dram_latency_cycles + words * self.processor.dram_cycles_per_word

    def _payload(self, operation: Convolve) -> int:
        words = operation.rows * self.processor.row_words(self.network.weights)
        return words + operation.first * self.processor.bias_words + operation.thresholds * self.network.code.T

    def execute(self, operation: Operation) -> np.ndarray:
        """Cycles from taking an operation to being ready for the next, int64 ``[n]``."""
        constant = np.zeros(self.images, dtype=np.int64)
        if isinstance(operation, Convolve):
            walk, _, _ = self.walk(operation)
            return walk + operation.pixels * (PIXEL + ISSUE + DRAIN + self._fire(operation) + NEXT)
        if isinstance(operation, Pool):
            positions = operation.pixels * operation.words
            return constant + positions * (PIXEL + ISSUE + operation.kernel[0] * operation.kernel[1] + 1 + NEXT)
        if isinstance(operation, Load):
            return constant + self._burst(operation.words)
        interval = self.processor.dram_cycles_per_word
        return constant + BURST + operation.words * interval + (LATENCY if interval == 1 else 0)

    def _fire(self, operation: Convolve) -> int:
        """Cycles of a window after its walk."""
        steps = self.network.code.T + LATENCY
        cycles = 0
        if operation.residual is not None:
            cycles += -(-operation.outputs[1] // self.processor.lanes) + LATENCY + steps
        if not operation.last:
            return cycles + 1
        return cycles + (steps if operation.fires else 0) + operation.out_words

    def walk(self, operation: Convolve) -> tuple[np.ndarray, np.ndarray, int]:
        """Cycles of the walks, spikes met (both int64 ``[n]``) and words read, over all windows of an operation."""
        layer = self.network.layer(operation.layer)
        assert isinstance(layer, Synaptic)
        source = self._origin(layer.source)
        key = (source, operation.channel_word, operation.words, *_geometry(operation))
        if key not in self._walks:
            tokens, spikes = self._plane(source, operation.channel_word, operation.words)
            rows, columns = _coverage(operation)
            outside = operation.pixels * operation.kernel[0] * operation.kernel[1] - int(rows.sum() * columns.sum())
            self._walks[key] = (
                (tokens @ columns) @ rows + outside,
                (spikes @ columns) @ rows,
                int(rows.sum() * columns.sum()) * operation.words,
            )
        return self._walks[key]

    def _origin(self, name: str) -> str:
        """Name of the map behind flattenings."""
        while name != INPUT and isinstance(layer := self.network.layer(name), Flatten):
            name = layer.source
        return name

    def _plane(self, source: str, word: int, words: int) -> tuple[np.ndarray, np.ndarray]:
        """Cycles and spikes of every pixel's words ``word .. word + words - 1``, int64 ``[n, height, width]``."""
        key = (source, word, words)
        if key not in self._planes:
            part = self._words(source)[:, word : word + words]
            self._planes[key] = (
                np.maximum(part, 1).sum(axis=1, dtype=np.int64),
                part.sum(axis=1, dtype=np.int64),
            )
        return self._planes[key]

    def _words(self, source: str) -> np.ndarray:
        """Spikes in every word, uint8 ``[n, words, height, width]``."""
        if source not in self._spikes:
            times = self.times[source]
            times = times if times.ndim == 4 else times[:, :, None, None]
            lanes = self.processor.lanes
            spikes = (times != NO_SPIKE).view(np.uint8)
            spare = -times.shape[1] % lanes
            if spare:
                spikes = np.pad(spikes, ((0, 0), (0, spare), (0, 0), (0, 0)))
            shape = (len(times), -1, lanes, *times.shape[2:])
            self._spikes[source] = spikes.reshape(shape).sum(axis=2, dtype=np.uint8)
        return self._spikes[source]

    def events(self, name: str, operations: list[Operation]) -> dict[str, np.ndarray]:
        """All counts of a layer but its cycles."""
        zero = np.zeros(self.images, dtype=np.int64)
        events = {event: zero.copy() for event in EVENTS}
        processor = self.processor
        word, row = processor.word_bits, processor.pes * self.network.weights.bits
        accumulators = processor.pes * processor.accumulator_bits
        for operation in operations:
            events["dram_read_bits"] += descriptor_words(word) * word
            if isinstance(operation, Convolve):
                walk, spikes, words = self.walk(operation)
                added = -(-operation.outputs[1] // processor.lanes) if operation.residual is not None else 0
                steps = self.network.code.T * ((operation.residual is not None) + (operation.last and operation.fires))
                events["walk_cycles"] += walk
                events["fire_cycles"] += operation.pixels * self._fire(operation)
                events["rows"] += spikes
                events["lane_adds"] += spikes * operation.outputs[1]
                events["threshold_steps"] += operation.pixels * steps
                events["activation_read_bits"] += (words + operation.pixels * added) * word
                events["activation_write_bits"] += operation.pixels * operation.out_words * operation.last * word
                events["weight_read_bits"] += spikes * row
                events["weight_write_bits"] += operation.rows * row
                events["bias_read_bits"] += operation.pixels * operation.first * accumulators
                events["bias_write_bits"] += operation.first * accumulators
                events["membrane_read_bits"] += operation.pixels * (not operation.first) * accumulators
                events["membrane_write_bits"] += operation.pixels * (not operation.last) * accumulators
                events["dram_read_bits"] += self._payload(operation) * word
            elif isinstance(operation, Pool):
                rows, columns = _coverage(operation)
                positions = operation.pixels * operation.words
                events["walk_cycles"] += positions * operation.kernel[0] * operation.kernel[1]
                events["fire_cycles"] += positions
                events["activation_read_bits"] += int(rows.sum() * columns.sum()) * operation.words * word
                events["activation_write_bits"] += positions * word
            elif isinstance(operation, Load):
                events["dram_read_bits"] += operation.words * word
                events["activation_write_bits"] += operation.words * word
            else:
                events["activation_read_bits"] += operation.words * word
                events["dram_write_bits"] += operation.words * word
        layer = None if name == INPUT else self.network.layer(name)
        if isinstance(layer, Synaptic):
            events["sops"] += self._sops(layer)
        if name == INPUT:
            events["dram_read_bits"] += descriptor_words(word) * word  # the final HALT
        return events

    def _sops(self, layer: Synaptic) -> np.ndarray:
        times = self.times[layer.source]
        if not isinstance(layer, Conv2d):
            return layer.outputs * (times != NO_SPIKE).reshape(self.images, -1).sum(axis=1, dtype=np.int64)
        spikes = self._words(self._origin(layer.source)).sum(axis=1, dtype=np.int64)
        size = self.network.shapes[layer.name][1:]
        kernel, extent = layer.codes.shape[2:], times.shape[2:]
        rows, columns = (
            _cover(size[axis], kernel[axis], layer.stride[axis], -layer.padding[axis], extent[axis]) for axis in (0, 1)
        )
        return layer.outputs // layer.groups * ((spikes @ columns) @ rows)


def _geometry(window: Window) -> tuple[object, ...]:
    return (window.height, window.width, window.kernel, window.stride, window.origin, window.in_size)


def _coverage(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """How many windows see each input row and column."""
    rows, columns = (
        _cover(size, window.kernel[axis], window.stride[axis], window.origin[axis], window.in_size[axis])
        for axis, size in enumerate((window.height, window.width))
    )
    return rows, columns


def _cover(outputs: int, kernel: int, stride: int, origin: int, extent: int) -> np.ndarray:
    """Number of (output, kernel position) pairs that fall on each of ``extent`` input positions, int64.

    >>> _cover(3, 3, 1, -1, 3).tolist(), _cover(2, 2, 2, 0, 5).tolist()
    ([2, 3, 2], [1, 1, 1, 1, 0])
    """
    positions = origin + stride * np.arange(outputs)[:, None] + np.arange(kernel)
    inside = positions[(positions >= 0) & (positions < extent)]
    return np.bincount(inside, minlength=extent).astype(np.int64)
