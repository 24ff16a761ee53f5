"""Event counts of a run: spikes and synaptic operations per layer, from spike times alone (numerics, section 5)."""

import math
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.arith.matrix import product
from firstspike.engine.base import Engine
from firstspike.spec.fan_out import fan_out
from firstspike.spec.network import INPUT, Network, Synaptic
from firstspike.spec.trace import LayerTrace, Trace

EXACT = 1 << 24
"""Integers below this are exact in float32, and so are their sums."""

PIECE = 2048
"""Neurons of a product, at most: what stays in a cache."""


class SynapseCounter:
    """Synaptic operations of the connections that read one map, from its spikes: products in float32, exact in pieces.

    Args:
        network: whose map it is.
        name: the map.
    """

    def __init__(self, network: Network, name: str) -> None:
        readers = [one for one in network.connections if one.source == name]
        columns = [column.reshape(-1) for one in readers for column in fan_out(network, one)]
        self.places = {one.name: 2 * place for place, one in enumerate(readers)}
        table = np.stack(columns, axis=1)
        largest = network.planes(name) * int(table.max(initial=1))
        self.piece = min(PIECE, (EXACT - 1) // largest)
        self.table: np.ndarray = table.astype(np.float32 if self.piece else np.int64)

    def count(self, spikes: np.ndarray) -> np.ndarray:
        """Synaptic operations, int64 ``[n, 2 readers]``: all and those of non-zero weights, of spikes ``[n, neurons]``."""
        if not self.piece:
            whole: np.ndarray = spikes.astype(np.int64) @ self.table
            return whole
        counts = np.zeros((len(spikes), self.table.shape[1]), dtype=np.int64)
        for first in range(0, len(self.table), self.piece):
            part = slice(first, first + self.piece)
            counts += product(spikes[:, part].astype(np.float32), self.table[part]).astype(np.int64)
        return counts


_counters: WeakKeyDictionary[Network, dict[str, SynapseCounter]] = WeakKeyDictionary()


def synaptic_operations(network: Network, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each connection, by name: all synaptic operations and those of non-zero weights, int64 ``[n, 2]``.

    Args:
        network: what ran.
        outputs: spike times of every map, the input's too.
    """
    counters = _counters.setdefault(network, {})
    counts: dict[str, np.ndarray] = {}
    for name in {one.source for one in network.connections}:
        if name not in counters:
            counters[name] = SynapseCounter(network, name)
        found = counters[name].count(flat(spikes_of(network, name, outputs[name])))
        counts |= {reader: found[:, place : place + 2] for reader, place in counters[name].places.items()}
    return counts


def trace(engine: Engine, times: np.ndarray) -> Trace:
    """Run encoded images, uint8 ``[n, *input_shape]``, and count what happened in every layer."""
    network = engine.network
    outputs = {INPUT: times, **engine.layers(times)}
    counts = synaptic_operations(network, outputs)
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
        fires = not isinstance(layer, Synaptic) or layer.fires
        sops = sops_nonzero = none
        if isinstance(layer, Synaptic):
            sops, sops_nonzero = sum(counts[one.name] for one in layer.connections).T  # type: ignore[union-attr]
        layers[layer.name] = LayerTrace(
            name=layer.name,
            kind=layer.kind,
            shape=network.shapes[layer.name],
            times=output if fires else None,
            spikes=count_spikes(output) if fires else none,
            sops=sops,
            sops_nonzero=sops_nonzero,
            neuron=isinstance(layer, Synaptic) and fires,
            window=network.windows[layer.name],
        )
    logits = flat(outputs[network.layers[-1].name])
    return Trace(layers=layers, logits=logits, latency_steps=network.latency_steps, steps=network.code.T)


def spikes_of(network: Network, name: str, stored: np.ndarray) -> np.ndarray:
    """How many spikes each value of a map holds, uint8: a pixel as many as it has planes that fire."""
    if network.planes(name) == 1:
        spikes: np.ndarray = np.not_equal(stored, NO_SPIKE).view(np.uint8)
        return spikes
    counts: np.ndarray = np.bitwise_count(NO_SPIKE - stored)
    return counts


def flat(values: np.ndarray) -> np.ndarray:
    """All axes but the first into one, also of no images."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def count_spikes(times: np.ndarray) -> np.ndarray:
    """Spikes per image, int64 ``[n]``."""
    bits = np.packbits(flat(times) != NO_SPIKE, axis=1)
    spikes: np.ndarray = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return spikes
