"""What the functions and methods that a traced network calls compute."""

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from firstspike.cat.counterparts import (
    MOVED,
    adaptive_average,
    adaptive_max,
    average,
    clip,
    final,
    flatten,
    image_of,
    line,
    max_pool,
    reshape,
    upsample,
)
from firstspike.cat.operations import (
    ARITHMETIC,
    FINAL,
    MOVES,
    RESHAPES,
    SAME,
    Extent,
    Operation,
    UnsupportedError,
    advice,
    bind,
    caller_of,
    function_name,
    path_of,
)

POOLS = (
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "max_pool1d",
    "avg_pool1d",
    "adaptive_avg_pool1d",
    "adaptive_max_pool1d",
)
"""Functions that pool."""


def of_function(node: fx.Node, training: fx.Node) -> Operation:
    """The operation of a call, and of the same call in training mode.

    Raises:
        UnsupportedError: it cannot be converted.
    """
    name, path = function_name(node), path_of(node)
    if name is None:
        called = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        raise UnsupportedError(f"{path}: the function {called!r} cannot be converted; {advice(called)}")
    if name == "getitem":
        return _part(node, path)
    affine = _affine(node, name, path)
    if affine is not None:
        return affine
    if name in ("add", "iadd") and any(type(value) is int and value == 0 for value in node.args):  # as sum() begins
        return Operation(kind="same", path=path, inputs=tuple(node.all_input_nodes))
    if name == "cat":
        return _cat(node, path)
    image = image_of(node, path)
    moving = _moving(node, name, path, image)
    if moving is not None:
        return moving
    bound = bind(node, name)
    if name in POOLS:
        return _pool(path, image, name, bound)
    if name in ("dropout", "dropout2d"):
        return _dropout(node, name, image, bound, bind(training, name))
    return _computing(path, image, name, bound)


def _moving(node: fx.Node, name: str, path: str, image: fx.Node) -> Operation | None:
    """What takes values apart, moves, reshapes or keeps them, and what may only come last; None for other operations."""
    if name in ("chunk", "split"):
        if bind(node, name).get("dim", 0) not in (1, -3) or len(image.meta.get("shape", ())) != 4:
            raise UnsupportedError(f"{path}: {name} must be along the channels of an image, dim=1")
        return Operation(kind="pieces", path=path, inputs=(image,))
    if name == "getattr":
        if node.args[1] == "data":
            return Operation(kind="same", path=path, inputs=(image,))
        raise UnsupportedError(f"{path}: the attribute {node.args[1]!r} of an image cannot be converted; {advice('')}")
    if name in SAME:
        return _same(node, path, image, name)
    if name in RESHAPES and name != "flatten":
        shape = [argument for argument in node.args[1:] if not isinstance(argument, fx.Node)]
        shape = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return reshape(path, image, name, f"to {shape!r}", node)
    if name in FINAL:
        dims = [node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)] if "softmax" in name else [1]
        return final(path, image, dims[0])
    if name in MOVES:
        if name == "interpolate":
            return upsample(path, image, node.kwargs.get("mode", node.args[3] if len(node.args) > 3 else "nearest"))
        return Operation(kind="move", path=path, inputs=(image,), rule=MOVED.format(name))
    return None


def _computing(path: str, image: fx.Node, name: str, bound: dict[str, Any]) -> Operation:
    """Clips, sums, padding, flattening and means."""
    if name in ("relu", "relu_"):
        return Operation(kind="relu", path=path, inputs=(image,))
    if name == "relu6":
        return clip(path, image, 0, 6.0)
    if name == "hardtanh":
        return clip(path, image, bound.get("min_val", -1.0), bound.get("max_val", 1.0))
    if name in ("clamp", "clamp_", "clip", "clamp_min"):
        return clip(path, image, bound.get("min"), bound.get("max"))
    if name in ("add", "add_", "iadd"):
        other = bound.get("other")
        if not isinstance(other, fx.Node):
            raise UnsupportedError(f"{path}: only two images can be added, not {other!r}; a layer's bias adds a number")
        return Operation(kind="add", path=path, inputs=(image, other))
    if name == "pad":
        return _pad(path, image, bound)
    if name == "flatten":
        return flatten(path, image, bound.get("start_dim", 0), bound.get("end_dim", -1))
    assert name == "mean"
    return _mean(path, image, bound)


