"""Values that only move: what permuting, reshaping, slicing, padding and upsampling make of a map, found by moving its numbers.

The order of a value is an array in the shape in which the network sees it: for each place the number of the value there in
its map, in C order, or -1 for a zero. What an operation moves is what it makes of this array; what the result is, a choice of
channels, pixels that were channels, a frame of zeros, is read off it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from firstspike.cat.layers import Rearrange
from firstspike.cat.tracing import BATCH

Shape = tuple[int, ...]
Frame = tuple[int, int, int, int]
"""Columns left and right, rows above and below, as `torch.nn.functional.pad` takes them."""


def natural(shape: Shape, seen: Shape) -> np.ndarray:
    """The order of a map that is seen in another shape of as many values."""
    return np.arange(prod(shape)).reshape(seen)


def moved(node: fx.Node, modules: Callable[[str], nn.Module], order: np.ndarray) -> np.ndarray:
    """The order of what a node makes of a value, the node's first input, of the given order."""
    places = torch.from_numpy(order + 1).double()[None]  # what is filled in becomes 0
    with torch.no_grad():
        value = _run(node, modules, places)
    return value[0].numpy().astype(np.int64) - 1


def _run(node: fx.Node, modules: Callable[[str], nn.Module], places: Tensor) -> Tensor:
    source = node.all_input_nodes[0]

    def given(argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            if argument is not source:
                return torch.empty((1, *argument.meta["shape"][1:]))
            return places
        return 1 if isinstance(argument, int) and argument == BATCH else argument

    args: Any = fx.node.map_aggregate(node.args, given)
    kwargs: Any = fx.node.map_aggregate(node.kwargs, given)
    if node.op == "call_module":
        return modules(str(node.target))(*args, **kwargs)  # type: ignore[no-any-return]
    if node.op == "call_function":
        return node.target(*args, **kwargs)  # type: ignore[operator,no-any-return]
    return getattr(args[0], str(node.target))(*args[1:], **kwargs)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One layer that moves values: its kind as a step, and its module."""

    kind: str
    module: nn.Module


def shuffled(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """Channels become pixels: output ``(c, r y + i, s x + j)`` is input ``(c r s + i s + j, y, x)`` (numerics, section 7)."""
    (down, across), (n, channels, height, width) = factor, x.shape
    split = x.reshape(n, channels // (down * across), down, across, height, width)
    return split.permute(0, 1, 4, 2, 5, 3).reshape(n, split.shape[1], down * height, across * width)


class PixelShuffle(nn.Module):
    """Channels become pixels, as `shuffled` takes them."""

    def __init__(self, factor: tuple[int, int]) -> None:
        super().__init__()
        self.factor = factor

    def extra_repr(self) -> str:
        """The factor, ``(r, s)``."""
        return repr(self.factor)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c r s, h, w]`` to ``[n, c, r h, s w]``."""
        return shuffled(x, self.factor)


def recognised(shape: Shape, order: np.ndarray) -> tuple[Move, ...] | None:
    """The layers that give a map of this shape this order; None where none here do.

    >>> recognised((4, 1, 1), np.array([[[0]], [[2]], [[1]], [[3]]]))[0].module.channels
    (0, 2, 1, 3)
    """
    if np.array_equal(order.reshape(-1), np.arange(prod(shape))) and order.shape in (shape, (prod(shape),)):
        flat = order.ndim == 1 and len(shape) == 3
        return (Move(kind="flatten", module=nn.Flatten()),) if flat else ()
    if order.ndim == 1:
        if len(order) > 1 << 16:
            return None
        picked = Move(kind="channels", module=Rearrange(tuple(order.tolist())))
        return (Move(kind="flatten", module=nn.Flatten()), picked) if len(shape) == 3 else (picked,)
    if order.ndim != 3 or len(shape) != 3:
        return None
    return _channels(shape, order) or _strided(shape, order) or _shuffled(shape, order)


def _channels(shape: Shape, order: np.ndarray) -> tuple[Move, ...] | None:
    """A choice of channels, some of zeros."""
    if order.shape[1:] != shape[1:]:
        return None
    area = prod(shape[1:])
    picks = np.where(order[:, 0, 0] < 0, -1, order[:, 0, 0] // area)
    expected = np.where(picks[:, None] < 0, -1, picks[:, None] * area + np.arange(area))
    if not np.array_equal(order.reshape(len(order), -1), expected):
        return None
    return (Move(kind="channels", module=Rearrange(tuple(picks.tolist()))),)


def _strided(shape: Shape, order: np.ndarray) -> tuple[Move, ...] | None:
    """Every so many rows and columns from the first on: a window of one pixel."""
    if order.shape[0] != shape[0] or order.size == 0 or order.flat[0] != 0:
        return None
    down = int(order[0, 1, 0]) // shape[2] if order.shape[1] > 1 else shape[1]
    across = int(order[0, 0, 1]) if order.shape[2] > 1 else shape[2]
    if down < 1 or across < 1:
        return None
    if not np.array_equal(order, natural(shape, shape)[:, ::down, ::across]):
        return None
    return (Move(kind="maxpool", module=nn.MaxPool2d(1, (down, across))),)


def _shuffled(shape: Shape, order: np.ndarray) -> tuple[Move, ...] | None:
    """Pixels that were channels, or copies of a pixel, or both."""
    (_, height, width), (channels, rows, columns) = shape, order.shape
    if rows % height or columns % width or rows * columns == height * width:
        return None
    down, across = rows // height, columns // width
    split = order.reshape(channels, height, down, width, across).transpose(0, 2, 4, 1, 3)
    before = split.reshape(channels * down * across, height, width)
    first = _channels(shape, np.ascontiguousarray(before))
    if first is None:
        return None
    shuffle = Move(kind="pixelshuffle", module=PixelShuffle((down, across)))
    return (shuffle,) if _in_order(first[0].module, shape[0]) else (*first, shuffle)


def _in_order(module: nn.Module, channels: int) -> bool:
    return isinstance(module, Rearrange) and module.channels == tuple(range(channels))


def frame(shape: Shape, order: np.ndarray) -> Frame | None:
    """The zeros around a map in this order, if that is all; None otherwise."""
    if order.ndim != 3 or len(shape) != 3 or len(order) != shape[0]:
        return None
    inside = np.argwhere(order[0] == 0)
    if len(inside) != 1:
        return None
    top, left = (int(n) for n in inside[0])
    bottom, right = order.shape[1] - shape[1] - top, order.shape[2] - shape[2] - left
    if min(bottom, right) < 0:
        return None
    around = np.pad(natural(shape, shape), ((0, 0), (top, bottom), (left, right)), constant_values=-1)
    return (left, right, top, bottom) if np.array_equal(order, around) else None


def pointwise(shape: Shape, order: np.ndarray) -> bool:
    """Whether a value of this order has the channels of its map on its last axis, behind all pixels in their order."""
    if len(shape) != 3 or order.ndim < 2 or order.shape[-1] != shape[0]:
        return False
    return np.array_equal(order.reshape(-1, shape[0]), natural(shape, (shape[0], prod(shape[1:]))).T)
