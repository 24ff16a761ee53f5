"""`from_onnx`: a trained network of any framework that writes ONNX, as a PyTorch module that `prepare` takes.

A graph from TensorFlow keeps its images channels last between transposes. Here a value remembers how the graph's axes lie
in a map whose channels come first, and transposes only change what is remembered: the module has none.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import fx, nn

from firstspike.cat.operations import UnsupportedError
from firstspike.interop.onnx import arithmetic, graph, layers, shapes, weighted
from firstspike.interop.onnx.graph import Operator
from firstspike.interop.onnx.patterns import shuffles
from firstspike.interop.onnx.reader import Reader, Value


def from_onnx(path: str | os.PathLike[str], *, shape: Sequence[int] | None = None) -> fx.GraphModule:
    """The network of an ONNX file as a module of PyTorch layers, in evaluation mode.

    It takes images channels first, ``[n, channels, height, width]``, also where the graph takes them channels last. Weights
    are those of the file. What computes the same is written as `prepare` likes it: biases and factors of channels go into
    the layer before, zeros around an image into the padding of the layer behind, uneven padding into a larger kernel. A
    softmax at the end is left out, since it changes no class. ``firstspike.adapt`` replaces what has no spiking counterpart.

    Args:
        path: of the file, of any version of ONNX's operators that the installed library knows.
        shape: of one image, as the graph takes it, where the file leaves its size open.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no valid ONNX file, or leaves the size of an image open.
        UnsupportedError: an operator has no counterpart; the text names the node.
    """
    found = graph.load(path, shape)
    reader = Reader(found)
    ends, inside = shuffles(found)
    for operator in found.operators:
        name = operator.outputs[0]
        if name in ends:
            reader.values[name] = shapes.shuffle(reader, operator, *ends[name])
        elif name not in inside:
            reader.values[name] = _READERS.get(operator.kind, _activation)(reader, operator)
    return reader.module()


def _activation(reader: Reader, operator: Operator) -> Value:
    """A function of single values, or an operator that has no counterpart."""
    arrays = [reader.found.constants.get(name) for name in operator.inputs]
    made = layers.activation(operator, arrays)
    if made is None:
        raise UnsupportedError(
            f"{operator.path}: the ONNX operator {operator.kind} cannot be converted; leave it out, or export the network "
            f"without it"
        )
    value = reader.value(operator)
    if isinstance(made, nn.Softmax | nn.LogSoftmax):
        if value.axes[operator.attributes.get("axis", -1 if operator.opset > 12 else 1)] != 1:
            raise UnsupportedError(f"{operator.path}: {operator.kind} must be over the classes")
        if reader.ends(operator):
            return value
    positive = isinstance(made, nn.ReLU | nn.ReLU6 | nn.Sigmoid | nn.Softplus)
    return replace(value, node=reader.call(operator, made, value.node), positive=positive)


_READERS: dict[str, Callable[[Reader, Operator], Value]] = {
    "Conv": weighted.conv,
    "Gemm": weighted.gemm,
    "MatMul": weighted.matmul,
    "Dropout": weighted.dropout,
    "BatchNormalization": weighted.batchnormalization,
    "MaxPool": weighted.pool,
    "AveragePool": weighted.pool,
    "GlobalAveragePool": weighted.globalaveragepool,
    "GlobalMaxPool": weighted.globalmaxpool,
    "ReduceMean": weighted.reducemean,
    "Identity": shapes.identity,
    "Cast": shapes.cast,
    "Transpose": shapes.transpose,
    "Reshape": shapes.reshape,
    "Flatten": shapes.reshape,
    "Squeeze": shapes.reshape,
    "Unsqueeze": shapes.reshape,
    "Concat": shapes.concat,
    "Split": shapes.split,
    "Slice": shapes.cut,
    "Pad": shapes.pad,
    "Add": arithmetic.add,
    "Sub": arithmetic.add,
    "Mul": arithmetic.mul,
    "Div": arithmetic.add,
    "Sum": arithmetic.add,
}
"""What reads each operator; all others are functions of single values."""
