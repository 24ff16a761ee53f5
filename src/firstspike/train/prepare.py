"""`prepare`: trace a ReLU network with torch.fx and rebuild it from layers that can be converted, or say what cannot."""

import operator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn

from firstspike.arith import Code, LogWeights
from firstspike.train.layers import AveragePool, Synapses
from firstspike.train.prepared import INPUT, Prepared, Step


class UnsupportedError(ValueError):
    """A network holds something that has no spiking counterpart here; the text names it and what could replace it."""


@dataclass(frozen=True, kw_only=True)
class _Spikes:
    """A value that is spikes: the output of a step."""

    name: str


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A size, of use only to flatten."""


@dataclass(frozen=True, kw_only=True)
class _Membrane:
    """A value that has not fired yet: a linear operation on spikes, and what is to follow its firing."""

    path: str
    source: str
    linear: nn.Module
    norm: nn.Module | None = None
    residuals: tuple[str, ...] = ()
    after: tuple[tuple[str, str, nn.Module], ...] = field(default_factory=tuple)

    @property
    def pools(self) -> bool:
        return isinstance(self.linear, AveragePool)


_Value = _Spikes | _Membrane | _Shape


def prepare(
    net: nn.Module, *, code: Code | None = None, weights: LogWeights | None = None, accumulator_bits: int = 32
) -> Prepared:
    """A copy of ``net`` for conversion-aware training, in stage ``"relu"``: the same function, ready for the other stages.

    Supported, as modules or functions: Conv2d (zero padding, groups), Linear, BatchNorm1d/2d after them, ReLU, MaxPool2d,
    AvgPool2d, AdaptiveAvgPool2d(1), mean over the image, Flatten, Dropout, Identity, and addition of a residual.

    Args:
        net: any module that torch.fx can trace, with one input and one output; left as it is.
        code: spike code, by default ``Code()``.
        weights: weight format, by default ``LogWeights()``.
        accumulator_bits: ``A``, bits of a membrane.

    Raises:
        TypeError: ``net`` is no module, or ``code`` or ``weights`` is of another type.
        UnsupportedError: ``net`` holds something else; the text names the module path and a replacement.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, not {net!r}")
    code, weights = code or Code(), weights or LogWeights()
    if not isinstance(code, Code):
        raise TypeError(f"code must be a firstspike.Code, not {code!r}")
    if not isinstance(weights, LogWeights):
        raise TypeError(f"weights must be firstspike.LogWeights, not {weights!r}")
    if isinstance(net, Prepared):
        raise TypeError("net must be a plain network, not one that is prepared already")
    try:
        graph = fx.Tracer().trace(net)
    except Exception as error:
        raise UnsupportedError(f"network {type(net).__name__}: torch.fx cannot trace it: {error}") from error
    module = fx.GraphModule(net, graph)
    module.graph.eliminate_dead_code()
    builder = _Builder(net, module.graph, weights)
    builder.run()
    for name, layer in builder.layers.items():
        if isinstance(layer, _Linear):
            builder.layers[name] = Synapses(
                layer.linear, layer.norm, code=code, weights=weights, accumulator_bits=accumulator_bits
            )
    prepared = Prepared(builder.steps, builder.layers, code=code, weights=weights, accumulator_bits=accumulator_bits)
    prepared.train(net.training)
    return prepared


class _Linear(nn.Module):
    """Placeholder for `Synapses` until the formats are known."""

    def __init__(self, linear: Any, norm: Any) -> None:
        super().__init__()
        self.linear, self.norm = linear, norm


