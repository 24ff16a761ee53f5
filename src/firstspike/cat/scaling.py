"""Layers of other sizes that compute the same: factors that go into their weights before and behind."""

from copy import deepcopy

import torch
from torch import nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared


def part_weights(prepared: Prepared) -> None:
    """Give layers that share weights or batch norm their own, since each is scaled by itself."""
    seen: set[int] = set()
    for _, layer in prepared.synapses():
        if id(layer.linear) in seen or id(layer.linear.weight) in seen:
            layer.linear = deepcopy(layer.linear)
        if layer.norm is not None and id(layer.norm) in seen:
            layer.norm = deepcopy(layer.norm)
        seen |= {id(layer.linear), id(layer.linear.weight), id(layer.norm)}


def scale_layer(layer: Synapses, *, incoming: float, outgoing: float) -> None:
    """Let a layer compute ``outgoing`` times what it did, of inputs of which 1 now stands for ``incoming``."""
    layer.linear.weight.mul_(incoming)
    affine: nn.Module = layer.linear
    if layer.norm is not None:
        affine = affine_norm(layer.norm)
    affine.weight.mul_(outgoing)  # type: ignore[operator]
    if affine.bias is not None:
        affine.bias.mul_(outgoing)  # type: ignore[operator]


def affine_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Batch norm with a factor and a shift, which it gets here if it has none."""
    if not norm.affine:
        assert norm.running_mean is not None
        norm.affine = True
        norm.weight = nn.Parameter(torch.ones_like(norm.running_mean))
        norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean))
    return norm
