"""What the nodes of a traced network compute: a few kinds of operation, or an error that says what could replace it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

Pair = tuple[int, int]


class Extent(int):
    """A number of pixels, rows or images that was read from a value's shape."""


class UnsupportedError(ValueError):
    """A network holds something that has no spiking counterpart here; the text names it and what could replace it."""


class MisfitError(UnsupportedError):
    """A layer does not take what it reads, at this size of image; ``larger`` says which way it would, if known."""

    def __init__(self, text: str, larger: bool | None = None) -> None:
        super().__init__(text)
        self.larger = larger


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One node of the graph.

    Attributes:
        kind: "linear" (a convolution or linear layer), "norm", "relu", "add", "maxpool", "dropout", "average", "mean" (over
            some axes), "cat" (all of them along the channels), "channels" (some of them, every so many
            pixels), "pieces" (what is taken apart along the channels), "reshape" (the same values in the same order) or "same"
            (what it reads), "move" (the same values elsewhere, some twice, some zero), "affine" (a factor and a shift by
            numbers), or "final" (what only a last layer may have after it: its largest value stays the largest).
        path: of the module, or of the module that calls a function and the function's name.
        inputs: the images it reads.
        module: what computes it, for "linear", "norm", "maxpool" and "dropout".
        kernel, stride, padding: of an average; kernel None for the whole image, stride None for the kernel's.
        part: of "channels": which are taken; stride: rows and columns from one that is taken to the next.
        pad: of "channels": silent ones before and behind.
        axes: of a mean.
        rule: what a "reshape" or "mean" must be, for the error if it is not.
        owner: path of the module that calls a dropout's function, whose mode it follows; None for others.
        clip: where a "relu" ends; None if it does not.
        line: whether the operation is one on sequences ``[n, channels, length]``.
    """

    kind: str
    path: str
    inputs: tuple[fx.Node, ...] = ()
    module: nn.Module | None = None
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: Pair = (0, 0)
    part: slice | None = None
    pad: Pair = (0, 0)
    axes: tuple[int, ...] = ()
    rule: str = ""
    owner: str | None = None
    clip: float | None = None
    line: bool = False


FUNCTIONS: dict[Any, str] = {
    torch.relu: "relu", torch.relu_: "relu_", functional.relu: "relu", functional.relu_: "relu_",
    operator.add: "add", operator.iadd: "iadd", torch.add: "add",
    torch.chunk: "chunk", torch.split: "split",
    torch.cat: "cat", torch.concat: "cat", torch.concatenate: "cat",
    torch.flatten: "flatten", torch.reshape: "reshape", torch.squeeze: "squeeze", torch.unsqueeze: "unsqueeze",
    torch.mean: "mean", torch.clone: "clone", torch.detach: "detach",
    functional.max_pool2d: "max_pool2d", torch.max_pool2d: "max_pool2d",
    functional.avg_pool2d: "avg_pool2d", functional.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    functional.dropout: "dropout", functional.dropout2d: "dropout2d",
    functional.pad: "pad", getattr: "getattr", operator.getitem: "getitem",
    functional.relu6: "relu6", functional.hardtanh: "hardtanh", functional.hardtanh_: "hardtanh",
    torch.clamp: "clamp", torch.clip: "clamp", torch.clamp_min: "clamp_min",
    functional.adaptive_max_pool2d: "adaptive_max_pool2d",
    functional.max_pool1d: "max_pool1d", torch.max_pool1d: "max_pool1d", functional.avg_pool1d: "avg_pool1d",
    functional.adaptive_avg_pool1d: "adaptive_avg_pool1d", functional.adaptive_max_pool1d: "adaptive_max_pool1d",
    functional.interpolate: "interpolate", functional.pixel_shuffle: "pixel_shuffle",
    functional.pixel_unshuffle: "pixel_unshuffle", torch.channel_shuffle: "channel_shuffle",
    torch.permute: "permute", torch.transpose: "transpose", torch.swapaxes: "swapaxes", torch.movedim: "movedim",
    torch.flip: "flip", torch.roll: "roll", torch.narrow: "narrow", torch.select: "select",
    torch.repeat_interleave: "repeat_interleave",
    functional.softmax: "softmax", torch.softmax: "softmax",
    functional.log_softmax: "log_softmax", torch.log_softmax: "log_softmax",
    functional.sigmoid: "sigmoid", torch.sigmoid: "sigmoid", functional.logsigmoid: "logsigmoid",
    operator.mul: "mul", operator.imul: "imul", torch.mul: "mul", operator.sub: "sub", operator.isub: "isub",
    torch.sub: "sub", operator.truediv: "div", operator.itruediv: "idiv", torch.div: "div", operator.neg: "neg",
    torch.neg: "neg",
}  # fmt: skip
"""Functions that can be converted; a function of the same name from elsewhere is another one."""

RESHAPES = ("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "reshape_as", "view_as")
MOVES = (
    "permute", "transpose", "swapaxes", "movedim", "flip", "roll", "narrow", "select", "repeat_interleave", "interpolate",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
)  # fmt: skip
"""Functions that move values."""

ARITHMETIC = ("mul", "mul_", "imul", "sub", "sub_", "isub", "div", "div_", "idiv", "neg", "add", "add_", "iadd")
"""Functions that may read a parameter or a number beside an image."""

FINAL = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
SAME = ("contiguous", "clone", "detach", "float", "double", "to", "type", "type_as", "cuda", "cpu")
METHODS = (
    "relu", "relu_", "mean", "chunk", "split", "clamp", "clamp_", "clip", "clamp_min", *RESHAPES, *SAME, *MOVES, *FINAL,
    "mul", "mul_", "sub", "sub_", "div", "div_", "neg", "add", "add_",
)  # fmt: skip
"""Methods of a tensor that can be converted."""

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "relu": ("input", "inplace"),
    "relu_": ("input",),
    "add": ("input", "other"),
    "add_": ("input", "other"),
    "iadd": ("input", "other"),
    "cat": ("tensors", "dim"),
    "flatten": ("input", "start_dim", "end_dim"),
    "chunk": ("input", "chunks", "dim"),
    "split": ("input", "split_size", "dim"),
    "mean": ("input", "dim", "keepdim"),
    "pad": ("input", "pad", "mode", "value"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": (
        "input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    ),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "adaptive_max_pool2d": ("input", "output_size", "return_indices"),
    "max_pool1d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool1d": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    "adaptive_avg_pool1d": ("input", "output_size"),
    "adaptive_max_pool1d": ("input", "output_size", "return_indices"),
    "relu6": ("input", "inplace"),
    "hardtanh": ("input", "min_val", "max_val", "inplace"),
    "clamp": ("input", "min", "max"),
    "clamp_": ("input", "min", "max"),
    "clip": ("input", "min", "max"),
    "clamp_min": ("input", "min"),
    "dropout": ("input", "p", "training", "inplace"),
    "dropout2d": ("input", "p", "training", "inplace"),
}  # fmt: skip


def function_name(node: fx.Node) -> str | None:
    """The name of a function or method that can be converted, None for any other node."""
    if node.op == "call_function":
        return FUNCTIONS.get(node.target)
    return str(node.target) if node.op == "call_method" and node.target in METHODS else None


def name_of(path: str) -> str:
    """A module's path in the network itself, which is ``net`` in what is traced."""
    return "" if path == "net" else path.removeprefix("net.")


