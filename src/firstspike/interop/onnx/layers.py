"""What an ONNX operator is in PyTorch: modules with the graph's weights, float, channels first."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx.graph import Operator

CONVOLUTIONS: dict[int, Any] = {
    3: nn.Conv1d,
    4: nn.Conv2d,
    5: nn.Conv3d,
}
NORMS: dict[int, Any] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
MAXIMA: dict[int, Any] = {3: nn.MaxPool1d, 4: nn.MaxPool2d, 5: nn.MaxPool3d}
AVERAGES: dict[int, Any] = {3: nn.AvgPool1d, 4: nn.AvgPool2d, 5: nn.AvgPool3d}

Pads = tuple[tuple[int, ...], tuple[int, ...]]
"""Padding before and behind, one entry for each axis of the image."""


def tensor(array: np.ndarray) -> Tensor:
    """A weight: double stays double, everything else becomes single precision."""
    wanted = np.float64 if array.dtype == np.float64 else np.float32
    return torch.from_numpy(np.array(array, dtype=wanted))


def set_weights(module: nn.Module, **arrays: np.ndarray | None) -> nn.Module:
    """A module with weights in place of its own, in their type."""
    for name, array in arrays.items():
        if array is not None:
            value = tensor(array)
            kept = getattr(module, name)
            setattr(module, name, nn.Parameter(value) if isinstance(kept, nn.Parameter) else value)
    return module


# ---- windows ------------------------------------------------------------------------------------------------------


def window(
    operator: Operator, kernel: Sequence[int], size: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], Pads]:
    """Stride, dilation and padding of an operator that slides a window of ``kernel`` over an image of ``size``."""
    attributes = operator.attributes
    axes = len(kernel)
    stride = tuple(attributes.get("strides", [1] * axes))
    dilation = tuple(attributes.get("dilations", [1] * axes))
    automatic = attributes.get("auto_pad", "NOTSET")
    pads = list(attributes.get("pads", [0] * 2 * axes))
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        outputs = [-(-extent // step) for extent, step in zip(size, stride, strict=True)]
        reach = [(count - 1) * apart + 1 for count, apart in zip(kernel, dilation, strict=True)]
        total = [
            max(0, (count - 1) * step + span - extent)
            for count, step, span, extent in zip(outputs, stride, reach, size, strict=True)
        ]
        less, more = [extra // 2 for extra in total], [extra - extra // 2 for extra in total]
        pads = [*less, *more] if automatic == "SAME_UPPER" else [*more, *less]
    elif automatic == "VALID":
        pads = [0] * 2 * axes
    return stride, dilation, (tuple(pads[:axes]), tuple(pads[axes:]))


def convolution(
    operator: Operator, weight: np.ndarray, bias: np.ndarray | None, size: Sequence[int], more: Pads
) -> nn.Module:
    """A convolution; ``more`` is padding by zeros that stood before it.

    PyTorch pads alike on both sides: where the graph does not, the kernel gets zeros on the side of less padding, which
    computes the same.
    """
    stride, dilation, (before, behind) = window(operator, weight.shape[2:], size)
    before = tuple(a + b for a, b in zip(before, more[0], strict=True))
    behind = tuple(a + b for a, b in zip(behind, more[1], strict=True))
    if before != behind:
        if any(apart != 1 for apart in dilation):
            raise UnsupportedError(
                f"{operator.path}: Conv with dilation must pad alike on both sides, not {before, behind}"
            )
        sides = [(max(0, b - a), max(0, a - b)) for a, b in zip(before, behind, strict=True)]
        weight = np.pad(weight, [(0, 0), (0, 0), *sides])
    padding = tuple(max(a, b) for a, b in zip(before, behind, strict=True))
    groups = int(operator.attributes.get("group", 1))
    kind = CONVOLUTIONS[weight.ndim]
    made: nn.Module = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    return set_weights(made, weight=weight, bias=bias)


def pointwise(weight: np.ndarray, bias: np.ndarray | None = None, *, groups: int = 1, axes: int = 2) -> nn.Module:
    """A convolution of one pixel over images of so many axes, ``weight`` ``[c_out, c_in / groups]``."""
    kind = CONVOLUTIONS[2 + axes]
    made: nn.Module = kind(
        weight.shape[1] * groups, weight.shape[0], 1, groups=groups, bias=bias is not None, device="meta"
    )
    return set_weights(made, weight=weight.reshape(*weight.shape, *[1] * axes), bias=bias)


def linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    """A linear layer, ``weight`` ``[outputs, inputs]``."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    set_weights(made, weight=weight, bias=bias)
    return made