def _mean(path: str, image: fx.Node, bound: dict[str, Any]) -> Operation:
    axes = bound.get("dim")
    rule = f"mean must be over the image, dim=(2, 3), not {axes!r}"
    axes = (axes,) if isinstance(axes, int) else axes
    if not isinstance(axes, list | tuple) or not all(isinstance(axis, int) for axis in axes):
        raise UnsupportedError(f"{path}: {rule}")
    rank = len(image.meta["shape"])
    return Operation(
        kind="mean", path=path, inputs=(image,), axes=tuple(sorted(axis % rank for axis in axes)), rule=rule
    )


def _pool(path: str, image: fx.Node, name: str, bound: dict[str, Any]) -> Operation:
    if name == "max_pool2d":
        options = (bound.get("dilation", 1), bound.get("ceil_mode", False), bound.get("return_indices", False))
        module = max_pool(path, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *options)
        return Operation(kind="maxpool", path=path, inputs=(image,), module=module)
    if name == "avg_pool2d":
        divisor = (bound.get("ceil_mode"), bound.get("count_include_pad", True), bound.get("divisor_override"))
        return average(path, image, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *divisor)
    if name == "adaptive_avg_pool2d":
        return adaptive_average(path, image, bound["output_size"])
    if name == "adaptive_max_pool2d":
        return adaptive_max(path, image, bound["output_size"], bound.get("return_indices", False))
    if name == "max_pool1d":
        options = (bound.get("dilation", 1), bound.get("ceil_mode", False), bound.get("return_indices", False))
        sizes = (line(bound["kernel_size"]), line(bound.get("stride")), line(bound.get("padding", 0), 0))
        return Operation(kind="maxpool", path=path, inputs=(image,), module=max_pool(path, *sizes, *options), line=True)
    if name == "avg_pool1d":
        options = (bound.get("ceil_mode"), bound.get("count_include_pad", True), None)
        sizes = (line(bound["kernel_size"]), line(bound.get("stride")), line(bound.get("padding", 0), 0))
        return replace(average(path, image, *sizes, *options), line=True)
    if name == "adaptive_avg_pool1d":
        return replace(adaptive_average(path, image, line(bound["output_size"])), line=True)
    assert name == "adaptive_max_pool1d"
    return replace(adaptive_max(path, image, line(bound["output_size"]), bound.get("return_indices", False)), line=True)


def _part(node: fx.Node, path: str) -> Operation:
    """``x[:, first:last:step, ::rows, ::columns]``: some channels, and every so many rows and columns from the first on."""
    image, given = node.args
    rule = (
        f"of an image only channels and every so many rows and columns can be taken, as x[:, :8, ::2, ::2], not {given!r}; use "
        f"separate layers for the parts"
    )
    if isinstance(image, fx.Node) and function_name(image) in ("chunk", "split") and isinstance(given, int):
        sizes = image.meta["pieces"]
        given %= len(sizes)
        start = sum(sizes[:given])
        return Operation(
            kind="channels", path=path, inputs=(image,), part=slice(start, start + sizes[given]), stride=(1, 1)
        )
    entries = list(given) if isinstance(given, tuple) else [given]
    slices = [entry for entry in entries if isinstance(entry, slice)]
    slices += [slice(None)] * (4 - len(slices))
    fixed = not any(isinstance(value, fx.Node) for entry in slices for value in (entry.start, entry.stop, entry.step))
    batch, channels, *size = slices[:4]
    if (
        not isinstance(image, fx.Node)
        or not fixed
        or not all(isinstance(entry, slice) for entry in entries)
        or len(entries) > 4
        or batch != slice(None)
        or any(entry.start not in (None, 0) or entry.stop is not None for entry in size)
    ):
        if isinstance(image, fx.Node) and fixed and node.all_input_nodes == [image]:
            return Operation(kind="move", path=path, inputs=(image,), rule=rule)
        raise UnsupportedError(f"{path}: {rule}")
    stride = (size[0].step or 1, size[1].step or 1)
    part = None if channels == slice(None) else channels
    return Operation(kind="channels", path=path, inputs=(image,), part=part, stride=stride)


