"""`calibrate`: a trained ReLU network becomes a spiking one without training, by a few hundred images.

Three things make a ReLU network lose accuracy when its activations become spike times, and each has a remedy:

- Activations above 1 saturate. A ReLU network computes the same when a layer's output is divided by a factor and the
  weights that read it are multiplied by it, so every channel is scaled to end at about 1 (see `firstspike.cat.ties`).
- A spike time stands for the next smaller kernel value: for a value whose logarithm is uniform, for the share
  ``(1 - r) / ln(1 / r)`` of it in the mean, ``r = 2^(-1/tau)`` (0.918 at tau = 4). Each layer's membrane is enlarged by
  the reciprocal, the `gain`.
- What rounding of weights and silent neurons shift in the mean of a channel's membrane, its bias takes back (Nagel et
  al. 2019, arXiv 1906.04721).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from firstspike.arith import Code
from firstspike.cat import rounding
from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import AXES, INPUT, Prepared, Step
from firstspike.cat.quantiser import quantise
from firstspike.cat.scaling import part_weights, scale_layer
from firstspike.cat.ties import Scaling, Ties
from firstspike.cat.walking import channel_means, fired, folding, owner, shift_bias, spread

NEARBY_SCALES = 4
"""How many levels from the scale of least error on the weights the one of least error on the membranes is looked for."""


SEARCHED_IMAGES = 64
"""By how many images it is looked for; they are spread evenly."""


@dataclass(frozen=True, kw_only=True)
class LayerCalibration:
    """What was done to a layer that fires.

    Attributes:
        name: of the layer.
        scale: activation of the ReLU network that the value 1 stands for, in the channel where it is largest.
        saturated: share of the layer's membranes at 1 or above, after calibration.
        error: root mean square difference to the ReLU network's activation, as a share of that one's root mean square.
    """

    name: str
    scale: float
    saturated: float
    error: float


def gain(code: Code) -> float:
    """The factor that undoes, in the mean, that a spike time rounds a value down.

    >>> round(gain(Code(tau=4)), 3)
    1.089
    """
    r = 2 ** (-1 / code.tau)
    return math.log(1 / r) / (1 - r)


def calibrate(
    prepared: Prepared,
    images: Tensor,
    *,
    percentile: float | None = None,
    least: float = 0.125,
    correct: bool = True,
    search: bool = True,
    compensate: bool = True,
    progress: Callable[[Sequence[Step]], Iterator[Step]] = iter,
) -> tuple[LayerCalibration, ...]:
    """Adapt a trained ReLU network to spikes and rounded weights, in place; it ends in stage ``"quantised"``.

    Args:
        prepared: made by `firstspike.prepare` of a trained network, in stage ``"relu"``, not trained since.
        images: ``[n, *shape]`` in [0, 1], a few hundred, unlabelled.
        percentile: of a channel's activations that 1 stands for afterwards; what is above saturates. By default the scale at
            which least is lost, above 1 and below the last spike time.
        least: share of its map's scale that a channel's has at least; with 1 all channels of a map are scaled alike.
        correct: shift biases so that each channel's membrane has the ReLU network's mean.
        search: choose the scale of a layer's weights by the error of its membranes, not of the weights.
        compensate: round weights so that the errors of some make good those of others (see `firstspike.cat.rounding`).
        progress: wraps the steps, for a progress bar.

    Raises:
        ValueError: the network is not in stage ``"relu"``, there is no image, or the percentile is not in (0, 100].
    """
    if prepared.stage != "relu":
        raise ValueError(
            f"calibrate needs a network in stage 'relu', not {prepared.stage!r}; prepare the trained one anew"
        )
    scaling = Scaling(percentile=percentile, least=least)
    if len(images) == 0:
        raise ValueError("calibrate needs at least one image, not none")
    images = images.unsqueeze(2) if images.dim() == AXES else images  # sequences are images of one row
    if prepared.input_shape is None:
        prepared.set_input_shape(images.shape[1:])
    prepared.eval()
    with torch.no_grad():
        part_weights(prepared)
        reference = deepcopy(prepared)
        scales = _rescale(prepared, reference.spike_values(images), scaling)
        prepared.set_stage("quantised")
        walk = _Walk(prepared, reference, images, scales)
        found = tuple(walk.run(progress, correct=correct, search=search, compensate=compensate))
        layers = dict(prepared.synapses())
        prepared.set_stage(
            "quantised",
            scales={name: int(layer.scale) for name, layer in layers.items()},
            shifts={name: layer.shifts.tolist() for name, layer in layers.items() if layer.shifts is not None},
        )
        return found


def _rescale(prepared: Prepared, values: dict[str, Tensor], scaling: Scaling) -> dict[str, Tensor]:
    """Scale all layers of a network whose activations in stage ``"relu"`` are ``values``; the scale of every channel."""
    room = 2.0 if prepared.code.tau < prepared.code.T else 1.0
    # A map that is the same for all images ends at 1/2, which a spike says exactly, and saturates nowhere.
    fixed = {
        step.name: float(values[step.name].max()) * room
        for step in prepared.steps
        if step.fires and _constant(prepared, step)
    }
    pixels = 256 / 255 if prepared.code.planes else 1.0
    scales = Ties(prepared, values, gain(prepared.code)).scales(scaling, fixed, pixels)
    for step in prepared.steps:
        layer = prepared.layers[step.name]
        if isinstance(layer, Synapses):
            scale_layer(layer, incoming=scales[step.source], outgoing=_outgoing(prepared, step, scales))
    return scales


def _outgoing(prepared: Prepared, step: Step, scales: dict[str, Tensor]) -> Tensor:
    """What a layer's membranes are multiplied with, float64 ``[C]``; a part's are those of the layer that adds them."""
    adds = owner(prepared, step)
    if adds.fires:
        return (1.0 if _constant(prepared, adds) else gain(prepared.code)) / scales[adds.name]
    # a read-out: logits keep their size, unless a residual gives it
    return 1 / scales[adds.residuals[0]] if adds.residuals else torch.ones_like(scales[step.name])


def _constant(prepared: Prepared, step: Step) -> bool:
    """Whether a map is the same for all images: its layer's weights are all zero."""
    layer = prepared.layers[step.name]
    return isinstance(layer, Synapses) and not step.residuals and not step.parts and not bool(layer.linear.weight.any())


