"""`adapt`: change what has no exact counterpart, in the open. `prepare` alone never changes what a network computes."""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from firstspike.cat import tracing
from firstspike.cat.fitting import check_fits, example_shape, fitting
from firstspike.cat.operations import Extent, Operation, UnsupportedError, advice, name_of, path_of
from firstspike.cat.recognition import operation

ACTIVATIONS = (
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.PReLU,
    nn.RReLU,
    nn.Mish,
    nn.Softplus,
)
"""Modules that become nn.ReLU."""

FUNCTIONS = tuple(
    getattr(functional, name)
    for name in (
        "gelu",
        "silu",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "hardswish",
        "hardtanh",
        "mish",
        "softplus",
    )
)
"""Functions that become nn.ReLU; so do methods of their names."""

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of a network.

    Attributes:
        place: path of the module, or of the calling module and the function's name.
        before, after: what stood there and what stands there now.
        exact: whether the network computes the same as before on images in [0, 1].
    """

    place: str
    before: str
    after: str
    exact: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.before} -> {self.after}{' (exact)' if self.exact else ''}"


class Changes(tuple[Change, ...]):
    """What `adapt` changed, in the order of the network; as text one change a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing was changed"


class Adapted(NamedTuple):
    """What `adapt` returns."""

    network: nn.Module
    changes: Changes


def adapt(net: nn.Module, *, example: Any = None) -> Adapted:
    """A copy of ``net`` in which what has no exact spiking counterpart is replaced, and the table of what was replaced.

    - GELU, SiLU, LeakyReLU and other activations become ReLU.
    - A ReLU is put where a convolution, linear layer or average reads another that has not fired, and where two readers
      share one.
    - Batch norm, a factor or a shift that does not follow a convolution or linear layer gets a depthwise 1x1 convolution of
      weight 1 before it; batch norm after max pooling moves before that where all its factors are positive, which changes
      nothing.
    - A network that computes something else in training than in evaluation becomes what it is in evaluation.

    Train the result for a while, or calibrate it: unless every change is exact, it computes something else.

    Args:
        net: any module that `prepare` could trace; left as it is.
        example: images ``[n, *shape]``, where `prepare` would need one.

    Raises:
        UnsupportedError: it cannot be traced, or holds a norm over more than a batch's channels, which nothing here replaces.
    """
    network = tracing.Traceable(net)

    def build(shape: tuple[int, ...]) -> _Adapter:
        try:
            worker = _Adapter(network.traced(shape))
        except UnsupportedError:
            worker = _Adapter(network.traced(shape, evaluation=True))
            worker.note(network.name, "another computation in training", "that of evaluation", exact=True)
        worker.run()
        return worker

    worker = fitting(network, build) if example is None else build(example_shape(example))
    network.restore_modes()
    for module, owner in worker.owners:
        module.train(network.mode(owner))
    adapted = worker.module(network.name)
    adapted.training = net.training
    return Adapted(network=adapted, changes=Changes(worker.changes))


@dataclass(frozen=True, kw_only=True)
class _State:
    """What a value is: spikes (or what fires by itself), or a membrane; whether a norm can be folded into it, what waits.

    Attributes:
        foldable: whether a factor and a shift can be folded into it.
        image: whether it is the input, perhaps normalised, which the layers that read it take in.
    """

    fired: bool
    bare: bool = False
    foldable: bool = False
    waits: tuple[fx.Node, ...] = ()
    image: bool = False


_FIRED = _State(fired=True)
_UNIT = "a depthwise 1x1 convolution of weight 1 before it"


