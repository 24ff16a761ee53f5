"""Event counts of a run: spikes and synaptic operations per layer, from spike times alone (numerics, section 5)."""

import math

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.engine.base import Engine
from firstspike.spec.network import INPUT, Conv2d, Linear, Network, Synaptic
from firstspike.spec.trace import LayerTrace, Trace


def trace(engine: Engine, times: np.ndarray) -> Trace:
    """Run encoded images, uint8 ``[n, *input_shape]``, and count what happened in every layer."""
    network = engine.network
    outputs = {INPUT: times, **engine.layers(times)}
    none = np.zeros(len(times), dtype=np.int64)
    layers = {
        INPUT: LayerTrace(
            name=INPUT, kind=INPUT, shape=network.input_shape, times=times, spikes=count_spikes(times),
            sops=none, sops_nonzero=none, neuron=True,
        )
    }  # fmt: skip
    for layer in network.layers:
        output = outputs[layer.name]
        synaptic = isinstance(layer, Synaptic)
        fires = not isinstance(layer, Synaptic) or layer.fires
        sops = sops_nonzero = none
        if isinstance(layer, Synaptic):
            active = flat(outputs[layer.source] != NO_SPIKE)
            every, nonzero = fan_out(network, layer)
            sops, sops_nonzero = active @ every.reshape(-1), active @ nonzero.reshape(-1)
        layers[layer.name] = LayerTrace(
            name=layer.name,
            kind=layer.kind,
            shape=network.shapes[layer.name],
            times=output if fires else None,
            spikes=count_spikes(output) if fires else none,
            sops=sops,
            sops_nonzero=sops_nonzero,
            neuron=synaptic and fires,
        )
    logits = flat(outputs[network.layers[-1].name])
    return Trace(layers=layers, logits=logits, latency_steps=network.latency_steps)


def flat(values: np.ndarray) -> np.ndarray:
    """All axes but the first into one, also of no images."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def count_spikes(times: np.ndarray) -> np.ndarray:
    """Spikes per image, int64 ``[n]``."""
    return np.count_nonzero(flat(times) != NO_SPIKE, axis=1).astype(np.int64)


def fan_out(network: Network, layer: Synaptic) -> tuple[np.ndarray, np.ndarray]:
    """Synapses that leave each input neuron of a layer, inside the layer: all, and those of non-zero weight.

    Both int64 in the shape of the layer's source.
    """
    nonzero = network.nonzero_fan_out[layer.name]
    if isinstance(layer, Linear):
        return np.full_like(nonzero, layer.outputs), nonzero
    assert isinstance(layer, Conv2d)
    shape, output = network.shapes[layer.source], network.shapes[layer.name]
    reach_y = _reach(shape[1], output[1], layer.weight_shape[2], layer.stride[0], layer.padding[0])
    reach_x = _reach(shape[2], output[2], layer.weight_shape[3], layer.stride[1], layer.padding[1])
    every = reach_y.sum(axis=0)[:, None] * reach_x.sum(axis=0)[None, :] * (layer.outputs // layer.groups)
    used = np.einsum("cij,iy,jx->cyx", nonzero, reach_y, reach_x)
    return np.broadcast_to(every, shape).copy(), used


def _reach(inputs: int, outputs: int, window: int, stride: int, padding: int) -> np.ndarray:
    """``[tap, position]``: how many outputs read an input position through a tap (0 or 1), int64."""
    reach = np.zeros((window, inputs), dtype=np.int64)
    for tap in range(window):
        positions = np.arange(outputs) * stride + tap - padding
        positions = positions[(positions >= 0) & (positions < inputs)]
        reach[tap, positions] += 1
    return reach