class _Walk:
    """The network and the ReLU network side by side, layer by layer, on the same images."""

    def __init__(self, prepared: Prepared, reference: Prepared, images: Tensor, scales: dict[str, Tensor]) -> None:
        self.prepared, self.reference, self.scales = prepared, reference, scales
        self.ours = {INPUT: prepared.encode(images, "quantised")}
        self.theirs = {INPUT: reference.encode(images, "relu")}
        self.octaves = prepared.merged_octaves()

    def run(
        self, progress: Callable[[Sequence[Step]], Iterator[Step]], *, correct: bool, search: bool, compensate: bool
    ) -> Iterator[LayerCalibration]:
        steps = self.prepared.steps
        for index, step in enumerate(progress(steps)):
            wanted = self.reference.compute(step, self.theirs, "relu")
            layer = self.prepared.layers[step.name]
            if isinstance(layer, Synapses):
                target = wanted * spread(_outgoing(self.prepared, step, self.scales), wanted)
                if search:
                    self._search(step, layer, target)
                if compensate:
                    self._round(step, layer, target)
                if correct:
                    shift_bias(layer, channel_means(target - self._membrane(step)))
            membrane = self._membrane(step)
            self.theirs[step.name] = fired(self.reference, step, wanted, self.theirs[step.source], "relu")
            self.ours[step.name] = fired(self.prepared, step, membrane, self.ours[step.source], "quantised")
            if step.fires and isinstance(layer, Synapses):
                yield self._report(step, membrane)
            for name in set(step.reads):
                if not any(name in later.reads for later in steps[index + 1 :]):
                    del self.theirs[name], self.ours[name]

    def _membrane(self, step: Step) -> Tensor:
        return self.prepared.compute(step, self.ours, "quantised")

    def _search(self, step: Step, layer: Synapses, target: Tensor) -> None:
        """Take the weights' scale whose membranes, shifted to the right means, are nearest to ``target``."""
        adds = owner(self.prepared, step)
        room: dict[str, Any] = {
            "residuals": len(adds.residuals),
            "octaves": self.octaves.get(step.source, 0),
            "beside": self.prepared.beside(adds, step),
        }
        few = slice(None, None, max(1, len(target) // SEARCHED_IMAGES))
        values, target = {name: self.ours[name][few] for name in step.reads}, target[few]
        if layer.shifts is not None:
            self._search_shifts(step, layer, target, values)
            return
        chosen, best, least = int(layer.scale), int(layer.scale), math.inf
        for scale in range(max(-256, chosen - NEARBY_SCALES), min(256, chosen + NEARBY_SCALES) + 1):
            if not bool(layer.room(scale, **room).all()):
                continue
            layer.scale.fill_(scale)
            rest = target - self.prepared.compute(step, values, "quantised")
            error = float((rest - spread(channel_means(rest), rest)).square().mean())
            if error < least:
                best, least = scale, error
        layer.scale.fill_(best)

    def _search_shifts(self, step: Step, layer: Synapses, target: Tensor, values: dict[str, Tensor]) -> None:
        """The same with a shift for each channel; ``values`` are those that the step reads.

        At scale ``k`` with shift ``s`` a channel computes what it does at ``k + rho s``: each scale is tried once, for all.
        """
        assert layer.shifts is not None
        chosen, shifts, octaves = int(layer.scale), layer.shifts.clone(), self.octaves.get(step.source, 0)
        finest = chosen + layer.weights.levels_per_octave * int(shifts.max()) + NEARBY_SCALES
        tried = range(max(-256, chosen - NEARBY_SCALES), min(256, finest) + 1)
        layer.shifts.zero_()
        errors = {}
        for scale in tried:
            layer.scale.fill_(scale)
            rest = target - self.prepared.compute(step, values, "quantised")
            error = channel_means((rest - spread(channel_means(rest), rest)).square())
            errors[scale] = error.masked_fill(~layer.room(scale, octaves=octaves), math.inf)
        none = torch.full_like(errors[chosen], math.inf)
        found = layer.shared_scale(lambda scale: errors.get(scale, none), tried, octaves=octaves)
        scale, best = found or (chosen, shifts)
        layer.scale.fill_(scale)
        layer.shifts.copy_(best)

    def _round(self, step: Step, layer: Synapses, target: Tensor) -> None:
        """Give the layer weights that are levels of its scale, by which its membranes come nearest to ``target``."""
        added = [self.ours[name] for name in (*step.residuals, *step.parts)]
        wanted = target - sum(added) if added else target
        x = rounding.patches(layer.linear, layer.framed(self.ours[step.source]))
        y = rounding.outputs(layer.linear, wanted)
        weight, _ = layer.folded(torch.float64)
        groups = weight.flatten(1).view(len(x), -1, x.shape[2])
        scale = int(layer.scale)
        shifts = [None] * len(groups) if layer.shifts is None else layer.shifts.view(len(groups), -1)
        chosen = torch.stack(
            [
                rounding.rounded(
                    rounding.fitted(w, inputs, outputs),
                    inputs,
                    partial(quantise, weights=layer.weights, scale=scale, shifts=own),
                )
                for w, inputs, outputs, own in zip(groups, x, y, shifts, strict=True)
            ]
        ).view(weight.shape)
        layer.linear.weight.copy_(chosen / folding(layer, weight))

    def _report(self, step: Step, membrane: Tensor) -> LayerCalibration:
        scale = self.scales[step.name]
        wanted = self.theirs[step.name]
        found = self.ours[step.name] * spread(scale, wanted)
        size = float(wanted.square().mean().sqrt())
        return LayerCalibration(
            name=step.name,
            scale=float(scale.max()),
            saturated=float((membrane >= 1).float().mean()),
            error=float((found - wanted).square().mean().sqrt()) / max(size, 1e-30),
        )
