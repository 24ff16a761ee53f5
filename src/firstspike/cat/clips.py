"""Activations that end at another level than 1: ``min(max(u, 0), c)`` is ``c * clip(u / c)``, so c goes into the weights.

What c divides before it multiplies behind. Maps that meet in a sum, or that only pass values on, have one c.
"""

from collections.abc import Mapping

import torch

from firstspike.cat.layers import Fire, Synapses
from firstspike.cat.operations import UnsupportedError
from firstspike.cat.prepared import INPUT, Prepared
from firstspike.cat.scaling import part_weights, scale_layer


def rescale(prepared: Prepared, clips: Mapping[str, float]) -> None:
    """Let the steps in ``clips`` end at 1 instead of where they do, in place; the network computes the same.

    Raises:
        UnsupportedError: two levels meet in a sum, or one meets the input or the logits there.
    """
    if not clips:
        return
    levels = _levels(prepared, clips)
    if set(levels.values()) != {1.0}:
        with torch.no_grad():
            part_weights(prepared)
            owners = {name: step for step in prepared.steps for name in (step.name, *step.parts)}
            for step in prepared.steps:
                layer = prepared.layers[step.name]
                if isinstance(layer, Synapses):
                    scale_layer(layer, incoming=levels[step.source], outgoing=1 / levels[owners[step.name].name])
    for name in clips:
        fire = prepared.fire[name]
        assert isinstance(fire, Fire)
        fire.clips = True


def _levels(prepared: Prepared, clips: Mapping[str, float]) -> dict[str, float]:
    """The level that 1 stands for, of every map."""
    group = {INPUT: INPUT}
    ends: dict[str, tuple[str, float]] = {INPUT: ("the input", 1.0)}  # of a group: a map that has a level, and which
    owners = {name: step.name for step in prepared.steps for name in step.parts}

    def join(one: str, other: str) -> None:
        kept, gone = group[one], group[other]
        if kept == gone:
            return
        if kept in ends and gone in ends and ends[kept][1] != ends[gone][1]:
            raise UnsupportedError(
                f"{other}: what meets in a sum must end at one level, not at {ends[kept][1]:g} ({ends[kept][0]}) and "
                f"{ends[gone][1]:g} ({ends[gone][0]}); use nn.ReLU in one of them"
            )
        for name in [name for name, mine in group.items() if mine == gone]:
            group[name] = kept
        if gone in ends:
            ends[kept] = ends.pop(gone)

    for step in prepared.steps:
        name = step.name
        group[name] = name
        if name in clips:
            ends[name] = (name, clips[name])
        elif isinstance(prepared.layers[name], Synapses) and not step.fires and name not in owners:
            ends[name] = ("the logits", 1.0)
        passes = not isinstance(prepared.layers[name], Synapses) and step.kind != "heads"
        for other in (*((step.source, *step.others) if passes else ()), *step.residuals):
            join(other, name)
    return {name: ends.get(mine, ("", 1.0))[1] for name, mine in group.items()} | {
        name: ends.get(group[owner], ("", 1.0))[1] for name, owner in owners.items()
    }
