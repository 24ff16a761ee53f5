"""The weight quantiser against the oracle's levels: every level, every midpoint, the best scale by brute force."""

import math
from bisect import bisect_right
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import tables

from firstspike.arith import Code, LogWeights
from firstspike.cat import kernels
from firstspike.cat.quantiser import best_scale, level_index, quantise, rising_levels, round_bias

FORMATS = [
    LogWeights(),
    LogWeights(bits=2),
    LogWeights(bits=3, levels_per_octave=1, mantissa_bits=0),
    LogWeights(bits=4, levels_per_octave=2, mantissa_bits=0),  # two levels are equal
    LogWeights(bits=5, levels_per_octave=16, mantissa_bits=8),
    LogWeights(bits=6, levels_per_octave=4, mantissa_bits=12),
    LogWeights(bits=8, levels_per_octave=8, mantissa_bits=4),
]
SCALES = [-9, 0, 1, 31]


def params(weights: LogWeights) -> tables.Params:
    return tables.Params(bits=weights.bits, rho=weights.levels_per_octave, M_w=weights.mantissa_bits)


@cache
def magnitudes(weights: LogWeights, scale: int) -> list[Fraction]:
    """All magnitudes of the format at a scale, rising, zero first, by the oracle."""
    p = params(weights)
    return [Fraction(0), *(tables.weight(q, 0, scale, p) for q in range(p.q_max, -1, -1))]


def nearest(value: float, levels: list[Fraction]) -> float:
    """The nearest level in magnitude, the larger of two equally near, with the value's sign."""
    above = bisect_right(levels, abs(value))  # Python compares floats and fractions exactly
    near = levels[max(0, above - 1) : above + 1]
    best = min(near, key=lambda level: (abs(level - Fraction(abs(value))), -level))
    return math.copysign(float(best), value)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", FORMATS, ids=str)
def test_levels_midpoints_and_their_neighbours(
    weights: LogWeights, dtype: torch.dtype, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain:
        monkeypatch.setattr(kernels, "_native", None)
    for scale in SCALES:
        levels = magnitudes(weights, scale)
        middles = [float((low + high) / 2) for low, high in pairwise(levels)]
        points = torch.tensor([*map(float, levels), *middles, float(4 * levels[-1])], dtype=dtype)
        assert points.tolist() == [*map(float, levels), *middles, float(4 * levels[-1])]  # nothing was rounded
        ends = torch.tensor([0.0, math.inf], dtype=dtype)
        points = torch.cat([points, torch.nextafter(points, ends[:1]), torch.nextafter(points, ends[1:])])
        for sign in (1, -1):
            found = quantise(sign * points, weights, scale)
            assert found.dtype == dtype
            expected = [nearest(sign * value, levels) for value in points.tolist()]
            assert found[points > 0].tolist() == [e for e, v in zip(expected, points.tolist(), strict=True) if v > 0]
        assert quantise(torch.tensor([float(v) for v in levels], dtype=dtype), weights, scale).tolist() == [
            float(value) for value in levels
        ]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(FORMATS), st.integers(-20, 40), st.integers(0, 2**32 - 1), st.sampled_from([-3, 0, 2]))
def test_any_weight_takes_the_nearest_level(weights: LogWeights, scale: int, seed: int, shift: int) -> None:
    levels = magnitudes(weights, scale)
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=40)) * float(levels[-1]) * 2.0**shift
    for typed in (values, values.float()):
        assert quantise(typed, weights, scale).tolist() == [nearest(value, levels) for value in typed.tolist()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signs_zeros_and_nan(dtype: torch.dtype) -> None:
    for plain in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if plain:
                patch.setattr(kernels, "_native", None)
            found = quantise(torch.tensor([0.0, -1e-9, math.nan, math.inf, -math.inf], dtype=dtype), LogWeights(), 0)
        assert found[:2].tolist() == [0.0, 0.0]
        assert found[2].isnan()
        assert found[3:].tolist() == [1.0, -1.0]


def test_layouts_and_plain_code_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(3))
    found = {
        "plain": quantise(weight, LogWeights(), 1),
        "channels last": quantise(weight.contiguous(memory_format=torch.channels_last), LogWeights(), 1),
        "transposed": quantise(weight.transpose(0, 1).contiguous().transpose(0, 1), LogWeights(), 1),
    }
    monkeypatch.setattr(kernels, "_native", None)
    expected = quantise(weight, LogWeights(), 1)
    for label, other in found.items():
        assert torch.equal(other, expected), label


def test_rising_levels_are_the_codes_in_reverse() -> None:
    for weights in FORMATS:
        levels, boundaries = rising_levels(weights, 3)
        assert levels.tolist() == [float(value) for value in magnitudes(weights, 3)]
        assert boundaries.tolist() == [(low + high) / 2 for low, high in pairwise(levels.tolist())]
        values = torch.linspace(-2, 2, 41, dtype=torch.float64)
        assert torch.equal(levels[level_index(values, boundaries)], quantise(values, weights, 3).abs())


