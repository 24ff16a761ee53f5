"""Sums, products and gates of a graph."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx import layers
from firstspike.interop.onnx.graph import Operator
from firstspike.interop.onnx.patterns import fold
from firstspike.interop.onnx.reader import Reader, Value

LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

FUNCTIONS: dict[str, Any] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Sum": torch.add,
}


def add(reader: Reader, operator: Operator) -> Value:
    """Add, Sub, Div, Sum, and Mul that is no gate: of two maps, or with a constant for each channel."""
    constants = [name in reader.found.constants for name in operator.inputs]
    if any(constants):
        return _affine(reader, operator, constants.index(True))
    one, two = reader.value(operator), reader.value(operator, place=1)
    if one.axes != two.axes or one.shape != two.shape or one.order is not two.order:
        raise UnsupportedError(
            f"{operator.path}: {operator.kind} must be of maps of one shape, {one.shape!r} and {two.shape!r}"
        )
    function = FUNCTIONS[operator.kind]
    positive = one.positive and two.positive and operator.kind != "Sub"
    node = reader.fx.call_function(function, (one.node, two.node))
    for place in range(2, len(operator.inputs)):
        node = reader.fx.call_function(function, (node, reader.value(operator, place=place).node))
    return replace(one, node=node, positive=positive)


def mul(reader: Reader, operator: Operator) -> Value:
    """Mul: ``x * sigmoid(x)`` is one function, the rest as `add`."""
    for gate, other in ((0, 1), (1, 0)):  # x * sigmoid(x)
        values = [reader.values.get(operator.inputs[place]) for place in (gate, other)]
        if None in values:
            continue
        node, source = values[0].node, values[1].node  # type: ignore[union-attr]
        module = reader.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Sigmoid) and node.args == (source,) and reader.found.alone(operator.inputs[gate]):
            return replace(
                reader.value(operator, place=other), node=reader.call(operator, nn.SiLU(), source), positive=False
            )
    return add(reader, operator)


def _affine(reader: Reader, operator: Operator, place: int) -> Value:
    """A factor and a summand for each channel, into the linear layer that made the value if nothing else reads that."""
    value, array = reader.value(operator, place=1 - place), reader.constant(operator, place)
    assert array is not None
    vector = _channels(operator, value, array)
    ones, zeros = np.ones_like(vector), np.zeros_like(vector)
    kind = operator.kind
    if kind == "Div" and place == 0:
        raise UnsupportedError(f"{operator.path}: Div must be by a constant, not of one")
    factor, summand = {
        "Add": (ones, vector),
        "Sum": (ones, vector),
        "Mul": (vector, zeros),
        "Div": (ones / vector, zeros),
        "Sub": (ones, -vector) if place == 1 else (-ones, vector),
    }[kind]
    module = reader.root.get_submodule(str(value.node.target)) if value.node.op == "call_module" else None
    if isinstance(module, LINEAR) and reader.found.alone(operator.inputs[1 - place]):
        fold(module, factor, summand)
        return replace(value, positive=False)
    if np.array_equal(factor, ones) and np.array_equal(summand, zeros):
        return value
    if len(value.shape) not in (2, 3):
        raise UnsupportedError(
            f"{operator.path}: {kind} by a constant must follow a Conv, Gemm or MatMul that it goes into"
        )
    made = layers.pointwise(
        factor[:, None], summand if summand.any() else None, groups=len(factor), axes=len(value.shape) - 1
    )
    return replace(value, node=reader.call(operator, made, value.node), positive=False)


def _channels(operator: Operator, value: Value, array: np.ndarray) -> np.ndarray:
    """A constant that is one number for each channel, ``[channels]``."""
    rank = len(value.axes)
    full = array.reshape((1,) * (rank - array.ndim) + array.shape) if array.ndim <= rank else array
    shape = [1] * rank
    for theirs, mine in enumerate(value.axes):
        shape[mine] = full.shape[theirs] if full.ndim == rank else 0
    if any(extent != 1 for axis, extent in enumerate(shape) if axis != 1) or shape[1] not in (1, value.shape[0]):
        raise UnsupportedError(
            f"{operator.path}: {operator.kind} must have one number for each channel, not shape {array.shape!r}"
        )
    vector = np.broadcast_to(full.reshape(-1), value.shape[:1])
    if value.order is not None:
        mine_first = np.empty_like(vector)
        mine_first[value.order] = vector
        return mine_first
    return np.array(vector)
