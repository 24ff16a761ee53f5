"""What a rebuilt network is made of so far: steps and layers, and the value of every node of the graph."""

from dataclasses import replace
from typing import Any

from torch import fx, nn

from firstspike.arith import Code, LogWeights
from firstspike.cat import affine
from firstspike.cat.layers import AveragePool, Rearrange, Synapses
from firstspike.cat.operations import UnsupportedError, path_of
from firstspike.cat.prepared import INPUT, Step
from firstspike.cat.tracing import Traced
from firstspike.cat.values import Form, Joined, Membrane, Shifted, Spikes, Value


class Builder:
    """Steps and layers in order; every node's value is spikes or a membrane that still has to fire."""

    def __init__(self, traced: Traced, code: Code, weights: LogWeights, accumulator_bits: int) -> None:
        self.traced, self.code, self.weights, self.accumulator_bits = traced, code, weights, accumulator_bits
        self.steps: list[Step] = []
        self.layers: dict[str, nn.Module] = {}
        self.values: dict[fx.Node, Value] = {}
        self.forms: dict[fx.Node, Form] = {}
        self.used: set[str] = set()
        self.planes = {INPUT} if code.planes else set()  # values that are the bits of the input
        self.owners: list[tuple[nn.Module, str]] = []  # dropouts made of functions, and whose mode they follow
        self.clips: dict[str, float] = {}  # where a firing step ends, unless at 1
        self.heads: dict[str, int] = {}  # channels of each output, where there are several
        self.left_out: list[str] = []
        self.constants: str | None = None  # the map of constants, once a layer reads it
        self.as_maps: dict[int, nn.Module] = {}  # layers of sequences, by identity, as layers of images

    def blueprint(self) -> list[tuple[Any, ...]]:
        """All that tells one network of the same modules from another."""
        windows = {
            name: (layer.kernel, layer.stride, layer.padding) if isinstance(layer, AveragePool) else repr(layer)
            for name, layer in self.layers.items()
        }
        return [(step, windows[step.name], self.clips.get(step.name)) for step in self.steps]

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

    def step(self, path: str, kind: str, source: str, module: nn.Module, **fields: Any) -> Spikes:
        """Another step and its layer; a name is made of the path."""
        name = self._name(path)
        self.steps.append(Step(name=name, kind=kind, source=source, **fields))
        self.layers[name] = module
        return Spikes(name=name)

    def emit(self, membrane: Membrane, *, fires: bool, merges: bool = False) -> Spikes:
        """A membrane as a step, and what waited until it has fired."""
        membrane = self.with_shift(membrane)
        if membrane.pools:
            kind, module = "average", membrane.linear
        else:
            kind, module = "synapses", self._synapses(membrane)
        spikes = self.step(
            membrane.path,
            kind,
            membrane.source,
            module,
            residuals=membrane.residuals,
            parts=membrane.parts,
            fires=fires,
            merges=merges,
        )
        for path, after_kind, after in membrane.after:
            spikes = self.step(path, after_kind, spikes.name, after)
        return spikes

    def with_shift(self, membrane: Membrane) -> Membrane:
        """The membrane with its `Membrane.shift` as a part that reads the constants."""
        if membrane.shift is None:
            return membrane
        if self.constants is None:
            assert isinstance(membrane.linear, nn.Conv2d)
            constants = affine.constants(membrane.linear, self.constant)
            self.constants = self.emit(Membrane(path="constants", source=INPUT, linear=constants), fires=True).name
        path = f"{membrane.path}_shift"
        part = Membrane(path=path, source=self.constants, linear=membrane.shift, frame=membrane.frame)
        emitted = self.emit(part, fires=False)
        return replace(membrane, shift=None, parts=(*membrane.parts, emitted.name))

    @property
    def constant(self) -> float:
        """What the map of constants holds: a value that one spike says exactly, below 1, so that nothing saturates."""
        return 0.5 if self.code.tau < self.code.T else 1.0

    def _synapses(self, membrane: Membrane) -> Synapses:
        linear, norm = membrane.linear, membrane.norm
        if isinstance(linear, nn.Conv2d) and isinstance(norm, nn.BatchNorm1d):
            norm = self.as_map(norm)
        assert isinstance(linear, nn.Conv2d | nn.Linear)
        assert norm is None or isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        formats: dict[str, Any] = {"code": self.code, "weights": self.weights}
        return Synapses(linear, norm, **formats, accumulator_bits=self.accumulator_bits, frame=membrane.frame)

    def as_map(self, module: nn.Module) -> nn.Module:
        """A layer of sequences as one of images: the same one each time."""
        return self.as_maps.setdefault(id(module), affine.as_map(module))

    def value(self, node: fx.Node, path: str, *, any_form: bool = False) -> Value:
        """The value of a node for one of its readers: a membrane has no other, and an average that has fires by itself.

        Only a reader that takes ``any_form`` may find it seen as something else than a map.
        """
        value, form = self.values[node], self.forms[node]
        if not any_form and not form.plain:
            raise UnsupportedError(form.rule or f"{path}: it must read a map of {form.map!r}, not {form.seen!r}")
        readers = self.traced.readers(node)
        if isinstance(value, Joined) and len(readers) > 1:
            return self.join(node, value, path)
        if isinstance(value, Membrane) and len(readers) > 1:
            if not value.pools:
                raise UnsupportedError(
                    f"{path}: it reads {value.path!r}, which has not fired and which "
                    f"{', '.join(repr(path_of(reader)) for reader in readers if path_of(reader) != path) or 'another'} "
                    f"reads too; put one nn.ReLU after {value.path!r} and read that"
                )
            return self.fire(node)
        return value

    def fire(self, node: fx.Node) -> Spikes:
        """An average as neurons of its own."""
        value = self.values[node]
        assert isinstance(value, Membrane)
        spikes = self.emit(value, fires=True)
        self.values[node] = spikes
        return spikes

    def spikes(self, node: fx.Node, path: str, *, linear: bool = False, any_form: bool = False) -> Spikes:
        """The value of a node as spikes; an average fires by itself, or merges into the linear layer that reads it."""
        value = self.value(node, path, any_form=any_form)
        if isinstance(value, Spikes):
            return value
        if isinstance(value, Shifted):
            raise UnsupportedError(value.unread(path))
        if isinstance(value, Joined):
            return self.join(node, value, path)
        if not value.pools:
            raise UnsupportedError(
                f"{path}: it reads {value.path!r} before that has fired; put an nn.ReLU after {value.path!r}"
            )
        pool = value.linear
        assert isinstance(pool, AveragePool)
        plain = all(kind in ("flatten", "dropout") for _, kind, _ in value.after) and not value.residuals
        disjoint = pool.padding == (0, 0) and (pool.stride is None or pool.stride == pool.kernel)
        if linear and plain and disjoint:
            return self.emit(value, fires=False, merges=True)
        return self.fire(node)

    def join(self, node: fx.Node, value: Joined, path: str) -> Spikes:
        """Values one behind the other as one map, which only moves spikes."""
        names = []
        for member in value.members:
            if isinstance(member, Membrane):
                raise UnsupportedError(
                    f"{path}: it reads {member.path!r} before that has fired; put an nn.ReLU after {member.path!r}"
                )
            self.check_numbers(value.path, member.name)
            names.append(member.name)
        spikes = self.step(value.path, "channels", names[0], Rearrange(), others=tuple(names[1:]))
        self.values[node] = spikes
        return spikes

    def check_numbers(self, path: str, name: str) -> None:
        """Refuse input planes where numbers are compared or added."""
        if name in self.planes:
            raise UnsupportedError(
                f"{path}: input planes must be read by a Conv2d or Linear, not pooled or added; put a Conv2d before it or use "
                f"Code(input='spike')"
            )
