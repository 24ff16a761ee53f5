"""Fused CPU kernels of the training activations and the quantiser, with plain PyTorch where they do not apply.

Both ways give the same bits; tests compare them. The native extension is optional.
"""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

_native: Any
try:
    _native = import_module("firstspike._native")
except ImportError:  # installed without a compiler
    _native = None

_TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def clip_forward(u: Tensor, *, summed: bool = False) -> tuple[Tensor, Tensor, Tensor | None]:
    """``min(max(u, 0), 1)``, the mask ``0 < u < 1`` (bool), and the sum of all values (float32) if ``summed``.

    Values and mask have ``u``'s shape and memory format.
    """
    if _fused(u):
        out, mask = torch.empty_like(u), torch.empty_like(u, dtype=torch.bool)
        total = _native.clip_forward(
            u.data_ptr(), out.data_ptr(), mask.data_ptr(), u.numel(), _TYPES[u.dtype], torch.get_num_threads(), summed
        )
        return out, mask, torch.tensor(total, dtype=torch.float32) if summed else None
    out = u.clamp(0, 1)
    return out, (u > 0) & (u < 1), out.sum(dtype=torch.float32) if summed else None


def ttfs_forward(u: Tensor, levels: Tensor, *, summed: bool = False) -> tuple[Tensor, Tensor, Tensor | None]:
    """The largest of ``levels`` (0 and the kernel, rising) not above ``u``; mask and sum as in `clip_forward`."""
    if _fused(u):
        out, mask = torch.empty_like(u), torch.empty_like(u, dtype=torch.bool)
        total = _native.ttfs_forward(
            u.data_ptr(),
            out.data_ptr(),
            mask.data_ptr(),
            u.numel(),
            levels[1:].float().numpy(),
            _TYPES[u.dtype],
            torch.get_num_threads(),
            summed,
        )
        return out, mask, torch.tensor(total, dtype=torch.float32) if summed else None
    out = round_down(u, levels)
    return out, (u > 0) & (u < 1), out.sum(dtype=torch.float32) if summed else None


def masked(gradient: Tensor, mask: Tensor, constant: Tensor | None = None) -> Tensor:
    """The gradient, plus a constant (a tensor without axes) if there is one, where the mask is set; 0 elsewhere."""
    if _fused(gradient) and gradient.stride() == mask.stride():
        out = torch.empty_like(gradient)
        _native.masked_backward(
            gradient.data_ptr(),
            mask.data_ptr(),
            out.data_ptr(),
            out.numel(),
            _TYPES[out.dtype],
            torch.get_num_threads(),
            0.0 if constant is None else float(constant),
        )
        return out
    if constant is not None:
        gradient = gradient + constant.to(gradient.dtype)
    return torch.where(mask, gradient, torch.zeros_like(gradient))  # also where the gradient is not finite


def quantise_forward(weight: Tensor, levels: Tensor, boundaries: Tensor) -> Tensor:
    """Nearest signed level of every weight; NaN stays NaN."""
    if weight.dtype == torch.float32 and _fused(weight):
        out = torch.empty_like(weight)
        _native.quantise_forward(
            weight.data_ptr(),
            out.data_ptr(),
            weight.numel(),
            boundaries.numpy().astype(np.float32),
            levels.numpy().astype(np.float32),
            torch.get_num_threads(),
        )
        return out
    index = torch.bucketize(weight.abs().contiguous(), boundaries.to(weight), right=True, out_int32=True)
    return torch.where(weight.isnan(), weight, torch.copysign(levels.to(weight)[index], weight))


def round_down(u: Tensor, levels: Tensor) -> Tensor:
    """The largest of ``levels`` not above ``u`` (0 below all of them), NaN staying NaN, in plain PyTorch.

    Kernel values are exact in ``u``'s type for ``M <= 7`` (bfloat16), ``M <= 10`` (float16, down to ``2^-14``) and every
    ``M`` in float32 and float64, so the comparison is exact.
    """
    levels = levels.to(u)
    index = torch.bucketize(u.contiguous(), levels[1:], right=True, out_int32=True)
    value = torch.empty_like(u).copy_(levels[index])
    return torch.where(u.isnan(), u, value)


def _fused(tensor: Tensor) -> bool:
    if _native is None or tensor.device.type != "cpu" or tensor.dtype not in _TYPES:
        return False
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
