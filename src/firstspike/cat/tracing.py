"""The graph of a plain network (torch.fx): what its output needs, and that nothing else has a part in it."""

import operator
from copy import deepcopy
from typing import Any

from torch import fx, nn

from firstspike.cat.operations import FUNCTIONS, UnsupportedError, bind, function_name, is_size, path_of

_IN_PLACE = {
    f"__i{name}__": getattr(operator, f"i{name}")
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
}
_FRESH = {"cat", "relu", "add", "mean", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"}
_FRESH_MODULES = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d,
                  nn.AdaptiveAvgPool2d)  # fmt: skip


class _Proxy(fx.Proxy):
    """A traced value that keeps ``+=`` apart from ``+``."""


def _in_place(function: Any) -> Any:
    def method(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


for _name, _function in _IN_PLACE.items():
    setattr(_Proxy, _name, _in_place(_function))


class _Tracer(fx.Tracer):
    """The tracer of torch.fx, which would write ``x += y`` as ``x + y``."""

    def proxy(self, node: fx.Node) -> _Proxy:
        return _Proxy(node, self)


class Traced:
    """A network's graph, traced on a copy, so that weights which are tied stay tied.

    Attributes:
        net: the copy, whose modules the graph names.
        nodes: all nodes of the graph in evaluation mode, in order.
        training: the node of the same place in the graph of training mode.
        output: the node that returns.
    """

    def __init__(self, net: nn.Module) -> None:
        """Trace a network in training and in evaluation mode: both must give the same graph.

        Raises:
            UnsupportedError: it has hooks, cannot be traced, reads parameters itself, or differs between the modes.
        """
        name = type(net).__name__
        for path, module in net.named_modules():
            if module._forward_hooks or module._forward_pre_hooks:
                raise UnsupportedError(
                    f"{path or name}: forward hooks cannot be converted; remove them (weight_norm, spectral_norm and "
                    f"pruning come with functions that do)"
                )
        tracer = _Tracer()
        try:
            copy = deepcopy(net)
            self.net = nn.Sequential(copy) if tracer.is_leaf_module(copy, "") else copy
            self.net.train()
            training = list(tracer.trace(self.net).nodes)
            self.net.eval()
            self.nodes = list(_Tracer().trace(self.net).nodes)
        except Exception as error:
            raise UnsupportedError(
                f"network {name}: torch.fx cannot trace it: {error}; its forward must be a fixed sequence of layers, "
                f"without branches or loops that depend on values"
            ) from error
        self.output = next(node for node in self.nodes if node.op == "output")
        self._order = {node: index for index, node in enumerate(self.nodes)}
        self._live = _ancestors(self.output)
        for node in self.nodes:
            if node.op == "get_attr" and node in self._live:
                raise UnsupportedError(
                    f"{node.target!s}: a bare parameter or tensor cannot be converted; use nn.Conv2d or nn.Linear"
                )
        if [_form(node) for node in training] != [_form(node) for node in self.nodes]:
            raise UnsupportedError(
                f"network {name}: its forward must compute the same in training and in evaluation, without "
                f"'if self.training'"
            )
        self.training = dict(zip(self.nodes, training, strict=True))

    def live(self, node: fx.Node) -> bool:
        """Whether the output needs a node's value."""
        return node in self._live

    def readers(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that read an image, sizes and what the output does not need aside."""
        return [user for user in node.users if user in self._live and not is_size(user)]

    def changes(self, node: fx.Node) -> bool:
        """Whether a node writes into what it reads."""
        if node.op == "call_module":
            return bool(getattr(self.net.get_submodule(str(node.target)), "inplace", False))
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
        overwritten = {self._root(source) for source in node.all_input_nodes if not is_size(source)}
        for reader in self.nodes[place + 1 :]:
            if reader not in self._live or is_size(reader):
                continue
            for source in reader.all_input_nodes:
                if self._order[source] < place and not is_size(source) and self._root(source) in overwritten:
                    raise UnsupportedError(
                        f"{path_of(node)}: it changes {source.name!r} in place, which {path_of(reader)!r} reads "
                        f"afterwards; use its result instead, or do not work in place"
                    )

    def _root(self, node: fx.Node) -> fx.Node:
        """The node whose memory a node's value may share."""
        while self._shares(node):
            node = next(source for source in node.all_input_nodes if not is_size(source))
        return node

    def _shares(self, node: fx.Node) -> bool:
        if node.op not in ("call_module", "call_function", "call_method"):
            return False
        if all(is_size(source) for source in node.all_input_nodes):
            return False
        if self.changes(node):
            return True
        if node.op == "call_module":
            return not isinstance(self.net.get_submodule(str(node.target)), _FRESH_MODULES)
        return function_name(node) not in _FRESH


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, waiting = set(), [node]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += current.all_input_nodes
    return found


def _form(node: fx.Node) -> tuple[Any, ...]:
    """What must be equal in both modes: all but whether a dropout drops."""
    arguments, options = list(node.args), dict(node.kwargs)
    if function_name(node) in ("dropout", "dropout2d"):
        options.pop("training", None)
        arguments[2:3] = [None] if len(arguments) > 2 else []
    return (
        node.op,
        node.target,
        node.name,
        fx.node.map_arg(tuple(arguments), lambda source: source.name),
        fx.node.map_arg(options, lambda source: source.name),
    )
