"""Operations with weights: convolutions and linear layers, and the batch norms, factors and shifts that fold into them."""

from dataclasses import replace

import torch
from torch import fx, nn

from firstspike.cat import affine, moves
from firstspike.cat.builder import Builder
from firstspike.cat.operations import Operation, UnsupportedError
from firstspike.cat.prepared import INPUT
from firstspike.cat.values import Membrane, Shifted, Spikes, Value, ordered


def linear(builder: Builder, node: fx.Node, found: Operation) -> Membrane:
    """A convolution or linear layer: with what stands around or before its source folded in."""
    source, path, module = found.inputs[0], found.path, found.module
    form, frame = builder.forms[source], (0, 0, 0, 0)
    assert isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear)
    if isinstance(module, nn.Linear) and len(form.seen) > 1:
        order = moves.natural(form.map, form.seen) if form.order is None else form.order
        if not moves.pointwise(form.map, order):
            raise UnsupportedError(f"{path}: a Linear must read vectors, or the channels of each pixel; {form.rule}")
        out = (module.out_features, *form.map[1:])
        behind = moves.natural(out, out).reshape(out[0], -1).T.reshape(*form.seen[:-1], out[0])
        builder.forms[node] = ordered(out, behind, f"{path}: its result is read as something else than a map")
        module = builder.as_map(module)
    elif not form.plain and form.order is not None:
        found_frame = moves.frame(form.map, form.order)
        if found_frame is None:
            raise UnsupportedError(form.rule)
        frame = found_frame
    if isinstance(module, nn.Conv1d):
        module = builder.as_map(module)
    any_form = any(frame) or len(form.seen) > 1
    value = builder.value(source, path, any_form=any_form)
    if isinstance(module, nn.Conv2d):
        module, around = affine.numbered(module)
        frame = tuple(a + b for a, b in zip(frame, around, strict=True))  # type: ignore[assignment]
    assert isinstance(module, nn.Conv2d | nn.Linear)
    if isinstance(value, Shifted):
        return _first(Membrane(path=path, source=INPUT, linear=module, frame=frame), value, builder.constant)
    merges = getattr(module, "dilation", (1, 1)) == (1, 1) and not any(frame)
    spikes = builder.spikes(source, path, linear=merges, any_form=any_form)
    return Membrane(path=path, source=spikes.name, linear=module, frame=frame)


def _first(membrane: Membrane, value: Shifted, constant: float) -> Membrane:
    """A layer that reads shifted images takes that in. Its frame is padding of its own: zeros behind the shift."""
    linear = membrane.linear
    assert isinstance(linear, nn.Conv2d | nn.Linear)
    padded = any(membrane.frame) or (isinstance(linear, nn.Conv2d) and any(map(int, linear.padding)))
    if not padded or not bool(value.shift.any()):
        return replace(membrane, linear=affine.before(linear, value.factor, value.shift))
    assert isinstance(linear, nn.Conv2d)
    scaled = affine.before(linear, value.factor, torch.zeros_like(value.shift))
    return replace(membrane, linear=scaled, shift=affine.of_constants(linear, value.shift / constant))


def norm(builder: Builder, node: fx.Node, found: Operation) -> Value:
    """Batch norm, a factor or a shift: folded into the layer before it, or behind the input."""
    path, module = found.path, found.module
    value = builder.value(found.inputs[0], path)
    if module is not None and not getattr(module, "track_running_stats", False):
        raise UnsupportedError(
            f"{path}: batch norm must have running statistics to be folded; set track_running_stats=True"
        )
    first = isinstance(value, Shifted) or (isinstance(value, Spikes) and value.name == INPUT)
    if first:
        factor, shift = affine.factors(node, found, builder.traced, builder.forms[found.inputs[0]].seen)
        if isinstance(value, Shifted):
            factor, shift = factor * value.factor, factor * value.shift + shift
        return Shifted(path=path, factor=factor, shift=shift)
    bare = isinstance(value, Membrane) and not any((value.pools, value.residuals, value.parts, value.after))
    if not isinstance(value, Membrane) or not bare or (module is not None and value.norm is not None):
        if module is None:
            raise UnsupportedError(
                f"{path}: a factor or shift must directly follow a Conv2d, Linear or batch norm, to be folded into it; "
                f"move it there, or leave it out"
            )
        raise UnsupportedError(
            f"{path}: batch norm must directly follow a Conv2d or Linear, to be folded into it; move it there"
        )
    if module is not None and value.shift is None:
        return replace(value, norm=module)
    factor, shift = affine.factors(node, found, builder.traced, builder.forms[found.inputs[0]].seen)
    if value.shift is not None:  # it gets the factor at once: constants have no statistics
        scaled = affine.after(value.shift, factor, torch.zeros_like(shift))
        assert isinstance(scaled, nn.Conv2d)
        value = replace(value, shift=scaled)
    if module is not None:
        return replace(value, norm=module)
    if value.norm is not None:
        return replace(value, norm=affine.after(value.norm, factor, shift))
    return replace(value, linear=affine.after(value.linear, factor, shift))
