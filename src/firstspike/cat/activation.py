"""Activations of conversion-aware training: clip, and decode(encode(u)) of the spike code, with straight-through gradients."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from firstspike.arith import Code, kernel
from firstspike.cat.kernels import clip_forward, masked, ttfs_forward


class _Clip(torch.autograd.Function):
    """``min(max(u, 0), 1)`` with gradient 1 on ``0 < u < 1``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, summed: bool) -> tuple[Tensor, Tensor | None]:
        out, mask, total = clip_forward(u, summed=summed)
        _keep(ctx, mask, out)
        return out, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None]:
        return _straight_through(ctx, *gradients), None


class _TTFS(torch.autograd.Function):
    """The largest kernel value not above ``u``, or 0, with gradient 1 on ``0 < u < 1``."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, levels: Tensor, summed: bool) -> tuple[Tensor, Tensor | None]:
        out, mask, total = ttfs_forward(u, levels, summed=summed)
        _keep(ctx, mask, out)
        return out, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None, None]:
        return _straight_through(ctx, *gradients), None, None


def _keep(ctx: Any, mask: Tensor, out: Tensor) -> None:
    ctx.save_for_backward(mask)
    ctx.set_materialize_grads(False)
    ctx.dtype = out.dtype


def _straight_through(ctx: Any, gradient: Tensor | None, total: Tensor | None) -> Tensor:
    """The gradients of the values and of their sum, one pass over the mask."""
    (mask,) = ctx.saved_tensors
    if gradient is None:
        gradient = torch.zeros_like(mask, dtype=ctx.dtype)
    return masked(gradient, mask, total)


def kernel_levels(code: Code) -> Tensor:
    """0 and the kernel values in rising order, float64 ``[T + 1]``: what an activation can be."""
    return torch.from_numpy(np.concatenate([[0.0], kernel(code)[::-1]]))


def clip(u: Tensor) -> Tensor:
    """``min(max(u, 0), 1)``; straight-through gradient on ``0 < u < 1`` (CAT's first stage, arXiv 2208.04494).

    >>> clip(torch.tensor([-1.0, 0.3, 2.0])).tolist()
    [0.0, 0.30000001192092896, 1.0]
    """
    return summed_clip(u, summed=False)[0]


def summed_clip(u: Tensor, *, summed: bool = True) -> tuple[Tensor, Tensor | None]:
    """`clip`, and the sum of its values (float32, with gradient) if ``summed``."""
    return _Clip.apply(u, summed)  # type: ignore[no-any-return,no-untyped-call]


def ttfs(u: Tensor, levels: Tensor) -> Tensor:
    """``decode(encode(u))`` (numerics, section 1) with a straight-through gradient on ``0 < u < 1``.

    Args:
        u: membrane values, any shape, floating; NaN stays NaN.
        levels: `kernel_levels` in ``u``'s type and on its device.

    >>> levels = kernel_levels(Code()).float()
    >>> ttfs(torch.tensor([1.5, 0.84375, 0.84, 0.01, -1.0]), levels).tolist()  # a tie fires
    [1.0, 0.84375, 0.71875, 0.0, 0.0]
    """
    return summed_ttfs(u, levels, summed=False)[0]


def summed_ttfs(u: Tensor, levels: Tensor, *, summed: bool = True) -> tuple[Tensor, Tensor | None]:
    """`ttfs`, and the sum of its values (float32, with gradient) if ``summed``."""
    return _TTFS.apply(u, levels, summed)  # type: ignore[no-any-return,no-untyped-call]
