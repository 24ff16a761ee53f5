"""Reference engine: NumPy, integers only, written to be read. Every other engine and the RTL is compared with it."""

from collections.abc import Mapping
from itertools import product

import numpy as np

from firstspike.arith import NO_SPIKE, fire, integer_kernel
from firstspike.spec.network import (
    INPUT,
    Channels,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    PixelShuffle,
    Synaptic,
)
from firstspike.spec.windows import max_pool, windows

GATHERED = 1 << 22
"""Most inputs of windows that are copied at once."""


class ReferenceEngine:
    """Layer by layer in order: integrate all spikes of a window, then fire (numerics, sections 3 and 4)."""

    name = "reference"

    def __init__(self, network: Network) -> None:
        self.network = network

    def logits(self, times: np.ndarray) -> np.ndarray:
        """Logits, int64 ``[n, *read-out shape]``; see `Engine`."""
        return self.layers(times)[self.network.layers[-1].name]

    def layers(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Output of every layer by name; see `Engine`."""
        values = {INPUT: times}
        for layer in self.network.layers:
            values[layer.name] = self._run(layer, values)
        del values[INPUT]
        return values

    def _run(self, layer: Layer, values: dict[str, np.ndarray]) -> np.ndarray:
        times = values[layer.source]
        if isinstance(layer, Channels):
            return arrange(layer, [values[name] for name in layer.inputs])
        if isinstance(layer, Flatten):
            return times.reshape(len(times), int(np.prod(times.shape[1:])))
        if isinstance(layer, PixelShuffle):
            return shuffle(layer, times)
        if isinstance(layer, MaxPool2d):
            return max_pool(layer, times)
        assert isinstance(layer, Synaptic)
        membrane = self.membranes(layer, values)
        return self.fire(layer, membrane) if layer.fires else membrane

    def fire(self, layer: Synaptic, membrane: np.ndarray) -> np.ndarray:
        """Spike times of a layer's membranes, uint8, both ``[n, *shape]``; a channel's shift goes before the comparison."""
        shifts = layer.channel_shifts.reshape(-1, *[1] * (membrane.ndim - 2))
        return fire(membrane >> shifts, self.network.thresholds(layer))

    def membranes(self, layer: Synaptic, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Membranes ``u`` of a layer at the end of its window, int64 ``[n, *shape]``, wrapped to ``A`` bits.

        Args:
            layer: the layer.
            values: stored spike times by name, of all that it reads.
        """
        network = self.network
        pixels = len(network.shapes[layer.name]) - 1
        membrane = layer.bias.reshape(-1, *[1] * pixels)
        for connection in layer.connections:
            spikes = network.spike_values(connection.source)[values[connection.source]]
            weights = network.integer_weights(layer, connection)[connection.codes]
            if isinstance(connection, Conv2d):
                membrane = membrane + convolve(connection, spikes, weights)
            else:
                assert isinstance(connection, Linear)
                membrane = membrane + spikes @ weights.T
        if layer.residuals:
            identity = integer_kernel(network.code) << (network.exponent(layer) - network.code.exponent)
            for residual in layer.residuals:
                membrane = membrane + identity[values[residual]]
        return wrap(membrane, network.accumulator_bits)


def convolve(layer: Conv2d, spikes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Integer convolution, int64 ``[n, c_in, h, w]`` with ``[c_out, c_in/groups, k_h, k_w]``; padding adds nothing."""
    images, groups = len(spikes), layer.groups
    fan_in = int(np.prod(weights.shape[1:]))
    seen = windows(spikes, 0, layer.reach, layer.stride, layer.padding)
    seen = seen[..., :: layer.dilation[0], :: layer.dilation[1]]
    channels, height, width = seen.shape[1:4]
    rows = weights.reshape(groups, layer.outputs // groups, fan_in)
    result = np.empty((images, groups, layer.outputs // groups, height, width), dtype=np.int64)
    # each window is copied whole, so a part of the map at a time: as many columns, then rows, then images as fit
    across = min(width, max(1, GATHERED // (groups * fan_in)))
    down = min(height, max(1, GATHERED // (groups * fan_in * across)))
    some = max(1, GATHERED // (groups * fan_in * across * down))
    for i, y, x in product(range(0, images, some), range(0, height, down), range(0, width, across)):
        part = seen[i : i + some, :, y : y + down, x : x + across]
        n, _, h, w = part.shape[:4]
        part = part.reshape(n, groups, channels // groups, h, w, *weights.shape[2:])
        columns = part.transpose(0, 1, 3, 4, 2, 5, 6).reshape(n, groups, h * w, fan_in)
        membranes = (columns @ rows.transpose(0, 2, 1)).transpose(0, 1, 3, 2)
        result[i : i + some, :, :, y : y + down, x : x + across] = membranes.reshape(n, groups, -1, h, w)
    return result.reshape(images, layer.outputs, height, width)


def arrange(layer: Channels, maps: list[np.ndarray]) -> np.ndarray:
    """Channels of several maps, uint8 ``[n, c, ...]`` each; silence where none is asked for."""
    joined = np.concatenate([*maps, np.full_like(maps[0][:, :1], NO_SPIKE)], axis=1)
    return joined[:, list(layer.channels)]  # -1 is the silent one behind all


def shuffle(layer: PixelShuffle, times: np.ndarray) -> np.ndarray:
    """Channels become pixels, uint8 ``[n, c r s, h, w]`` to ``[n, c, r h, s w]``."""
    (down, across), (images, channels, height, width) = layer.factor, times.shape
    outputs = channels // (down * across)
    split = times.reshape(images, outputs, down, across, height, width)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(images, outputs, down * height, across * width)


def wrap(membrane: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of ``bits`` bits.

    >>> wrap(np.array([127, 128, -129]), 8).tolist()
    [127, -128, 127]
    """
    half = 1 << (bits - 1)
    return ((membrane + half) & ((1 << bits) - 1)) - half