def path_of(node: fx.Node) -> str:
    """The module path, or that of the calling module and the node's name."""
    if node.op == "call_module":
        return name_of(str(node.target))
    return ".".join(filter(None, [caller_of(node), node.name]))


def bind(node: fx.Node, name: str) -> dict[str, Any]:
    """The arguments of a function by name.

    Raises:
        UnsupportedError: an argument has no counterpart.
    """
    names = _SIGNATURES[name]
    bound = dict(zip(names, node.args, strict=False))
    extra = [repr(value) for value in node.args[len(names) :]]
    extra += [f"{key}={value!r}" for key, value in node.kwargs.items() if key not in names]
    if extra:
        raise UnsupportedError(f"{path_of(node)}: {name} cannot be converted with {', '.join(extra)}; leave it out")
    return bound | dict(node.kwargs)


def operation(node: fx.Node, modules: Callable[[str], nn.Module], training: fx.Node) -> Operation:
    """The operation of a node that is a module, function or method.

    Args:
        node: of the graph traced in evaluation mode.
        modules: gives the module of a path.
        training: the same node of the graph traced in training mode.

    Raises:
        UnsupportedError: it cannot be converted.
    """
    if node.op == "call_module":
        return _module(node, modules(str(node.target)))
    return _function(node, training)


# ---- modules ------------------------------------------------------------------------------------------------------


