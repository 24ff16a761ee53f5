"""The layers of an integer network as a table: what `firstspike inspect` prints and the report shows."""

from typing import Any

import numpy as np

from firstspike.spec.network import INPUT, Network, Synaptic


def layer_table(network: Network) -> list[dict[str, Any]]:
    """One flat dictionary a layer, the input first; keys carry units.

    Keys: ``name``, ``kind``, ``source``, ``output_shape`` (``"16x8x8"``), ``neurons`` (0 for layers that only pass
    spikes on), ``window`` (in which the layer fires; for the read-out the number of windows before it), ``weights``,
    ``weight_bits``, ``weight_kib``, ``zero_weights`` (share), ``scale_levels`` (``k``), ``exponent`` (``G``) and
    ``membrane_bits`` (two's complement bits that the exact bounds need).
    """
    depth = windows(network)
    rows = [_row(INPUT, INPUT, "", network.input_shape, int(np.prod(network.neuron_shape(INPUT))), 0)]
    for layer in network.layers:
        shape = network.shapes[layer.name]
        synaptic = isinstance(layer, Synaptic)
        neurons = int(np.prod(shape)) if synaptic else 0
        row = _row(layer.name, layer.kind, layer.source, shape, neurons, depth[layer.name])
        if isinstance(layer, Synaptic):
            zero = (layer.codes & network.weights.zero_level) == network.weights.zero_level
            low, high = network.membrane_bounds(layer)
            row |= {
                "weights": layer.weight_count,
                "weight_bits": network.weights.bits,
                "weight_kib": layer.weight_count * network.weights.bits / 8192,
                "zero_weights": float(zero.mean()),
                "scale_levels": layer.scale,
                "exponent": network.exponent(layer),
                "membrane_bits": 1 + max((-low - 1).bit_length(), high.bit_length()),
            }
        rows.append(row)
    return rows


def _row(name: str, kind: str, source: str, shape: tuple[int, ...], neurons: int, window: int) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "source": source,
        "output_shape": "x".join(map(str, shape)),
        "neurons": neurons,
        "window": window,
        "weights": 0,
        "weight_bits": 0,
        "weight_kib": 0.0,
        "zero_weights": 0.0,
        "scale_levels": 0,
        "exponent": 0,
        "membrane_bits": 0,
    }


def windows(network: Network) -> dict[str, int]:
    """Window in which every layer fires, by name: 0 for the input, one more per firing layer on the longest path."""
    depth = {INPUT: 0}
    for layer in network.layers:
        fires = isinstance(layer, Synaptic)
        depth[layer.name] = max(depth[name] for name in layer.inputs) + fires
    return depth
