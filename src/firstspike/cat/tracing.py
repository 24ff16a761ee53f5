"""The graph of a plain network (torch.fx) for one size of image: what its output needs, and that nothing else has a part.

Sizes are numbers while a network is traced: every value has a shape, found on tensors without memory (device "meta"), so that a
forward may ask for sizes, assert, branch and compute by them. What depends on values is refused.
"""

import inspect
import operator
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from firstspike.cat.operations import (
    ARITHMETIC,
    FUNCTIONS,
    Extent,
    UnsupportedError,
    bind,
    function_name,
    name_of,
    path_of,
)
from firstspike.cat.patches import check_global, check_module

BATCH = 1009
"""Images of a traced batch: a prime above most numbers of channels, so that nothing else is taken for it."""

_IN_PLACE = {
    f"__i{name}__": getattr(operator, f"i{name}")
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
}
_SHAPES_IN_PLACE = ("squeeze_", "unsqueeze_", "transpose_", "swapaxes_")
"""Methods that change no number, but the shape of a variable."""

_FRESH = {"cat", "relu", "add", "mean", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "clone"}
_FRESH_MODULES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)


class _Proxy(fx.Proxy):
    """A traced value: its shape is known, and ``+=`` is kept apart from ``+``."""

    def _known(self) -> Any:
        tracer: Any = self.tracer
        return tracer.known(self.node)

    @property
    def shape(self) -> tuple[Extent, ...]:
        return tuple(Extent(extent) for extent in self._known().shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return int(self._known().dim())

    ndimension = dim

    def numel(self) -> int:
        return int(self._known().numel())

    nelement = numel

    def __len__(self) -> int:
        return len(self._known())

    def __iter__(self) -> Any:
        itself: Any = self
        return iter([itself[index] for index in range(len(self._known()))])

    @property
    def ndim(self) -> int:
        return self.dim()

    @property
    def dtype(self) -> torch.dtype:
        return self._known().dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def is_cuda(self) -> bool:
        return False

    def is_floating_point(self) -> bool:
        return bool(self._known().is_floating_point())


def _in_place(function: Any) -> Any:
    def method(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


def _reshaping(method: str) -> Any:
    """``x.squeeze_()``: the variable stands for another value from now on, of which it returns itself."""

    def change(self: _Proxy, *args: Any, **kwargs: Any) -> Any:
        self.node = self.tracer.create_proxy("call_method", method.rstrip("_"), (self, *args), kwargs).node
        return self

    return change


for _name, _function in _IN_PLACE.items():
    setattr(_Proxy, _name, _in_place(_function))
for _name in _SHAPES_IN_PLACE:
    setattr(_Proxy, _name, _reshaping(_name))


class _Entry(nn.Module):
    """Calls a network with one argument, so that its others take their defaults."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return self.net(x)


class _Tracer(fx.Tracer):
    """The tracer of torch.fx, with shapes: each node is run on tensors that have no memory.

    Args:
        shape: of one image.
        dtype: of the images.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self._images = ((BATCH, *shape), dtype)
        self._values: dict[fx.Node, Any] = {}
        self._running = False
        self._made = 0

    def known(self, node: fx.Node) -> Any:
        """The value of a node, without memory; raises what running it raised."""
        if node not in self._values:  # a constant tensor, of which torch.fx tells nothing
            self._values[node] = self._run(node)
        value = self._values[node]
        if isinstance(value, Exception):
            raise value
        return value

    def nodes_of(self, entry: _Entry) -> list[fx.Node]:
        """The graph of a network; nodes know their ``shape``, or the ``error`` that running them raised."""
        for name in [name for name, _ in entry.named_children() if name != "net"]:
            delattr(entry, name)  # modules that an earlier forward made
        leaves = [module for module in entry.modules() if self.is_leaf_module(module, "")]
        for leaf in leaves:  # a call of its forward is a call of it
            leaf.forward = partial(self._direct, leaf)
        try:
            nodes = list(self.trace(entry).nodes)
        finally:
            for leaf in leaves:
                vars(leaf).pop("forward", None)
        for node in nodes:
            value = self._values.get(node)
            if isinstance(value, Exception):
                node.meta["error"] = value
            elif isinstance(value, Tensor):
                node.meta["shape"], node.meta["dtype"] = tuple(value.shape), value.dtype
            elif isinstance(value, tuple | list) and all(
                isinstance(piece, Tensor) and piece.dim() > 1 for piece in value
            ):
                node.meta["pieces"] = [int(piece.shape[1]) for piece in value]
        return nodes

    # what torch.fx calls

    def proxy(self, node: fx.Node) -> _Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) and wrapped(m) is None

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        inner = wrapped(m)
        if inner is not None:
            return self.call_module(inner, inner.forward, args, kwargs)
        return super().call_module(m, forward, args, kwargs)

    def path_of_module(self, mod: nn.Module) -> str:
        try:
            return super().path_of_module(mod)
        except NameError:
            kind = type(mod).__name__
            if next(mod.parameters(), next(mod.buffers(), None)) is not None:
                raise UnsupportedError(
                    f"a {kind} is no part of its network, since forward makes it or a plain list holds it; make it in "
                    f"__init__, in an nn.ModuleList"
                ) from None
            self._made += 1
            name = f"{kind.lower()}_made_{self._made}"
            self.root.add_module(name, mod)
            if self.submodule_paths is not None:
                self.submodule_paths[mod] = name
            return name

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> Any:
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **options)
        self._values[proxy.node] = self._run(proxy.node)
        return proxy

    def _direct(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        forward = type(module).forward
        if self._running:
            return forward(module, *args, **kwargs)
        return super().call_module(module, partial(forward, module), args, kwargs)

    def _run(self, node: fx.Node) -> Any:
        """The value of a node on images without memory, or the exception that this raises."""
        self._running = True
        try:
            with torch.no_grad():
                return self._value(node)
        except Exception as error:
            return error
        finally:
            self._running = False

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            shape, dtype = self._images
            return torch.empty(shape, dtype=dtype, device="meta")
        if node.op == "output":
            return None
        args: Any = fx.node.map_arg(node.args, self.known)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.known)
        if node.op == "get_attr":
            value = operator.attrgetter(str(node.target))(self.root)
            return value.detach().to("meta") if isinstance(value, Tensor) else value
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            if isinstance(module, _ALIKE):
                return _alike(module, *args, **kwargs)
            if type(module) is nn.Conv2d:
                return _convolved(module, *args, **kwargs)
            if type(module) is nn.Linear:
                return _multiplied(module, *args, **kwargs)
            state = {name: value.detach().to("meta") for name, value in module.state_dict(keep_vars=True).items()}
            return functional_call(module, state, args, kwargs)
        if function_name(node) in ("relu", "relu_", "dropout", "dropout2d"):
            image = args[0] if args else kwargs["input"]
            return image.view_as(image)
        if (
            function_name(node) in ("add", "iadd", "add_")
            and len(args) == 2
            and all(isinstance(a, Tensor) for a in args)
        ):
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
            return args[0].new_empty(shape)
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if node.target in ("cuda", "cpu", "to"):  # a device is none of its own here
            given = [*args[1:], *kwargs.values()]
            types = [value.dtype if isinstance(value, Tensor) else value for value in given]
            return next(
                (args[0].to(value) for value in types if isinstance(value, torch.dtype)), args[0].view_as(args[0])
            )
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)