def _module(node: fx.Node, module: nn.Module) -> Operation:
    """Types are compared exactly: a subclass may compute something else."""
    path, kind = path_of(node), type(module)
    image = _image(node, path)

    def found(name: str, layer: nn.Module | None = None) -> Operation:
        return Operation(kind=name, path=path, inputs=(image,), module=layer)

    if isinstance(module, nn.Conv2d | nn.Conv1d) and kind in (nn.Conv2d, nn.Conv1d):
        _check_conv(path, module)
        return replace(found("linear", module), line=kind is nn.Conv1d)
    if kind is nn.Linear:
        return found("linear", module)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return found("norm", module)
    if kind is nn.ReLU:
        return found("relu")
    if isinstance(module, nn.Hardtanh) and kind in (nn.ReLU6, nn.Hardtanh):
        return _clip(path, image, module.min_val, module.max_val)
    if kind in (nn.Upsample, nn.UpsamplingNearest2d):
        return _upsample(path, image, module.mode)
    if kind in (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ZeroPad1d):
        return Operation(kind="move", path=path, inputs=(image,), rule=_MOVED.format(kind.__name__))
    if isinstance(module, nn.Softmax | nn.LogSoftmax) and kind in (nn.Softmax, nn.LogSoftmax):
        return _final(path, image, module.dim)
    if kind in (nn.Sigmoid, nn.LogSigmoid):
        return _final(path, image, 1)
    if isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d:
        options = (module.dilation, module.ceil_mode, module.return_indices)
        return found("maxpool", _max_pool(path, module.kernel_size, module.stride, module.padding, *options))
    if isinstance(module, nn.AvgPool2d) and kind is nn.AvgPool2d:
        divisor = (module.ceil_mode, module.count_include_pad, module.divisor_override)
        return _average(path, image, module.kernel_size, module.stride, module.padding, *divisor)
    if isinstance(module, nn.AdaptiveAvgPool2d) and kind is nn.AdaptiveAvgPool2d:
        return _adaptive_average(path, image, module.output_size)
    if isinstance(module, nn.AdaptiveMaxPool2d) and kind is nn.AdaptiveMaxPool2d:
        return _adaptive_max(path, image, module.output_size, module.return_indices)
    if isinstance(module, nn.MaxPool1d) and kind is nn.MaxPool1d:
        sizes = (_line(module.kernel_size), _line(module.stride), _line(module.padding, 0))
        pool = _max_pool(path, *sizes, module.dilation, module.ceil_mode, module.return_indices)
        return replace(found("maxpool", pool), line=True)
    if isinstance(module, nn.AvgPool1d) and kind is nn.AvgPool1d:
        counts = (module.ceil_mode, module.count_include_pad, None)
        sizes = (_line(module.kernel_size), _line(module.stride), _line(module.padding, 0))
        return replace(_average(path, image, *sizes, *counts), line=True)
    if isinstance(module, nn.AdaptiveAvgPool1d) and kind is nn.AdaptiveAvgPool1d:
        return replace(_adaptive_average(path, image, _line(module.output_size)), line=True)
    if isinstance(module, nn.AdaptiveMaxPool1d) and kind is nn.AdaptiveMaxPool1d:
        return replace(_adaptive_max(path, image, _line(module.output_size), module.return_indices), line=True)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        return _flatten(path, image, module.start_dim, module.end_dim)
    if kind is nn.Unflatten:
        return _reshape(path, image, "Unflatten", "back from a flattened image", node)
    if kind in (nn.Dropout, nn.Dropout2d):
        return found("dropout", module)
    if kind is nn.Identity:
        return found("same")
    raise UnsupportedError(f"{path}: {kind.__name__} cannot be converted; {advice(kind.__name__)}")


_MOVED = "{} must give a map again: channels chosen, pixels repeated or shuffled, zeros around what a Conv2d reads"


def _check_conv(path: str, module: nn.Conv2d | nn.Conv1d) -> None:
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f"{path}: {type(module).__name__} must pad with silence, padding_mode='zeros', not {module.padding_mode!r}"
        )


def _clip(path: str, image: fx.Node, low: Any, high: Any) -> Operation:
    """``min(max(x, 0), c)``: a ReLU that ends at c."""
    numbers = all(value is None or isinstance(value, int | float) for value in (low, high))
    if not numbers or low != 0 or (high is not None and not high > 0):
        raise UnsupportedError(
            f"{path}: values can be cut to 0 and above, or between 0 and a number, not between {low!r} and {high!r}; replace "
            f"it by nn.ReLU"
        )
    return Operation(kind="relu", path=path, inputs=(image,), clip=None if high is None else float(high))


def _upsample(path: str, image: fx.Node, mode: Any) -> Operation:
    if mode != "nearest":
        raise UnsupportedError(f"{path}: upsampling must repeat pixels, mode='nearest', not {mode!r}")
    rule = _MOVED.format("upsampling")
    return Operation(kind="move", path=path, inputs=(image,), rule=f"{rule}, by whole factors")


