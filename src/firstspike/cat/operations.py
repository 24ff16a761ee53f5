"""What the nodes of a traced network compute: a few kinds of operation, or an error that says what could replace it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

Pair = tuple[int, int]


class UnsupportedError(ValueError):
    """A network holds something that has no spiking counterpart here; the text names it and what could replace it."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One node of the graph.

    Attributes:
        kind: "linear" (a convolution or linear layer), "norm", "relu", "add", "maxpool", "flatten", "dropout", "average",
            "cat" (all of them along the channels), "channels" (some of them, every so many pixels), "same" (what it reads)
            or "size".
        path: of the module, or of the module that calls a function and the function's name.
        inputs: the images it reads.
        module: what computes it, for "linear", "norm", "maxpool", "flatten" and "dropout".
        kernel, stride, padding: of an average; kernel None for the whole image, stride None for the kernel's.
        flattens: an average that gives up the axes of the image.
        part: of "channels": which are taken; stride: rows and columns from one that is taken to the next.
        pad: of "channels": silent ones before and behind.
    """

    kind: str
    path: str
    inputs: tuple[fx.Node, ...] = ()
    module: nn.Module | None = None
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: Pair = (0, 0)
    flattens: bool = False
    part: slice | None = None
    pad: Pair = (0, 0)


FUNCTIONS: dict[Any, str] = {
    torch.relu: "relu", torch.relu_: "relu_", functional.relu: "relu", functional.relu_: "relu_",
    operator.add: "add", operator.iadd: "iadd", torch.add: "add",
    torch.cat: "cat", torch.concat: "cat", torch.concatenate: "cat",
    torch.flatten: "flatten", torch.reshape: "reshape", torch.mean: "mean",
    functional.max_pool2d: "max_pool2d", torch.max_pool2d: "max_pool2d",
    functional.avg_pool2d: "avg_pool2d", functional.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    functional.dropout: "dropout", functional.dropout2d: "dropout2d",
    functional.pad: "pad", getattr: "getattr", operator.getitem: "getitem",
}  # fmt: skip
"""Functions that can be converted; a function of the same name from elsewhere is another one."""

METHODS = ("relu", "relu_", "add", "add_", "flatten", "reshape", "view", "mean", "contiguous", "size", "dim")
"""Methods of a tensor that can be converted."""

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "relu": ("input", "inplace"),
    "relu_": ("input",),
    "add": ("input", "other"),
    "add_": ("input", "other"),
    "iadd": ("input", "other"),
    "cat": ("tensors", "dim"),
    "flatten": ("input", "start_dim", "end_dim"),
    "mean": ("input", "dim", "keepdim"),
    "pad": ("input", "pad", "mode", "value"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": (
        "input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    ),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "dropout": ("input", "p", "training", "inplace"),
    "dropout2d": ("input", "p", "training", "inplace"),
    "contiguous": ("input",),
}  # fmt: skip


def function_name(node: fx.Node) -> str | None:
    """The name of a function or method that can be converted, None for any other node."""
    if node.op == "call_function":
        return FUNCTIONS.get(node.target)
    return str(node.target) if node.op == "call_method" and node.target in METHODS else None


def is_size(node: fx.Node) -> bool:
    """Whether a node is a size, not an image."""
    name = function_name(node)
    if name == "getattr":
        return node.args[1] == "shape"
    if name == "getitem":
        return isinstance(node.args[0], fx.Node) and is_size(node.args[0])
    return name in ("size", "dim")


def path_of(node: fx.Node) -> str:
    """The module path, or that of the calling module and the node's name."""
    if node.op == "call_module":
        return str(node.target)
    callers = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return ".".join([*callers[-1:], node.name])


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
    if is_size(node):
        return Operation(kind="size", path=path_of(node))
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

    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d:
        _check_conv(path, module)
        return found("linear", module)
    if kind is nn.Linear:
        return found("linear", module)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return found("norm", module)
    if kind is nn.ReLU:
        return found("relu")
    if isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d:
        options = (module.dilation, module.ceil_mode, module.return_indices)
        return found("maxpool", _max_pool(path, module.kernel_size, module.stride, module.padding, *options))
    if isinstance(module, nn.AvgPool2d) and kind is nn.AvgPool2d:
        divisor = (module.ceil_mode, module.count_include_pad, module.divisor_override)
        return _average(path, image, module.kernel_size, module.stride, module.padding, *divisor)
    if isinstance(module, nn.AdaptiveAvgPool2d) and kind is nn.AdaptiveAvgPool2d:
        return _global_average(path, image, module.output_size)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        _check_flatten(path, module.start_dim, module.end_dim)
        return found("flatten", nn.Flatten())
    if kind in (nn.Dropout, nn.Dropout2d):
        return found("dropout", module)
    if kind is nn.Identity:
        return found("same")
    raise UnsupportedError(f"{path}: {kind.__name__} cannot be converted; {advice(kind.__name__)}")


