"""Codes and tables of the number contract in Python integers and fractions.

Symbols: ``T`` steps a window, ``tau`` steps an octave, ``M`` mantissa bits of the kernel; ``bits`` a weight (``B_w``),
``rho`` levels an octave, ``M_w`` mantissa bits of a level; ``A`` bits of a membrane; ``t`` a spike time, ``q`` a stored
level, ``k`` the scale of a layer in levels, ``G`` the binary exponent of a layer's membranes (real value = u * 2^-G).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise

NO_SPIKE = 255


@dataclass(frozen=True, kw_only=True)
class Params:
    """The parameters of one network; refused with ValueError where the contract gives no meaning to them."""

    T: int = 24
    tau: int = 4
    M: int = 5
    bits: int = 5
    rho: int = 2
    M_w: int = 5
    A: int = 32
    planes: bool = False

    def __post_init__(self) -> None:
        for name in ("T", "tau", "M", "bits", "rho", "M_w", "A"):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name} must be an int, not {value!r}")
        for name in ("tau", "rho"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value!r}")
        # A time is a byte and 255 is taken; a code is a byte; with one bit the only level would be the zero weight.
        for name, least, most in (("T", 1, 255), ("M", 0, None), ("bits", 2, 8), ("M_w", 0, None), ("A", 1, None)):
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                raise ValueError(f"{name} must be at least {least} and at most {most}, not {value!r}")
        kernel = [kappa(t, self) for t in range(self.T)]
        if any(now <= later for now, later in pairwise(kernel)):
            raise ValueError(f"kernel must fall strictly with t, not {[str(value) for value in kernel]!r}")

    @property
    def zero_level(self) -> int:
        """The last level, which stands for the weight zero."""
        return (1 << (self.bits - 1)) - 1

    @property
    def q_max(self) -> int:
        """The last level that is not zero."""
        return self.zero_level - 1

    @property
    def S(self) -> int:
        """The shift of the greatest product: no product shifts by less than zero."""
        return (self.T - 1) // self.tau + (self.q_max + self.rho - 1) // self.rho


# ---- roundings ----------------------------------------------------------------------------------------------------


def round_half_even(value: Fraction | int) -> int:
    """The nearest integer, of two equally near the even one.

    >>> [round_half_even(Fraction(n, 2)) for n in (-3, -1, 1, 3, 5)]
    [-2, 0, 0, 2, 2]
    """
    value = Fraction(value)
    below = value.numerator // value.denominator
    rest = value - below
    if rest == Fraction(1, 2):
        return below + below % 2
    return below + (rest > Fraction(1, 2))


def ceiling(value: Fraction | int) -> int:
    """The least integer that is not below ``value``."""
    value = Fraction(value)
    return -(-value.numerator // value.denominator)


def power_of_two(exponent: int) -> Fraction:
    """2^exponent, exactly, for any integer exponent."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


@cache
def mantissa(bits: int, f: int, steps: int) -> int:
    """round_half_even(2^bits * 2^(-f/steps)) for 0 <= f < steps, decided by integers alone.

    Write v = 2^(bits - f/steps), so v^steps = 2^(bits*steps - f) is an integer. ``a`` is the integer part of v: the
    last with a^steps <= v^steps. v rounds up exactly when v > a + 1/2, that is (2v)^steps > (2a + 1)^steps. A tie would
    make the odd number (2a + 1)^steps equal to 2^(steps*(bits + 1) - f), an even one, as bits >= 0 and f < steps:
    there is no tie, and half-even never decides.
    """
    if not 0 <= f < steps:
        raise ValueError(f"f must be in 0 .. {steps - 1}, not {f!r}")
    low, high = 0, (1 << bits) + 1  # low^steps <= v^steps < high^steps
    while high - low > 1:
        middle = (low + high) // 2
        if middle**steps <= 2 ** (bits * steps - f):
            low = middle
        else:
            high = middle
    return low + 1 if 2 ** (steps * (bits + 1) - f) > (2 * low + 1) ** steps else low


# ---- time-to-first-spike code (section 1) -------------------------------------------------------------------------


