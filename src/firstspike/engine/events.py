"""Event counts of a run: spikes and synaptic operations per layer, from spike times alone (numerics, section 5)."""

import math

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.engine.base import Engine
from firstspike.spec.fan_out import fan_out
from firstspike.spec.network import INPUT, Network, Synaptic
from firstspike.spec.trace import LayerTrace, Trace


def trace(engine: Engine, times: np.ndarray) -> Trace:
    """Run encoded images, uint8 ``[n, *input_shape]``, and count what happened in every layer."""
    network = engine.network
    outputs = {INPUT: times, **engine.layers(times)}
    none = np.zeros(len(times), dtype=np.int64)
    neurons = network.neuron_times(times)
    layers = {
        INPUT: LayerTrace(
            name=INPUT,
            kind=INPUT,
            shape=network.neuron_shape(INPUT),
            times=neurons,
            spikes=count_spikes(neurons),
            sops=none,
            sops_nonzero=none,
            neuron=True,
            window=0,
        )
    }
    for layer in network.layers:
        output = outputs[layer.name]
        synaptic = isinstance(layer, Synaptic)
        fires = not isinstance(layer, Synaptic) or layer.fires
        sops = sops_nonzero = none
        if isinstance(layer, Synaptic):
            for connection in layer.connections:
                active = flat(spikes_of(network, connection.source, outputs[connection.source]))
                every, nonzero = fan_out(network, connection)
                sops = sops + active @ every.reshape(-1)
                sops_nonzero = sops_nonzero + active @ nonzero.reshape(-1)
        layers[layer.name] = LayerTrace(
            name=layer.name,
            kind=layer.kind,
            shape=network.shapes[layer.name],
            times=output if fires else None,
            spikes=count_spikes(output) if fires else none,
            sops=sops,
            sops_nonzero=sops_nonzero,
            neuron=synaptic and fires,
            window=network.windows[layer.name],
        )
    logits = flat(outputs[network.layers[-1].name])
    return Trace(layers=layers, logits=logits, latency_steps=network.latency_steps, steps=network.code.T)


def spikes_of(network: Network, name: str, stored: np.ndarray) -> np.ndarray:
    """How many spikes each value of a map holds: a pixel as many as it has planes that fire."""
    if network.planes(name) == 1:
        spikes: np.ndarray = stored != NO_SPIKE
        return spikes
    counts: np.ndarray = np.bitwise_count(NO_SPIKE - stored).astype(np.int64)
    return counts


def flat(values: np.ndarray) -> np.ndarray:
    """All axes but the first into one, also of no images."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def count_spikes(times: np.ndarray) -> np.ndarray:
    """Spikes per image, int64 ``[n]``."""
    spikes: np.ndarray = np.count_nonzero(flat(times) != NO_SPIKE, axis=1).astype(np.int64)
    return spikes
