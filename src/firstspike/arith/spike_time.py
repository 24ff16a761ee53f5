"""Time-to-first-spike code with a base-2 kernel: value <-> time of the only spike (numerics, section 1)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer, UInt8

from firstspike.arith import checks
from firstspike.arith.tables import ceil_scaled, mantissas

NO_SPIKE = 255
"""Stored spike time of a neuron that stays silent."""

PIXEL_TOLERANCE = 2.0**-21
"""How far a pixel may lie outside [0, 1], as resizing makes it: four units in the last place of float32 above 1."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code of one network: ``kappa(t) = m[t mod tau] * 2^-(t div tau)``, ``t = 0 .. T-1``.

    Kernel and threshold follow the base-2 kernel of arXiv 2208.04494, with mantissas rounded to ``mantissa_bits`` bits.

    Attributes:
        T: steps per window, 1..255.
        tau: steps per octave, a power of two, 1..128.
        mantissa_bits: ``M``, bits of the kernel's mantissa, 0..12.
        input: how an image is coded: "spike", one spike a pixel by the same rule as any neuron; or "planes", a spike at
            ``t = 0`` for every set bit of an 8-bit pixel ``p``, so that the network sees ``p / 256`` (section 6).

    Raises:
        TypeError: a field is of another type.
        ValueError: a field is out of range, or the kernel does not fall strictly with ``t``.

    >>> code = Code()
    >>> [str(code.kappa(t)) for t in (0, 1, 4, 23)]
    ['1', '27/32', '1/2', '19/1024']
    """

    T: int = 24
    tau: int = 4
    mantissa_bits: int = 5
    input: Literal["spike", "planes"] = "spike"

    def __post_init__(self) -> None:
        if not isinstance(self.input, str):
            raise TypeError(f"Code.input must be 'spike' or 'planes', not {self.input!r}")
        if self.input not in ("spike", "planes"):
            raise ValueError(f"Code.input must be 'spike' or 'planes', not {self.input!r}")
        checks.integer("Code.T", self.T, low=1, high=255)
        checks.power_of_two("Code.tau", self.tau, high=128)
        checks.integer("Code.mantissa_bits", self.mantissa_bits, low=0, high=12)
        if (self.T - 1) // self.tau > 24:
            raise ValueError(f"Code.T must span at most 24 octaves below 1, not {(self.T - 1) // self.tau!r}")
        for t in range(1, self.T):
            if self.kappa(t) >= self.kappa(t - 1):
                raise ValueError(
                    f"Code.mantissa_bits must make the kernel fall strictly with t (T={self.T}, tau={self.tau}): "
                    f"kappa({t}) equals kappa({t - 1}) with mantissa_bits not {self.mantissa_bits!r} but more"
                )

    @property
    def mantissas(self) -> tuple[int, ...]:
        """``mx[f] = 2^M m[f]``, ``f = 0 .. tau-1``."""
        return mantissas(self.mantissa_bits, self.tau)

    @property
    def planes(self) -> bool:
        """Whether the input is coded by binary planes."""
        return self.input == "planes"

    @property
    def octaves(self) -> int:
        """``(T-1) div tau``: the largest right shift of a kernel value."""
        return (self.T - 1) // self.tau

    @property
    def exponent(self) -> int:
        """``kappa(t) * 2^exponent`` is an integer for every ``t``: ``M + (T-1) div tau``."""
        return self.mantissa_bits + self.octaves

    def kappa(self, t: int) -> Fraction:
        """Kernel value at step ``t`` (exact).

        Raises:
            ValueError: ``t`` is outside ``0 .. T-1``.
        """
        if not 0 <= t < self.T:
            raise ValueError(f"spike time must be in 0..{self.T - 1}, not {t!r}")
        return Fraction(self.mantissas[t % self.tau], 1 << (self.mantissa_bits + t // self.tau))


def kernel(code: Code) -> Float[np.ndarray, " T"]:
    """``kappa(0..T-1)`` as float64, exact.

    >>> kernel(Code(T=5)).tolist()
    [1.0, 0.84375, 0.71875, 0.59375, 0.5]
    """
    return np.array([float(code.kappa(t)) for t in range(code.T)])


def integer_kernel(code: Code) -> Integer[np.ndarray, "256"]:
    """``x(t) * 2^(M + (T-1) div tau)`` for every stored byte; 0 for "no spike" and unused bytes (int64).

    >>> integer_kernel(Code())[[0, 1, 23, 255]].tolist()
    [1024, 864, 19, 0]
    """
    table = np.zeros(256, dtype=np.int64)
    for t in range(code.T):
        table[t] = int(code.kappa(t) * (1 << code.exponent))
    return table


def encode(values: Float[np.ndarray, "*shape"], code: Code) -> UInt8[np.ndarray, "*shape"]:
    """First spike times of real values: ``min {t : value >= kappa(t)}``, ``NO_SPIKE`` below ``kappa(T-1)`` and for NaN.

    >>> encode(np.array([2.0, 1.0, 0.84375, 0.8437, 0.0185, 0.0, np.nan]), Code()).tolist()
    [0, 0, 1, 2, 255, 255, 255]
    """
    return first_crossing(np.where(np.isnan(values), -np.inf, values), kernel(code)[::-1])


def decode(times: UInt8[np.ndarray, "*shape"], code: Code) -> Float[np.ndarray, "*shape"]:
    """Values of spike times as float64: ``kappa(t)``, 0 for ``NO_SPIKE``.

    >>> decode(np.array([0, 1, 23, 255], dtype=np.uint8), Code()).tolist()
    [1.0, 0.84375, 0.0185546875, 0.0]
    """
    table = np.zeros(256)
    table[: code.T] = kernel(code)
    values: np.ndarray = table[times]
    return values


def thresholds(code: Code, exponent: int) -> Integer[np.ndarray, " T"]:
    """``Theta[t] = ceil(kappa(t) * 2^G)`` as int64, with ``G = exponent`` (numerics, section 3).

    >>> thresholds(Code(T=3), 10).tolist()
    [1024, 864, 736]
    """
    return np.array([ceil_scaled(code.kappa(t), exponent) for t in range(code.T)], dtype=np.int64)


def fire(membrane: Integer[np.ndarray, "*shape"], theta: Integer[np.ndarray, " T"]) -> UInt8[np.ndarray, "*shape"]:
    """Spike times of integer membranes: ``min {t : u >= Theta[t]}``; a tie fires.

    >>> fire(np.array([1024, 1023, 864, 736, 735]), thresholds(Code(T=3), 10)).tolist()
    [0, 1, 1, 2, 255]
    """
    return first_crossing(membrane, theta[::-1])


def first_crossing(values: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """How many of the thresholds (at most 255, rising) lie above each value; ``NO_SPIKE`` below all of them."""
    passed = np.searchsorted(rising, values, side="right")
    return np.where(passed == 0, NO_SPIKE, len(rising) - passed).astype(np.uint8)
