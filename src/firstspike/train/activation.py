"""Activations of conversion-aware training: clip, and decode(encode(x)) of the spike code, with straight-through gradients."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from firstspike.arith import Code, kernel


class _Clip(torch.autograd.Function):
    """``min(max(u, 0), 1)`` with gradient 1 on ``0 < u < 1``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward((u > 0) & (u < 1))
        return u.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return gradient * mask


class _TTFS(torch.autograd.Function):
    """The largest kernel value not above ``u``, or 0, with gradient 1 on ``0 < u < 1``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, levels: Tensor) -> Tensor:
        ctx.save_for_backward((u > 0) & (u < 1))
        return round_down(u, levels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return gradient * mask, None


def kernel_levels(code: Code) -> Tensor:
    """0 and the kernel values in rising order, float64 ``[T + 1]``: what an activation can be."""
    return torch.from_numpy(np.concatenate([[0.0], kernel(code)[::-1]]))


def round_down(u: Tensor, levels: Tensor) -> Tensor:
    """The largest of ``levels`` not above ``u`` (0 below all of them), NaN staying NaN. Exact in every float type.

    Args:
        u: any shape, floating.
        levels: `kernel_levels`, any floating type; kernel values are exact in ``u``'s type for ``M <= 7`` (bfloat16),
            ``M <= 10`` (float16, down to ``2^-14``), and every ``M`` in float32 and float64.
    """
    levels = levels.to(u.dtype)
    index = torch.bucketize(u.detach(), levels[1:], right=True, out_int32=True)
    value = levels[index]
    return torch.where(u.isnan(), u, value)


def clip(u: Tensor) -> Tensor:
    """``min(max(u, 0), 1)``; straight-through gradient on ``0 < u < 1`` (CAT's first stage, arXiv 2208.04494).

    >>> clip(torch.tensor([-1.0, 0.3, 2.0])).tolist()
    [0.0, 0.30000001192092896, 1.0]
    """
    return _Clip.apply(u)  # type: ignore[no-any-return]


def ttfs(u: Tensor, levels: Tensor) -> Tensor:
    """``decode(encode(u))`` (numerics, section 1) with a straight-through gradient on ``0 < u < 1``.

    >>> levels = kernel_levels(Code())
    >>> ttfs(torch.tensor([1.5, 0.84375, 0.84, 0.01, -1.0]), levels).tolist()  # a tie fires
    [1.0, 0.84375, 0.71875, 0.0, 0.0]
    """
    return _TTFS.apply(u, levels)  # type: ignore[no-any-return]
