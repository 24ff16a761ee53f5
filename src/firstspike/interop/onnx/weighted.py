"""Convolutions, linear layers, batch norms and pools of a graph."""

from dataclasses import replace

import numpy as np
from torch import nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx import layers
from firstspike.interop.onnx.graph import Operator
from firstspike.interop.onnx.reader import Reader, Value


def conv(reader: Reader, operator: Operator) -> Value:
    """Conv."""
    value, weight, bias = reader.map(operator, padded=True), reader.constant(operator, 1), reader.constant(operator, 2)
    assert weight is not None
    more = value.pads or _no_pads(len(value.shape) - 1)
    made = layers.convolution(operator, weight, bias, value.shape[1:], more)
    return reader.made(operator, made, value)


def gemm(reader: Reader, operator: Operator) -> Value:
    """Gemm."""
    weight, bias, given = reader.constant(operator, 1), reader.constant(operator, 2), operator.attributes
    assert weight is not None
    if given.get("transA", 0) or reader.value(operator).axes != (0, 1):
        raise UnsupportedError(f"{operator.path}: Gemm must read features, one row an image")
    weight = (weight if given.get("transB", 0) else weight.T) * weight.dtype.type(given.get("alpha", 1.0))
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1]) * bias.dtype.type(given.get("beta", 1.0))
    return _dense(reader, operator, weight, bias)


def matmul(reader: Reader, operator: Operator) -> Value:
    """MatMul of features, or of every pixel's channels."""
    value, weight = reader.value(operator), reader.constant(operator, 1)
    assert weight is not None
    if weight.ndim != 2:
        raise UnsupportedError(f"{operator.path}: MatMul must have a constant matrix, not shape {weight.shape!r}")
    if len(value.shape) in (2, 3) and value.axes[-1] == 1:  # over the channels of every pixel
        node = reader.call(operator, layers.pointwise(weight.T, axes=len(value.shape) - 1), value.node)
        return replace(value, node=node, shape=(weight.shape[1], *value.shape[1:]), positive=False)
    if value.axes != (0, 1):
        raise UnsupportedError(f"{operator.path}: MatMul must read features, one row an image")
    return _dense(reader, operator, weight.T, None)


def _dense(reader: Reader, operator: Operator, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    value = reader.value(operator)
    if value.order is not None:
        mine = np.empty_like(weight)
        mine[:, value.order] = weight
        weight = mine
    node = reader.call(operator, layers.linear(weight, bias), value.node)
    return Value(node=node, shape=(len(weight),), axes=(0, 1))


def batchnormalization(reader: Reader, operator: Operator) -> Value:
    """BatchNormalization."""
    value = reader.map(operator)
    arrays = [reader.constant(operator, place) for place in range(1, 5)]
    if value.order is not None:
        raise UnsupportedError(f"{operator.path}: BatchNormalization must not read a map flattened channels last")
    made = layers.norm(operator, len(value.axes), [array for array in arrays if array is not None])
    return replace(value, node=reader.call(operator, made, value.node), positive=False)


def pool(reader: Reader, operator: Operator) -> Value:
    """MaxPool, AveragePool."""
    value = reader.map(operator, padded=True)
    out, more = reader.shape(operator)[2:], value.pads or _no_pads(len(value.shape) - 1)
    made = layers.pool(operator, value.shape[1:], out, more, positive=value.positive)
    return replace(reader.made(operator, made, value), positive=value.positive)


def globalaveragepool(reader: Reader, operator: Operator) -> Value:
    """GlobalAveragePool."""
    value = reader.map(operator)
    return replace(reader.made(operator, _mean(value), value), positive=value.positive)


def globalmaxpool(reader: Reader, operator: Operator) -> Value:
    """GlobalMaxPool: a window as large as the image."""
    value = reader.map(operator)
    made = layers.MAXIMA[len(value.axes)](value.shape[1:])
    return replace(reader.made(operator, made, value), positive=value.positive)


def reducemean(reader: Reader, operator: Operator) -> Value:
    """ReduceMean over all rows and columns."""
    value, given = reader.value(operator), reader.constant(operator, 1)
    axes = operator.attributes.get("axes") if given is None else given.tolist()
    rank, keeps = len(value.axes), operator.attributes.get("keepdims", 1)
    mine = {value.axes[axis % rank] for axis in axes or ()}
    if rank < 3 or mine != set(range(2, rank)):
        raise UnsupportedError(f"{operator.path}: ReduceMean must be over the rows and columns of images, not {axes!r}")
    node = reader.call(operator, _mean(value), value.node)
    value = replace(value, node=node, shape=(value.shape[0], *[1] * (rank - 2)))
    if keeps:
        return value
    return replace(value, node=reader.call(operator, nn.Flatten(), node), shape=value.shape[:1], axes=(0, 1))


def dropout(reader: Reader, operator: Operator) -> Value:
    """Dropout."""
    value, given = reader.value(operator), reader.constant(operator, 1)
    share = operator.attributes.get("ratio", 0.5) if given is None else float(given)
    return replace(value, node=reader.call(operator, nn.Dropout(float(share)), value.node))


def _mean(value: Value) -> nn.Module:
    """The mean of a map over all but its channels."""
    return {2: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool2d, 4: nn.AdaptiveAvgPool3d}[len(value.shape)](1)


def _no_pads(axes: int) -> layers.Pads:
    return (0,) * axes, (0,) * axes
