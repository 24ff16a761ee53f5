"""Input planes against the oracle: all pixels, both sides of every boundary, every plane and byte."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import tables

from firstspike.arith import (
    PLANES,
    Code,
    LogWeights,
    decode_planes,
    encode_planes,
    integer_weights,
    membrane_exponent,
    pixel_boundaries,
    plane_times,
    planes_kernel,
)


def pixel(value: float) -> int:
    return tables.round_half_even(255 * Fraction(value))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boundaries_are_the_least_values_of_each_pixel(dtype: type) -> None:
    boundaries = pixel_boundaries(dtype)
    assert boundaries.dtype == dtype and boundaries.shape == (255,)
    below = np.nextafter(boundaries, dtype(0))
    assert [pixel(float(v)) for v in boundaries] == list(range(1, 256))
    assert [pixel(float(v)) for v in below] == list(range(255))
    assert encode_planes(boundaries).tolist() == list(range(254, -1, -1))
    assert encode_planes(below).tolist() == list(range(255, 0, -1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pixel_of_eight_bits_is_itself(dtype: type) -> None:
    p = np.arange(256)
    values = p.astype(dtype) / dtype(255)
    assert (255 - encode_planes(values)).tolist() == p.tolist()
    assert decode_planes(encode_planes(values)).tolist() == (p / 256).tolist()
    found = plane_times((255 - p).astype(np.uint8)[:, None])
    for value, times in zip(values.tolist(), found.tolist(), strict=True):
        if dtype is np.float64:
            assert times == [0 if fires else 255 for fires in tables.plane_bits(Fraction(value))]


@given(st.floats(0, 1))
def test_any_number_equals_the_oracle(value: float) -> None:
    assert int(encode_planes(np.array([value]))[0]) == 255 - pixel(value)


def test_planes_lie_channel_by_channel() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    times = plane_times(stored)
    assert times.shape == (2, 3 * PLANES, 4, 5)
    for j in range(PLANES):
        fires = (255 - stored) >> (7 - j) & 1
        assert np.array_equal(times[:, j::PLANES] == 0, fires == 1)
    assert set(np.unique(times)) == {0, 255}
    assert plane_times(stored[0, 0]).shape == (4, 40)


@pytest.mark.parametrize("mantissa_bits", [0, 2, 5, 12])
def test_products_are_sums_of_planes(mantissa_bits: int) -> None:
    code = Code(T=1, mantissa_bits=mantissa_bits)
    weights = LogWeights(bits=4, mantissa_bits=3)
    params = tables.Params(T=1, M=mantissa_bits, bits=4, M_w=3, planes=True)
    for scale in (-3, 0, 5):
        assert membrane_exponent(code, weights, scale, planes=True) == tables.exponent_of_planes(scale, params)
        table, integers = planes_kernel(code), integer_weights(weights, scale)
        for stored in (255, 254, 95, 127, 0):
            planes = [j for j in range(8) if not stored >> (7 - j) & 1]
            for byte in range(16):
                q, sign = tables.unpack(byte, params)
                expected = sum(tables.plane_product(q, j, sign, scale, params) for j in planes)
                assert int(table[stored] * integers[byte]) == expected


def test_the_code_of_the_input_is_checked() -> None:
    assert Code(input="planes").planes and not Code().planes
    with pytest.raises(ValueError, match=r"Code.input must be 'spike' or 'planes', not 'bits'"):
        Code(input="bits")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Code.input must be 'spike' or 'planes', not 8"):
        Code(input=8)  # type: ignore[arg-type]
