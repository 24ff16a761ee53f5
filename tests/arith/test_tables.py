"""Exact roundings against the oracle and against values by hand."""

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import tables as oracle

from firstspike.arith.tables import ceil_scaled, mantissas, round_half_even_scaled


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 64, 128])
def test_mantissas(count: int) -> None:
    for bits in range(13):
        expected = [oracle.mantissa(bits, f, count) for f in range(count)]
        assert list(mantissas(bits, count)) == expected
        assert expected == [round(2 ** (bits - f / count)) for f in range(count)]  # a float is near enough for these


@given(value=st.fractions(), exponent=st.integers(-80, 80))
@example(value=Fraction(1, 8), exponent=3)
@example(value=Fraction(-1, 8), exponent=2)
def test_ceiling(value: Fraction, exponent: int) -> None:
    found = ceil_scaled(value, exponent)
    assert isinstance(found, int)
    assert found == oracle.ceiling(value * oracle.power_of_two(exponent))
    assert found - 1 < value * Fraction(2) ** exponent <= found


@given(value=st.floats(allow_nan=False, allow_infinity=False), exponent=st.integers(-80, 80))
@example(value=0.5, exponent=0)
@example(value=-1.5, exponent=0)
@example(value=2.5 * 2**-20, exponent=20)
@example(value=math.nextafter(2.5, 3) * 2**-20, exponent=20)
@example(value=math.nextafter(3.5, 3) * 2**-20, exponent=20)
@example(value=-0.0, exponent=10)
def test_bias_rounding(value: float, exponent: int) -> None:
    found = round_half_even_scaled(value, exponent)
    assert isinstance(found, int)
    assert found == oracle.integer_bias(value, exponent)


@given(twice=st.integers(-(2**60), 2**60), exponent=st.integers(-40, 40))
def test_ties_go_to_the_even_integer(twice: int, exponent: int) -> None:
    value = Fraction(2 * twice + 1, 2) * Fraction(2) ** -exponent
    if Fraction(float(value)) == value:
        assert round_half_even_scaled(float(value), exponent) % 2 == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_integer_stands_for_what_is_not_finite(value: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        round_half_even_scaled(value, 3)
