"""Layers of other sizes that compute the same: factors that go into their weights before and behind."""

from copy import deepcopy

import torch
from torch import Tensor, nn

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


def scale_layer(layer: Synapses, *, incoming: Tensor | float, outgoing: Tensor | float) -> None:
    """Let a layer compute ``outgoing`` times what it did, of inputs of which 1 now stands for ``incoming``.

    Args:
        layer: changed in place.
        incoming: a number, or one for each input channel ``[C_in]``.
        outgoing: a number, or one for each output channel ``[C_out]``.
    """
    weight = layer.linear.weight
    groups = layer.linear.groups if isinstance(layer.linear, nn.Conv2d) else 1
    factors = torch.as_tensor(incoming, dtype=weight.dtype, device=weight.device)
    if factors.dim():
        rows = weight.view(groups, -1, *weight.shape[1:])
        rows.mul_(factors.reshape(groups, 1, -1, *[1] * (weight.dim() - 2)))
    else:
        weight.mul_(factors)
    affine: nn.Module = layer.linear
    if layer.norm is not None:
        affine = affine_norm(layer.norm)
    assert isinstance(affine.weight, Tensor)
    each = torch.as_tensor(outgoing, dtype=affine.weight.dtype, device=affine.weight.device)
    affine.weight.mul_(each.reshape(-1, *[1] * (affine.weight.dim() - 1)) if each.dim() else each)
    if affine.bias is not None:
        assert isinstance(affine.bias, Tensor)
        affine.bias.mul_(each)


def affine_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Batch norm with a factor and a shift, which it gets here if it has none."""
    if not norm.affine:
        assert norm.running_mean is not None
        norm.affine = True
        norm.weight = nn.Parameter(torch.ones_like(norm.running_mean))
        norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean))
    return norm
