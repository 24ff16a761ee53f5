"""What several operators of a graph say together."""

import numpy as np
import torch
from torch import nn

from firstspike.interop.onnx.graph import Graph
from firstspike.interop.onnx.layers import tensor


def shuffles(found: Graph) -> tuple[dict[str, tuple[str, int]], frozenset[str]]:
    """Shuffles of channels, written as reshape, transpose, reshape.

    Returns:
        Of every value that ends one, the value that it begins with and the number of groups; and the values within.
    """
    ends: dict[str, tuple[str, int]] = {}
    inside: set[str] = set()
    for first in found.operators:
        if first.kind != "Reshape" or not found.alone(first.outputs[0]):
            continue
        before, between = found.shapes.get(first.inputs[0], ()), found.shapes.get(first.outputs[0], ())
        (second,) = found.readers[first.outputs[0]]
        if second.kind != "Transpose" or not found.alone(second.outputs[0]) or len(between) != len(before) + 1:
            continue
        (third,) = found.readers[second.outputs[0]]
        swaps = list(second.attributes.get("perm", ())) == [0, 2, 1, *range(3, len(between))]
        undone = third.kind == "Reshape" and found.shapes.get(third.outputs[0]) == before
        if swaps and undone and between[3:] == before[2:] and between[1] * between[2] == before[1]:
            ends[third.outputs[0]] = (first.inputs[0], between[1])
            inside |= {first.outputs[0], second.outputs[0]}
    return ends, frozenset(inside)


def fold(module: nn.Module, factor: np.ndarray, summand: np.ndarray) -> None:
    """Multiply the outputs of a convolution or linear layer, and add to them; both ``[channels]``."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, nn.Parameter)
    with torch.no_grad():
        scale, shift = tensor(factor).to(weight.dtype), tensor(summand).to(weight.dtype)
        if bool((scale != 1).any()):
            weight.mul_(scale.reshape(-1, *[1] * (weight.dim() - 1)))
        if isinstance(bias, nn.Parameter):
            bias.mul_(scale).add_(shift)
        elif bool((shift != 0).any()):
            module.bias = nn.Parameter(shift.clone())
