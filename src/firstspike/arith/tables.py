"""Exact rounding and the mantissas that kernel and weight levels share."""

from fractions import Fraction
from functools import cache


def round_half_even_root(bits: int, index: int, count: int) -> int:
    """``round_half_even(2^bits * 2^(-index/count))`` for ``0 <= index < count``, by integer comparison only.

    The value is irrational unless ``index`` is 0, so no tie can occur; it is found by comparing powers:
    ``(2a + 1) / 2 > 2^(bits - index/count)`` is ``(2a + 1)^count > 2^(count * (bits + 1) - index)``.

    >>> [round_half_even_root(5, f, 4) for f in range(4)]
    [32, 27, 23, 19]
    >>> round_half_even_root(0, 1, 2)   # 0.707...
    1
    """
    if index == 0:
        return 1 << bits
    bound = 1 << (count * (bits + 1) - index)
    low, high = 0, 1 << bits
    while low < high:  # smallest a with a + 1/2 above the value
        middle = (low + high) // 2
        if (2 * middle + 1) ** count > bound:
            high = middle
        else:
            low = middle + 1
    return low


@cache
def mantissas(bits: int, count: int) -> tuple[int, ...]:
    """Integer mantissas ``2^bits * m[f]``, ``f = 0 .. count-1`` (numerics, sections 1 and 2).

    >>> mantissas(5, 2)
    (32, 23)
    """
    return tuple(round_half_even_root(bits, f, count) for f in range(count))


def ceil_scaled(value: Fraction, exponent: int) -> int:
    """``ceil(value * 2^exponent)``, exact for any sign of ``exponent``.

    >>> ceil_scaled(Fraction(27, 32), 5), ceil_scaled(Fraction(27, 32), 4), ceil_scaled(Fraction(1), -3)
    (27, 14, 1)
    """
    scaled = value * Fraction(2) ** exponent
    return -((-scaled.numerator) // scaled.denominator)