def _final(path: str, image: fx.Node, axis: Any) -> Operation:
    shape = image.meta.get("shape", ())
    if axis is None and len(shape) != 3:
        axis = 1
    if not isinstance(axis, int) or not shape or axis % len(shape) == 0:
        raise UnsupportedError(f"{path}: it must be over the classes, dim=1, not {axis!r}")
    return Operation(kind="final", path=path, inputs=(image,), axes=(axis % len(shape),))


# ---- functions ----------------------------------------------------------------------------------------------------


def _function(node: fx.Node, training: fx.Node) -> Operation:
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
    image = _image(node, path)
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
        return _reshape(path, image, name, f"to {shape!r}", node)
    if name in FINAL:
        dims = [node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)] if "softmax" in name else [1]
        return _final(path, image, dims[0])
    if name in MOVES:
        if name == "interpolate":
            return _upsample(path, image, node.kwargs.get("mode", node.args[3] if len(node.args) > 3 else "nearest"))
        return Operation(kind="move", path=path, inputs=(image,), rule=_MOVED.format(name))
    bound = bind(node, name)
    if name in ("relu", "relu_"):
        return Operation(kind="relu", path=path, inputs=(image,))
    if name == "relu6":
        return _clip(path, image, 0, 6.0)
    if name == "hardtanh":
        return _clip(path, image, bound.get("min_val", -1.0), bound.get("max_val", 1.0))
    if name in ("clamp", "clamp_", "clip", "clamp_min"):
        return _clip(path, image, bound.get("min"), bound.get("max"))
    if name in ("add", "add_", "iadd"):
        other = bound.get("other")
        if not isinstance(other, fx.Node):
            raise UnsupportedError(f"{path}: only two images can be added, not {other!r}; a layer's bias adds a number")
        return Operation(kind="add", path=path, inputs=(image, other))
    if name == "pad":
        return _pad(path, image, bound)
    if name == "flatten":
        return _flatten(path, image, bound.get("start_dim", 0), bound.get("end_dim", -1))
    if name == "mean":
        axes = bound.get("dim")
        rule = f"mean must be over the image, dim=(2, 3), not {axes!r}"
        axes = (axes,) if isinstance(axes, int) else axes
        if not isinstance(axes, list | tuple) or not all(isinstance(axis, int) for axis in axes):
            raise UnsupportedError(f"{path}: {rule}")
        rank = len(image.meta["shape"])
        return Operation(
            kind="mean", path=path, inputs=(image,), axes=tuple(sorted(axis % rank for axis in axes)), rule=rule
        )
    if name == "max_pool2d":
        options = (bound.get("dilation", 1), bound.get("ceil_mode", False), bound.get("return_indices", False))
        module = _max_pool(path, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *options)
        return Operation(kind="maxpool", path=path, inputs=(image,), module=module)
    if name == "avg_pool2d":
        divisor = (bound.get("ceil_mode"), bound.get("count_include_pad", True), bound.get("divisor_override"))
        return _average(path, image, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *divisor)
    if name == "adaptive_avg_pool2d":
        return _adaptive_average(path, image, bound["output_size"])
    if name == "adaptive_max_pool2d":
        return _adaptive_max(path, image, bound["output_size"], bound.get("return_indices", False))
    if name == "max_pool1d":
        options = (bound.get("dilation", 1), bound.get("ceil_mode", False), bound.get("return_indices", False))
        sizes = (_line(bound["kernel_size"]), _line(bound.get("stride")), _line(bound.get("padding", 0), 0))
        return Operation(
            kind="maxpool", path=path, inputs=(image,), module=_max_pool(path, *sizes, *options), line=True
        )
    if name == "avg_pool1d":
        options = (bound.get("ceil_mode"), bound.get("count_include_pad", True), None)
        sizes = (_line(bound["kernel_size"]), _line(bound.get("stride")), _line(bound.get("padding", 0), 0))
        return replace(_average(path, image, *sizes, *options), line=True)
    if name == "adaptive_avg_pool1d":
        return replace(_adaptive_average(path, image, _line(bound["output_size"])), line=True)
    if name == "adaptive_max_pool1d":
        return replace(
            _adaptive_max(path, image, _line(bound["output_size"]), bound.get("return_indices", False)), line=True
        )
    assert name in ("dropout", "dropout2d")
    return _dropout(node, name, image, bound, bind(training, name))


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
    return Operation(kind="move", path=path, inputs=(image,), rule=_MOVED.format("pad"))


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