def test_gradient_passes_straight_through() -> None:
    weight = torch.linspace(-3, 3, 25, requires_grad=True)
    gradient = torch.randn(25, generator=torch.Generator().manual_seed(0))
    quantise(weight, LogWeights(), 0).backward(gradient)
    assert weight.grad is not None
    assert torch.equal(weight.grad, gradient)
    bias = torch.linspace(-3, 3, 25, requires_grad=True)
    round_bias(bias, 2).backward(gradient)
    assert bias.grad is not None
    assert torch.equal(bias.grad, gradient)


@pytest.mark.parametrize("exponent", [-40, -2, 0, 1, 22, 46])
def test_bias_rounds_half_to_even(exponent: int) -> None:
    halves = [n / 2 for n in range(-9, 10)]
    rng = np.random.default_rng(abs(exponent))
    for dtype in (torch.float64, torch.float32):
        grid = torch.tensor([*halves, *rng.normal(size=30) * 100], dtype=dtype)
        bias = torch.ldexp(grid, torch.tensor(-exponent))
        found = round_bias(bias, exponent)
        assert found.dtype == dtype
        unit = tables.power_of_two(-exponent)
        assert [Fraction(v) for v in found.tolist()] == [tables.integer_bias(v, exponent) * unit for v in bias.tolist()]


# ---- the scale ----------------------------------------------------------------------------------------------------


def errors(weight: np.ndarray, weights: LogWeights, scales: range) -> list[float]:
    """Squared error of every scale, by looking at every level of every weight."""
    result = []
    for scale in scales:
        levels = np.array([float(value) for value in magnitudes(weights, scale)])
        result.append(float((np.abs(np.abs(weight)[:, None] - levels).min(axis=1) ** 2).sum()))
    return result


@st.composite
def weight_sets(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 60))
    style = draw(st.sampled_from(["normal", "uniform", "heavy", "outlier", "constant", "powers", "sparse"]))
    values = {
        "normal": rng.normal(size=size),
        "uniform": rng.uniform(-1, 1, size),
        "heavy": rng.standard_cauchy(size),
        "outlier": np.append(rng.normal(size=40 * size) * 0.02, 1.0),
        "constant": np.full(size, rng.normal()),
        "powers": 2.0 ** rng.integers(-8, 8, size),
        "sparse": rng.normal(size=size) * (rng.random(size) < 0.3),
    }[style]
    return np.asarray(values * 2.0 ** draw(st.integers(-12, 12)))


@settings(deadline=None, max_examples=80)
@given(weight_sets(), st.sampled_from(FORMATS), st.sampled_from([24, 32, 48]))
def test_scale_has_the_least_error_of_all(weight: np.ndarray, weights: LogWeights, bits: int) -> None:
    code, rho = Code(T=8, tau=2), weights.levels_per_octave
    found = best_scale(torch.from_numpy(weight), code, weights, accumulator_bits=bits)
    p = tables.Params(T=8, tau=2, bits=weights.bits, rho=rho, M_w=weights.mantissa_bits)
    allowed = [k for k in range(-256, 257) if tables.exponent_g(k, p) <= bits - 5]
    if not weight.any():
        assert found == min(0, allowed[-1])
        return
    middle = -round(rho * math.log2(np.abs(weight).max()))
    scales = range(max(-256, min(middle - 3 * rho, allowed[-1])), min(middle + 18 * rho, allowed[-1]) + 1)
    every = errors(weight, weights, scales)
    assert found in allowed
    assert found in scales
    assert every[found - scales.start] == pytest.approx(min(every), rel=1e-9, abs=1e-300)


def test_scale_of_few_large_weights_is_found_far_from_them() -> None:
    """One outlier among many small weights: clipping it costs less than losing the others."""
    weight = torch.cat([torch.ones(1), torch.full((20_000,), 1 / 64)])
    assert best_scale(weight, Code(), LogWeights(bits=2)) == 12
    assert best_scale(weight[:2], Code(), LogWeights(bits=2)) == 0


def test_of_equal_scales_the_smaller() -> None:
    """A single weight of 1 is met exactly by every scale that has the level 1; the first has it as its largest."""
    assert best_scale(torch.ones(3), Code(), LogWeights()) == 0
    assert best_scale(torch.tensor([1.0, 0.5, 0.0]), Code(), LogWeights(bits=4)) == 0
    assert best_scale(torch.zeros(3), Code(), LogWeights()) == 0


def test_scale_leaves_room_in_the_accumulator() -> None:
    tiny = torch.full((4,), 1e-30)
    for bits in (28, 32, 48):
        scale = best_scale(tiny, Code(), LogWeights(), accumulator_bits=bits)
        assert tables.exponent_g(scale, tables.Params()) == bits - 5
        assert tables.exponent_g(scale + 1, tables.Params()) == bits - 4
    assert best_scale(torch.full((4,), 1e38), Code(), LogWeights()) == -252
    assert best_scale(torch.full((4,), 1e300, dtype=torch.float64), Code(), LogWeights()) == -256


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="weights must be finite, not NaN or infinite"):
        best_scale(torch.tensor([0.5, value]), Code(), LogWeights())
