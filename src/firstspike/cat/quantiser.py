"""Logarithmic weight quantiser: nearest level with a per-layer scale, and straight-through training through it."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from firstspike.arith import Code, LogWeights, level_values, membrane_exponent
from firstspike.cat.kernels import quantise_forward
from firstspike.spec.layers import MAX_SHIFT


class _Quantise(torch.autograd.Function):
    """Nearest level, sign kept; the gradient passes unchanged (straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, levels: Tensor, boundaries: Tensor) -> Tensor:
        return quantise_forward(weight, levels, boundaries)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


class _StraightThrough(torch.autograd.Function):
    """Values computed elsewhere, with the gradient passed unchanged to those that they stand for."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _RoundBias(torch.autograd.Function):
    """``round_half_even(b * 2^G) * 2^-G`` with a straight-through gradient."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, exponent: int | Tensor) -> Tensor:
        grid = torch.as_tensor(exponent)
        return torch.ldexp(torch.ldexp(bias, grid).round(), -grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def rising_levels(weights: LogWeights, scale: int) -> tuple[Tensor, Tensor]:
    """Magnitudes in rising order, 0 first (float64 ``[2^(B_w-1)]``), and the midpoints between neighbours.

    A magnitude on a midpoint goes to the larger level. Index ``i`` is level ``q = 2^(B_w-1) - 1 - i``.
    """
    levels = torch.from_numpy(level_values(weights, scale)[::-1].copy())
    return levels, (levels[1:] + levels[:-1]) / 2


def level_index(weight: Tensor, boundaries: Tensor) -> Tensor:
    """Index into `rising_levels` of every weight's nearest magnitude (int32)."""
    return torch.bucketize(weight.detach().abs().contiguous(), boundaries.to(weight.dtype), right=True, out_int32=True)


def quantise(weight: Tensor, weights: LogWeights, scale: int, shifts: Tensor | None = None) -> Tensor:
    """Nearest logarithmic level of every weight (numerics, section 2) with a straight-through gradient.

    Args:
        weight: ``[outputs, ...]``; any shape without ``shifts``.
        weights: the weight format.
        scale: ``k``.
        shifts: ``s_c`` of each output, int64 ``[outputs]``, whose levels are halved so often (section 8); None for none.

    >>> quantise(torch.tensor([0.9, -0.6, 1e-4, 7.0]), LogWeights(), 0).tolist()
    [1.0, -0.5, 0.0, 1.0]
    >>> quantise(torch.tensor([[0.9, 7.0], [0.3, 7.0]]), LogWeights(), 0, torch.tensor([0, 1])).tolist()
    [[1.0, 1.0], [0.25, 0.5]]
    """
    levels = rising_levels(weights, scale)
    if shifts is None:
        return _Quantise.apply(weight, *levels)  # type: ignore[no-any-return,no-untyped-call]
    finer = halvings(shifts, weight)
    return _Quantise.apply(weight * finer, *levels) / finer  # type: ignore[no-any-return,no-untyped-call]


def halvings(shifts: Tensor, like: Tensor) -> Tensor:
    """``2^shifts`` to multiply the outputs ``[outputs, ...]`` of a weight with, in its type: exact.

    >>> halvings(torch.tensor([0, 3]), torch.zeros(2, 5)).tolist()
    [[1.0], [8.0]]
    """
    return torch.ldexp(like.new_ones(len(shifts)), shifts).reshape(-1, *[1] * (like.dim() - 1))


def round_bias(bias: Tensor, exponent: int | Tensor) -> Tensor:
    """Bias on the grid ``2^-G`` (numerics, section 3) with a straight-through gradient.

    ``exponent`` is ``G``, or ``G + s_c`` of each output, int64 ``[outputs]``.

    >>> round_bias(torch.tensor([0.5, 1.5, 0.3]), 0).tolist()
    [0.0, 2.0, 0.0]
    """
    return _RoundBias.apply(bias, exponent)  # type: ignore[no-any-return,no-untyped-call]


def straight_through(real: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, whose gradient goes to ``real``.

    >>> real = torch.tensor([0.3], requires_grad=True)
    >>> straight_through(real, torch.tensor([0.25])).backward()
    >>> real.grad.tolist()
    [1.0]
    """
    return _StraightThrough.apply(real, rounded)  # type: ignore[no-any-return,no-untyped-call]


def best_scale(
    weight: Tensor,
    code: Code,
    weights: LogWeights,
    *,
    accumulator_bits: int = 32,
    planes: bool = False,
    fits: Callable[[int], bool] | None = None,
) -> int:
    """The scale ``k`` in -256..256 with the least squared error on ``weight``; of equally good ones the smaller.

    Not considered are scales whose membrane exponent ``G`` leaves fewer than 4 bits above the firing level, so that sums
    find room in ``accumulator_bits``, scales that ``fits`` refuses, and scales so coarse that no weight is nearest to the
    largest level (one level finer is as good). The search ends where clipping alone costs more than the best scale so far.
    If no other scale is left, the finest of the coarse ones that fits is taken, at last -256.

    Raises:
        ValueError: a weight is not finite.
    """
    weight = weight.detach().double().flatten()
    magnitude = weight.abs()
    scales = scale_range(magnitude, code, weights, accumulator_bits=accumulator_bits, planes=planes)
    best, least = None, math.inf
    for scale in scales if magnitude.any() else ():
        levels, boundaries = rising_levels(weights, scale)
        if float((magnitude - levels[-1]).clamp_(min=0).square_().sum()) > least:
            break
        error = float((quantise_forward(weight, levels, boundaries) - weight).square_().sum())
        if error < least and (fits is None or fits(scale)):
            best, least = scale, error
    coarse = range(min(scales.start, scales.stop - 1), -256, -1)
    return next((scale for scale in coarse if fits is None or fits(scale)), -256) if best is None else best


def scale_range(magnitude: Tensor, code: Code, weights: LogWeights, *, accumulator_bits: int, planes: bool) -> range:
    """The scales to choose from: of the coarsest whose largest level some weight takes, to the finest with 4 bits above 1.

    Raises:
        ValueError: a weight is not finite.
    """
    if not bool(torch.isfinite(magnitude).all()):
        raise ValueError("weights must be finite, not NaN or infinite")
    peak = float(magnitude.max()) if magnitude.numel() else 0.0
    rho = weights.levels_per_octave
    unscaled = membrane_exponent(code, weights, 0, planes=planes)
    largest = min(256, rho * (accumulator_bits - 5 - unscaled) + rho - 1)
    first = 0 if peak == 0.0 else max(-256, -rho * (math.frexp(peak)[1] + 1))
    while peak and first < largest and weights.level(first) + weights.level(first + 1) > 2 * Fraction(peak):
        first += 1
    return range(first, largest + 1)


def shared_scale(errors: Callable[[int], Tensor], scales: Iterable[int], rho: int) -> tuple[int, Tensor] | None:
    """The scale ``k`` of a layer and the shifts of its outputs whose errors add up to the least (numerics, section 8).

    Each output takes the ``s`` in 0..7 with the least error at ``k + rho * s``, of equally good ones the smallest; of equally
    good ``k`` the largest is taken, so that shifts stay small.

    Args:
        errors: of each output at a scale, float64 ``[outputs]``; infinite where it cannot have it.
        scales: the ``k`` to choose from, rising.
        rho: levels of an octave, by which a shift makes the scale finer.

    Returns:
        ``k`` and the shifts, int64 ``[outputs]``; None where no ``k`` suits all outputs.

    >>> alone = {0: [0.0, 3.0], 1: [1.0, 2.0], 2: [4.0, 0.0]}
    >>> shared_scale(lambda k: torch.tensor(alone.get(k, [math.inf] * 2)), range(3), 1)
    (0, tensor([0, 2]))
    """
    best, least = None, math.inf
    for scale in scales:
        found = torch.stack([errors(scale + rho * shift) for shift in range(MAX_SHIFT + 1)])
        error, shifts = found.min(dim=0)
        total = float(error.sum())
        if total <= least and total < math.inf:
            best, least = (scale, shifts), total
    return best
