"""3x3 convolutions of small maps as one matrix product, for training in bfloat16 on a CPU.

oneDNN's direct convolutions tile along a row of pixels; on maps of 4x4 and 2x2 most of a tile stays empty. There the
unfolded images times the weights are 2 to 10 times faster (`benchmarks/training.py`), and with many channels still
faster up to 8x8.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_SIDE = 4
"""Height and width in pixels of the largest map that is unfolded."""

WIDE, LARGEST_WIDE_SIDE = 512, 8
"""Channels, of input and output, from which on larger maps are unfolded too, and their largest height and width."""

_TAPS = 9


def convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv`` of ``x`` with these weights and bias in place of its own, the fastest way there is.

    Args:
        conv: says stride, padding, dilation and groups.
        x: ``[n, C, H, W]``.
        weight: ``[O, C // groups, kh, kw]``.
        bias: ``[O]`` or None.
    """
    if not _unfolds(conv, x):
        return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    with torch.autocast("cpu", enabled=False):
        y: Tensor = _Unfolded.apply(x.bfloat16(), weight.bfloat16())  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias.to(y.dtype).reshape(1, -1, 1, 1)


def _unfolds(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether the matrix product applies: autocast to bfloat16 on a CPU, a plain 3x3 convolution, a small map."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and max(x.shape[-2:]) <= (LARGEST_WIDE_SIDE if min(*conv.weight.shape[:2]) >= WIDE else LARGEST_SIDE)
        and conv.kernel_size == (3, 3)
        and conv.stride == conv.padding == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def _unfold(x: Tensor) -> Tensor:
    """The 3x3 neighbourhood of every pixel, zeros beyond the border: ``[n, C, H, W]`` to ``[n H W, 9 C]``."""
    n, c, h, w = x.shape
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    image, row, pixel, _ = padded.stride()
    windows = padded.as_strided((n, h, w, 3, 3, c), (image, row, pixel, row, pixel, 1))
    return windows.reshape(n * h * w, _TAPS * c)


class _Unfolded(torch.autograd.Function):
    """A 3x3 convolution with a border of one zero, by matrix products forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        n, c, h, w = x.shape
        weight = weight.contiguous(memory_format=torch.channels_last)
        columns = _unfold(x)
        y = functional.linear(columns, weight.permute(0, 2, 3, 1).reshape(-1, _TAPS * c))
        ctx.save_for_backward(columns, weight)
        ctx.shape = x.shape
        return y.view(n, h, w, -1).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        columns, weight = ctx.saved_tensors
        n, c, h, w = ctx.shape
        o = len(weight)
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, o)
        of_weight = (flat.t().contiguous() @ columns).view(o, 3, 3, c).permute(0, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            return None, of_weight
        # The gradient of the images is the convolution of the gradient with the filters turned by 180 degrees.
        turned = weight.permute(2, 3, 0, 1).reshape(_TAPS, o, c).index_select(0, torch.arange(_TAPS - 1, -1, -1))
        of_x = _unfold(gradient) @ turned.reshape(_TAPS * o, c)
        return of_x.view(n, h, w, c).permute(0, 3, 1, 2), of_weight
