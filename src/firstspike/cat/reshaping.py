"""Operations that only move numbers: pooling by maximum, flattening, views, permutations."""

from dataclasses import replace
from math import prod
from typing import Any

from torch import fx, nn

from firstspike.cat import moves
from firstspike.cat.builder import Builder
from firstspike.cat.operations import Operation, UnsupportedError
from firstspike.cat.values import Form, Joined, Membrane, Shifted, Spikes, Value, ordered


def waiting(builder: Builder, node: fx.Node, found: Operation, *, any_form: bool = False) -> Value:
    """Max pooling, flattening, dropout: on spikes a step; before a ReLU they wait until it has fired, as they commute."""
    assert found.module is not None
    path, source = found.path, found.inputs[0]
    form = builder.forms[source]
    if found.kind == "maxpool" and form.order is not None:
        found = replace(found, module=_framed(builder, found, form))
        any_form = True
    value = builder.value(source, path, any_form=any_form)
    if isinstance(value, Shifted):
        raise UnsupportedError(value.unread(path))
    if isinstance(value, Joined):
        return replace(value, members=tuple(reshaped(builder, found, member) for member in value.members))
    if isinstance(value, Membrane) and value.pools and found.kind == "maxpool":
        value = builder.fire(source)
    return reshaped(builder, found, value)


def _framed(builder: Builder, found: Operation, form: Form) -> nn.MaxPool2d:
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


def reshaped(builder: Builder, found: Operation, value: Spikes | Membrane) -> Spikes | Membrane:
    """A step behind spikes, or one that waits behind a membrane."""
    assert found.module is not None
    path = found.path
    if isinstance(value, Membrane):
        return replace(value, after=(*value.after, (path, found.kind, found.module)))
    if found.kind in ("maxpool", "channels", "pixelshuffle"):
        builder.check_numbers(path, value.name)
    spikes = builder.step(path, found.kind, value.name, found.module)
    if value.name in builder.planes:
        builder.planes.add(spikes.name)
    return spikes


def reshape(builder: Builder, node: fx.Node, found: Operation) -> Value:
    """The same numbers seen in another shape: a flattening, or nothing that spikes would notice, if it is undone."""
    before, seen = builder.forms[found.inputs[0]], builder.forms[node].seen
    if before.order is not None:
        return move(builder, node, found)
    rule = f"{found.path}: {found.rule}"
    if len(seen) == 1 and seen[0] == prod(before.map):
        # the input's form may be a guess: an image can still come where only a vector was thought of
        if len(before.map) == 1 and found.inputs[0].op != "placeholder":
            return builder.value(found.inputs[0], found.path, any_form=True)
        return waiting(builder, node, replace(found, kind="flatten", module=nn.Flatten()), any_form=True)
    value = builder.value(found.inputs[0], found.path, any_form=True)
    builder.forms[node] = Form(map=before.map, seen=seen, rule=before.rule or rule)
    return value


def move(builder: Builder, node: fx.Node, found: Operation) -> Value:
    """The same numbers elsewhere; a step as soon as they are a map or a vector that layers here can make."""
    source, path, rule = found.inputs[0], found.path, f"{found.path}: {found.rule}"
    before = builder.forms[source]
    if before.order is None and prod(before.seen) != prod(before.map):
        raise UnsupportedError(before.rule or rule)
    order = moves.natural(before.map, before.seen) if before.order is None else before.order
    order = moves.moved(node, builder.traced.module, order)
    value = builder.value(source, path, any_form=True)
    if isinstance(value, Shifted):
        raise UnsupportedError(value.unread(path))
    known = moves.recognised(before.map, order)
    if known is None:
        builder.forms[node] = ordered(before.map, order, rule)
        return value
    if isinstance(value, Joined) and known:
        value = builder.join(source, value, path)
    assert not isinstance(value, Joined) or not known
    for step in known:
        value = reshaped(builder, replace(found, kind=step.kind, module=step.module), value)  # type: ignore[arg-type]
    builder.forms[node] = Form(map=order.shape, seen=order.shape)
    return value
