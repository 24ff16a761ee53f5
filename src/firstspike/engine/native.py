"""Native engine: compiled event-driven and dense kernels (src/native, docs/explanation/engines.md)."""

import os
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from firstspike.arith import NO_SPIKE, Code, checks, integer_kernel, kernel, pixel_boundaries
from firstspike.spec.codes import packed_size
from firstspike.spec.limits import Shape
from firstspike.spec.network import INPUT, Channels, Conv2d, Flatten, MaxPool2d, Network, PixelShuffle, Synaptic

# an extension module has no source that import-linter could see: a plain import would count as one of all of firstspike
_native: Any = import_module("firstspike._native")


class NativeEngine:
    """Bit-exact inference by compiled kernels; see `Engine` for the interface.

    Attributes:
        network: the network it runs. The engine holds its weights as packed codes, ``B_w`` bits each.
        threads: how many threads one call uses; over images where there are enough, else over parts of each layer.
        instructions: the instruction set in use: "amx", "avx512", "avx2" or "portable".
        path: "auto", "event" or "dense".
    """

    name = "native"

    def __init__(
        self,
        network: Network,
        *,
        threads: int | None = None,
        instructions: str = "auto",
        path: str = "auto",
        owned: bool = False,
    ) -> None:
        """Pack a network's weights.

        Args:
            network: the network to run.
            threads: threads of one call; None for one per processor.
            instructions: instruction set; "auto" takes the best this processor has.
            path: "event" visits spikes only, "dense" multiplies every input, "auto" chooses per layer and group of
                images by the density of its spikes. Layers whose operands need more than 16 bits, and dilated ones, are
                always event-driven. With "amx", layers whose operands fit bytes are matrices on every path but "event".
            owned: nobody else holds ``network``: codes that it holds packed are let go there, layer by layer, and read
                from here. Otherwise it stays as it is.

        Raises:
            TypeError: ``threads`` is not an int.
            ValueError: an option is out of range or unknown.
        """
        self.network = network
        self.threads = checks.integer("threads", os.cpu_count() or 1 if threads is None else threads, low=1, high=1024)
        self.path = path
        self._native = _native.Engine(
            _volume(network.input_shape),
            T=network.code.T,
            weight_bits=network.weights.bits,
            accumulator_bits=network.accumulator_bits,
            instructions=instructions,
            path=path,
        )
        self.instructions: str = self._native.instructions
        self._numbers = {INPUT: 0}
        for layer in network.layers:
            source = self._numbers[layer.source]
            before, after = _volume(network.shapes[layer.source]), _volume(network.shapes[layer.name])
            if isinstance(layer, Channels):
                self._native.add_channels([self._numbers[name] for name in layer.inputs], after, list(layer.channels))
            elif isinstance(layer, Flatten):
                self._native.add_flatten(source, before)
            elif isinstance(layer, PixelShuffle):
                self._native.add_shuffle(source, before, layer.factor)
            elif isinstance(layer, MaxPool2d):
                self._native.add_pool(source, before, after, layer.kernel, layer.stride, layer.padding)
            else:
                assert isinstance(layer, Synaptic)
                for part in layer.parts:  # their sums go before the layer that adds them
                    self._add_synaptic(layer, part, owned=owned)
                    self._numbers[part.name] = len(self._numbers)
                self._add_synaptic(layer, layer, owned=owned)
            self._numbers[layer.name] = len(self._numbers)
        # a trace has a place for every step but the read-out; sums of parts leave none
        self._traced = [name if name in network.shapes else None for name in list(self._numbers)[1:-1]]

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights the engine holds: packed codes, filled up to whole blocks of output channels."""
        return int(self._native.weight_bytes)

    @property
    def matrices(self) -> int:
        """Number of layers and parts that run as matrices of bytes."""
        return int(self._native.matrices)

    def logits(self, times: np.ndarray) -> np.ndarray:
        """Logits, int64 ``[n, *read-out shape]``; see `Engine`."""
        return self._run(times, trace=False)[self.network.layers[-1].name]

    def layers(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Output of every layer by name; see `Engine`."""
        return self._run(times, trace=True)

    def _run(self, times: np.ndarray, *, trace: bool) -> dict[str, np.ndarray]:
        network = self.network
        if times.dtype != np.uint8:
            raise TypeError(f"times must be uint8, not {times.dtype}")
        if times.shape[1:] != network.input_shape:
            raise ValueError(
                f"times must have shape (n, {', '.join(map(str, network.input_shape))}), not {times.shape!r}"
            )
        readout = network.layers[-1].name
        logits = np.empty((len(times), *network.shapes[readout]), dtype=np.int64)
        traces = []
        if trace:
            shapes = [(0,) if name is None else (len(times), *network.shapes[name]) for name in self._traced]
            traces = [np.empty(shape, dtype=np.uint8) for shape in shapes]
        self._native.run(np.ascontiguousarray(times), logits, traces, self.threads)
        found = {name: values for name, values in zip(self._traced, traces, strict=False) if name is not None}
        return {**found, readout: logits}

    def _add_synaptic(self, owner: Synaptic, layer: Synaptic, *, owned: bool) -> None:
        """One connection of a layer: its own, which ends it, or a part, whose sums wait for that."""
        network, is_part = self.network, layer is not owner
        source, before = self._numbers[layer.source], _volume(network.shapes[layer.source])
        after = _volume(network.shapes[owner.name])
        conv = layer if isinstance(layer, Conv2d) else None
        identity = np.zeros(256, dtype=np.int64)
        if layer.residuals:
            identity = integer_kernel(network.code) << (network.exponent(layer) - network.code.exponent)
        self._native.add_synaptic(
            source,
            before,
            after,
            stream=layer.packed(network.weights.bits),
            kernel=conv.weight_shape[2:] if conv else (1, 1),
            stride=conv.stride if conv else (1, 1),
            padding=conv.padding if conv else (0, 0),
            dilation=conv.dilation if conv else (1, 1),
            groups=conv.groups if conv else 1,
            fires=layer.fires,
            silence=network.code.T if network.planes(layer.source) == 1 else NO_SPIKE,
            spike_values=network.spike_values(layer.source),
            weights=network.integer_weights(owner, layer),
            bias=layer.bias,
            thresholds=network.thresholds(layer) if layer.fires else np.zeros(0, dtype=np.int64),
            identity=identity,
            residuals=[self._numbers[name] for name in layer.residuals],
            parts=[self._numbers[part.name] for part in layer.parts],
            partial=is_part,
            shifts=layer.channel_shifts[: layer.outputs if any(layer.shifts) else 0],
        )
        number, size = len(self._numbers) - 1, packed_size(layer.weight_count, network.weights.bits)
        if owned:
            layer.keep_codes_in(partial(_codes, self._native, number, size), network.weights.bits)


