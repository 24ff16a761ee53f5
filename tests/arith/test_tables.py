"""Exact roundings against the oracle and against values by hand."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import tables as oracle

from firstspike.arith.tables import ceil_scaled, mantissas


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