def _pad(path: str, image: fx.Node, bound: dict[str, Any]) -> Operation:
    given, mode = bound.get("pad"), bound.get("mode", "constant")
    widths = list(given) if isinstance(given, list | tuple) else []
    numbers = bool(widths) and all(isinstance(width, int) for width in widths)
    if not numbers or mode != "constant" or bound.get("value") not in (None, 0, 0.0):
        raise UnsupportedError(
            f"{path}: pad can only put zeros around, mode='constant' and value=0, not {bound.get('value')!r} of {mode!r}"
        )
    if len(widths) == 6 and not any(widths[:4]) and min(widths) >= 0:
        return Operation(kind="channels", path=path, inputs=(image,), pad=(widths[4], widths[5]))
    return Operation(kind="move", path=path, inputs=(image,), rule=MOVED.format("pad"))


def _affine(node: fx.Node, name: str, path: str) -> Operation | None:
    """An image times a number or a parameter, or shifted by one; None for other operations."""
    given = (*node.args, *node.kwargs.values())
    images = [source for source in given if isinstance(source, fx.Node) and "constant" not in source.meta]
    if name not in ARITHMETIC or len(node.args) > 2 or set(node.kwargs) - {"other"}:
        return None
    if len(images) == 2:
        if name in ("add", "add_", "iadd"):
            return None
        raise UnsupportedError(
            f"{path}: the function {name!r} of two images cannot be converted; {advice(name.strip('i_'))}"
        )
    if any(isinstance(value, Extent) for value in given):
        raise UnsupportedError(
            f"{path}: a number read off a shape cannot be converted; write it down, or use x.mean((2, 3))"
        )
    if len(images) != 1 or (name in ("add", "iadd") and 0 in [value for value in node.args if type(value) is int]):
        return None
    return Operation(kind="affine", path=path, inputs=(images[0],))


def _cat(node: fx.Node, path: str) -> Operation:
    bound = bind(node, "cat")
    images = bound.get("tensors")
    if not isinstance(images, list | tuple) or not all(isinstance(i, fx.Node) for i in images):
        raise UnsupportedError(f"{path}: cat must be given a list of images, not {images!r}")
    if bound.get("dim", 0) != 1:
        raise UnsupportedError(f"{path}: cat must be along the channels, dim=1, not {bound.get('dim', 0)!r}")
    return Operation(kind="cat", path=path, inputs=tuple(images))


def _same(node: fx.Node, path: str, image: fx.Node, name: str) -> Operation:
    """What copies an image, or moves it to another device or type of floating point."""
    dtype = node.meta.get("dtype")
    if dtype not in (torch.float32, torch.float64):
        raise UnsupportedError(f"{path}: {name} must keep single or double precision, not make {dtype}; leave it out")
    return Operation(kind="same", path=path, inputs=(image,))


def _dropout(node: fx.Node, name: str, image: fx.Node, bound: dict[str, Any], training: dict[str, Any]) -> Operation:
    path = path_of(node)
    if bound.get("training", True):
        raise UnsupportedError(f"{path}: {name} must be given training=self.training, or it drops in evaluation too")
    if not training.get("training", True):
        return Operation(kind="same", path=path, inputs=(image,))
    share = bound.get("p", 0.5)
    return Operation(
        kind="dropout",
        path=path,
        inputs=(image,),
        module=nn.Dropout(share) if name == "dropout" else nn.Dropout2d(share),
        owner=caller_of(node),
    )
