"""`prune`: a trained spiking network loses weights and channels without training, by a few thousand images.

Layer by layer, on the spikes that the pruned layers before it leave, a layer gets the weights of which a given share is
zero and whose membranes come nearest to those of the network that was given (see `firstspike.cat.sparse`). They are then
rounded to levels so that the errors of some make good those of others (`firstspike.cat.rounding`), and the bias takes the
rest of the mean. The spike code and the weights' format may become others in the same walk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from firstspike.arith import Code, LogWeights, checks
from firstspike.cat import rounding
from firstspike.cat.layers import Synapses
from firstspike.cat.moments import Moments, damped, moments
from firstspike.cat.prepared import Prepared, Step
from firstspike.cat.quantiser import quantise
from firstspike.cat.rebuild import rebuild, reformat
from firstspike.cat.sparse import Sparse
from firstspike.cat.survey import POSITIONS, Progress, Survey, allocate, grouped, reader
from firstspike.cat.walking import Values, channel_means, own_part, owner, shift_bias
from firstspike.spec import Network

NEARBY_SCALES = 3
"""How many levels from the scale of least error on the weights the one of least error on the membranes is looked for."""


@dataclass(frozen=True, kw_only=True)
class LayerPruning:
    """What became of a layer with weights.

    Attributes:
        name: of the layer.
        weights: how many it has.
        zeros: share of them that is zero.
        channels: of its output.
        error: mean squared difference of its membranes to those before, means aside, as a share of their variance; None of a
            layer with groups, which loses no weights.
    """

    name: str
    weights: int
    zeros: float
    channels: int
    error: float | None


def prune(
    network: Network,
    images: Tensor,
    *,
    zeros: float | Mapping[str, float] = 0.0,
    channels: Mapping[str, int] | None = None,
    code: Code | None = None,
    weights: LogWeights | None = None,
    accumulator_bits: int | None = None,
    progress: Progress = iter,
) -> tuple[Prepared, tuple[LayerPruning, ...]]:
    """A network that computes nearly the same with fewer weights, in stage ``"quantised"``: `firstspike.convert` takes it.

    Args:
        network: a trained network.
        images: ``[n, *shape]`` in [0, 1], unlabelled training images; a few thousand, the more the better.
        zeros: share of all weights that becomes zero, spread over the layers so that the errors of their membranes add up
            to the least; or the share of each layer by name, 0 for those not named.
        channels: how many of its output channels a layer keeps, by name; those stay that its reader can do without least.
            It must fire, and only one layer may read it, through pooling at most.
        code: spike code of the result; the network's own if not given.
        weights: format of its weights, likewise.
        accumulator_bits: bits of its membranes, likewise; scales are chosen so that they fit.
        progress: wraps the steps, for a progress bar; the network is walked once, or twice where there is something to choose.

    Raises:
        ValueError: a share is not in [0, 1), there is no image, images have another shape, a layer named does not
            exist, has groups, or cannot lose channels, or ``accumulator_bits`` is out of range.
    """
    given = rebuild(network).float()
    _check(given, images, zeros, channels or {})
    names = [name for name, _ in given.synapses()]
    with torch.no_grad():
        kept: dict[str, Tensor] = {}
        shares = dict.fromkeys(names, 0.0)
        if isinstance(zeros, Mapping):
            shares.update(zeros)
        if channels or (not isinstance(zeros, Mapping) and zeros > 0):
            survey = Survey(given, images, channels or {}, curves=not isinstance(zeros, Mapping))
            survey.run(progress)
            kept = survey.kept
            if not isinstance(zeros, Mapping):
                shares = allocate(survey.curves, survey.sizes(), zeros)
        pruned = rebuild(network)
        if code is not None or weights is not None or accumulator_bits is not None:
            pruned = reformat(pruned, code=code, weights=weights, accumulator_bits=accumulator_bits)
        pruned = pruned.float()
        _shrink(pruned, kept)
        walk = _Walk(given, pruned, images, kept)
        found = tuple(walk.run(progress, shares))
        layers = dict(pruned.synapses())
        pruned.set_stage(
            "quantised",
            scales={name: int(layer.scale) for name, layer in layers.items()},
            shifts={name: layer.shifts.tolist() for name, layer in layers.items() if layer.shifts is not None},
        )
    return pruned, found


def _check(given: Prepared, images: Tensor, zeros: float | Mapping[str, float], channels: Mapping[str, int]) -> None:
    if len(images) == 0:
        raise ValueError("prune needs at least one image, not none")
    if tuple(images.shape[1:]) != given.input_shape:
        raise ValueError(f"images must have the network's shape {given.input_shape!r}, not {tuple(images.shape[1:])!r}")
    layers = dict(given.synapses())
    for subject, named in (("zeros", zeros), ("channels", channels)):
        for name in named if isinstance(named, Mapping) else ():
            if name not in layers:
                raise ValueError(f"{subject} must name a layer with weights: one of {', '.join(layers)}, not {name!r}")
            if subject == "zeros" and grouped(layers[name]):
                raise ValueError(f"zeros must name layers without groups, which keep their weights, not {name!r}")
    for share in zeros.values() if isinstance(zeros, Mapping) else (zeros,):
        if not 0 <= share < 1:
            raise ValueError(f"zeros must be a share of weights from 0 to below 1, not {share!r}")
    for name, count in channels.items():
        checks.integer(f"channels of {name!r}", count, low=1, high=len(layers[name].linear.weight))
        reader(given, name)


def _shrink(network: Prepared, kept: Mapping[str, Tensor]) -> None:
    """Take away the channels that are not kept, and the weights that read them."""
    layers = dict(network.synapses())
    for name, channels in kept.items():
        behind = layers[reader(network, name).name]
        taps = behind.linear.weight[0].numel() // len(layers[name].linear.weight)
        weight = behind.linear.weight
        shape = (len(weight), len(channels), *weight.shape[2:]) if weight.dim() > 2 else (len(weight), -1)
        columns = weight.flatten(1).view(len(weight), -1, taps)[:, channels]
        _replace(behind, columns.reshape(shape), behind.linear.bias)
        own = layers[name]
        assert own.linear.bias is not None
        _replace(own, own.linear.weight[channels], own.linear.bias[channels])
        if own.shifts is not None:
            own.shifts = own.shifts[channels]


def _replace(layer: Synapses, weight: Tensor, bias: Tensor | None) -> None:
    linear = layer.linear
    linear.weight = nn.Parameter(weight.clone())
    linear.bias = None if bias is None else nn.Parameter(bias.clone())
    if isinstance(linear, nn.Conv2d):
        linear.out_channels, linear.in_channels = weight.shape[:2]
    else:
        linear.out_features, linear.in_features = weight.shape


class _Walk:
    """The given network and the pruned one side by side, layer by layer, on the same images."""

    def __init__(self, given: Prepared, pruned: Prepared, images: Tensor, kept: Mapping[str, Tensor]) -> None:
        self.given, self.pruned, self.kept = given, pruned, kept
        self.theirs, self.ours = Values(given, images), Values(pruned, images)
        self.octaves = pruned.merged_octaves()

    def run(self, progress: Progress, shares: Mapping[str, float]) -> Iterator[LayerPruning]:
        for index, step in enumerate(progress(self.pruned.steps)):
            layer = self.pruned.layers[step.name]
            if isinstance(layer, Synapses):
                found = None if grouped(layer) else moments(layer.linear, self._pairs(step, layer), POSITIONS)
                self._change(step, layer, found, shares.get(step.name, 0.0))
                weight = layer.quantised()[0]
                yield LayerPruning(
                    name=step.name,
                    weights=weight.numel(),
                    zeros=float((weight == 0).float().mean()),
                    channels=len(weight),
                    error=None if found is None else found.error(weight.flatten(1)),
                )
            self.theirs.advance(index)
            self.ours.advance(index)

    def _wanted(self, step: Step) -> Iterator[Tensor]:
        rows = self.kept.get(step.name)
        for membrane in self.theirs.membranes(step):
            yield membrane if rows is None else membrane[:, rows]

    def _pairs(self, step: Step, layer: Synapses) -> Iterator[tuple[Tensor, Tensor]]:
        for values, membrane in zip(self.ours.batches(step), self._wanted(step), strict=True):
            yield layer.framed(values[step.source]), own_part(step, values, membrane)

    def _change(self, step: Step, layer: Synapses, found: Moments | None, share: float) -> None:
        """Give the layer weights that are levels of a scale at which its membranes fit, and a bias.

        The scale is chosen for weights not yet rounded, and with room to spare: seldom must it become coarser.
        """
        weight, kept = (None, None) if found is None else self._solve(step, layer, found, share)
        while True:
            if found is not None and weight is not None:
                nearest = partial(quantise, weights=layer.weights, scale=int(layer.scale), shifts=layer.shifts)
                chosen = rounding.compensated(weight.double(), damped(found.covariance).double(), nearest, kept)
                layer.linear.weight.copy_(chosen.view(layer.linear.weight.shape))
            shift_bias(layer, self._rest(step))
            if layer.fits(**self._room(step)) or int(layer.scale) == -256:
                return
            layer.scale.sub_(1)

    def _solve(self, step: Step, layer: Synapses, found: Moments, share: float) -> tuple[Tensor, Tensor | None]:
        """Sparse weights for the layer, not yet rounded, which of them stay, and the scale in its place."""
        weight = found.fitted(layer.quantised()[0].flatten(1))
        kept = None
        if share > 0:
            weight, kept = Sparse(found, weight).solve(share)
        layer.linear.weight.copy_(weight.view(layer.linear.weight.shape))
        self._choose_scale(step, layer, found)
        return weight, kept

    def _room(self, step: Step) -> dict[str, Any]:
        adds = owner(self.pruned, step)
        return {
            "residuals": len(adds.residuals),
            "octaves": self.octaves.get(step.source, 0),
            "beside": self.pruned.beside(adds, step),
        }

    def _choose_scale(self, step: Step, layer: Synapses, found: Moments) -> None:
        """The scale whose rounded weights change the membranes least."""
        room = self._room(step)
        if layer.shifts is not None:
            fitting = layer.fitting_shifts(octaves=room["octaves"])
            if fitting is not None:
                layer.scale.fill_(fitting[0])
                layer.shifts.copy_(fitting[1])
            return
        first = layer.fitting_scale(**room)
        weight = layer.linear.weight.flatten(1)
        errors = {
            scale: found.distance(quantise(weight.double(), layer.weights, scale).float(), weight)
            for scale in range(max(-256, first - NEARBY_SCALES), min(256, first + NEARBY_SCALES) + 1)
            if bool(layer.room(scale, **room).all())
        }
        layer.scale.fill_(min(errors, key=errors.__getitem__) if errors else first)

    def _rest(self, step: Step) -> Tensor:
        """What the means of membranes lack, float32 ``[C]``."""
        lacks = [
            len(wanted) * channel_means(wanted - own)
            for wanted, own in zip(self._wanted(step), self.ours.membranes(step), strict=True)
        ]
        return torch.stack(lacks).sum(dim=0) / self.ours.count
