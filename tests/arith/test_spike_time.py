"""Codes, kernel, encoding, thresholds and firing: every time of many codes against the oracle."""

from fractions import Fraction
from itertools import product as grid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import tables
from oracles.tables import Params

from firstspike.arith import NO_SPIKE, Code, decode, encode, fire, integer_kernel, kernel, thresholds

CODES = [
    Code(),
    Code(T=1),
    Code(T=1, tau=128, mantissa_bits=0),
    Code(T=2, tau=2, mantissa_bits=1),
    Code(T=25, tau=1, mantissa_bits=0),
    Code(T=16, tau=2, mantissa_bits=3),
    Code(T=23, tau=4, mantissa_bits=3),
    Code(T=100, tau=4, mantissa_bits=12),
    Code(T=48, tau=8, mantissa_bits=8),
    Code(T=64, tau=16, mantissa_bits=7),
    Code(T=255, tau=64, mantissa_bits=12),
    Code(T=255, tau=128, mantissa_bits=10),
]
codes = pytest.mark.parametrize("code", CODES, ids=lambda code: f"T{code.T}tau{code.tau}M{code.mantissa_bits}")


def oracle(code: Code) -> Params:
    return Params(T=code.T, tau=code.tau, M=code.mantissa_bits)


@codes
def test_kernel(code: Code) -> None:
    params = oracle(code)
    exact = [tables.kappa(t, params) for t in range(code.T)]
    assert list(code.mantissas) == tables.mx(params)
    assert [code.kappa(t) for t in range(code.T)] == exact
    assert [Fraction(value) for value in kernel(code).tolist()] == exact
    assert [Fraction(value) for value in decode(np.arange(code.T, dtype=np.uint8), code).tolist()] == exact
    assert np.array_equal(kernel(code), kernel(code).astype(np.float32))
    integers = integer_kernel(code)
    assert [Fraction(value, 1 << code.exponent) for value in integers[: code.T].tolist()] == exact
    assert not integers[code.T :].any()
    assert decode(np.array([NO_SPIKE], dtype=np.uint8), code).tolist() == [0.0]


@pytest.mark.parametrize("tau", [1, 2, 4, 8, 16, 32, 64, 128])
@pytest.mark.parametrize("bits", range(13))
def test_a_code_is_refused_exactly_where_the_oracle_refuses_it(tau: int, bits: int) -> None:
    for T in (1, 2, tau, tau + 1, 2 * tau):
        if T > 255:
            continue
        refusals = []
        for build in (lambda: Code(T=T, tau=tau, mantissa_bits=bits), lambda: Params(T=T, tau=tau, M=bits)):  # noqa: B023
            try:
                build()
                refusals.append(None)
            except ValueError as error:
                refusals.append(error)
        ours, theirs = refusals
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert "kernel fall strictly with t" in str(ours)
            assert f"not {bits!r}" in str(ours)


def neighbourhood(code: Code, dtype: type) -> np.ndarray:
    """Every kernel value and its two neighbours, and the ends of the scale."""
    ties = kernel(code).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    ends = np.array([0, -0.0, tiny, -tiny, 1, 2, -1, np.finfo(dtype).max, -np.finfo(dtype).max], dtype=dtype)
    return np.concatenate([ties, np.nextafter(ties, dtype(0)), np.nextafter(ties, dtype(2)), ends])


HALF = [code for code in CODES if code.mantissa_bits <= 10 and code.octaves <= 14]  # kernels float16 can hold


@pytest.mark.parametrize(
    ("code", "dtype"), [*grid(CODES, [np.float64, np.float32]), *((code, np.float16) for code in HALF)]
)
def test_encode_at_ties_and_their_neighbours(code: Code, dtype: type) -> None:
    params = oracle(code)
    values = neighbourhood(code, dtype)
    times = encode(values, code)
    assert times.dtype == np.uint8
    assert times.tolist() == [tables.time_byte(tables.encode(Fraction(float(value)), params)) for value in values]
    assert times[: code.T].tolist() == list(range(code.T))  # a tie fires
    assert times[code.T] == (1 if code.T > 1 else NO_SPIKE)  # just below 1
    assert times[2 * code.T - 1] == NO_SPIKE  # just below the last value