def _check_conv(path: str, module: nn.Conv2d) -> None:
    if module.dilation != (1, 1):
        raise UnsupportedError(
            f"{path}: Conv2d must have dilation 1, not {module.dilation!r}; use a larger kernel or a stride"
        )
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f"{path}: Conv2d must pad with silence, padding_mode='zeros', not {module.padding_mode!r}"
        )
    if isinstance(module.padding, str):
        raise UnsupportedError(f"{path}: Conv2d must give its padding as numbers, not {module.padding!r}")


# ---- functions ----------------------------------------------------------------------------------------------------


def _function(node: fx.Node, training: fx.Node) -> Operation:
    name, path = function_name(node), path_of(node)
    if name is None:
        called = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        raise UnsupportedError(f"{path}: the function {called!r} cannot be converted; {advice(called)}")
    if name == "getattr":
        raise UnsupportedError(f"{path}: the attribute {node.args[1]!r} of an image cannot be converted; {advice('')}")
    if name == "getitem":
        return _part(node, path)
    if name == "cat":
        return _cat(node, path)
    image = _image(node, path)
    if name in ("view", "reshape"):
        _check_view(node, path, name)
        return Operation(kind="flatten", path=path, inputs=(image,), module=nn.Flatten())
    bound = bind(node, name)
    if name in ("relu", "relu_"):
        return Operation(kind="relu", path=path, inputs=(image,))
    if name in ("add", "add_", "iadd"):
        other = bound.get("other")
        if not isinstance(other, fx.Node) or is_size(other):
            raise UnsupportedError(f"{path}: only two images can be added, not {other!r}; a layer's bias adds a number")
        return Operation(kind="add", path=path, inputs=(image, other))
    if name == "pad":
        return _channel_pad(path, image, bound)
    if name == "flatten":
        _check_flatten(path, bound.get("start_dim", 0), bound.get("end_dim", -1))
        return Operation(kind="flatten", path=path, inputs=(image,), module=nn.Flatten())
    if name == "mean":
        axes = bound.get("dim")
        if not isinstance(axes, list | tuple) or sorted(axis % 4 for axis in axes if isinstance(axis, int)) != [2, 3]:
            raise UnsupportedError(f"{path}: mean must be over the image, dim=(2, 3), not {axes!r}")
        return Operation(kind="average", path=path, inputs=(image,), flattens=not bound.get("keepdim", False))
    if name == "max_pool2d":
        options = (bound.get("dilation", 1), bound.get("ceil_mode", False), bound.get("return_indices", False))
        module = _max_pool(path, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *options)
        return Operation(kind="maxpool", path=path, inputs=(image,), module=module)
    if name == "avg_pool2d":
        divisor = (bound.get("ceil_mode"), bound.get("count_include_pad", True), bound.get("divisor_override"))
        return _average(path, image, bound["kernel_size"], bound.get("stride"), bound.get("padding", 0), *divisor)
    if name == "adaptive_avg_pool2d":
        return _global_average(path, image, bound["output_size"])
    if name in ("dropout", "dropout2d"):
        return _dropout(path, name, image, bound, bind(training, name))
    return Operation(kind="same", path=path, inputs=(image,))  # contiguous


def _part(node: fx.Node, path: str) -> Operation:
    """``x[:, first:last:step, ::rows, ::columns]``: some channels, and every so many rows and columns from the first on."""
    image, given = node.args
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
        raise UnsupportedError(
            f"{path}: of an image only channels and every so many rows and columns can be taken, as x[:, :8, ::2, ::2], not "
            f"{given!r}; use separate layers for the parts"
        )
    stride = (size[0].step or 1, size[1].step or 1)
    part = None if channels == slice(None) else channels
    return Operation(kind="channels", path=path, inputs=(image,), part=part, stride=stride)


def _channel_pad(path: str, image: fx.Node, bound: dict[str, Any]) -> Operation:
    given, mode = bound.get("pad"), bound.get("mode", "constant")
    widths = list(given) if isinstance(given, list | tuple) else []
    numbers = all(isinstance(width, int) and width >= 0 for width in widths) and len(widths) in (4, 6)
    if not numbers or any(widths[:4]) or mode != "constant" or bound.get("value") not in (None, 0, 0.0):
        raise UnsupportedError(
            f"{path}: pad can only fill up channels with zeros, as F.pad(x, (0, 0, 0, 0, before, behind)), not {given!r} of "
            f"{mode!r}; give rows and columns to the convolution's padding"
        )
    before, behind = widths[4:] or (0, 0)
    return Operation(kind="channels", path=path, inputs=(image,), pad=(before, behind))