class _Builder:
    """Walks the traced graph once; every node's value is spikes or a membrane that still has to fire."""

    def __init__(self, net: nn.Module, graph: fx.Graph, weights: LogWeights) -> None:
        self.net, self.graph, self.weights = net, graph, weights
        self.steps: list[Step] = []
        self.layers: dict[str, nn.Module] = {}
        self.values: dict[fx.Node, _Value] = {}
        self.used: set[str] = set()
        self.fired: dict[tuple[str, ...], str] = {}

    def run(self) -> None:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise UnsupportedError(f"input {node.target!r}: a network must have one input, not several")
                self.values[node] = _Spikes(name=INPUT)
            elif node.op == "output":
                self._output(node)
            elif node.op == "call_module":
                self.values[node] = self._module(node, str(node.target), self.net.get_submodule(str(node.target)))
            elif node.op in ("call_function", "call_method"):
                self.values[node] = self._function(node)
            elif node.op == "get_attr":
                raise UnsupportedError(
                    f"{node.target!r}: a bare parameter cannot be converted; use nn.Conv2d or nn.Linear"
                )

    # Steps

    def _name(self, path: str) -> str:
        base = path.replace(".", "_") or "layer"
        if base in (INPUT, *dir(nn.ModuleDict)):
            base = f"{base}_layer"
        name, count = base, 1
        while name in self.used:
            count += 1
            name = f"{base}_{count}"
        self.used.add(name)
        return name

    def _step(self, path: str, kind: str, source: str, module: nn.Module, **fields: Any) -> _Spikes:
        name = self._name(path)
        self.steps.append(Step(name=name, kind=kind, source=source, **fields))
        self.layers[name] = module
        return _Spikes(name=name)

    def _emit(self, membrane: _Membrane, *, fires: bool, merges: bool = False) -> _Spikes:
        if membrane.pools:
            kind, module = "average", membrane.linear
        else:
            kind, module = "synapses", _Linear(membrane.linear, membrane.norm)
        spikes = self._step(
            membrane.path, kind, membrane.source, module, residuals=membrane.residuals, fires=fires, merges=merges
        )
        for path, after_kind, after in membrane.after:
            spikes = self._step(path, after_kind, spikes.name, after)
        return spikes

    def _spikes(self, node: fx.Node, path: str, *, linear: bool = False) -> _Spikes:
        """The value of a node as spikes; an average fires by itself, or merges into the linear layer that reads it."""
        value = self.values[node]
        if isinstance(value, _Spikes):
            return value
        if isinstance(value, _Membrane) and value.pools:
            only_reader = all(len(_readers(earlier)) == 1 for earlier in self._chain(node))
            plain = all(kind in ("flatten", "dropout") for _, kind, _ in value.after) and not value.residuals
            pool = value.linear
            assert isinstance(pool, AveragePool)
            disjoint = pool.padding == (0, 0) and (pool.stride is None or pool.stride == pool.kernel)
            merges = linear and only_reader and plain and disjoint
            spikes = self._emit(value, fires=not merges, merges=merges)
            self.values[node] = spikes
            return spikes
        if isinstance(value, _Membrane):
            raise UnsupportedError(
                f"{path}: it reads {value.path!r} before that has fired; put an nn.ReLU after {value.path!r}"
            )
        raise UnsupportedError(f"{path}: a size cannot be used as an image")

    def _chain(self, node: fx.Node) -> list[fx.Node]:
        """The nodes between an average and its reader that share its membrane."""
        chain, value = [], self.values[node]
        for earlier, other in self.values.items():
            if isinstance(other, _Membrane) and isinstance(value, _Membrane) and other.linear is value.linear:
                chain.append(earlier)
        return chain

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node):
            raise UnsupportedError(f"output: a network must return one tensor, not {result!r}")
        value = self.values[result]
        if not isinstance(value, _Membrane) or any(kind not in ("flatten", "dropout") for _, kind, _ in value.after):
            path = value.name if isinstance(value, _Spikes) else "output"
            raise UnsupportedError(
                f"{path}: the last layer must be linear (its values are the logits), not one that fires"
            )
        flattens = tuple(entry for entry in value.after if entry[1] == "flatten")
        self._emit(replace(value, after=flattens), fires=False)

    # Operations

    def _linear(self, node: fx.Node, path: str, module: nn.Module) -> _Membrane:
        source = self._spikes(_argument(node, path), path, linear=True)
        return _Membrane(path=path, source=source.name, linear=deepcopy(module))

    def _module(self, node: fx.Node, path: str, module: nn.Module) -> _Value:
        if isinstance(module, nn.Conv2d):
            _check_conv(path, module)
            return self._linear(node, path, module)
        if isinstance(module, nn.Linear):
            return self._linear(node, path, module)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            return self._norm(node, path, module)
        if type(module) is nn.ReLU:
            return self._relu(node, path)
        if isinstance(module, nn.MaxPool2d):
            if module.dilation not in (1, (1, 1)) or module.ceil_mode or module.return_indices:
                raise UnsupportedError(
                    f"{path}: max pooling must have dilation 1, ceil_mode=False and return_indices=False"
                )
            return self._reshaping(node, path, "maxpool", _max_pool(module.kernel_size, module.stride, module.padding))
        if isinstance(module, nn.AvgPool2d):
            if (
                module.ceil_mode
                or module.divisor_override
                or (_two(module.padding) != (0, 0) and not module.count_include_pad)
            ):
                raise UnsupportedError(
                    f"{path}: average pooling must have ceil_mode=False, divisor_override=None and count_include_pad=True"
                )
            return self._average(node, path, _two(module.kernel_size), _two(module.stride), _two(module.padding))
        if isinstance(module, nn.AdaptiveAvgPool2d):
            if module.output_size not in (1, (1, 1)):
                raise UnsupportedError(
                    f"{path}: adaptive average pooling must have output size 1, not {module.output_size!r}"
                )
            return self._average(node, path, None, None, (0, 0))
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise UnsupportedError(
                    f"{path}: Flatten must be Flatten(1, -1), not ({module.start_dim}, {module.end_dim})"
                )
            return self._reshaping(node, path, "flatten", nn.Flatten())
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            return self._reshaping(node, path, "dropout", deepcopy(module))
        if isinstance(module, nn.Identity):
            return self.values[_argument(node, path)]
        raise UnsupportedError(f"{path}: {type(module).__name__} cannot be converted; {_advice(type(module).__name__)}")

    def _function(self, node: fx.Node) -> _Value:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        path = node.name
        arguments, options = list(node.args[1:]), dict(node.kwargs)
        if name in ("relu", "relu_"):
            return self._relu(node, path)
        if name in ("add", "add_", "iadd") or node.target in (operator.add, operator.iadd, torch.add):
            return self._add(node, path)
        if name == "flatten":
            start, end = [*arguments, *options.values(), *[0, -1][len(arguments) + len(options) :]][:2]
            if (start, end) != (1, -1):
                raise UnsupportedError(
                    f"{path}: flatten must start at axis 1 and end at the last, not ({start!r}, {end!r})"
                )
            return self._reshaping(node, path, "flatten", nn.Flatten())
        if name in ("view", "reshape"):
            if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
                arguments = list(arguments[0])
            if len(arguments) != 2 or arguments[1] != -1:
                raise UnsupportedError(f"{path}: {name} can only flatten, as x.{name}(len(x), -1); use nn.Flatten()")
            return self._reshaping(node, path, "flatten", nn.Flatten())
        if node.target in _SIZES:
            return _Shape()
        if name == "mean":
            axes = options.get("dim", arguments[0] if arguments else None)
            keep = options.get("keepdim", arguments[1] if len(arguments) > 1 else False)
            if not isinstance(axes, list | tuple) or sorted(int(a) % 4 for a in axes) != [2, 3]:
                raise UnsupportedError(f"{path}: mean must be over the image, dim=(2, 3), not {axes!r}")
            average = self._average(node, path, None, None, (0, 0))
            return (
                average
                if keep
                else replace(average, after=(*average.after, (f"{path}_flatten", "flatten", nn.Flatten())))
            )
        bound = _bind(name, arguments, options)
        if name in ("max_pool2d", "boolean_dispatch", "_max_pool2d") and bound is not None:
            if bound.get("dilation", 1) not in (1, (1, 1)) or bound.get("ceil_mode") or bound.get("return_indices"):
                raise UnsupportedError(
                    f"{path}: max pooling must have dilation 1, ceil_mode=False and return_indices=False"
                )
            pool = _max_pool(bound["kernel_size"], bound.get("stride"), bound.get("padding", 0))
            return self._reshaping(node, path, "maxpool", pool)
        if name == "avg_pool2d" and bound is not None:
            padding = _two(bound.get("padding", 0))
            if (
                bound.get("ceil_mode")
                or bound.get("divisor_override")
                or (padding != (0, 0) and not bound.get("count_include_pad", True))
            ):
                raise UnsupportedError(
                    f"{path}: average pooling must have ceil_mode=False, divisor_override=None and count_include_pad=True"
                )
            kernel = _two(bound["kernel_size"])
            return self._average(node, path, kernel, _two(bound.get("stride") or kernel), padding)
        if name == "adaptive_avg_pool2d":
            size = arguments[0] if arguments else options.get("output_size")
            if size not in (1, (1, 1), [1, 1]):
                raise UnsupportedError(f"{path}: adaptive average pooling must have output size 1, not {size!r}")
            return self._average(node, path, None, None, (0, 0))
        if name == "dropout":
            return self._reshaping(
                node, path, "dropout", _dropout(options.get("p", arguments[0] if arguments else 0.5))
            )
        raise UnsupportedError(f"{path}: the function {name!r} cannot be converted; {_advice(name)}")

    def _norm(self, node: fx.Node, path: str, module: nn.Module) -> _Value:
        value = self.values[_argument(node, path)]
        if not isinstance(value, _Membrane) or value.norm is not None or value.residuals or value.after or value.pools:
            raise UnsupportedError(f"{path}: batch norm must directly follow a Conv2d or Linear, to be folded into it")
        if not getattr(module, "track_running_stats", False):
            raise UnsupportedError(f"{path}: batch norm must track running statistics, to be folded")
        if len(_readers(_argument(node, path))) != 1:
            raise UnsupportedError(
                f"{path}: {value.path!r} must have no other reader, so that batch norm can be folded into it"
            )
        return replace(value, norm=deepcopy(module))

    def _relu(self, node: fx.Node, path: str) -> _Value:
        source = _argument(node, path)
        value = self.values[source]
        if not isinstance(value, _Membrane):
            return value
        if len(_readers(source)) != 1:
            raise UnsupportedError(
                f"{path}: {value.path!r} must be read by this ReLU alone, so that one neuron fires once"
            )
        return self._emit(value, fires=True)

    def _reshaping(self, node: fx.Node, path: str, kind: str, module: nn.Module) -> _Value:
        """Max pooling, flattening, dropout: on spikes a step; before a ReLU they wait until it has fired, as they commute."""
        source = _argument(node, path)
        value = self.values[source]
        if isinstance(value, _Membrane):
            if value.pools and kind == "maxpool":
                value = self._spikes(source, path)
            else:
                return replace(value, after=(*value.after, (path, kind, module)))
        if isinstance(value, _Shape):
            raise UnsupportedError(f"{path}: a size cannot be used as an image")
        return self._step(path, kind, value.name, module)

    def _average(
        self,
        node: fx.Node,
        path: str,
        kernel: tuple[int, int] | None,
        stride: tuple[int, int] | None,
        padding: tuple[int, int],
    ) -> _Membrane:
        source = self._spikes(_argument(node, path), path)
        return _Membrane(
            path=path, source=source.name, linear=AveragePool(kernel, stride, padding, weights=self.weights)
        )

    def _add(self, node: fx.Node, path: str) -> _Value:
        if len(node.args) != 2 or not all(isinstance(argument, fx.Node) for argument in node.args) or node.kwargs:
            raise UnsupportedError(f"{path}: only two images can be added, without alpha, not {node.args!r}")
        values = [self.values[argument] for argument in node.args if isinstance(argument, fx.Node)]
        membranes = [value for value in values if isinstance(value, _Membrane)]
        spikes = [value.name for value in values if isinstance(value, _Spikes)]
        if any(isinstance(value, _Shape) for value in values):
            raise UnsupportedError(f"{path}: only two images can be added, not a size")
        if len(membranes) == 2:
            raise UnsupportedError(
                f"{path}: one of {membranes[0].path!r} and {membranes[1].path!r} must have fired before they are added; "
                f"put an nn.ReLU after the shortcut"
            )
        if not membranes:  # both have fired: a neuron with two inputs of weight 1
            identity = AveragePool((1, 1), (1, 1), (0, 0), weights=self.weights)
            return _Membrane(path=path, source=spikes[0], linear=identity, residuals=(spikes[1],))
        if membranes[0].after:
            raise UnsupportedError(
                f"{path}: a residual must be added before pooling or flattening of {membranes[0].path!r}"
            )
        return replace(membranes[0], residuals=(*membranes[0].residuals, spikes[0]))