class _Adapter:
    """Walks the graph once and changes it on the way."""

    def __init__(self, traced: tracing.Traced) -> None:
        self.traced = traced
        self.root = traced.net
        self.graph = traced.output.graph
        self.changes: list[Change] = []
        self.states: dict[fx.Node, _State] = {}
        self.added = 0
        self.owners: list[tuple[nn.Module, str]] = []  # dropouts made of functions, and whose mode they follow

    def run(self) -> None:
        """Change the graph."""
        for node in self.traced.nodes:
            if not self.traced.live(node) or node.op == "output" or "constant" in node.meta:
                continue
            if node.op == "placeholder":
                self.states[node] = _State(fired=True, image=True)
            else:
                self.states[node] = self._visit(node)
                self._share(node)
        for node in reversed(self.traced.nodes):
            left = node.op not in ("output", "placeholder") and not node.users
            if not self.traced.live(node) or left:
                self.graph.erase_node(node)

    def blueprint(self) -> list[Any]:
        """All that tells one result of the same modules from another."""
        return [*map(str, self.changes), *((node.op, str(node.target)) for node in self.graph.nodes)]

    def _visit(self, node: fx.Node) -> _State:
        module = self.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, NORMS):
            raise UnsupportedError(
                f"{path_of(node)}: {type(module).__name__} cannot be adapted; {advice(type(module).__name__)}"
            )
        function = node.target if node.op == "call_function" else None
        method = str(node.target).rstrip("_") if node.op == "call_method" else None
        activation = (
            isinstance(module, ACTIVATIONS) or function in FUNCTIONS or method in [f.__name__ for f in FUNCTIONS]
        )
        if activation and not self._converts(node):
            self._activate(
                node, type(module).__name__ if module is not None else getattr(function, "__name__", str(method))
            )
            return _FIRED
        found = operation(node, self.traced.module, self.traced.training[node])
        check_fits(node, found)
        self._rewrite(node, found)
        states = [self.states[source] for source in found.inputs]
        if found.kind in ("linear", "average", "mean", "channels", "pieces"):
            if not states[0].fired:
                self._fire(found.inputs[0], f"before {found.path!r} reads it")
            return _State(fired=False, bare=True, foldable=True) if found.kind == "linear" else _FIRED
        if found.kind in ("norm", "affine"):
            return self._norm(node, found, states[0])
        if found.kind == "relu":
            return _FIRED
        if found.kind == "add":
            return self._add(found, states)
        if found.kind == "cat":
            return _State(fired=all(state.fired for state in states))
        if found.kind in ("maxpool", "dropout", "reshape", "move") and not states[0].fired:
            return _State(fired=False, waits=(*states[0].waits, node))
        return _FIRED if found.kind == "maxpool" else states[0]

    def _converts(self, node: fx.Node) -> bool:
        """Whether `prepare` takes a node as it is."""
        try:
            operation(node, self.traced.module, self.traced.training[node])
        except UnsupportedError:
            return False
        return True

    def _add(self, found: Operation, states: list[_State]) -> _State:
        for node, state in zip(found.inputs, states, strict=True):
            if not state.fired and state.waits:
                self._fire(node, f"before {found.path!r} adds it")
        fired = all(self.states[node].fired for node in found.inputs)
        return _FIRED if fired else _State(fired=False)

    def _norm(self, node: fx.Node, found: Operation, state: _State) -> _State:
        source, norm = found.inputs[0], found.module
        if state.image:
            return state
        if norm is None:
            if not state.foldable:
                shape = source.meta["shape"]
                source = source if state.fired else self._fire(source, f"before {found.path!r} reads it")
                self._unit(node, source, int(shape[1]), self._like())
                self.note(found.path, "a factor or shift of spikes", _UNIT, exact=True)
            return _State(fired=False, foldable=True)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        if state.bare:
            return _State(fired=False, foldable=True)
        pools = [self.traced.module(str(n.target)) for n in state.waits if n.op == "call_module"]
        positive = norm.weight is None or bool((norm.weight > 0).all())
        if len(state.waits) == 1 and pools and isinstance(pools[0], nn.MaxPool2d) and positive:
            pool = state.waits[0]
            if self.states[pool.all_input_nodes[0]].bare:
                node.replace_all_uses_with(pool)
                node.replace_input_with(source, pool.all_input_nodes[0])
                pool.prepend(node)
                pool.replace_input_with(pool.all_input_nodes[0], node)
                self.note(found.path, "BatchNorm after max pooling", f"before {path_of(pool)!r}", exact=True)
                self.states[pool] = _State(fired=False, waits=(pool,))
                return _State(fired=False, foldable=True)
        if not state.fired:
            source = self._fire(source, f"before {found.path!r} reads it")
        if isinstance(norm, nn.BatchNorm1d):
            raise UnsupportedError(f"{found.path}: BatchNorm1d must follow an nn.Linear or nn.Conv1d; move it there")
        self._unit(node, source, norm.num_features, next(norm.parameters(), next(norm.buffers(), self._like())))
        self.note(found.path, "BatchNorm of spikes", _UNIT, exact=True)
        return _State(fired=False, foldable=True)

    def _like(self) -> Tensor:
        """A tensor of the network's type."""
        return next(self.root.parameters(), torch.zeros(()))

    def _unit(self, node: fx.Node, source: fx.Node, channels: int, like: Tensor) -> None:
        """Put a depthwise 1x1 convolution of weight 1 before a node."""
        if len(source.meta.get("shape", (0, 0, 0, 0))) != 4:
            raise UnsupportedError(f"{path_of(node)}: it must follow a convolution or linear layer; move it there")
        scale = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        nn.init.ones_(scale.weight)
        with self.graph.inserting_before(node):
            unit = self._call(scale.to(like), source)
        unit.meta["shape"] = source.meta.get("shape", ())
        node.replace_input_with(source, unit)

    # Changes

    def note(self, place: str, before: str, after: str, *, exact: bool) -> None:
        """Enter a change."""
        self.changes.append(Change(place=place, before=before, after=after, exact=exact))

    def _call(self, module: nn.Module, source: fx.Node) -> fx.Node:
        self.added += 1
        name = f"adapted_{self.added}"
        self.root.add_module(name, module)
        return self.graph.call_module(name, (source,))

    def _activate(self, node: fx.Node, before: str) -> None:
        """Make a node a ReLU."""
        self.added += 1
        name = f"adapted_{self.added}"
        self.root.add_module(name, nn.ReLU())
        place = path_of(node)
        node.op, node.target, node.args, node.kwargs = "call_module", name, (node.all_input_nodes[0],), {}
        self.note(place, before, "ReLU", exact=False)

    def _fire(self, node: fx.Node, why: str) -> fx.Node:
        """Put a ReLU after a node, for all its readers."""
        readers = list(node.users)
        with self.graph.inserting_after(node):
            relu = self._call(nn.ReLU(), node)
        relu.meta["shape"] = node.meta.get("shape", ())
        for reader in readers:
            reader.replace_input_with(node, relu)
        self.states[node] = self.states[relu] = _FIRED
        self.note(path_of(node), "no activation", f"ReLU, {why}", exact=False)
        return relu

    def _share(self, node: fx.Node) -> None:
        """A membrane has one reader."""
        readers = [reader for reader in node.users if self.traced.live(reader)]
        if not self.states[node].fired and len(readers) > 1:
            self._fire(node, f"since {' and '.join(repr(path_of(reader)) for reader in readers)} read it")

    def _rewrite(self, node: fx.Node, found: Operation) -> None:
        """Numbers of images and pixels that tracing fixed become what they stood for."""
        source, shape = node.all_input_nodes[0], tuple(node.meta.get("shape", ()))
        if found.kind == "reshape" and node.op != "call_module":
            read = source.meta["shape"]
            flat = len(shape) == 2 and shape[1] == prod(read[1:])
            node.op, node.target = "call_function", torch.flatten if flat else torch.reshape
            node.args, node.kwargs = (source, 1) if flat else (source, (-1, *shape[1:])), {}
        elif found.kind == "average" and found.kernel is None and node.op != "call_module":
            pool = functional.adaptive_avg_pool1d if found.line else functional.adaptive_avg_pool2d
            node.op, node.target, node.kwargs = "call_function", pool, {}
            node.args = (source, 1)
        elif found.kind == "dropout" and node.op != "call_module":
            assert found.module is not None
            self.added += 1
            name = f"adapted_{self.added}"
            self.root.add_module(name, found.module)
            self.owners.append((found.module, found.owner or ""))
            node.op, node.target, node.args, node.kwargs = "call_module", name, (source,), {}

    def module(self, name: str) -> nn.Module:
        """The changed graph as a module, whose parts keep their paths."""
        net = self.root.get_submodule("net")
        flat = not any(node.op == "call_module" and node.target == "net" for node in self.graph.nodes)
        root = net if flat else self.root
        for node in self.graph.nodes:
            if node.op == "call_module" and flat:
                if not str(node.target).startswith("net."):
                    root.add_module(str(node.target), self.root.get_submodule(str(node.target)))
                node.target = name_of(str(node.target))
            if node.op == "get_attr" and flat:
                if not str(node.target).startswith("net."):  # a constant that forward makes
                    root.register_buffer(str(node.target), getattr(self.root, str(node.target)), persistent=False)
                node.target = name_of(str(node.target))
            node.args, node.kwargs = fx.node.map_aggregate((node.args, dict(node.kwargs)), _plain)
        self.graph.lint()
        return fx.GraphModule(root, self.graph, class_name=name)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Extent) else value


__all__ = ["Adapted", "Change", "Changes", "adapt"]
