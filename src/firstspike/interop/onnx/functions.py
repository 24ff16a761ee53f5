"""Functions of the graphs that are written, each of ONNX's standard operators: one box in a viewer, no operator of our own."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import FunctionProto, NodeProto, helper, numpy_helper

DOMAIN = "firstspike"
OPSET = 17
"""Version of ONNX's operators that graphs are written in."""

IR_VERSION = 8
"""The oldest version of ONNX's files that has functions."""


def opsets() -> list[onnx.OperatorSetIdProto]:
    """The operators that a graph uses."""
    return [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]


def constant(name: str, array: np.ndarray) -> NodeProto:
    """A node that makes a constant."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def search(name: str, rising: np.ndarray, values: np.ndarray, text: str) -> FunctionProto:
    """The function that gives ``values[c]`` where ``c`` of the thresholds ``rising`` are at most its input.

    By comparisons alone, halving what is left: a threshold that is met counts, as a tie fires. Both tables are of the type
    that the graph computes in.
    """
    rounds = max(1, len(rising).bit_length())
    table = np.full((1 << rounds) - 1, np.inf, dtype=rising.dtype)
    table[: len(rising)] = rising
    nodes, count = [constant("none", np.array(0, dtype=np.int64))], "none"
    for step in (1 << place for place in reversed(range(rounds))):
        nodes += [
            constant(f"thresholds_{step}", table[step - 1 :]),
            constant(f"step_{step}", np.array(step, dtype=np.int64)),
            helper.make_node("Gather", [f"thresholds_{step}", count], [f"threshold_{step}"]),
            helper.make_node("GreaterOrEqual", ["u", f"threshold_{step}"], [f"met_{step}"]),
            helper.make_node("Add", [count, f"step_{step}"], [f"more_{step}"]),
            helper.make_node("Where", [f"met_{step}", f"more_{step}", count], [f"count_{step}"]),
        ]
        count = f"count_{step}"
    nodes += [constant("values", values), helper.make_node("Gather", ["values", count], ["x"])]
    return _function(name, ["u"], ["x"], nodes, text)


def convolve() -> FunctionProto:
    """A convolution as a product of matrices, for types that ONNX Runtime has no convolution of.

    Inputs: ``x`` ``[n, c, h, w]``; ``weight`` ``[groups, outputs, inputs * taps]``; ``pads`` of all axes; ``pixels``
    ``[n, c, h * w]`` as a shape; ``index`` ``[taps * places]``, which pixel each tap sees at each place; ``columns``
    ``[n, groups, inputs * taps, places]`` and ``out`` ``[n, c, h, w]`` as shapes.
    """
    names = ["x", "weight", "pads", "pixels", "index", "columns", "out"]
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Reshape", ["padded", "pixels"], ["flat"]),
        helper.make_node("Gather", ["flat", "index"], ["seen"], axis=2),
        helper.make_node("Reshape", ["seen", "columns"], ["inputs"]),
        helper.make_node("MatMul", ["weight", "inputs"], ["sums"]),
        helper.make_node("Reshape", ["sums", "out"], ["u"]),
    ]
    return _function(
        "Convolve", names, ["u"], nodes, "A convolution: every place's inputs gathered, times the weights."
    )


def _function(
    name: str, inputs: Sequence[str], outputs: Sequence[str], nodes: Sequence[NodeProto], text: str
) -> FunctionProto:
    made = helper.make_function(DOMAIN, name, inputs, outputs, nodes, [helper.make_opsetid("", OPSET)])
    made.doc_string = text
    return made
