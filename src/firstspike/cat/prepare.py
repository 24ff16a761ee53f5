"""`prepare`: rebuild a traced ReLU network from layers that can be converted, or say what cannot be."""

import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from firstspike.arith import Code, LogWeights, checks
from firstspike.cat import affine, clips, moves, tracing
from firstspike.cat.fitting import check_fits, example_shape, fitting
from firstspike.cat.layers import AveragePool, Heads, Rearrange, Synapses
from firstspike.cat.operations import Operation, UnsupportedError, path_of
from firstspike.cat.prepared import INPUT, Prepared, Step
from firstspike.cat.recognition import operation
from firstspike.cat.tracing import Traced
from firstspike.messages import brief

__all__ = ["UnsupportedError", "prepare"]


@dataclass(frozen=True, kw_only=True)
class _Spikes:
    """A value that is spikes: the output of a step."""

    name: str


@dataclass(frozen=True, kw_only=True)
class _Membrane:
    """A value that has not fired yet: a linear operation on spikes, and what is to follow its firing."""

    path: str
    source: str
    linear: nn.Module
    norm: nn.Module | None = None
    frame: moves.Frame = (0, 0, 0, 0)
    residuals: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    after: tuple[tuple[str, str, nn.Module], ...] = field(default_factory=tuple)

    @property
    def pools(self) -> bool:
        return isinstance(self.linear, AveragePool)


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """Values one behind the other along the channels; what follows works on each while it can."""

    path: str
    members: tuple[_Spikes | _Membrane, ...]


@dataclass(frozen=True, kw_only=True)
class _Shifted:
    """The input times a factor, plus a shift of each channel, which the layers that read it take in."""

    path: str
    factor: Tensor
    shift: Tensor


_Value = _Spikes | _Membrane | _Joined | _Shifted


def prepare(
    net: nn.Module,
    *,
    example: Tensor | np.ndarray | None = None,
    code: Code | None = None,
    weights: LogWeights | None = None,
    accumulator_bits: int = 32,
) -> Prepared:
    """A copy of ``net`` for conversion-aware training, in stage ``"relu"``: the same function, ready for the other stages.

    What is supported stands in docs/reference/layers.md. An average over a number of pixels that is no power of two takes
    the weight level nearest to ``1/n`` from the start. A module that is called twice is two layers with tied weights.
    Every module keeps its own mode, training or evaluation. A last softmax or sigmoid is left out, with a warning.
    Sequences ``[n, channels, length]`` are images of one row.

    Args:
        net: any module that torch.fx can trace, with one input and one or more outputs; left as it is.
        example: images ``[n, *shape]``, of which only the shape counts; without it the network's first batch says how
            large an image is (`Prepared.input_shape`).
        code: spike code, by default ``Code()``.
        weights: weight format, by default ``LogWeights()``.
        accumulator_bits: ``A``, bits of a membrane, 8..48.

    Raises:
        TypeError: ``net`` is no module, ``example`` no images, or ``code`` or ``weights`` is of another type.
        ValueError: ``accumulator_bits`` is out of range, or the network takes no image of the example's shape.
        UnsupportedError: ``net`` holds something else; the text names the module path and a replacement.
    """
    code, weights = code or Code(), weights or LogWeights()
    _check(net, code, weights, accumulator_bits)
    network = tracing.Traceable(net)
    build = partial(_build, network, code, weights, accumulator_bits)
    builder = fitting(network, build) if example is None else build(example_shape(example))
    prepared = Prepared(
        builder.steps,
        builder.layers,
        code=code,
        weights=weights,
        accumulator_bits=accumulator_bits,
        heads=builder.heads,
    )
    clips.rescale(prepared, builder.clips)
    for left_out in builder.left_out:
        warnings.warn(
            f"{left_out}: it is left out, since the largest logit stays the largest; train on logits "
            f"(torch.nn.functional.cross_entropy), and take a softmax of real ones where you need shares",
            UserWarning,
            stacklevel=2,
        )
    prepared.train(net.training)
    network.restore_modes()
    for module, owner in builder.owners:
        module.train(network.mode(owner))
    if example is not None:
        prepared.set_input_shape(example.shape[1:])
    return prepared


