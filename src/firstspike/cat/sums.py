"""Operations without weights of their own: ReLU, sums, averages, concatenations and chosen channels."""

from dataclasses import replace
from math import prod

from torch import fx, nn

from firstspike.cat import moves
from firstspike.cat.builder import Builder
from firstspike.cat.layers import AveragePool, Rearrange
from firstspike.cat.operations import Operation, UnsupportedError
from firstspike.cat.values import Form, Joined, Membrane, Shifted, Spikes, Value


def add(builder: Builder, found: Operation) -> Value:
    """A residual: spikes added to a membrane, or to spikes by a neuron of its own with two inputs of weight 1."""
    path = found.path
    for node in reversed(found.inputs):  # of two averages the second fires before it is added
        value = builder.value(node, path)
        both = all(isinstance(builder.values[other], Membrane) for other in found.inputs)
        if isinstance(value, Membrane) and value.pools and (both or value.after):
            builder.fire(node)
        if isinstance(value, Joined):
            builder.join(node, value, path)
        if isinstance(value, Shifted):
            raise UnsupportedError(value.unread(path))
    values = [builder.values[node] for node in found.inputs]
    membranes = [builder.with_shift(value) for value in values if isinstance(value, Membrane)]
    spikes = [value.name for value in values if isinstance(value, Spikes)]
    spikes.sort(key=lambda name: name not in builder.planes)  # of two, the input goes through a weight
    if spikes:
        builder.check_numbers(path, spikes[-1])
    for membrane in membranes:
        if membrane.after:
            raise UnsupportedError(
                f"{path}: a residual must be added before {membrane.after[0][1]} of {membrane.path!r}; "
                f"put an nn.ReLU after {membrane.path!r} or add earlier"
            )
    if len(membranes) == 2:
        main, other = membranes
        part = builder.emit(replace(other, residuals=(), parts=()), fires=False)
        return replace(main, residuals=main.residuals + other.residuals, parts=(*main.parts, *other.parts, part.name))
    if not membranes:
        identity = AveragePool((1, 1), (1, 1), (0, 0), weights=builder.weights)
        return Membrane(path=path, source=spikes[0], linear=identity, residuals=(spikes[1],))
    return replace(membranes[0], residuals=(*membranes[0].residuals, spikes[0]))


def average(builder: Builder, found: Operation, *, flattens: bool = False, any_form: bool = False) -> Membrane:
    """An average over windows: a membrane of equal weights."""
    source = builder.spikes(found.inputs[0], found.path, any_form=any_form)
    pool = AveragePool(found.kernel, found.stride, found.padding, weights=builder.weights)
    after = (((f"{found.path}_flatten", "flatten", nn.Flatten())),) if flattens else ()
    return Membrane(path=found.path, source=source.name, linear=pool, after=after)


def mean(builder: Builder, node: fx.Node, found: Operation) -> Value:
    """A mean over the whole image, at once or axis by axis; the channels' axis stays first."""
    source = found.inputs[0]
    before, seen = builder.forms[source], builder.forms[node].seen
    rule = f"{found.path}: {found.rule}"
    channels = before.map[0]
    if before.order is not None and moves.pointwise(before.map, before.order) and seen == (channels,):
        builder.forms[node] = Form(map=seen, seen=seen)  # over all pixels, behind which the channels stand
        return average(builder, found, flattens=True, any_form=True)
    if before.order is not None or {0, 1} & set(found.axes) or len(before.map) != 3 or before.seen[:1] != (channels,):
        raise UnsupportedError(rule)
    if prod(seen) != channels:
        value = builder.value(source, found.path, any_form=True)
        builder.forms[node] = Form(map=before.map, seen=seen, rule=rule)
        return value
    flattens = len(seen) == 1
    if not flattens:
        builder.forms[node] = Form(map=(channels, 1, 1), seen=seen, rule=rule)
    return average(builder, found, flattens=flattens, any_form=True)


def cat(builder: Builder, found: Operation) -> Value:
    """Values one behind the other along the channels."""
    members: list[Spikes | Membrane] = []
    for node in found.inputs:
        value = builder.value(node, found.path)
        if isinstance(value, Shifted):
            raise UnsupportedError(value.unread(found.path))
        if isinstance(value, Membrane) and value.pools:
            value = builder.fire(node)
        members += value.members if isinstance(value, Joined) else [value]
    return Joined(path=found.path, members=tuple(members)) if len(members) > 1 else members[0]


def channels(builder: Builder, found: Operation) -> Spikes:
    """Some channels, at every so many pixels (a window of one pixel with that stride), and silent ones around."""
    spikes = builder.spikes(found.inputs[0], found.path)
    builder.check_numbers(found.path, spikes.name)
    if (found.stride or (1, 1)) != (1, 1):
        spikes = builder.step(f"{found.path}_pixels", "maxpool", spikes.name, nn.MaxPool2d(1, found.stride))
    if found.part is not None or found.pad != (0, 0):
        spikes = builder.step(found.path, "channels", spikes.name, Rearrange(part=found.part, pad=found.pad))
    return spikes


def relu(builder: Builder, value: Spikes | Membrane, found: Operation) -> Spikes:
    """A membrane fires; spikes are as they are, unless they end lower."""
    clip = found.clip
    if isinstance(value, Spikes) and clip is not None and builder.clips.get(value.name, 1.0) > clip:
        identity = AveragePool((1, 1), (1, 1), (0, 0), weights=builder.weights)
        value = Membrane(path=found.path, source=value.name, linear=identity)
    if isinstance(value, Spikes):
        return value
    first = len(builder.steps)
    spikes = builder.emit(value, fires=True)
    if clip is not None:
        builder.clips[builder.steps[first].name] = clip
    return spikes