_ALIKE = (nn.ReLU, nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)


def _alike(module: nn.Module, input: Tensor) -> Tensor:
    """What a module gives that changes no shape, without memory; see `_convolved`."""
    channels = getattr(module, "num_features", input.shape[1])
    if input.shape[1] != channels:
        raise ValueError(f"a norm of {channels} channels does not take shape {tuple(input.shape[1:])!r}")
    return input.view_as(input)


def _convolved(conv: nn.Conv2d, input: Tensor) -> Tensor:
    """What a convolution gives, without memory. PyTorch's own way imports a computer algebra system, which takes seconds."""
    size = [int(extent) for extent in input.shape[2:]]
    if input.dim() != 4 or input.shape[1] != conv.in_channels:
        raise ValueError(f"a convolution of {conv.in_channels} channels does not take shape {tuple(input.shape[1:])!r}")
    padding = conv.padding if isinstance(conv.padding, tuple) else (0, 0)
    reach = [dilation * (kernel - 1) for dilation, kernel in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding == "same":
        size = [extent + span for extent, span in zip(size, reach, strict=True)]
    out = [
        (extent + 2 * pad - span - 1) // stride + 1
        for extent, pad, span, stride in zip(size, padding, reach, conv.stride, strict=True)
    ]
    if min(out) < 1:
        raise ValueError(f"its window is greater than actual input size, {tuple(input.shape[2:])!r}")
    return input.new_empty((len(input), conv.out_channels, *out))


def _multiplied(linear: nn.Linear, input: Tensor) -> Tensor:
    if input.shape[-1] != linear.in_features:
        raise ValueError(
            f"a linear layer of {linear.in_features} features does not take shape {tuple(input.shape[1:])!r}"
        )
    return input.new_empty((*input.shape[:-1], linear.out_features))


def wrapped(module: nn.Module) -> nn.Module | None:
    """The network inside a wrapper that computes nothing of its own: DataParallel, DDP, what ``torch.compile`` returns."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        found: nn.Module = module.module
        return found
    inner = getattr(module, "_orig_mod", None)
    return inner if type(module).__name__ == "OptimizedModule" and isinstance(inner, nn.Module) else None


class Traceable:
    """A copy of a plain network, checked for what no copy could keep, to be traced for one size of image after another.

    Attributes:
        name: of its class.
    """

    def __init__(self, net: nn.Module) -> None:
        """Copy a network, so that weights which are tied stay tied.

        Raises:
            UnsupportedError: it has hooks or replaced forwards, no values, no forward of its own, or more than one input.
        """
        while (inner := wrapped(net)) is not None:
            net = inner
        self.name = type(net).__name__
        if isinstance(net, fx.GraphModule) and any(
            isinstance(n.target, torch._ops.OpOverload) for n in net.graph.nodes
        ):
            raise UnsupportedError(
                f"network {self.name}: an exported module holds operations, not layers; give the nn.Module it was made of"
            )
        for path, parameter in [*net.named_parameters(), *net.named_buffers()]:
            if isinstance(parameter, UninitializedParameter | UninitializedBuffer):
                raise UnsupportedError(
                    f"{path}: it has no shape yet (a lazy module); run one batch through the network"
                )
            if parameter.is_meta:
                raise UnsupportedError(f"{path}: it has no values (device 'meta'); load the network's weights first")
        check_global()
        for path, module in net.named_modules():
            check_module(path or self.name, module)
            if isinstance(module, torch.jit.ScriptModule):
                raise UnsupportedError(
                    f"{path or self.name}: a compiled TorchScript module holds no layers; give the nn.Module it was made of"
                )
        _check_inputs(net)
        self._modes = {path: module.training for path, module in net.named_modules()}
        try:
            self._entry = _Entry(deepcopy(net))
        except Exception as error:
            raise UnsupportedError(f"network {self.name}: it cannot be copied: {error}") from error
        floating = [value.dtype for value in net.parameters() if value.is_floating_point()]
        self._dtype = floating[0] if floating else torch.get_default_dtype()

    def traced(self, shape: Sequence[int], *, evaluation: bool = False) -> "Traced":
        """Its graph for images of one shape.

        Args:
            shape: of one image.
            evaluation: take what it computes in evaluation, whatever it does in training.

        Raises:
            UnsupportedError: it cannot be traced, reads parameters itself, or differs between training and evaluation.
        """
        if evaluation:
            self._entry.eval()
            nodes = self._nodes(shape)
            return Traced(self.name, self._entry, nodes, nodes)
        self._entry.train()
        training = self._nodes(shape)
        self._entry.eval()
        nodes = self._nodes(shape)  # its modules are those that stay
        return Traced(self.name, self._entry, nodes, training)

    def restore_modes(self) -> None:
        """Put every module into the mode, training or evaluation, that it had in the network."""
        for path, module in self._entry.net.named_modules():
            module.training = self._modes[path]

    def mode(self, path: str) -> bool:
        """Whether a module of the network was in training mode."""
        return bool(self._modes.get(path, self._modes[""]))

    def first_layer(self) -> nn.Conv2d | nn.Conv1d | nn.Linear | None:
        """The first convolution, of images or else of sequences, or else the first linear layer, in order of definition."""
        modules = list(self._entry.modules())
        for kind in (nn.Conv2d, nn.Conv1d, nn.Linear):
            for module in modules:
                if isinstance(module, kind):
                    return module
        return None

    def _nodes(self, shape: Sequence[int]) -> list[fx.Node]:
        try:
            return _Tracer(shape, self._dtype).nodes_of(self._entry)
        except UnsupportedError as error:
            raise UnsupportedError(f"network {self.name}: {error}") from None
        except Exception as error:
            raise UnsupportedError(
                f"network {self.name}: torch.fx cannot trace it: {error}; its forward must be a fixed sequence of layers, "
                f"without branches or loops that depend on values"
            ) from error


def _check_inputs(net: nn.Module) -> None:
    inputs = [
        parameter.name
        for parameter in inspect.signature(net.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(inputs) > 1:
        raise UnsupportedError(f"input {inputs[1]!r}: a network must have one input, not several")


class Traced:
    """A network's graph for one size of image.

    Attributes:
        nodes: all nodes of the graph in evaluation mode, in order.
        training: the node of the same place in the graph of training mode, of the nodes that the output needs.
        output: the node that returns.
    """

    def __init__(self, name: str, net: nn.Module, nodes: list[fx.Node], training: list[fx.Node]) -> None:
        self.net, self.nodes = net, nodes
        self.output = next(node for node in nodes if node.op == "output")
        self._order = {node: index for index, node in enumerate(nodes)}
        self._live = _ancestors(self.output)
        self._check_constants()
        twins = self._twins(training)
        if twins is None:
            raise UnsupportedError(
                f"network {name}: its forward must compute the same in training and in evaluation, without "
                f"'if self.training'"
            )
        self.training = twins

    def _check_constants(self) -> None:
        """Mark what depends on no image; only arithmetic with an image may read it."""
        for node in self.nodes:
            read = node.all_input_nodes
            called = node.op in ("call_function", "call_method") and bool(read)
            if node.op == "get_attr" or (called and all("constant" in source.meta for source in read)):
                node.meta["constant"] = read[0].meta["constant"] if read else str(node.target)
        for node in self.nodes:
            bare = [source.meta["constant"] for source in node.all_input_nodes if "constant" in source.meta]
            if node in self._live and bare and "constant" not in node.meta and function_name(node) not in ARITHMETIC:
                raise UnsupportedError(
                    f"{name_of(bare[0])}: a bare parameter or tensor cannot be converted; use nn.Conv2d or nn.Linear"
                )

    def constant(self, node: fx.Node) -> Tensor:
        """The value of a node that depends on no image, float64."""
        if node.op == "get_attr":
            value: Tensor = operator.attrgetter(str(node.target))(self.net).detach().double()
            return value
        args: Any = fx.node.map_arg(node.args, self.constant)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.constant)
        with torch.no_grad():
            if node.op == "call_function":
                return node.target(*args, **kwargs)  # type: ignore[operator,no-any-return]
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)  # type: ignore[no-any-return]

    def module(self, path: str) -> nn.Module:
        """The module that a node's target names."""
        return self.net.get_submodule(path)

    def _called(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls; None for one that forward made in training only."""
        try:
            return self.module(str(node.target))
        except AttributeError:
            return None

    def _twins(self, training: list[fx.Node]) -> dict[fx.Node, fx.Node] | None:
        """For each node that the output needs, its twin in training's graph, whose output may have further heads."""
        mine = [node for node in self.nodes if node in self._live and node.op != "output"]
        returned = next(node for node in training if node.op == "output").args[0]
        heads = returned.values() if isinstance(returned, dict) else returned
        for head in [returned, *(heads if isinstance(heads, list | tuple | type({}.values())) else ())]:
            live: set[fx.Node] = set()
            fx.node.map_arg(head, lambda node, live=live: live.update(_ancestors(node)))  # type: ignore[misc]
            theirs = [node for node in training if node in live]
            if len(theirs) != len(mine) or self._stray(training, live) != self._stray(self.nodes, self._live):
                continue
            places = [{node: index for index, node in enumerate(nodes)} for nodes in (mine, theirs)]
            pairs = zip(mine, theirs, strict=True)
            if all(self._form(one, places[0]) == self._form(two, places[1]) for one, two in pairs):
                return dict(zip(mine, theirs, strict=True))
        return None

    def _stray(self, nodes: list[fx.Node], live: set[fx.Node]) -> list[Any]:
        """What is called to write into memory that the output needs, but whose result it does not need."""
        used = {self._root(node) for node in nodes if node in live}
        return [node.target for node in nodes if node not in live and self.changes(node) and self._root(node) in used]

    def _form(self, node: fx.Node, places: dict[fx.Node, int]) -> tuple[Any, ...]:
        """What must be equal in both modes: all but whether a dropout drops."""
        arguments, options = list(node.args), dict(node.kwargs)
        if function_name(node) in ("dropout", "dropout2d"):
            options.pop("training", None)
            arguments[2:3] = [None] if len(arguments) > 2 else []
        made = node.op == "call_module" and not str(node.target).startswith("net")
        target: Any = type(self._called(node)) if made else node.target
        if node.op == "get_attr" and "_tensor_constant" in str(target):  # numbered anew each time
            target = repr(self.constant(node).tolist())
        return (
            node.op,
            target,
            fx.node.map_arg(tuple(arguments), lambda source: places[source]),
            fx.node.map_arg(options, lambda source: places[source]),
        )

    def live(self, node: fx.Node) -> bool:
        """Whether the output needs a node's value."""
        return node in self._live

    def readers(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that read an image, but for those that the output does not need."""
        return [user for user in node.users if user in self._live]

    def changes(self, node: fx.Node) -> bool:
        """Whether a node writes into what it reads."""
        if node.op == "call_module":
            return bool(getattr(self._called(node), "inplace", False))
        if node.op == "call_method":
            return str(node.target).endswith("_") and not str(node.target).endswith("__")
        if node.op != "call_function":
            return False
        name = function_name(node)
        if name in ("relu", "dropout", "dropout2d"):
            return bool(bind(node, name).get("inplace", False))
        if node.target in _IN_PLACE.values() or str(getattr(node.target, "__name__", "")).endswith("_"):
            return True
        unknown = node.target not in FUNCTIONS and any(argument is True for argument in node.args)
        return unknown or bool(node.kwargs.get("inplace", False)) or "out" in node.kwargs

    def check_in_place(self, node: fx.Node) -> None:
        """Refuse an operation in place if what it overwrites is read afterwards through another name.

        Raises:
            UnsupportedError: it is.
        """
        place = self._order[node]
        written = node.kwargs.get("out") or node.all_input_nodes[0]
        overwritten = {self._root(source) for source in (written if isinstance(written, list | tuple) else (written,))}
        for reader in self.nodes[place + 1 :]:
            if reader not in self._live:
                continue
            for source in reader.all_input_nodes:
                if self._order[source] < place and self._root(source) in overwritten:
                    raise UnsupportedError(
                        f"{path_of(node)}: it changes {path_of(source)!r} in place, which {path_of(reader)!r} reads "
                        f"afterwards; use its result instead, or do not work in place"
                    )

    def _root(self, node: fx.Node) -> fx.Node:
        """The node whose memory a node's value may share."""
        while self._shares(node):
            node = node.all_input_nodes[0]
        return node

    def _shares(self, node: fx.Node) -> bool:
        if node.op not in ("call_module", "call_function", "call_method") or not node.all_input_nodes:
            return False
        if self.changes(node):
            return True
        if node.op == "call_module":
            return not isinstance(self._called(node), _FRESH_MODULES)
        return function_name(node) not in _FRESH


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, waiting = set(), [node]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += current.all_input_nodes
    return found