def _cat(node: fx.Node, path: str) -> Operation:
    bound = bind(node, "cat")
    images = bound.get("tensors")
    if not isinstance(images, list | tuple) or not all(isinstance(i, fx.Node) and not is_size(i) for i in images):
        raise UnsupportedError(f"{path}: cat must be given a list of images, not {images!r}")
    if bound.get("dim", 0) != 1:
        raise UnsupportedError(f"{path}: cat must be along the channels, dim=1, not {bound.get('dim', 0)!r}")
    return Operation(kind="cat", path=path, inputs=tuple(images))


def _dropout(path: str, name: str, image: fx.Node, bound: dict[str, Any], training: dict[str, Any]) -> Operation:
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
    )


def _image(node: fx.Node, path: str) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(source, fx.Node) or is_size(source):
        raise UnsupportedError(f"{path}: its first argument must be an image, not {source!r}")
    return source


def _check_flatten(path: str, start: Any, end: Any) -> None:
    if (start, end) != (1, -1):
        raise UnsupportedError(
            f"{path}: flatten must be from axis 1 to the last, not ({start!r}, {end!r}); use (1, -1)"
        )


def _check_view(node: fx.Node, path: str, name: str) -> None:
    shape = node.args[1:]
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    batch = bool(shape) and isinstance(shape[0], fx.Node) and _is_batch(shape[0])
    if len(shape) != 2 or node.kwargs or not batch or not isinstance(shape[1], int):
        raise UnsupportedError(
            f"{path}: {name} can only flatten, as x.{name}(x.size(0), -1), not to {list(shape)!r}; use nn.Flatten()"
        )


def _is_batch(node: fx.Node) -> bool:
    """Whether a node is the number of images: ``x.size(0)``, ``x.size()[0]`` or ``x.shape[0]``."""
    name = function_name(node)
    if name == "getitem" and isinstance(node.args[0], fx.Node):
        whole = function_name(node.args[0]) == "getattr" or len(node.args[0].args) == 1
        return bool(is_size(node.args[0]) and whole and node.args[1] == 0)
    return name == "size" and (*node.args[1:], *node.kwargs.values()) == (0,)


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
    return Operation(
        kind="average",
        path=path,
        inputs=(image,),
        kernel=_two(path, kernel),
        stride=_two(path, stride or kernel),
        padding=pad,
    )


def _global_average(path: str, image: fx.Node, size: Any) -> Operation:
    if size not in (1, (1, 1), [1, 1]):
        raise UnsupportedError(f"{path}: adaptive average pooling must have output size 1, not {size!r}; use AvgPool2d")
    return Operation(kind="average", path=path, inputs=(image,))


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
        "GELU": "nn.ReLU", "SiLU": "nn.ReLU", "LeakyReLU": "nn.ReLU", "ELU": "nn.ReLU", "ReLU6": "nn.ReLU", "Sigmoid": "nn.ReLU",
        "Tanh": "nn.ReLU", "Hardswish": "nn.ReLU", "PReLU": "nn.ReLU", "Mish": "nn.ReLU", "Softplus": "nn.ReLU",
        "gelu": "nn.ReLU", "silu": "nn.ReLU", "sigmoid": "nn.ReLU", "tanh": "nn.ReLU", "leaky_relu": "nn.ReLU",
        "clamp": "nn.ReLU", "relu6": "nn.ReLU",
        "LayerNorm": "nn.BatchNorm2d after a Conv2d", "GroupNorm": "nn.BatchNorm2d", "InstanceNorm2d": "nn.BatchNorm2d",
        "SyncBatchNorm": "nn.BatchNorm2d", "batch_norm": "nn.BatchNorm2d",
        "Softmax": "nothing: the largest logit is the class", "softmax": "nothing: the largest logit is the class",
        "LogSoftmax": "nothing: the largest logit is the class", "log_softmax": "nothing: the largest logit is the class",
        "Conv1d": "nn.Conv2d with a window of one row", "Conv3d": "nn.Conv2d", "ConvTranspose2d": "nn.Conv2d",
        "Upsample": "nn.Conv2d", "interpolate": "nn.Conv2d",
        "MaxPool1d": "nn.MaxPool2d", "AdaptiveMaxPool2d": "nn.MaxPool2d", "adaptive_max_pool2d": "nn.MaxPool2d",
        "LPPool2d": "nn.AvgPool2d", "cat": "a sum of two spiking branches", "stack": "a sum of two spiking branches",
        "mul": "nn.Conv2d", "sub": "nn.Conv2d with negative weights", "matmul": "nn.Linear",
        "conv2d": "nn.Conv2d", "linear": "nn.Linear", "AlphaDropout": "nn.Dropout",
    }  # fmt: skip
    fallback = "a layer of the list in the conversion guide (docs/explanation/conversion.md)"
    return f"replace it by {replacements.get(name, fallback)}"
