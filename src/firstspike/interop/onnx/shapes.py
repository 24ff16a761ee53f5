"""Operators that only move values: transposes, shapes, channels taken apart and put together, zeros around an image.

A transpose changes what is remembered of a value, and nothing else.
"""

import operator as operators
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx.graph import Operator
from firstspike.interop.onnx.layers import Pads
from firstspike.interop.onnx.reader import Reader, Value, first


def identity(reader: Reader, operator: Operator) -> Value:
    """Identity."""
    return reader.value(operator, padded=True)


def cast(reader: Reader, operator: Operator) -> Value:
    """Cast: to another floating point type, which changes nothing here."""
    if operator.attributes["to"] not in (1, 10, 11, 16):  # float, float16, double, bfloat16
        raise UnsupportedError(f"{operator.path}: Cast must make floating point numbers of images")
    return reader.value(operator)


def transpose(reader: Reader, operator: Operator) -> Value:
    """Transpose: the axes lie in another way."""
    value = reader.value(operator, padded=True)
    permutation = operator.attributes.get("perm", list(reversed(range(len(value.axes)))))
    if permutation[0] != 0:
        raise UnsupportedError(f"{operator.path}: Transpose must keep the images' axis first, not {permutation!r}")
    return replace(value, axes=tuple(value.axes[axis] for axis in permutation))


def reshape(reader: Reader, operator: Operator) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze."""
    value, shape = reader.value(operator), reader.shape(operator)
    theirs = [value.shape[axis - 1] for axis in value.axes[1:]]
    if list(shape[1:]) == theirs:
        return value
    if len(shape) == 2 and len(theirs) > 1:
        order = np.arange(np.prod(value.shape)).reshape(value.shape).transpose([axis - 1 for axis in value.axes[1:]])
        flat = order.reshape(-1)
        same = np.array_equal(flat, np.arange(flat.size))
        node = reader.call(operator, nn.Flatten(), value.node)
        axes, kept = (0, 1), None if same else flat
        return Value(node=node, shape=shape[1:], axes=axes, order=kept, positive=value.positive)
    if not first(value) or value.order is not None:
        raise UnsupportedError(
            f"{operator.path}: {operator.kind} of a map channels last must flatten it, not make {shape!r}"
        )
    node = reader.fx.call_function(torch.reshape, (value.node, (-1, *shape[1:])))
    return replace(value, node=node, shape=shape[1:], axes=tuple(range(len(shape))))


def concat(reader: Reader, operator: Operator) -> Value:
    """Concat, along the channels."""
    values = [reader.value(operator, place=place) for place in range(len(operator.inputs))]
    first = values[0]
    axis = first.axes[operator.attributes["axis"] % len(first.axes)]
    if axis != 1 or any(value.axes != first.axes for value in values):
        raise UnsupportedError(f"{operator.path}: Concat must be along the channels, of maps whose axes lie alike")
    orders, offset = [], 0
    for value in values:
        mine = np.arange(value.shape[0]) if value.order is None else value.order
        orders.append(mine + offset)
        offset += value.shape[0]
    order = np.concatenate(orders) if any(value.order is not None for value in values) else None
    node = reader.fx.call_function(torch.cat, ([value.node for value in values], 1))
    positive = all(value.positive for value in values)
    return replace(first, node=node, shape=(offset, *first.shape[1:]), order=order, positive=positive)


def split(reader: Reader, operator: Operator) -> Value:
    """Split, along the channels; all outputs become known."""
    value, given = reader.value(operator), reader.constant(operator, 1)
    axis = value.axes[operator.attributes.get("axis", 0) % len(value.axes)]
    if axis != 1 or value.order is not None:
        raise UnsupportedError(f"{operator.path}: Split must be along the channels")
    sizes = operator.attributes.get("split") if given is None else given.tolist()
    if sizes is None:
        each = -(-value.shape[0] // len(operator.outputs))
        sizes = [min(each, value.shape[0] - place * each) for place in range(len(operator.outputs))]
    start = 0
    for name, size in zip(operator.outputs, sizes, strict=True):
        entry = (slice(None), slice(start, start + size))
        node = reader.fx.call_function(operators.getitem, (value.node, entry))
        reader.values[name] = replace(value, node=node, shape=(size, *value.shape[1:]))
        start += size
    return reader.values[operator.outputs[0]]


def cut(reader: Reader, operator: Operator) -> Value:
    """Slice, of channels, rows and columns."""
    value, given = reader.value(operator), operator.attributes
    arrays = [reader.constant(operator, place) for place in range(1, 5)]
    starts, ends, axes, steps = (
        list(given.get(key, ())) if array is None else array.tolist()
        for key, array in zip(("starts", "ends", "axes", "steps"), arrays, strict=True)
    )
    entries, shape = [slice(None)] * len(value.axes), [0, *value.shape]
    for place, axis in enumerate(axes or range(len(starts))):
        mine = value.axes[axis % len(value.axes)]
        taken = range(*slice(starts[place], ends[place], steps[place] if steps else 1).indices(shape[mine]))
        whole = mine > 1 and taken.start == 0 and taken.stop == shape[mine]
        entries[mine] = slice(None, None, taken.step) if whole else slice(taken.start, taken.stop, taken.step)
        shape[mine] = len(taken)
    if entries[0] != slice(None) or value.order is not None:
        raise UnsupportedError(f"{operator.path}: Slice must be of an image's channels, rows and columns")
    node = reader.fx.call_function(operators.getitem, (value.node, tuple(entries)))
    return replace(value, node=node, shape=tuple(shape[1:]))


def pad(reader: Reader, operator: Operator) -> Value:
    """Pad: zeros around an image wait for the layer that reads it."""
    value, given, filling = reader.value(operator), reader.constant(operator, 1), reader.constant(operator, 2)
    axes = reader.constant(operator, 3)
    pads = operator.attributes.get("pads", operator.attributes.get("paddings")) if given is None else given.tolist()
    rank = len(value.axes)
    named = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    zeros = float(operator.attributes.get("value", 0.0) if filling is None else filling) == 0
    before, behind = [0] * rank, [0] * rank
    for place, axis in enumerate(named):
        before[value.axes[axis]], behind[value.axes[axis]] = pads[place], pads[place + len(named)]
    if operator.attributes.get("mode", "constant") != "constant" or not zeros or before[0] or behind[0] or rank < 3:
        raise UnsupportedError(f"{operator.path}: Pad must put zeros around images")
    if min([*before, *behind]) < 0:
        raise UnsupportedError(f"{operator.path}: Pad must not cut, not {pads!r}")
    shape = (value.shape[0] + before[1] + behind[1], *value.shape[1:])
    node = value.node
    if before[1] or behind[1]:
        pad = (*[0, 0] * (rank - 2), before[1], behind[1])
        node = reader.fx.call_function(nn.functional.pad, (node, pad))
    outside: Pads | None = (tuple(before[2:]), tuple(behind[2:]))
    if not any(before[2:]) and not any(behind[2:]):
        outside = None
    return replace(value, node=node, shape=shape, pads=outside)


def shuffle(reader: Reader, operator: Operator, name: str, groups: int) -> Value:
    """Channels of several groups, the first of each in front: the channels at every so many places, one behind the other."""
    value = reader.values[name]
    if not first(value):
        raise UnsupportedError(f"{operator.path}: channels must be shuffled in a map channels first")
    each = value.shape[0] // groups
    pieces = [
        reader.fx.call_function(operators.getitem, (value.node, (slice(None), slice(first, None, each))))
        for first in range(each)
    ]
    return replace(value, node=reader.fx.call_function(torch.cat, (pieces, 1)))