def _check(net: nn.Module, code: Code, weights: LogWeights, accumulator_bits: int) -> None:
    """The arguments of `prepare` are what it says."""
    if not isinstance(net, nn.Module):
        exported = "; give the module that was exported" if type(net).__name__ == "ExportedProgram" else ""
        raise TypeError(f"net must be a torch.nn.Module, not {brief(net)}{exported}")
    if not isinstance(code, Code):
        raise TypeError(f"code must be a firstspike.Code, not {code!r}")
    if not isinstance(weights, LogWeights):
        raise TypeError(f"weights must be firstspike.LogWeights, not {weights!r}")
    checks.integer("accumulator_bits", accumulator_bits, low=8, high=48)
    if isinstance(net, Prepared):
        raise TypeError("net must be a plain network, not one that is prepared already")


def _build(
    network: tracing.Traceable, code: Code, weights: LogWeights, accumulator_bits: int, shape: tuple[int, ...]
) -> "_Builder":
    builder = _Builder(network.traced(shape), code, weights, accumulator_bits)
    builder.run()
    return builder


@dataclass(frozen=True, kw_only=True)
class _Form:
    """The shape of a value without the images' axis.

    Attributes:
        map: as a map of spikes or membranes, ``(channels, height, width)`` or ``(features,)``.
        seen: as the network sees it: the same numbers in the same order, or their means where an average is under way.
        rule: what it must not be read as, while the two differ.
        order: for each place as the network sees it the number of its value in the map, -1 for a zero; None: in order.
    """

    map: tuple[int, ...]
    seen: tuple[int, ...]
    rule: str = ""
    order: np.ndarray | None = None

    @property
    def plain(self) -> bool:
        """Whether the network sees the map: as it is, or without its only row."""
        line = len(self.map) == 3 and self.map[1] == 1 and self.seen == (self.map[0], self.map[2])
        return self.order is None and (self.seen == self.map or line)


