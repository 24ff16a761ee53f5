"""``firstspike inspect``: the layer table of a model file."""

import argparse
from typing import Any

import numpy as np

from firstspike import zoo
from firstspike.cli.common import table, write_json
from firstspike.spec import Network, Synaptic, load
from firstspike.spec.file import read_notes
from firstspike.terminal import console


def layer_rows(network: Network) -> list[dict[str, Any]]:
    """One record per layer: name, kind, source, shape, weights, share of zero weights, scale, shift, exponent, membrane bits."""
    rows = []
    for layer in network.layers:
        row: dict[str, Any] = {
            "name": layer.name,
            "kind": layer.kind,
            "inputs": list(layer.inputs),
            "shape": list(network.shapes[layer.name]),
        }
        if isinstance(layer, Synaptic):
            level = layer.codes & network.weights.zero_level
            low, high = network.membrane_bounds(layer)
            row |= {
                "weights": layer.weight_count,
                "zero_weights_share": float(np.mean(level == network.weights.zero_level)),
                "scale_levels": layer.scale,
                "largest_shift": max(layer.shifts, default=0),
                "membrane_exponent": network.exponent(layer),
                "membrane_bits": max(high, -low - 1, 0).bit_length() + 1,
                "fires": layer.fires,
            }
        rows.append(row)
    return rows


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    path = zoo.file(options.network)
    network, notes = load(path), read_notes(path)
    rows = layer_rows(network)
    code, weights = network.code, network.weights
    console.print(
        f"{options.network}: input {_shape(network.input_shape)}, T = {code.T}, tau = {code.tau}, "
        f"M = {code.mantissa_bits}; weights {weights.bits} bits, {weights.levels_per_octave} levels per octave, "
        f"M_w = {weights.mantissa_bits}; latency {network.latency_steps} steps; "
        f"{path.stat().st_size:,} bytes",
        soft_wrap=True,
    )
    numbers = ["output", "weights", "zero", "scale k", "G", "membrane"]
    shown = table("", ["layer", "kind", "reads"], numbers)
    for row in rows:
        cells = [row["name"], row["kind"], " + ".join(row["inputs"]), _shape(row["shape"])]
        if "weights" in row:
            cells += [
                f"{row['weights']:,}",
                f"{100 * row['zero_weights_share']:.1f} %",
                f"{row['scale_levels']}" + (f", shifts to {row['largest_shift']}" if row["largest_shift"] else ""),
                str(row["membrane_exponent"]),
                f"{row['membrane_bits']} bits",
            ]
        shown.add_row(*cells)
    console.print(shown)
    for key, value in notes.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    write_json(
        options.json,
        {
            "network": str(options.network),
            "input_shape": list(network.input_shape),
            "T": code.T,
            "tau": code.tau,
            "mantissa_bits": code.mantissa_bits,
            "weight_bits": weights.bits,
            "levels_per_octave": weights.levels_per_octave,
            "weight_mantissa_bits": weights.mantissa_bits,
            "accumulator_bits": network.accumulator_bits,
            "latency_steps": network.latency_steps,
            "classes": list(network.classes),
            "notes": notes,
            "layers": rows,
        },
    )


def _shape(shape: list[int] | tuple[int, ...]) -> str:
    return "x".join(str(extent) for extent in shape)