def test_encode_infinity() -> None:
    assert encode(np.array([np.inf, -np.inf]), Code()).tolist() == [0, NO_SPIKE]


@codes
def test_encode_every_byte_pixel(code: Code) -> None:
    pixels = np.arange(256, dtype=np.uint8).astype(np.float32) / np.float32(255)
    expected = [tables.time_byte(tables.encode(Fraction(float(pixel)), oracle(code))) for pixel in pixels]
    assert encode(pixels, code).tolist() == expected


@given(value=st.floats(-0.5, 1.5), code=st.sampled_from(CODES))
def test_decode_of_encode_rounds_down_to_a_kernel_value(value: float, code: Code) -> None:
    (time,) = encode(np.array([value]), code).tolist()
    (back,) = decode(np.array([time], dtype=np.uint8), code).tolist()
    levels = [0.0, *kernel(code).tolist()]
    assert back == max([level for level in levels if level <= value], default=0.0)


@codes
def test_encode_of_decode_is_the_time(code: Code) -> None:
    times = np.array([*range(code.T), NO_SPIKE], dtype=np.uint8)
    assert np.array_equal(encode(decode(times, code), code), times)


@codes
def test_thresholds_and_firing(code: Code) -> None:
    """All G, also those at which neighbouring thresholds are equal or all are 1."""
    params = oracle(code)
    for exponent in (-64, -30, *range(-3, 47)):
        theta = thresholds(code, exponent)
        assert theta.dtype == np.int64
        assert theta.tolist() == tables.thresholds(exponent, params)
        near = np.unique(np.concatenate([theta - 1, theta, theta + 1, [0, -1, 1 << 47, -(1 << 47)]]))
        assert fire(near, theta).tolist() == [tables.time_byte(tables.fire(u, theta.tolist())) for u in near.tolist()]


@codes
def test_firing_is_encoding_of_the_real_membrane(code: Code) -> None:
    """``u >= ceil(kappa 2^G)`` is ``u 2^-G >= kappa``: every integer membrane around the scale, several G."""
    for exponent in (-2, 0, 3, 9):
        membranes = np.arange(-5, 700)
        assert np.array_equal(fire(membranes, thresholds(code, exponent)), encode(membranes * 2.0**-exponent, code))


def test_shapes_are_kept() -> None:
    for shape in [(), (0,), (2, 0, 3), (2, 3, 4, 5)]:
        times = encode(np.full(shape, 0.5), Code())
        assert times.shape == decode(times, Code()).shape == shape
        assert (times == 4).all()


@pytest.mark.parametrize(
    ("field", "value", "error", "text"),
    [
        ("T", 0, ValueError, "Code.T must be in 1..255, not 0"),
        ("T", 256, ValueError, "Code.T must be in 1..255, not 256"),
        ("T", 24.0, TypeError, "Code.T must be an int, not 24.0"),
        ("T", True, TypeError, "Code.T must be an int, not True"),
        ("T", "24", TypeError, "Code.T must be an int, not '24'"),
        ("tau", 0, ValueError, "Code.tau must be in 1..128, not 0"),
        ("tau", 3, ValueError, "Code.tau must be a power of two, not 3"),
        ("tau", 256, ValueError, "Code.tau must be in 1..128, not 256"),
        ("tau", None, TypeError, "Code.tau must be an int, not None"),
        ("mantissa_bits", -1, ValueError, "Code.mantissa_bits must be in 0..12, not -1"),
        ("mantissa_bits", 13, ValueError, "Code.mantissa_bits must be in 0..12, not 13"),
        ("mantissa_bits", 2, ValueError, r"fall strictly with t .*: kappa\(2\) equals kappa\(1\) with .* not 2"),
    ],
)
def test_parameters_that_are_refused(field: str, value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Code(**{field: value})  # type: ignore[arg-type]


def test_too_many_octaves_are_refused() -> None:
    assert Code(T=25, tau=1).octaves == 24
    with pytest.raises(ValueError, match=r"Code\.T must span at most 24 octaves below 1, not 25"):
        Code(T=26, tau=1)


def test_a_time_outside_the_window_has_no_kernel_value() -> None:
    for time in (-1, 24, NO_SPIKE):
        with pytest.raises(ValueError, match=rf"spike time must be in 0\.\.23, not {time}"):
            Code().kappa(time)