def encode(values: np.ndarray, code: Code, *, threads: int = 1) -> np.ndarray:
    """Stored input of float32 or float64 values, no NaN among them: `firstspike.engine.encode`, compiled.

    Kernel values are exact in float32, and pixels have boundaries of each type, so no value is converted.

    Raises:
        TypeError: ``values`` is neither float32 nor float64.

    >>> encode(np.array([2.0, 1.0, 0.84375, 0.8437, 0.0185, 0.0]), Code()).tolist()
    [0, 0, 1, 2, 255, 255]
    """
    if values.dtype not in (np.float32, np.float64):
        raise TypeError(f"values must be float32 or float64, not {values.dtype}")
    values = np.ascontiguousarray(values)
    times = np.empty(values.shape, dtype=np.uint8)
    rising = pixel_boundaries(values.dtype) if code.planes else kernel(code)[::-1]
    _native.encode(values, times, np.ascontiguousarray(rising, dtype=values.dtype), threads)
    return times


def _codes(native: Any, number: int, size: int) -> np.ndarray:
    """Packed codes of an engine's layer."""
    stream = np.empty(size, dtype=np.uint8)
    native.codes(number, stream)
    return stream


def _volume(shape: Shape) -> Shape:
    """``(channels, height, width)``; a flat shape is one pixel."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)
