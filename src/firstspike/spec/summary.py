"""The layers of an integer network as a table: what `firstspike inspect` prints and the report shows."""

from typing import Any

import numpy as np

from firstspike.figures import Table, numbers
from firstspike.spec.network import INPUT, Network, Synaptic


def layer_table(network: Network) -> list[dict[str, Any]]:
    """One flat dictionary a layer, the input first; keys carry units.

    Keys: ``name``, ``kind``, ``source``, ``output_shape`` (``"16x8x8"``), ``neurons`` (0 for layers that only pass
    spikes on), ``window`` (in which the layer fires; for the read-out the number of windows before it), ``weights``,
    ``weight_bits``, ``weight_kib``, ``zero_weights`` (share), ``scale_levels`` (``k``), ``exponent`` (``G``) and
    ``membrane_bits`` (two's complement bits that the exact bounds need).
    """
    rows = outline(network)
    for row, layer in zip(rows[1:], network.layers, strict=True):
        if isinstance(layer, Synaptic):
            zero = (layer.codes & network.weights.zero_level) == network.weights.zero_level
            low, high = network.membrane_bounds(layer)
            row["zero_weights"] = float(zero.mean())
            row["membrane_bits"] = 1 + max((-low - 1).bit_length(), high.bit_length())
    return rows


def outline(network: Network) -> list[dict[str, Any]]:
    """The same without what needs a look at every code: ``zero_weights`` and ``membrane_bits`` are 0."""
    depth = network.windows
    rows = [_row(INPUT, INPUT, "", network.input_shape, int(np.prod(network.neuron_shape(INPUT))), 0)]
    for layer in network.layers:
        shape = network.shapes[layer.name]
        synaptic = isinstance(layer, Synaptic)
        neurons = int(np.prod(shape)) if synaptic else 0
        row = _row(layer.name, layer.kind, layer.source, shape, neurons, depth[layer.name])
        if isinstance(layer, Synaptic):
            row |= {
                "weights": layer.weight_count,
                "weight_bits": network.weights.bits,
                "weight_kib": layer.weight_count * network.weights.bits / 8192,
                "scale_levels": layer.scale,
                "exponent": network.exponent(layer),
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


def summary(network: Network) -> Table:
    """The layers as a table, with `layer_table` behind it."""
    return _table(network, layer_table(network), looked=True)


def sketch(network: Network) -> Table:
    """The layers as a table that is there at once, with `outline` behind it."""
    return _table(network, outline(network), looked=False)


def _table(network: Network, records: list[dict[str, Any]], *, looked: bool) -> Table:
    heads = ("layer", "kind", "reads", "output", "window", "weights", "KiB", "scale k", "G")
    rows = []
    for record in records:
        cells = [record["name"], record["kind"], record["source"], record["output_shape"], str(record["window"])]
        if record["weights"]:
            cells += [numbers.count(record["weights"]), numbers.significant(record["weight_kib"])]
            cells += [str(record["scale_levels"]), str(record["exponent"])]
            cells += [numbers.percent(record["zero_weights"]), f"{record['membrane_bits']} bits"] if looked else []
        rows.append(cells + [""] * (len(heads) + 2 * looked - len(cells)))
    return Table(
        title=repr(network),
        heads=(*heads, *(("zero", "membrane") if looked else ())),
        rows=rows,
        words=4,
        records=records,
    )