_SIZES = ("size", "getattr", "getitem", "__len__", getattr, operator.getitem, len)
"""What a traced network calls to learn a size."""


def _readers(node: fx.Node) -> list[fx.Node]:
    """The nodes that read a value, sizes aside."""
    return [user for user in node.users if user.target not in _SIZES]


def _argument(node: fx.Node, path: str) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(source, fx.Node):
        raise UnsupportedError(f"{path}: its first argument must be an image, not {source!r}")
    return source


def _check_conv(path: str, module: nn.Conv2d) -> None:
    if module.dilation != (1, 1):
        raise UnsupportedError(f"{path}: Conv2d must have dilation 1, not {module.dilation!r}")
    if module.padding_mode != "zeros":
        raise UnsupportedError(f"{path}: Conv2d must pad with zeros (silence), not {module.padding_mode!r}")
    if isinstance(module.padding, str):
        raise UnsupportedError(f"{path}: Conv2d must give its padding as numbers, not {module.padding!r}")


def _max_pool(kernel: Any, stride: Any, padding: Any) -> nn.MaxPool2d:
    return nn.MaxPool2d(_two(kernel), _two(stride or kernel), _two(padding))


def _dropout(probability: Any) -> nn.Dropout:
    return nn.Dropout(float(probability))


def _two(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _bind(name: str, arguments: list[Any], options: dict[str, Any]) -> dict[str, Any] | None:
    orders: dict[str, tuple[str, ...]] = {
        "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    }
    order = orders.get(name, orders["max_pool2d"] if name in ("boolean_dispatch", "_max_pool2d") else None)
    return None if order is None else {**dict(zip(order, arguments, strict=False)), **options}


def _advice(name: str) -> str:
    replacements = {
        "GELU": "nn.ReLU", "SiLU": "nn.ReLU", "LeakyReLU": "nn.ReLU", "ELU": "nn.ReLU", "ReLU6": "nn.ReLU", "Sigmoid": "nn.ReLU",
        "Tanh": "nn.ReLU", "Hardswish": "nn.ReLU", "PReLU": "nn.ReLU", "gelu": "nn.ReLU", "silu": "nn.ReLU",
        "sigmoid": "nn.ReLU", "tanh": "nn.ReLU", "LayerNorm": "nn.BatchNorm2d after a Conv2d", "GroupNorm": "nn.BatchNorm2d",
        "InstanceNorm2d": "nn.BatchNorm2d", "Softmax": "nothing: the largest logit is the class", "softmax": "nothing",
        "LogSoftmax": "nothing: the largest logit is the class", "Conv1d": "nn.Conv2d with a window of one row",
        "ConvTranspose2d": "nn.Conv2d", "cat": "a sum of two spiking branches", "MaxPool1d": "nn.MaxPool2d",
        "AdaptiveMaxPool2d": "nn.MaxPool2d", "mul": "nn.Conv2d", "Upsample": "nn.Conv2d",
    }  # fmt: skip
    fallback = "a layer of the list in the conversion guide (docs/conversion.md)"
    return f"replace it by {replacements.get(name, fallback)}"
