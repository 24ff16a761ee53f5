"""What the walks layer by layer, that calibrate or prune a prepared network, have in common."""

import torch
from torch import Tensor, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared, Step
from firstspike.cat.scaling import affine_norm


def owner(prepared: Prepared, step: Step) -> Step:
    """The step that adds a part's membranes, or joins those of several outputs; else the step itself."""
    return next(
        (one for one in prepared.steps if step.name in one.parts or (one.kind == "heads" and step.name in one.reads)),
        step,
    )


def channel_means(values: Tensor) -> Tensor:
    """Mean over all axes but the channels': ``[C]``."""
    return values.mean([axis for axis in range(values.dim()) if axis != 1])


def spread(means: Tensor, like: Tensor) -> Tensor:
    """Numbers ``[C]`` as a map's that they apply to, in its type."""
    return means.to(like).reshape(1, -1, *[1] * (like.dim() - 2))


def fired(network: Prepared, step: Step, membrane: Tensor, source: Tensor, stage: str) -> Tensor:
    """What a step hands on: its membrane, or the spikes' values where it fires."""
    size = source.shape[-2:]
    averages = step.merges and not network.merged(step, (int(size[0]), int(size[1])))
    value: Tensor = network.fire[step.name](membrane, stage) if step.fires or averages else membrane
    return value


def shift_bias(layer: Synapses, change: Tensor) -> None:
    """Add ``change`` ``[C]`` to a layer's bias."""
    affine = layer.linear if layer.norm is None else affine_norm(layer.norm)
    if affine.bias is None:
        affine.bias = nn.Parameter(torch.zeros_like(change))
    affine.bias.add_(change)


def folding(layer: Synapses, like: Tensor) -> Tensor | float:
    """The factor on each output's weights that folding its batch norm brings, float64, to divide ``like`` by."""
    norm = layer.norm
    if norm is None:
        return 1.0
    assert norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.double()
    return factor.reshape(-1, *[1] * (like.dim() - 1))


def last_reader(prepared: Prepared, name: str) -> int:
    """Index of the last step that reads a map, -1 if none does."""
    return max((index for index, step in enumerate(prepared.steps) if name in step.reads), default=-1)
