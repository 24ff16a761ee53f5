"""What the nodes of a traced network compute: a few kinds of operation, or an error that says what could replace it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
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
            (what it reads).
        path: of the module, or of the module that calls a function and the function's name.
        inputs: the images it reads.
        module: what computes it, for "linear", "norm", "maxpool" and "dropout".
        kernel, stride, padding: of an average; kernel None for the whole image, stride None for the kernel's.
        part: of "channels": which are taken; stride: rows and columns from one that is taken to the next.
        pad: of "channels": silent ones before and behind.
        axes: of a mean.
        rule: what a "reshape" or "mean" must be, for the error if it is not.
        owner: path of the module that calls a dropout's function, whose mode it follows; None for others.
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
}  # fmt: skip
"""Functions that can be converted; a function of the same name from elsewhere is another one."""

RESHAPES = ("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "reshape_as", "view_as")
SAME = ("contiguous", "clone", "detach", "float", "double", "to", "type", "type_as", "cuda", "cpu")
METHODS = ("relu", "relu_", "add", "add_", "mean", "chunk", "split", *RESHAPES, *SAME)
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
        return _adaptive_average(path, image, module.output_size)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        return _flatten(path, image, module.start_dim, module.end_dim)
    if kind is nn.Unflatten:
        return _reshape(path, image, "Unflatten", "back from a flattened image", node)
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
    if name == "getitem":
        return _part(node, path)
    if name == "add" and len(node.args) == 2 and type(node.args[0]) is int and node.args[0] == 0:  # as sum() begins
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
    bound = bind(node, name)
    if name in ("relu", "relu_"):
        return Operation(kind="relu", path=path, inputs=(image,))
    if name in ("add", "add_", "iadd"):
        other = bound.get("other")
        if not isinstance(other, fx.Node):
            raise UnsupportedError(f"{path}: only two images can be added, not {other!r}; a layer's bias adds a number")
        return Operation(kind="add", path=path, inputs=(image, other))
    if name == "pad":
        return _channel_pad(path, image, bound)
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
    assert name in ("dropout", "dropout2d")
    return _dropout(node, name, image, bound, bind(training, name))


def _part(node: fx.Node, path: str) -> Operation:
    """``x[:, first:last:step, ::rows, ::columns]``: some channels, and every so many rows and columns from the first on."""
    image, given = node.args
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


def _size(image: fx.Node) -> Pair:
    shape = image.meta.get("shape", ())
    return (int(shape[-2]), int(shape[-1])) if len(shape) > 2 else (1, 1)


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
