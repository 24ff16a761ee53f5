"""Grids and bits of weights, biases and activations, as QONNX's ``Quant`` says them (arXiv 2206.07527).

A logarithmic weight has few bits, but they are not those of a uniform grid: on the grid of its integer weight it needs as
many bits as the largest level is above the smallest. That grid is what ``Quant`` can say, and says exactly.
"""

from dataclasses import dataclass

import numpy as np

from firstspike.spec.network import Network, Synaptic

DOMAIN = "qonnx.custom_op.general"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Integers of some bits times ``2^-exponent``."""

    exponent: int
    bits: int
    signed: bool

    def tables(self) -> dict[str, np.ndarray]:
        """Scale, zero point and bit width, in the order in which the node takes them."""
        numbers = {"scale": 2.0**-self.exponent, "zero_point": 0.0, "bit_width": float(self.bits)}
        return {key: np.array(number, dtype=np.float32) for key, number in numbers.items()}

    def attributes(self) -> dict[str, int | str]:
        """The node's attributes."""
        return {"signed": int(self.signed), "narrow": int(self.signed), "rounding_mode": "ROUND"}


def activations(network: Network, name: str) -> Grid:
    """The grid of a map's values: kernel values, or ``p / 256``."""
    if network.planes(name) > 1:
        return Grid(exponent=8, bits=8, signed=False)
    return Grid(exponent=network.code.exponent, bits=network.code.exponent + 1, signed=False)


def weights(network: Network, layer: Synaptic, connection: Synaptic) -> Grid:
    """The grid of a connection's weights."""
    largest = int(network.integer_weights(layer, connection).max())
    inputs = 8 + network.code.mantissa_bits if network.planes(connection.source) > 1 else network.code.exponent
    finest = max(layer.shifts, default=0)
    return Grid(exponent=network.exponent(layer) - inputs + finest, bits=largest.bit_length() + 1 + finest, signed=True)


def bias(network: Network, layer: Synaptic) -> Grid:
    """The grid of a layer's bias, which is that of its finest membranes."""
    finest = max(layer.shifts, default=0)
    return Grid(exponent=network.exponent(layer) + finest, bits=network.accumulator_bits + finest, signed=True)