class _Builder:
    """Walks the graph once; every node's value is spikes or a membrane that still has to fire."""

    def __init__(self, traced: Traced, code: Code, weights: LogWeights, accumulator_bits: int) -> None:
        self.traced, self.code, self.weights, self.accumulator_bits = traced, code, weights, accumulator_bits
        self.steps: list[Step] = []
        self.layers: dict[str, nn.Module] = {}
        self.values: dict[fx.Node, _Value] = {}
        self.forms: dict[fx.Node, _Form] = {}
        self.used: set[str] = set()
        self.planes = {INPUT} if code.planes else set()  # values that are the bits of the input
        self.owners: list[tuple[nn.Module, str]] = []  # dropouts made of functions, and whose mode they follow
        self.clips: dict[str, float] = {}  # where a firing step ends, unless at 1
        self.heads: dict[str, int] = {}  # channels of each output, where there are several
        self.left_out: list[str] = []
        self.as_maps: dict[int, nn.Module] = {}  # layers of sequences, by identity, as layers of images

    def run(self) -> None:
        for node in self.traced.nodes:
            if self.traced.changes(node):
                self._check_in_place(node)
            if node.op == "placeholder":
                self.values[node] = _Spikes(name=INPUT)
                self.forms[node] = _form(node)
            elif node.op == "output":
                self._output(node)
            elif self.traced.live(node) and "constant" not in node.meta:
                found = operation(node, self.traced.module, self.traced.training[node])
                check_fits(node, found)
                self.forms[node] = _form(node.all_input_nodes[0] if found.kind == "pieces" else node)
                self.values[node] = self._operation(node, found)

    def blueprint(self) -> list[tuple[Any, ...]]:
        """All that tells one network of the same modules from another."""
        windows = {
            name: (layer.kernel, layer.stride, layer.padding) if isinstance(layer, AveragePool) else repr(layer)
            for name, layer in self.layers.items()
        }
        return [(step, windows[step.name], self.clips.get(step.name)) for step in self.steps]

    def _check_in_place(self, node: fx.Node) -> None:
        """A ReLU changes nothing in spikes, and a concatenation is a copy; anything else must not be seen elsewhere."""
        spikes = all(isinstance(self.values.get(source), _Spikes | _Joined) for source in node.all_input_nodes)
        live = self.traced.live(node) and "constant" not in node.meta
        found = operation(node, self.traced.module, node) if live else None
        if not (spikes and found is not None and found.kind == "relu" and found.clip is None):
            self.traced.check_in_place(node)

    def _operation(self, node: fx.Node, found: Operation) -> _Value:
        kind, path, source = found.kind, found.path, found.inputs[0]
        if kind == "linear":
            return self._linear(node, found)
        if kind in ("norm", "affine"):
            return self._norm(node, found)
        if kind in ("relu", "same", "final"):
            if kind == "final":
                self._check_final(node, found)
            value = self._value(source, path, any_form=True)
            self.forms[node] = self.forms[source]
            if kind != "relu":
                return value
            if isinstance(value, _Joined):
                return replace(value, members=tuple(self._relu(member, found) for member in value.members))
            if isinstance(value, _Shifted):
                raise UnsupportedError(self._unread(path, value))
            return self._relu(value, found)
        if kind == "cat":
            return self._cat(found)
        if kind == "pieces":
            return self._spikes(source, path)
        if kind == "channels":
            return self._channels(found)
        if kind == "add":
            return self._add(found)
        if kind == "average":
            return self._average(found)
        if kind == "reshape":
            return self._reshape(node, found)
        if kind == "move":
            return self._move(node, found)
        if kind == "mean":
            return self._mean(node, found)
        if kind == "dropout" and found.module is not None and found.owner is not None:
            self.owners.append((found.module, found.owner))
        if kind == "dropout":
            self.forms[node] = self.forms[source]
        return self._waiting(node, found, any_form=kind == "dropout")

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

    def _relu(self, value: _Spikes | _Membrane, found: Operation) -> _Spikes:
        clip = found.clip
        if isinstance(value, _Spikes) and clip is not None and self.clips.get(value.name, 1.0) > clip:
            identity = AveragePool((1, 1), (1, 1), (0, 0), weights=self.weights)
            value = _Membrane(path=found.path, source=value.name, linear=identity)
        if isinstance(value, _Spikes):
            return value
        first = len(self.steps)
        spikes = self._emit(value, fires=True)
        if clip is not None:
            self.clips[self.steps[first].name] = clip
        return spikes

    def _emit(self, membrane: _Membrane, *, fires: bool, merges: bool = False) -> _Spikes:
        if membrane.pools:
            kind, module = "average", membrane.linear
        else:
            kind, module = "synapses", self._synapses(membrane)
        spikes = self._step(
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
            spikes = self._step(path, after_kind, spikes.name, after)
        return spikes

    def _synapses(self, membrane: _Membrane) -> Synapses:
        linear, norm = membrane.linear, membrane.norm
        if isinstance(linear, nn.Conv2d) and isinstance(norm, nn.BatchNorm1d):
            norm = self._as_map(norm)
        assert isinstance(linear, nn.Conv2d | nn.Linear)
        assert norm is None or isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        formats: dict[str, Any] = {"code": self.code, "weights": self.weights}
        return Synapses(linear, norm, **formats, accumulator_bits=self.accumulator_bits, frame=membrane.frame)

    def _as_map(self, module: nn.Module) -> nn.Module:
        """A layer of sequences as one of images: the same one each time."""
        return self.as_maps.setdefault(id(module), affine.as_map(module))

    # Values

    def _value(self, node: fx.Node, path: str, *, any_form: bool = False) -> _Value:
        """The value of a node for one of its readers: a membrane has no other, and an average that has fires by itself.

        Only a reader that takes ``any_form`` may find it seen as something else than a map.
        """
        value, form = self.values[node], self.forms[node]
        if not any_form and not form.plain:
            raise UnsupportedError(form.rule or f"{path}: it must read a map of {form.map!r}, not {form.seen!r}")
        readers = self.traced.readers(node)
        if isinstance(value, _Joined) and len(readers) > 1:
            return self._join(node, value, path)
        if isinstance(value, _Membrane) and len(readers) > 1:
            if not value.pools:
                raise UnsupportedError(
                    f"{path}: it reads {value.path!r}, which has not fired and which "
                    f"{', '.join(repr(path_of(reader)) for reader in readers if path_of(reader) != path) or 'another'} "
                    f"reads too; put one nn.ReLU after {value.path!r} and read that"
                )
            return self._fire(node)
        return value

    def _fire(self, node: fx.Node) -> _Spikes:
        """An average as neurons of its own."""
        value = self.values[node]
        assert isinstance(value, _Membrane)
        spikes = self._emit(value, fires=True)
        self.values[node] = spikes
        return spikes

    def _spikes(self, node: fx.Node, path: str, *, linear: bool = False, any_form: bool = False) -> _Spikes:
        """The value of a node as spikes; an average fires by itself, or merges into the linear layer that reads it."""
        value = self._value(node, path, any_form=any_form)
        if isinstance(value, _Spikes):
            return value
        if isinstance(value, _Shifted):
            raise UnsupportedError(self._unread(path, value))
        if isinstance(value, _Joined):
            return self._join(node, value, path)
        if not value.pools:
            raise UnsupportedError(
                f"{path}: it reads {value.path!r} before that has fired; put an nn.ReLU after {value.path!r}"
            )
        pool = value.linear
        assert isinstance(pool, AveragePool)
        plain = all(kind in ("flatten", "dropout") for _, kind, _ in value.after) and not value.residuals
        disjoint = pool.padding == (0, 0) and (pool.stride is None or pool.stride == pool.kernel)
        if linear and plain and disjoint:
            return self._emit(value, fires=False, merges=True)
        return self._fire(node)

    def _join(self, node: fx.Node, value: _Joined, path: str) -> _Spikes:
        """Values one behind the other as one map, which only moves spikes."""
        names = []
        for member in value.members:
            if isinstance(member, _Membrane):
                raise UnsupportedError(
                    f"{path}: it reads {member.path!r} before that has fired; put an nn.ReLU after {member.path!r}"
                )
            self._check_numbers(value.path, member.name)
            names.append(member.name)
        spikes = self._step(value.path, "channels", names[0], Rearrange(), others=tuple(names[1:]))
        self.values[node] = spikes
        return spikes

    # Operations

    def _channels(self, found: Operation) -> _Spikes:
        """Some channels, at every so many pixels (a window of one pixel with that stride), and silent ones around."""
        spikes = self._spikes(found.inputs[0], found.path)
        self._check_numbers(found.path, spikes.name)
        if (found.stride or (1, 1)) != (1, 1):
            spikes = self._step(f"{found.path}_pixels", "maxpool", spikes.name, nn.MaxPool2d(1, found.stride))
        if found.part is not None or found.pad != (0, 0):
            spikes = self._step(found.path, "channels", spikes.name, Rearrange(part=found.part, pad=found.pad))
        return spikes

    def _cat(self, found: Operation) -> _Value:
        members: list[_Spikes | _Membrane] = []
        for node in found.inputs:
            value = self._value(node, found.path)
            if isinstance(value, _Shifted):
                raise UnsupportedError(self._unread(found.path, value))
            if isinstance(value, _Membrane) and value.pools:
                value = self._fire(node)
            members += value.members if isinstance(value, _Joined) else [value]
        return _Joined(path=found.path, members=tuple(members)) if len(members) > 1 else members[0]

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if isinstance(result, fx.Node):
            self._emit(self._last(result, "output"), fires=False)
            return
        named = dict(result) if isinstance(result, dict) else {str(i): one for i, one in enumerate(_listed(result))}
        heads = {str(name): one for name, one in named.items() if one is not None}
        if not heads or not all(isinstance(one, fx.Node) for one in heads.values()):
            raise UnsupportedError(f"output: a network must return a tensor, or several, not {result!r}")
        if len(heads) == 1:
            self._emit(self._last(next(iter(heads.values())), "output"), fires=False)
            return
        names = []
        for name, one in heads.items():
            head = self._last(one, f"output {name!r}")
            if head.pools or head.residuals or head.parts or getattr(head.linear, "groups", 1) > 1:
                raise UnsupportedError(
                    f"{head.path}: each of several outputs must be one nn.Linear or nn.Conv2d without groups, not an average "
                    f"or a sum"
                )
            names.append(self._emit(replace(head, after=()), fires=False).name)
            self.heads[name] = int(head.linear.weight.shape[0])  # type: ignore[index]
        shapes = {self.forms[one].map[1:] for one in heads.values()}
        if len(shapes) > 1:
            raise UnsupportedError(
                f"output: several outputs must have the same rows and columns, not {sorted(shapes)!r}; convert a network for each"
            )
        self._step("heads", "heads", names[0], Heads(), others=tuple(names[1:]))

    def _last(self, result: fx.Node, path: str) -> _Membrane:
        """What a network returns: a membrane, whose values are the logits."""
        value, form = self._value(result, path, any_form=True), self.forms[result]
        if form.order is not None or prod(form.seen) != prod(form.map):
            raise UnsupportedError(form.rule)
        if isinstance(value, _Membrane) and all(kind in ("flatten", "dropout") for _, kind, _ in value.after):
            return replace(value, after=tuple(entry for entry in value.after if entry[1] == "flatten"))
        if isinstance(value, _Membrane):
            path = value.after[-1][0]
        else:
            path = value.name if isinstance(value, _Spikes) else value.path
        raise UnsupportedError(
            f"{path}: the last layer must be linear or an average (its values are the logits), not one that fires or "
            f"pools; end with an nn.Linear"
        )

    def _check_final(self, node: fx.Node, found: Operation) -> None:
        """Refuse a softmax or sigmoid that is not the last, or not over the classes."""
        waiting, form = [node], self.forms[found.inputs[0]]
        while waiting:
            for reader in self.traced.readers(waiting.pop()):
                if reader.op == "output":
                    continue
                kind = operation(reader, self.traced.module, self.traced.training[reader]).kind
                if kind not in ("reshape", "same", "final"):
                    raise UnsupportedError(
                        f"{found.path}: it can only be the last, where it is left out, not before {path_of(reader)!r}; "
                        f"replace it by nn.ReLU"
                    )
                waiting.append(reader)
        if form.seen[found.axes[0] - 1] != form.map[0] and "sigmoid" not in found.path:
            raise UnsupportedError(f"{found.path}: it must be over the classes, dim=1, not {found.axes[0]!r}")
        self.left_out.append(found.path)

    def _linear(self, node: fx.Node, found: Operation) -> _Membrane:
        source, path, module = found.inputs[0], found.path, found.module
        form, frame = self.forms[source], (0, 0, 0, 0)
        assert isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear)
        if isinstance(module, nn.Linear) and len(form.seen) > 1:
            order = moves.natural(form.map, form.seen) if form.order is None else form.order
            if not moves.pointwise(form.map, order):
                raise UnsupportedError(
                    f"{path}: a Linear must read vectors, or the channels of each pixel; {form.rule}"
                )
            out = (module.out_features, *form.map[1:])
            behind = moves.natural(out, out).reshape(out[0], -1).T.reshape(*form.seen[:-1], out[0])
            self.forms[node] = _ordered(out, behind, f"{path}: its result is read as something else than a map")
            module = self._as_map(module)
        elif not form.plain and form.order is not None:
            found_frame = moves.frame(form.map, form.order)
            if found_frame is None:
                raise UnsupportedError(form.rule)
            frame = found_frame
        if isinstance(module, nn.Conv1d):
            module = self._as_map(module)
        any_form = any(frame) or len(form.seen) > 1
        value = self._value(source, path, any_form=any_form)
        if isinstance(module, nn.Conv2d):
            module, around = affine.numbered(module)
            frame = tuple(a + b for a, b in zip(frame, around, strict=True))  # type: ignore[assignment]
        assert isinstance(module, nn.Conv2d | nn.Linear)
        if isinstance(value, _Shifted):
            padded = any(frame) or (isinstance(module, nn.Conv2d) and any(map(int, module.padding)))
            if padded and bool(value.shift.any()):
                raise UnsupportedError(
                    f"{path}: its padding of zeros cannot follow {value.path!r}, which shifts images: silence around them stands "
                    f"for black; use padding=0 here and pad the images themselves, or move the shift into the data"
                )
            module = affine.before(module, value.factor, value.shift)
            return _Membrane(path=path, source=INPUT, linear=module, frame=frame)
        merges = getattr(module, "dilation", (1, 1)) == (1, 1) and not any(frame)
        spikes = self._spikes(source, path, linear=merges, any_form=any_form)
        return _Membrane(path=path, source=spikes.name, linear=module, frame=frame)

    def _unread(self, path: str, value: _Shifted) -> str:
        return f"{path}: images that {value.path!r} scales or shifts must be read by a Conv2d or Linear, which takes that in"

    def _norm(self, node: fx.Node, found: Operation) -> _Value:
        path, module = found.path, found.module
        value = self._value(found.inputs[0], path)
        if module is not None and not getattr(module, "track_running_stats", False):
            raise UnsupportedError(
                f"{path}: batch norm must have running statistics to be folded; set track_running_stats=True"
            )
        first = isinstance(value, _Shifted) or (isinstance(value, _Spikes) and value.name == INPUT)
        if first:
            factor, shift = affine.factors(node, found, self.traced, self.forms[found.inputs[0]].seen)
            if isinstance(value, _Shifted):
                factor, shift = factor * value.factor, factor * value.shift + shift
            return _Shifted(path=path, factor=factor, shift=shift)
        bare = isinstance(value, _Membrane) and not any((value.pools, value.residuals, value.parts, value.after))
        if not isinstance(value, _Membrane) or not bare or (module is not None and value.norm is not None):
            if module is None:
                raise UnsupportedError(
                    f"{path}: a factor or shift must directly follow a Conv2d, Linear or batch norm, to be folded into it; "
                    f"move it there, or leave it out"
                )
            raise UnsupportedError(
                f"{path}: batch norm must directly follow a Conv2d or Linear, to be folded into it; move it there"
            )
        if module is not None:
            return replace(value, norm=module)
        factor, shift = affine.factors(node, found, self.traced, self.forms[found.inputs[0]].seen)
        if value.norm is not None:
            return replace(value, norm=affine.after(value.norm, factor, shift))
        return replace(value, linear=affine.after(value.linear, factor, shift))

    def _waiting(self, node: fx.Node, found: Operation, *, any_form: bool = False) -> _Value:
        """Max pooling, flattening, dropout: on spikes a step; before a ReLU they wait until it has fired, as they commute."""
        assert found.module is not None
        path, source = found.path, found.inputs[0]
        form = self.forms[source]
        if found.kind == "maxpool" and form.order is not None:
            found = replace(found, module=self._framed(found, form))
            any_form = True
        value = self._value(source, path, any_form=any_form)
        if isinstance(value, _Shifted):
            raise UnsupportedError(self._unread(path, value))
        if isinstance(value, _Joined):
            return replace(value, members=tuple(self._reshaped(found, member) for member in value.members))
        if isinstance(value, _Membrane) and value.pools and found.kind == "maxpool":
            value = self._fire(source)
        return self._reshaped(found, value)

    def _framed(self, found: Operation, form: _Form) -> nn.MaxPool2d:
        """A max pool that takes in zeros around what it reads: padding is silent too."""
        pool = found.module
        around = moves.frame(form.map, form.order) if form.order is not None else None
        if around is None or not isinstance(pool, nn.MaxPool2d):
            raise UnsupportedError(form.rule)
        (left, right, top, bottom) = around
        padding = [int(pad) + more for pad, more in zip(pool.padding, (top, left), strict=True)]  # type: ignore[arg-type]
        kernel: Any = pool.kernel_size
        if left != right or top != bottom or any(pad > size // 2 for pad, size in zip(padding, kernel, strict=True)):
            raise UnsupportedError(
                f"{found.path}: zeros around what it reads must be the same on both sides and at most half its window, not "
                f"{around!r}; give it a padding"
            )
        return nn.MaxPool2d(pool.kernel_size, pool.stride, tuple(padding))

    def _reshaped(self, found: Operation, value: _Spikes | _Membrane) -> _Spikes | _Membrane:
        assert found.module is not None
        path = found.path
        if isinstance(value, _Membrane):
            return replace(value, after=(*value.after, (path, found.kind, found.module)))
        if found.kind in ("maxpool", "channels", "pixelshuffle"):
            self._check_numbers(path, value.name)
        spikes = self._step(path, found.kind, value.name, found.module)
        if value.name in self.planes:
            self.planes.add(spikes.name)
        return spikes

    def _check_numbers(self, path: str, name: str) -> None:
        if name in self.planes:
            raise UnsupportedError(
                f"{path}: input planes must be read by a Conv2d or Linear, not pooled or added; put a Conv2d before it or use "
                f"Code(input='spike')"
            )

    def _reshape(self, node: fx.Node, found: Operation) -> _Value:
        """The same numbers seen in another shape: a flattening, or nothing that spikes would notice, if it is undone."""
        before, seen = self.forms[found.inputs[0]], self.forms[node].seen
        if before.order is not None:
            return self._move(node, found)
        rule = f"{found.path}: {found.rule}"
        if len(seen) == 1 and seen[0] == prod(before.map):
            # the input's form may be a guess: an image can still come where only a vector was thought of
            if len(before.map) == 1 and found.inputs[0].op != "placeholder":
                return self._value(found.inputs[0], found.path, any_form=True)
            return self._waiting(node, replace(found, kind="flatten", module=nn.Flatten()), any_form=True)
        value = self._value(found.inputs[0], found.path, any_form=True)
        self.forms[node] = _Form(map=before.map, seen=seen, rule=before.rule or rule)
        return value

    def _move(self, node: fx.Node, found: Operation) -> _Value:
        """The same numbers elsewhere; a step as soon as they are a map or a vector that layers here can make."""
        source, path, rule = found.inputs[0], found.path, f"{found.path}: {found.rule}"
        before = self.forms[source]
        if before.order is None and prod(before.seen) != prod(before.map):
            raise UnsupportedError(before.rule or rule)
        order = moves.natural(before.map, before.seen) if before.order is None else before.order
        order = moves.moved(node, self.traced.module, order)
        value = self._value(source, path, any_form=True)
        if isinstance(value, _Shifted):
            raise UnsupportedError(self._unread(path, value))
        known = moves.recognised(before.map, order)
        if known is None:
            self.forms[node] = _ordered(before.map, order, rule)
            return value
        if isinstance(value, _Joined) and known:
            value = self._join(source, value, path)
        assert not isinstance(value, _Joined) or not known
        for step in known:
            value = self._reshaped(replace(found, kind=step.kind, module=step.module), value)  # type: ignore[arg-type]
        self.forms[node] = _Form(map=order.shape, seen=order.shape)
        return value

    def _mean(self, node: fx.Node, found: Operation) -> _Value:
        """A mean over the whole image, at once or axis by axis; the channels' axis stays first."""
        source = found.inputs[0]
        before, seen = self.forms[source], self.forms[node].seen
        rule = f"{found.path}: {found.rule}"
        channels = before.map[0]
        if before.order is not None and moves.pointwise(before.map, before.order) and seen == (channels,):
            self.forms[node] = _Form(map=seen, seen=seen)  # over all pixels, behind which the channels stand
            return self._average(found, flattens=True, any_form=True)
        if (
            before.order is not None
            or {0, 1} & set(found.axes)
            or len(before.map) != 3
            or before.seen[:1] != (channels,)
        ):
            raise UnsupportedError(rule)
        if prod(seen) != channels:
            value = self._value(source, found.path, any_form=True)
            self.forms[node] = _Form(map=before.map, seen=seen, rule=rule)
            return value
        flattens = len(seen) == 1
        if not flattens:
            self.forms[node] = _Form(map=(channels, 1, 1), seen=seen, rule=rule)
        return self._average(found, flattens=flattens, any_form=True)

    def _average(self, found: Operation, *, flattens: bool = False, any_form: bool = False) -> _Membrane:
        source = self._spikes(found.inputs[0], found.path, any_form=any_form)
        pool = AveragePool(found.kernel, found.stride, found.padding, weights=self.weights)
        after = (((f"{found.path}_flatten", "flatten", nn.Flatten())),) if flattens else ()
        return _Membrane(path=found.path, source=source.name, linear=pool, after=after)

    def _add(self, found: Operation) -> _Value:
        """A residual: spikes added to a membrane, or to spikes by a neuron of its own with two inputs of weight 1."""
        path = found.path
        for node in reversed(found.inputs):  # of two averages the second fires before it is added
            value = self._value(node, path)
            both = all(isinstance(self.values[other], _Membrane) for other in found.inputs)
            if isinstance(value, _Membrane) and value.pools and (both or value.after):
                self._fire(node)
            if isinstance(value, _Joined):
                self._join(node, value, path)
            if isinstance(value, _Shifted):
                raise UnsupportedError(self._unread(path, value))
        values = [self.values[node] for node in found.inputs]
        membranes = [value for value in values if isinstance(value, _Membrane)]
        spikes = [value.name for value in values if isinstance(value, _Spikes)]
        spikes.sort(key=lambda name: name not in self.planes)  # of two, the input goes through a weight
        if spikes:
            self._check_numbers(path, spikes[-1])
        for membrane in membranes:
            if membrane.after:
                raise UnsupportedError(
                    f"{path}: a residual must be added before {membrane.after[0][1]} of {membrane.path!r}; "
                    f"put an nn.ReLU after {membrane.path!r} or add earlier"
                )
        if len(membranes) == 2:
            main, other = membranes
            part = self._emit(replace(other, residuals=(), parts=()), fires=False)
            return replace(
                main, residuals=main.residuals + other.residuals, parts=(*main.parts, *other.parts, part.name)
            )
        if not membranes:
            identity = AveragePool((1, 1), (1, 1), (0, 0), weights=self.weights)
            return _Membrane(path=path, source=spikes[0], linear=identity, residuals=(spikes[1],))
        return replace(membranes[0], residuals=(*membranes[0].residuals, spikes[0]))


def _form(node: fx.Node) -> _Form:
    """The form of a map; a sequence is a map of one row."""
    shape = tuple(int(extent) for extent in node.meta["shape"][1:])
    return _Form(map=(shape[0], 1, shape[1]) if len(shape) == 2 else shape, seen=shape)


def _ordered(shape: tuple[int, ...], order: np.ndarray, rule: str) -> _Form:
    """The form of values in some order, which may be that of the map."""
    same = np.array_equal(order.reshape(-1), np.arange(prod(shape)))
    return _Form(map=shape, seen=order.shape, rule=rule, order=None if same else order)


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]
