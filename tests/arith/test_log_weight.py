"""Weight codes and products: every code, time and a range of scales against the oracle."""

from fractions import Fraction
from itertools import product as grid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import tables
from oracles.tables import Params

from firstspike.arith import (
    Code,
    LogWeights,
    decode_weights,
    encode_weights,
    integer_kernel,
    integer_weights,
    level_values,
    membrane_exponent,
    product_table,
    shift_base,
)
from firstspike.arith.tables import round_half_even_root

FORMATS = [
    LogWeights(),
    LogWeights(bits=2),
    LogWeights(bits=2, levels_per_octave=16, mantissa_bits=12),
    LogWeights(bits=3, levels_per_octave=1, mantissa_bits=0),
    LogWeights(bits=4, levels_per_octave=4, mantissa_bits=0),  # levels that are equal
    LogWeights(bits=5, levels_per_octave=1, mantissa_bits=3),
    LogWeights(bits=6, levels_per_octave=2, mantissa_bits=6),
    LogWeights(bits=7, levels_per_octave=4, mantissa_bits=7),
    LogWeights(bits=8, levels_per_octave=8, mantissa_bits=8),
]
CODES = [
    Code(),
    Code(T=1, tau=1, mantissa_bits=0),
    Code(T=9, tau=1, mantissa_bits=2),
    Code(T=13, tau=2, mantissa_bits=4),
    Code(T=40, tau=8, mantissa_bits=6),
    Code(T=33, tau=16, mantissa_bits=10),
]
formats = pytest.mark.parametrize(
    "weights", FORMATS, ids=lambda w: f"B{w.bits}rho{w.levels_per_octave}M{w.mantissa_bits}"
)


def oracle(weights: LogWeights, code: Code | None = None) -> Params:
    code = code or Code()
    return Params(
        T=code.T,
        tau=code.tau,
        M=code.mantissa_bits,
        bits=weights.bits,
        rho=weights.levels_per_octave,
        M_w=weights.mantissa_bits,
    )


def scales(weights: LogWeights) -> list[int]:
    rho = weights.levels_per_octave
    return [-256, *range(-2 * rho - 1, 3 * rho + 2), 100, 256]


@formats
def test_levels_and_weights(weights: LogWeights) -> None:
    params = oracle(weights)
    assert (weights.zero_level, weights.q_max) == (params.zero_level, params.q_max)
    assert list(weights.mantissas) == tables.mw(params)
    every = np.arange(1 << weights.bits, dtype=np.uint8)
    for scale in scales(weights):
        levels = [tables.level(q + scale, params) for q in range(weights.zero_level)]
        assert [weights.level(q + scale) for q in range(weights.zero_level)] == levels
        assert [Fraction(value) for value in level_values(weights, scale).tolist()] == [*levels, 0]
        exact = [tables.weight(*tables.unpack(code, params), scale, params) for code in every.tolist()]
        assert [Fraction(value) for value in decode_weights(every, weights, scale).tolist()] == exact
        assert not np.signbit(decode_weights(every, weights, scale)[np.array([value == 0 for value in exact])]).any()


@formats
@pytest.mark.parametrize("code", CODES, ids=lambda code: f"T{code.T}tau{code.tau}M{code.mantissa_bits}")
def test_products(code: Code, weights: LogWeights) -> None:
    """By table and shift; by integers; by real values times ``2^G``: three ways to the oracle's product."""
    params = oracle(weights, code)
    every = [tables.unpack(byte, params) for byte in range(1 << weights.bits)]
    times = range(code.T)
    assert shift_base(code, weights) == params.S
    rho = weights.levels_per_octave
    for scale in (-256, *range(-1, rho + 1), 77):
        exponent = membrane_exponent(code, weights, scale)
        assert exponent == tables.exponent_g(scale, params)
        table = product_table(code, weights, scale)
        assert table.dtype == np.int64
        expected = [[tables.product(q, t, sign, scale, params) for q, sign in every] for t in times]
        assert table.tolist() == expected
        assert np.array_equal(np.outer(integer_kernel(code)[: code.T], integer_weights(weights, scale)), table)
        real = [tables.weight(q, sign, scale, params) for q, sign in every]
        unit = tables.power_of_two(exponent)
        for t in (0, code.T // 2, code.T - 1):
            assert [w * tables.kappa(t, params) * unit for w in real] == expected[t]


def test_no_product_needs_a_negative_shift() -> None:
    """The smallest shift is 0 for the last time and level at the scale with the largest remainder."""
    for weights, code in grid(FORMATS, CODES):
        last = weights.q_max + weights.levels_per_octave - 1
        assert shift_base(code, weights) - code.octaves - last // weights.levels_per_octave == 0


@formats
def test_encode_and_bytes(weights: LogWeights) -> None:
    params = oracle(weights)
    levels, signs = np.meshgrid(np.arange(weights.zero_level + 1), [False, True])
    codes = encode_weights(levels, signs, weights)
    assert codes.dtype == np.uint8
    assert codes.shape == levels.shape
    for level, sign, code in zip(levels.flat, signs.flat, codes.flat, strict=True):
        written = int(sign) if level != weights.zero_level else 0  # writers use sign 0 for zero
        assert int(code) == tables.pack(int(level), written, params)


@given(bits=st.integers(0, 12), count=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), index=st.integers(0, 127))
def test_mantissas_of_any_size(bits: int, count: int, index: int) -> None:
    assert round_half_even_root(bits, index % count, count) == tables.mantissa(bits, index % count, count)


@pytest.mark.parametrize(
    ("field", "value", "error", "text"),
    [
        ("bits", 1, ValueError, r"LogWeights.bits must be in 2\.\.8, not 1"),
        ("bits", 9, ValueError, r"LogWeights.bits must be in 2\.\.8, not 9"),
        ("bits", 5.0, TypeError, "LogWeights.bits must be an int, not 5.0"),
        ("bits", 7, ValueError, r"bits=7 and levels_per_octave=2 must span at most 24 octaves, not 31"),
        ("levels_per_octave", 3, ValueError, "LogWeights.levels_per_octave must be a power of two, not 3"),
        ("levels_per_octave", 32, ValueError, r"LogWeights.levels_per_octave must be in 1\.\.16, not 32"),
        ("levels_per_octave", False, TypeError, "LogWeights.levels_per_octave must be an int, not False"),
        ("mantissa_bits", 13, ValueError, r"LogWeights.mantissa_bits must be in 0\.\.12, not 13"),
        ("mantissa_bits", "5", TypeError, "LogWeights.mantissa_bits must be an int, not '5'"),
    ],
)
def test_formats_that_are_refused(field: str, value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        LogWeights(**{field: value})  # type: ignore[arg-type]