def pool(operator: Operator, size: Sequence[int], out: Sequence[int], more: Pads, *, positive: bool) -> nn.Module:
    """A max or average pooling.

    Args:
        operator: the node.
        size: rows and columns of what it reads.
        out: rows and columns of what it makes.
        more: padding by zeros that stood before it.
        positive: whether nothing that it reads is below 0, so that zeros are as good as nothing to a maximum.
    """
    kernel = tuple(operator.attributes["kernel_shape"])
    stride, dilation, own = window(operator, kernel, size)
    maximum = operator.kind == "MaxPool"
    counted = bool(operator.attributes.get("count_include_pad", 0))
    padded, padded_before = any(map(any, own)), any(map(any, more))
    before, behind = (tuple(a + b for a, b in zip(*sides, strict=True)) for sides in zip(own, more, strict=True))
    if padded_before and (not positive if maximum else padded and not counted):
        raise UnsupportedError(f"{operator.path}: {operator.kind} must not read zeros that a Pad adds; pad in it")
    if before != behind:
        raise UnsupportedError(
            f"{operator.path}: {operator.kind} must pad alike on both sides, not {before} before and {behind} behind; "
            f"export the network with symmetric padding"
        )
    if not maximum and any(apart != 1 for apart in dilation):
        raise UnsupportedError(f"{operator.path}: AveragePool must have dilation 1, not {dilation!r}")
    rank = len(kernel) + 2
    # a size that both ways of rounding give alike needs no ceil mode
    floor = [
        (extent + a + b - apart * (count - 1) - 1) // step + 1
        for extent, a, b, apart, count, step in zip(size, before, behind, dilation, kernel, stride, strict=True)
    ]
    ceil = list(out) != floor
    sizes: list[Any] = [kernel, stride, before]
    apart: Any = dilation
    if rank == 3:  # PyTorch keeps what it is given
        sizes, apart = [size for (size,) in sizes], dilation[0]
    if maximum:
        return MAXIMA[rank](*sizes, apart, ceil_mode=ceil)  # type: ignore[no-any-return]
    counts = counted or padded_before or not padded
    return AVERAGES[rank](*sizes, ceil_mode=ceil, count_include_pad=counts)  # type: ignore[no-any-return]


# ---- norms and activations ----------------------------------------------------------------------------------------


def norm(operator: Operator, rank: int, arrays: Sequence[np.ndarray]) -> nn.Module:
    """Batch norm; ``arrays``: scale, bias, mean, variance."""
    if operator.attributes.get("training_mode", 0):
        raise UnsupportedError(f"{operator.path}: BatchNormalization must be exported in evaluation mode")
    scale, bias, mean, variance = arrays
    made = NORMS[rank](len(scale), eps=float(operator.attributes.get("epsilon", 1e-5)))
    return set_weights(made, weight=scale, bias=bias, running_mean=mean, running_var=variance).eval()


def activation(operator: Operator, arrays: Sequence[np.ndarray | None]) -> nn.Module | None:
    """A function of single values, or None if the operator is none; ``arrays``: its constants, None where there is none."""
    given = operator.attributes
    made: dict[str, Callable[[], nn.Module]] = {
        "Relu": nn.ReLU,
        "Sigmoid": nn.Sigmoid,
        "Tanh": nn.Tanh,
        "HardSwish": nn.Hardswish,
        "Softplus": nn.Softplus,
        "Mish": nn.Mish,
        "Softsign": nn.Softsign,
        "Selu": nn.SELU,
    }
    if operator.kind in made:
        return made[operator.kind]()
    if operator.kind == "LeakyRelu":
        return nn.LeakyReLU(float(given.get("alpha", 0.01)))
    if operator.kind in ("Elu", "Celu"):
        return (nn.ELU if operator.kind == "Elu" else nn.CELU)(float(given.get("alpha", 1.0)))
    if operator.kind == "Gelu":
        return nn.GELU(given.get("approximate", "none"))
    if operator.kind in ("Softmax", "LogSoftmax"):
        return (nn.Softmax if operator.kind == "Softmax" else nn.LogSoftmax)(dim=1)
    if operator.kind == "LRN":
        options = {"alpha": given.get("alpha", 1e-4), "beta": given.get("beta", 0.75), "k": given.get("bias", 1.0)}
        return nn.LocalResponseNorm(int(given["size"]), **options)
    if operator.kind == "PRelu" and arrays[1] is not None:
        slope = arrays[1].reshape(-1)
        return set_weights(nn.PReLU(slope.size), weight=slope)
    if operator.kind == "Clip":
        return _clip(given, arrays)
    return None


def _clip(given: Any, arrays: Sequence[np.ndarray | None]) -> nn.Module:
    bounds = [given.get("min"), given.get("max")]
    for place, array in enumerate(arrays[1:3]):
        bounds[place] = None if array is None else float(array)
    low, high = (None if bound is None or abs(bound) > 1e30 else float(bound) for bound in bounds)
    if low == 0 and high is None:
        return nn.ReLU()
    if low == 0 and high == 6:
        return nn.ReLU6()
    return nn.Hardtanh(-np.inf if low is None else low, np.inf if high is None else high)
