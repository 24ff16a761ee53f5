"""Operations that stand for modules and for functions alike: clips, upsampling, reshapes and pooling."""

from dataclasses import replace
from typing import Any

from torch import fx, nn

from firstspike.cat.operations import Extent, MisfitError, Operation, Pair, UnsupportedError

MOVED = "{} must give a map again: channels chosen, pixels repeated or shuffled, zeros around what a Conv2d reads"
"""The rule of a move, for the name of what moves."""


def clip(path: str, image: fx.Node, low: Any, high: Any) -> Operation:
    """``min(max(x, 0), c)``: a ReLU that ends at c."""
    numbers = all(value is None or isinstance(value, int | float) for value in (low, high))
    if not numbers or low != 0 or (high is not None and not high > 0):
        raise UnsupportedError(
            f"{path}: values can be cut to 0 and above, or between 0 and a number, not between {low!r} and {high!r}; replace "
            f"it by nn.ReLU"
        )
    return Operation(kind="relu", path=path, inputs=(image,), clip=None if high is None else float(high))


def upsample(path: str, image: fx.Node, mode: Any) -> Operation:
    """Pixels that are repeated."""
    if mode != "nearest":
        raise UnsupportedError(f"{path}: upsampling must repeat pixels, mode='nearest', not {mode!r}")
    rule = MOVED.format("upsampling")
    return Operation(kind="move", path=path, inputs=(image,), rule=f"{rule}, by whole factors")


def final(path: str, image: fx.Node, axis: Any) -> Operation:
    """What keeps the largest value the largest, over the classes."""
    shape = image.meta.get("shape", ())
    if axis is None and len(shape) != 3:
        axis = 1
    if not isinstance(axis, int) or not shape or axis % len(shape) == 0:
        raise UnsupportedError(f"{path}: it must be over the classes, dim=1, not {axis!r}")
    return Operation(kind="final", path=path, inputs=(image,), axes=(axis % len(shape),))


def image_of(node: fx.Node, path: str) -> fx.Node:
    """The image that a node reads first."""
    source = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(source, fx.Node):
        raise UnsupportedError(f"{path}: its first argument must be an image, not {source!r}")
    return source


def flatten(path: str, image: fx.Node, start: Any, end: Any) -> Operation:
    """A flattening of all axes but the first."""
    rule = f"flatten must be from axis 1 to the last, not ({start!r}, {end!r}); use (1, -1)"
    return Operation(kind="reshape", path=path, inputs=(image,), rule=rule)


def reshape(path: str, image: fx.Node, name: str, what: str, node: fx.Node) -> Operation:
    """The same values in another shape, which must not depend on other images."""
    call = "view" if name == "view" else "reshape"
    rule = f"{name} can only flatten, as x.{call}(x.size(0), -1), not {what}; use nn.Flatten()"
    if any(source is not image for source in node.all_input_nodes) and name not in ("reshape_as", "view_as"):
        raise UnsupportedError(f"{path}: {rule}")
    return Operation(kind="reshape", path=path, inputs=(image,), rule=rule)


def max_pool(
    path: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, indices: Any
) -> nn.MaxPool2d:
    """The maximum over a window, of rows and columns."""
    if dilation not in (1, (1, 1), [1, 1]) or ceil_mode or indices:
        raise UnsupportedError(f"{path}: max pooling must have dilation 1, ceil_mode=False and return_indices=False")
    return nn.MaxPool2d(_two(path, kernel), _two(path, stride or kernel), _two(path, padding))


def average(
    path: str, image: fx.Node, kernel: Any, stride: Any, padding: Any, ceil_mode: Any, counts_pad: Any, divisor: Any
) -> Operation:
    """An average over a window, or over an image of whatever size."""
    pad = _two(path, padding)
    if ceil_mode or divisor or (pad != (0, 0) and not counts_pad):
        raise UnsupportedError(
            f"{path}: average pooling must have ceil_mode=False, divisor_override=None and count_include_pad=True"
        )
    window, step = _two(path, kernel), _two(path, stride or kernel)
    given = kernel if isinstance(kernel, tuple | list) else (kernel,)
    if all(isinstance(extent, Extent) for extent in given) and window == step == _size(image) and pad == (0, 0):
        return Operation(kind="average", path=path, inputs=(image,))  # of whatever size the image is
    return Operation(kind="average", path=path, inputs=(image,), kernel=window, stride=step, padding=pad)


def adaptive_average(path: str, image: fx.Node, size: Any) -> Operation:
    """An average that gives so many rows and columns."""
    if size in (1, (1, 1), [1, 1]):
        return Operation(kind="average", path=path, inputs=(image,))
    wanted = size if isinstance(size, tuple | list) else (size, size)
    found = _size(image)
    outputs = [extent if count is None else count for count, extent in zip(wanted, found, strict=False)]
    if len(wanted) != 2 or not all(isinstance(count, int) and count > 0 for count in outputs):
        raise UnsupportedError(f"{path}: adaptive average pooling must have one or two output sizes, not {size!r}")
    if any(extent % count for extent, count in zip(found, outputs, strict=True)):
        raise MisfitError(
            f"{path}: adaptive average pooling must have an output size that divides the image, "
            f"{found[0]} x {found[1]} pixels, not {size!r}; use AvgPool2d"
        )
    kernel = (found[0] // outputs[0], found[1] // outputs[1])
    return Operation(kind="average", path=path, inputs=(image,), kernel=kernel, stride=kernel)


def adaptive_max(path: str, image: fx.Node, size: Any, indices: Any) -> Operation:
    """A maximum that gives so many rows and columns."""
    average = adaptive_average(path, image, size)
    if indices:
        raise UnsupportedError(f"{path}: max pooling must have return_indices=False")
    pool = nn.AdaptiveMaxPool2d(1) if average.kernel is None else nn.MaxPool2d(average.kernel)
    return replace(average, kind="maxpool", module=pool)


def _size(image: fx.Node) -> Pair:
    """Rows and columns; a sequence is one row."""
    shape = image.meta.get("shape", ())
    return (int(shape[-2]) if len(shape) > 3 else 1, int(shape[-1])) if len(shape) > 2 else (1, 1)


def line(value: Any, across: int = 1) -> Any:
    """A window on a sequence as one of one row."""
    value = value[0] if isinstance(value, tuple | list) and len(value) == 1 else value
    return None if value is None else (Extent(across) if isinstance(value, Extent) else across, value)


def _two(path: str, value: Any) -> Pair:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) == 1:
        pair *= 2
    if len(pair) != 2 or not all(isinstance(extent, int) for extent in pair):
        raise UnsupportedError(
            f"{path}: windows must be given as numbers, not {value!r}; nn.AdaptiveAvgPool2d(1) averages the whole image"
        )
    return (int(pair[0]), int(pair[1]))