def mx(params: Params) -> list[int]:
    """Kernel mantissas 2^M * m[f], f = 0 .. tau-1."""
    return [mantissa(params.M, f, params.tau) for f in range(params.tau)]


@cache
def kappa(t: int, params: Params) -> Fraction:
    """The kernel m[t mod tau] * 2^-(t div tau), which is both threshold and decoded value of the time ``t``."""
    if not 0 <= t < params.T:
        raise ValueError(f"t must be in 0 .. {params.T - 1}, not {t!r}")
    return mantissa(params.M, t % params.tau, params.tau) * power_of_two(-params.M - t // params.tau)


def encode(u: Fraction | int, params: Params) -> int | None:
    """The first time whose kernel value ``u`` reaches (a tie fires); None where it reaches none."""
    if isinstance(u, bool) or not isinstance(u, int | Fraction):
        raise TypeError(f"u must be an int or a Fraction, not {u!r}")
    return next((t for t in range(params.T) if u >= kappa(t, params)), None)


def decode(t: int | None, params: Params) -> Fraction:
    """kappa(t); no spike, given as None or 255, is 0."""
    return Fraction(0) if t is None or t == NO_SPIKE else kappa(t, params)


def plane_bits(u: Fraction | int) -> list[bool]:
    """Which of the eight planes of a pixel fire: bits of round_half_even(255 u), the most significant first."""
    p = round_half_even(255 * Fraction(u))
    if not 0 <= p <= 255:
        raise ValueError(f"u must be in [0, 1], not {u!r}")
    return [p % 2 ** (8 - j) >= 2 ** (7 - j) for j in range(8)]


def plane_value(j: int) -> Fraction:
    """What a spike of plane ``j`` stands for."""
    if j not in range(8):
        raise ValueError(f"j must be in 0 .. 7, not {j!r}")
    return power_of_two(-j - 1)


def time_byte(t: int | None) -> int:
    """A spike time as it is stored: 255 for no spike."""
    return NO_SPIKE if t is None else t


# ---- logarithmic weights (section 2) ------------------------------------------------------------------------------


def mw(params: Params) -> list[int]:
    """Level mantissas 2^M_w * m_w[f], f = 0 .. rho-1."""
    return [mantissa(params.M_w, f, params.rho) for f in range(params.rho)]


def level(j: int, params: Params) -> Fraction:
    """W(j) = m_w[j mod rho] * 2^-(j div rho) for any integer ``j``."""
    return mantissa(params.M_w, j % params.rho, params.rho) * power_of_two(-params.M_w - j // params.rho)


def weight(q: int, sign: int, k: int, params: Params) -> Fraction:
    """The weight of level ``q`` and ``sign`` (0 plus, 1 minus) in a layer of scale ``k``."""
    if q not in range(params.zero_level + 1) or sign not in (0, 1):
        raise ValueError(f"q must be in 0 .. {params.zero_level} and sign 0 or 1, not {(q, sign)!r}")
    if q == params.zero_level:
        return Fraction(0)
    return -level(q + k, params) if sign else level(q + k, params)


def pack(q: int, sign: int, params: Params) -> int:
    """The byte of an unpacked code: sign above level."""
    if q not in range(params.zero_level + 1) or sign not in (0, 1):
        raise ValueError(f"q must be in 0 .. {params.zero_level} and sign 0 or 1, not {(q, sign)!r}")
    return (sign << (params.bits - 1)) + q


def unpack(code: int, params: Params) -> tuple[int, int]:
    """(q, sign) of an unpacked byte; both codes of zero are legal."""
    if code not in range(2**params.bits):
        raise ValueError(f"code must be in 0 .. {2**params.bits - 1}, not {code!r}")
    return code % 2 ** (params.bits - 1), code // 2 ** (params.bits - 1)


def nearest_level(value: Fraction, params: Params) -> tuple[int, int]:
    """(q, k) of the level nearest to ``value`` > 0 by |W - value|, written as q = 0, k = j.

    For value = 1/n there is no tie between unequal levels: 1/n is a dyadic number only where n is a power of two, and
    then it is a level itself. Elsewhere, and between equal levels, the smaller ``j`` is taken.
    """
    if value <= 0:
        raise ValueError(f"value must be above 0, not {value!r}")
    j = 0
    while level(j, params) < value:
        j -= params.rho
    while level(j, params) > value:
        j += 1
    # Levels never rise with j and W(j) <= value < W(j - rho): the nearest lies in that octave, or equals an end of it.
    near = range(j - 2 * params.rho, j + 2 * params.rho + 1)
    return 0, min(near, key=lambda i: (abs(level(i, params) - value), i))


# ---- integer arithmetic (section 3) -------------------------------------------------------------------------------


def exponent_g(k: int, params: Params) -> int:
    """G of a layer with scale ``k`` = rho*e + r: a membrane ``u`` stands for u * 2^-G. It may be negative."""
    return params.M + params.M_w + params.S + k // params.rho


def exponent_of_planes(k: int, params: Params) -> int:
    """G of a layer that reads input planes: the coarsest grid on which mx[0] * W(q + k) * 2^-8 is an integer for all q."""
    octaves = (params.q_max + params.rho - 1) // params.rho
    return params.M + params.M_w + octaves + 8 + k // params.rho


def plane_product(q: int, j: int, sign: int, k: int, params: Params) -> int:
    """The integer that a spike of plane ``j`` adds through a weight: w * 2^-(j+1) * 2^G; ValueError if it is none."""
    value = weight(q, sign, k, params) * plane_value(j) * power_of_two(exponent_of_planes(k, params))
    if value.denominator != 1:
        raise ValueError(f"product of plane {j} must be an integer, not {value!r}")
    return value.numerator


def product_table(params: Params) -> list[list[int]]:
    """The tau rows of rho products of mantissas, [t mod tau][(q + r) mod rho]."""
    return [[x * w for w in mw(params)] for x in mx(params)]


@cache
def product(q: int, t: int, sign: int, k: int, params: Params) -> int:
    """The signed integer that one spike at ``t`` adds through a weight: w * kappa(t) * 2^G, without rounding."""
    if t not in range(params.T):
        raise ValueError(f"t must be in 0 .. {params.T - 1}, not {t!r}")
    if q not in range(params.zero_level + 1) or sign not in (0, 1):
        raise ValueError(f"q must be in 0 .. {params.zero_level} and sign 0 or 1, not {(q, sign)!r}")
    if q == params.zero_level:
        return 0
    r = k % params.rho
    entry = product_table(params)[t % params.tau][(q + r) % params.rho]
    magnitude = entry << (params.S - t // params.tau - (q + r) // params.rho)
    return -magnitude if sign else magnitude


def thresholds(G: int, params: Params) -> list[int]:
    """Theta[t] = ceil(kappa(t) * 2^G), t = 0 .. T-1. It never rises with t; where G is small, neighbours are equal."""
    return [ceiling(kappa(t, params) * power_of_two(G)) for t in range(params.T)]


def fire(u: int, theta: list[int]) -> int | None:
    """The spike time of the integer membrane ``u``: the first threshold that it reaches."""
    return next((t for t, least in enumerate(theta) if u >= least), None)


def residual(t: int, G: int, params: Params) -> int:
    """kappa(t) * 2^G, what a residual spike adds; ValueError where that is no integer, for then there is no way to add
    a weight of exactly 1.
    """
    value = kappa(t, params) * power_of_two(G)
    if value.denominator != 1:
        raise ValueError(f"residual at t = {t} must be an integer in units of 2^-{G}, not {value!r}")
    return value.numerator


def integer_bias(b: Fraction | float | int, G: int) -> int:
    """round_half_even(b * 2^G), with a float taken for the dyadic number that it is."""
    return round_half_even(Fraction(b) * power_of_two(G))


def wrap(u: int, bits: int) -> int:
    """``u`` modulo 2^bits as a two's complement number.

    >>> wrap(127, 8), wrap(128, 8), wrap(-129, 8)
    (127, -128, 127)
    """
    half = 1 << (bits - 1)
    return (u + half) % (2 * half) - half
