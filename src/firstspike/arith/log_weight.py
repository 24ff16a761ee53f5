"""Logarithmic weights: sign and level code <-> value, and the product with a spike (numerics, sections 2 and 3)."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Integer, UInt8

from firstspike.arith import checks
from firstspike.arith.planes import PLANES
from firstspike.arith.spike_time import Code
from firstspike.arith.tables import mantissas


@dataclass(frozen=True, kw_only=True)
class LogWeights:
    """The weight format of one network: one sign bit and ``bits - 1`` bits of level ``q``; the last level is zero.

    ``w = +/- W(q + k)``, ``W(j) = m_w[j mod rho] * 2^-(j div rho)``, with the layer's integer scale ``k``.

    Attributes:
        bits: ``B_w``, bits of a code, 2..8.
        levels_per_octave: ``rho``, a power of two, 1..16.
        mantissa_bits: ``M_w``, 0..12.

    Raises:
        TypeError: a field is not an ``int``.
        ValueError: a field is out of range.

    >>> w = LogWeights()
    >>> [str(w.level(j)) for j in (-1, 0, 1, 2)], w.zero_level
    (['23/16', '1', '23/32', '1/2'], 15)
    """

    bits: int = 5
    levels_per_octave: int = 2
    mantissa_bits: int = 5

    def __post_init__(self) -> None:
        checks.integer("LogWeights.bits", self.bits, low=2, high=8)
        checks.power_of_two("LogWeights.levels_per_octave", self.levels_per_octave, high=16)
        checks.integer("LogWeights.mantissa_bits", self.mantissa_bits, low=0, high=12)
        if self.octaves > 24:
            raise ValueError(
                f"LogWeights.bits={self.bits} and levels_per_octave={self.levels_per_octave} must span at most "
                f"24 octaves, not {self.octaves!r}"
            )

    @property
    def mantissas(self) -> tuple[int, ...]:
        """``mw[f] = 2^M_w m_w[f]``, ``f = 0 .. rho-1``."""
        return mantissas(self.mantissa_bits, self.levels_per_octave)

    @property
    def zero_level(self) -> int:
        """The level that stands for weight zero: ``2^(B_w-1) - 1``."""
        return (1 << (self.bits - 1)) - 1

    @property
    def q_max(self) -> int:
        """The smallest non-zero weight's level: ``2^(B_w-1) - 2``."""
        return self.zero_level - 1

    @property
    def octaves(self) -> int:
        """``(q_max + rho - 1) div rho``: the largest right shift of a level for any scale."""
        return (self.q_max + self.levels_per_octave - 1) // self.levels_per_octave

    def level(self, j: int) -> Fraction:
        """``W(j)``, exact, for any integer ``j``."""
        octave, fraction = divmod(j, self.levels_per_octave)
        return Fraction(self.mantissas[fraction], 1 << self.mantissa_bits) * Fraction(2) ** -octave


def shift_base(code: Code, weights: LogWeights, *, planes: bool = False) -> int:
    """``S``: the left shift that keeps every product an integer; of the first of the input's planes with ``planes``.

    >>> shift_base(Code(), LogWeights()), shift_base(Code(), LogWeights(), planes=True)
    (12, 14)
    """
    return weights.octaves + (PLANES - 1 if planes else code.octaves)


def membrane_exponent(code: Code, weights: LogWeights, scale: int, *, planes: bool = False) -> int:
    """``G``: an integer membrane ``u`` of a layer with this scale stands for ``u * 2^-G``.

    Args:
        code: the spike code.
        weights: the weight format.
        scale: ``k`` of the layer.
        planes: whether the layer reads input planes (numerics, section 6), not spikes of the code.

    >>> membrane_exponent(Code(), LogWeights(), 0), membrane_exponent(Code(), LogWeights(), -1)
    (22, 21)
    >>> membrane_exponent(Code(), LogWeights(), 0, planes=True)
    25
    """
    octave = scale // weights.levels_per_octave
    base = shift_base(code, weights, planes=planes) + planes
    return code.mantissa_bits + weights.mantissa_bits + base + octave


def level_values(weights: LogWeights, scale: int) -> Float[np.ndarray, " levels"]:
    """Magnitudes of levels ``q = 0 .. 2^(B_w-1)-1`` as float64, exact; the last is 0.

    >>> level_values(LogWeights(bits=3), 1).tolist()
    [0.71875, 0.5, 0.359375, 0.0]
    """
    return np.array([float(weights.level(q + scale)) for q in range(weights.zero_level)] + [0.0])


def decode_weights(codes: UInt8[np.ndarray, "*shape"], weights: LogWeights, scale: int) -> Float[np.ndarray, "*shape"]:
    """Real values of unpacked codes ``sign << (B_w-1) | q`` as float64, exact.

    >>> decode_weights(np.array([0, 16, 15, 31, 17], dtype=np.uint8), LogWeights(), 0).tolist()
    [1.0, -1.0, 0.0, 0.0, -0.71875]
    """
    magnitudes = level_values(weights, scale)
    values: np.ndarray = np.concatenate([magnitudes, 0.0 - magnitudes])[codes]
    return values


def encode_weights(levels: Integer[np.ndarray, "*shape"], negative: np.ndarray, weights: LogWeights) -> np.ndarray:
    """Codes (uint8) of levels and signs; zero gets sign 0, as writers do.

    >>> encode_weights(np.array([0, 0, 15]), np.array([False, True, True]), LogWeights()).tolist()
    [0, 16, 15]
    """
    sign = np.where(negative & (levels != weights.zero_level), 1 << (weights.bits - 1), 0)
    codes: np.ndarray = (sign | levels).astype(np.uint8)
    return codes


def integer_weights(weights: LogWeights, scale: int) -> Integer[np.ndarray, " codes"]:
    """Integer weight of every code: value times ``2^(M_w + octaves + e)``, ``scale = rho*e + r`` (int64).

    ``integer_kernel(t) * integer_weights(code)`` is the product of numerics section 3, the "other way to the same u".

    >>> integer_weights(LogWeights(), 0)[[0, 1, 14, 15, 16]].tolist()
    [4096, 2944, 32, 0, -4096]
    """
    rho = weights.levels_per_octave
    r = scale % rho
    magnitudes = [
        weights.mantissas[(q + r) % rho] << (weights.octaves - (q + r) // rho) for q in range(weights.zero_level)
    ] + [0]
    return np.array(magnitudes + [-m for m in magnitudes], dtype=np.int64)


def product_table(code: Code, weights: LogWeights, scale: int) -> Integer[np.ndarray, "T codes"]:
    """Signed products of every spike time and weight code by table and shift, without a multiplier (int64).

    ``mx[t mod tau] * mw[(q+r) mod rho] << (S - (t div tau) - ((q+r) div rho))`` (numerics, section 3); row
    ``t``, column ``code``.

    >>> product_table(Code(), LogWeights(), 0)[[0, 1, 23], [0, 17, 14]].tolist()
    [4194304, -2543616, 608]
    """
    tau, rho = code.tau, weights.levels_per_octave
    r = scale % rho
    base = shift_base(code, weights)
    mantissa = [[mx * mw for mw in weights.mantissas] for mx in code.mantissas]
    table = np.zeros((code.T, 1 << weights.bits), dtype=np.int64)
    for t in range(code.T):
        for q in range(weights.zero_level):
            magnitude = mantissa[t % tau][(q + r) % rho] << (base - t // tau - (q + r) // rho)
            table[t, q] = magnitude
            table[t, q | (1 << (weights.bits - 1))] = -magnitude
    return table
