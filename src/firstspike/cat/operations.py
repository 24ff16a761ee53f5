"""What the nodes of a traced network compute: a few kinds of operation, or an error that says what could replace it."""

import operator
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
    torch.relu: "relu",
    torch.relu_: "relu_",
    functional.relu: "relu",
    functional.relu_: "relu_",
    operator.add: "add",
    operator.iadd: "iadd",
    torch.add: "add",
    torch.chunk: "chunk",
    torch.split: "split",
    torch.cat: "cat",
    torch.concat: "cat",
    torch.concatenate: "cat",
    torch.flatten: "flatten",
    torch.reshape: "reshape",
    torch.squeeze: "squeeze",
    torch.unsqueeze: "unsqueeze",
    torch.mean: "mean",
    torch.clone: "clone",
    torch.detach: "detach",
    functional.max_pool2d: "max_pool2d",
    torch.max_pool2d: "max_pool2d",
    functional.avg_pool2d: "avg_pool2d",
    functional.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    functional.dropout: "dropout",
    functional.dropout2d: "dropout2d",
    functional.pad: "pad",
    getattr: "getattr",
    operator.getitem: "getitem",
    functional.relu6: "relu6",
    functional.hardtanh: "hardtanh",
    functional.hardtanh_: "hardtanh",
    torch.clamp: "clamp",
    torch.clip: "clamp",
    torch.clamp_min: "clamp_min",
    functional.adaptive_max_pool2d: "adaptive_max_pool2d",
    functional.max_pool1d: "max_pool1d",
    torch.max_pool1d: "max_pool1d",
    functional.avg_pool1d: "avg_pool1d",
    functional.adaptive_avg_pool1d: "adaptive_avg_pool1d",
    functional.adaptive_max_pool1d: "adaptive_max_pool1d",
    functional.interpolate: "interpolate",
    functional.pixel_shuffle: "pixel_shuffle",
    functional.pixel_unshuffle: "pixel_unshuffle",
    torch.channel_shuffle: "channel_shuffle",
    torch.permute: "permute",
    torch.transpose: "transpose",
    torch.swapaxes: "swapaxes",
    torch.movedim: "movedim",
    torch.flip: "flip",
    torch.roll: "roll",
    torch.narrow: "narrow",
    torch.select: "select",
    torch.repeat_interleave: "repeat_interleave",
    functional.softmax: "softmax",
    torch.softmax: "softmax",
    functional.log_softmax: "log_softmax",
    torch.log_softmax: "log_softmax",
    functional.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    functional.logsigmoid: "logsigmoid",
    operator.mul: "mul",
    operator.imul: "imul",
    torch.mul: "mul",
    operator.sub: "sub",
    operator.isub: "isub",
    torch.sub: "sub",
    operator.truediv: "div",
    operator.itruediv: "idiv",
    torch.div: "div",
    operator.neg: "neg",
    torch.neg: "neg",
}
"""Functions that can be converted; a function of the same name from elsewhere is another one."""

RESHAPES = ("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "reshape_as", "view_as")
MOVES = (
    "permute",
    "transpose",
    "swapaxes",
    "movedim",
    "flip",
    "roll",
    "narrow",
    "select",
    "repeat_interleave",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
)
"""Functions that move values."""

ARITHMETIC = ("mul", "mul_", "imul", "sub", "sub_", "isub", "div", "div_", "idiv", "neg", "add", "add_", "iadd")
"""Functions that may read a parameter or a number beside an image."""

FINAL = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
SAME = ("contiguous", "clone", "detach", "float", "double", "to", "type", "type_as", "cuda", "cpu")
METHODS = (
    "relu",
    "relu_",
    "mean",
    "chunk",
    "split",
    "clamp",
    "clamp_",
    "clip",
    "clamp_min",
    *RESHAPES,
    *SAME,
    *MOVES,
    *FINAL,
    "mul",
    "mul_",
    "sub",
    "sub_",
    "div",
    "div_",
    "neg",
    "add",
    "add_",
)
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
        "input",
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
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
}


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


def caller_of(node: fx.Node) -> str:
    """Path of the module whose forward calls a function; empty for the network itself."""
    callers = [name_of(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return callers[-1] if callers else ""


def advice(name: str) -> str:
    """What could replace a module or function of this name."""
    if name.startswith("Parametrized"):
        return "call torch.nn.utils.parametrize.remove_parametrizations first"
    replacements = {
        "GELU": "nn.ReLU",
        "SiLU": "nn.ReLU",
        "LeakyReLU": "nn.ReLU",
        "ELU": "nn.ReLU",
        "Sigmoid": "nn.ReLU",
        "Tanh": "nn.ReLU",
        "Hardswish": "nn.ReLU",
        "PReLU": "nn.ReLU",
        "Mish": "nn.ReLU",
        "Softplus": "nn.ReLU",
        "gelu": "nn.ReLU",
        "silu": "nn.ReLU",
        "sigmoid": "nn.ReLU",
        "tanh": "nn.ReLU",
        "leaky_relu": "nn.ReLU",
        "hardswish": "nn.ReLU",
        "hardsigmoid": "nothing: a gate multiplies two maps, which spikes cannot",
        "LayerNorm": "nn.BatchNorm2d after a Conv2d",
        "GroupNorm": "nn.BatchNorm2d",
        "InstanceNorm2d": "nn.BatchNorm2d",
        "SyncBatchNorm": "nn.BatchNorm2d",
        "batch_norm": "nn.BatchNorm2d",
        "Conv3d": "nn.Conv2d",
        "ConvTranspose2d": "nn.Conv2d",
        "LPPool2d": "nn.AvgPool2d",
        "cat": "a sum of two spiking branches",
        "stack": "a sum of two spiking branches",
        "mul": "nothing: a gate multiplies two maps, which spikes cannot",
        "sub": "nn.Conv2d with negative weights",
        "matmul": "nn.Linear",
        "conv2d": "nn.Conv2d",
        "linear": "nn.Linear",
        "AlphaDropout": "nn.Dropout",
    }
    fallback = "a layer of the list in the conversion guide (docs/explanation/conversion.md)"
    return f"replace it by {replacements.get(name, fallback)}"
