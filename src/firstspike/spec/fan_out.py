"""Synapses that leave each input of a layer, inside the layer: what turns spikes into synaptic operations."""

import numpy as np

from firstspike.spec.network import Conv2d, Linear, Network, Synaptic


def fan_out(network: Network, layer: Synaptic) -> tuple[np.ndarray, np.ndarray]:
    """Synapses that leave each input neuron of a connection, inside the layer: all, and those of non-zero weight.

    Both int64 in the shape of the connection's source.
    """
    nonzero = network.nonzero_fan_out[layer.name]
    if isinstance(layer, Linear):
        return np.full_like(nonzero, layer.outputs), nonzero
    assert isinstance(layer, Conv2d)
    used = _spread(nonzero, layer, network, axis=2)
    used = _spread(used, layer, network, axis=1)
    every = np.ones((1, *layer.weight_shape[2:]), dtype=np.int64)
    every = _spread(_spread(every, layer, network, axis=2), layer, network, axis=1) * (layer.outputs // layer.groups)
    return np.broadcast_to(every, used.shape).copy(), used


def nonzero_leaving(network: Network, layer: Synaptic, name: str) -> np.ndarray:
    """Synapses of non-zero weight that leave each neuron of map ``name``, which a connection reads; float64, one axis.

    The map may lie behind flattenings of the connection's source; all planes of a pixel have its weights.
    """
    nonzero = fan_out(network, layer)[1].reshape(network.shapes[name])
    return np.repeat(nonzero, network.planes(name), axis=0).reshape(-1).astype(np.float64)


def _spread(counts: np.ndarray, layer: Conv2d, network: Network, *, axis: int) -> np.ndarray:
    """Counts per tap of one axis of the kernel, summed over the outputs that read an input position through a tap.

    Args:
        counts: int64 ``[channels, rows, columns]``, taps on ``axis``.
        layer: the convolution.
        network: whose layer it is.
        axis: 1 or 2; there the result has the input's positions.
    """
    source = network.shapes[layer.source]
    inputs, outputs = source[axis], layer.output_shape(source)[axis]
    stride, padding, dilation = layer.stride[axis - 1], layer.padding[axis - 1], layer.dilation[axis - 1]
    counts = np.moveaxis(counts, axis, 0)
    spread = np.zeros((inputs, *counts.shape[1:]), dtype=np.int64)
    for tap, count in enumerate(counts):
        place = tap * dilation - padding
        first = max(0, -(place // stride))  # the first output whose tap is not in the padding before
        last = min(outputs - 1, (inputs - 1 - place) // stride)
        if first > last:
            continue
        start = first * stride + place
        spread[start : start + (last - first) * stride + 1 : stride] += count
    return np.moveaxis(spread, 0, axis)
