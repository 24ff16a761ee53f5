"""What the walks layer by layer, that calibrate or prune a prepared network, have in common."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import INPUT, Prepared, Step
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


BATCH = 100
"""Images that are computed at once."""


class Values:
    """The maps of a network for all images, step by step, as long as a later step reads them."""

    def __init__(self, network: Prepared, images: Tensor) -> None:
        self.network = network
        self.maps = {
            INPUT: _packed(torch.cat([network.encode(part, "quantised") for part in torch.split(images, BATCH)]))
        }
        self.count = len(images)

    def batches(self, step: Step) -> Iterator[dict[str, Tensor]]:
        """What a step reads, by name, a batch at a time."""
        for start in range(0, self.count, BATCH):
            yield {name: self.maps[name][start : start + BATCH].float() for name in step.reads}

    def membranes(self, step: Step) -> Iterator[Tensor]:
        """A step's membranes, a batch at a time."""
        for values in self.batches(step):
            yield self.network.compute(step, values, "quantised")

    def advance(self, index: int) -> None:
        """Compute the step of that index, and forget what only it read."""
        step = self.network.steps[index]
        parts = [
            _packed(fired(self.network, step, membrane, values[step.source], "quantised"))
            for membrane, values in zip(self.membranes(step), self.batches(step), strict=True)
        ]
        self.maps[step.name] = torch.cat([part.to(torch.promote_types(part.dtype, parts[0].dtype)) for part in parts])
        for name in set(step.reads):
            if last_reader(self.network, name) <= index:
                del self.maps[name]


def _packed(values: Tensor) -> Tensor:
    """In half the bytes, where that is exact, as it is for most spike codes."""
    short = values.half()
    return short if torch.equal(short.to(values), values) else values


def own_part(step: Step, values: Mapping[str, Tensor], membrane: Tensor) -> Tensor:
    """A membrane without what other steps add to it."""
    added = [values[name] for name in (*step.residuals, *step.parts)]
    return membrane - sum(added) if added else membrane