def caller_of(node: fx.Node) -> str:
    """Path of the module whose forward calls a function; empty for the network itself."""
    callers = [name_of(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return callers[-1] if callers else ""


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


def _image(node: fx.Node, path: str) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(source, fx.Node):
        raise UnsupportedError(f"{path}: its first argument must be an image, not {source!r}")
    return source


def _flatten(path: str, image: fx.Node, start: Any, end: Any) -> Operation:
    rule = f"flatten must be from axis 1 to the last, not ({start!r}, {end!r}); use (1, -1)"
    return Operation(kind="reshape", path=path, inputs=(image,), rule=rule)


def _reshape(path: str, image: fx.Node, name: str, what: str, node: fx.Node) -> Operation:
    call = "view" if name == "view" else "reshape"
    rule = f"{name} can only flatten, as x.{call}(x.size(0), -1), not {what}; use nn.Flatten()"
    if any(source is not image for source in node.all_input_nodes) and name not in ("reshape_as", "view_as"):
        raise UnsupportedError(f"{path}: {rule}")
    return Operation(kind="reshape", path=path, inputs=(image,), rule=rule)


# ---- pooling ------------------------------------------------------------------------------------------------------


def _max_pool(
    path: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, indices: Any
) -> nn.MaxPool2d:
    if dilation not in (1, (1, 1), [1, 1]) or ceil_mode or indices:
        raise UnsupportedError(f"{path}: max pooling must have dilation 1, ceil_mode=False and return_indices=False")
    return nn.MaxPool2d(_two(path, kernel), _two(path, stride or kernel), _two(path, padding))


def _average(
    path: str, image: fx.Node, kernel: Any, stride: Any, padding: Any, ceil_mode: Any, counts_pad: Any, divisor: Any
) -> Operation:
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


def _adaptive_average(path: str, image: fx.Node, size: Any) -> Operation:
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


def _adaptive_max(path: str, image: fx.Node, size: Any, indices: Any) -> Operation:
    average = _adaptive_average(path, image, size)
    if indices:
        raise UnsupportedError(f"{path}: max pooling must have return_indices=False")
    pool = nn.AdaptiveMaxPool2d(1) if average.kernel is None else nn.MaxPool2d(average.kernel)
    return replace(average, kind="maxpool", module=pool)


def _size(image: fx.Node) -> Pair:
    """Rows and columns; a sequence is one row."""
    shape = image.meta.get("shape", ())
    return (int(shape[-2]) if len(shape) > 3 else 1, int(shape[-1])) if len(shape) > 2 else (1, 1)


def _line(value: Any, across: int = 1) -> Any:
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


def advice(name: str) -> str:
    """What could replace a module or function of this name."""
    if name.startswith("Parametrized"):
        return "call torch.nn.utils.parametrize.remove_parametrizations first"
    replacements = {
        "GELU": "nn.ReLU", "SiLU": "nn.ReLU", "LeakyReLU": "nn.ReLU", "ELU": "nn.ReLU", "Sigmoid": "nn.ReLU",
        "Tanh": "nn.ReLU", "Hardswish": "nn.ReLU", "PReLU": "nn.ReLU", "Mish": "nn.ReLU", "Softplus": "nn.ReLU",
        "gelu": "nn.ReLU", "silu": "nn.ReLU", "sigmoid": "nn.ReLU", "tanh": "nn.ReLU", "leaky_relu": "nn.ReLU",
        "hardswish": "nn.ReLU",
        "hardsigmoid": "nothing: a gate multiplies two maps, which spikes cannot",
        "LayerNorm": "nn.BatchNorm2d after a Conv2d", "GroupNorm": "nn.BatchNorm2d", "InstanceNorm2d": "nn.BatchNorm2d",
        "SyncBatchNorm": "nn.BatchNorm2d", "batch_norm": "nn.BatchNorm2d",
        "Conv3d": "nn.Conv2d", "ConvTranspose2d": "nn.Conv2d",
        "LPPool2d": "nn.AvgPool2d", "cat": "a sum of two spiking branches", "stack": "a sum of two spiking branches",
        "mul": "nothing: a gate multiplies two maps, which spikes cannot",
        "sub": "nn.Conv2d with negative weights", "matmul": "nn.Linear",
        "conv2d": "nn.Conv2d", "linear": "nn.Linear", "AlphaDropout": "nn.Dropout",
    }  # fmt: skip
    fallback = "a layer of the list in the conversion guide (docs/explanation/conversion.md)"
    return f"replace it by {replacements.get(name, fallback)}"
