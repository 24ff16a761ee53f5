"""Scales of a network's channels that are tied to each other: what pooling passes on, and what meets in a sum.

A channel may be divided by a factor where the weights that read it are multiplied by that: the network computes the same
(Rueckauer et al. 2017, doi 10.3389/fnins.2017.00682; channel by channel: Nagel et al. 2019, arXiv 1906.04721).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import INPUT, Prepared, Step

SAMPLES = 1 << 15
"""Values of a channel, at most, by which its scale is chosen."""

SMALLEST = 1e-06
"""What 1 stands for in a channel that is never above this."""

TRIED = torch.exp2(-torch.arange(33, dtype=torch.float64) / 8)
"""Scales that are tried, as shares of the largest activation."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How it is chosen what 1 stands for.

    Attributes:
        percentile: of a channel's activations that are to be at most 1, in (0, 100]; None: the scale of least squared error,
            between activations cut at 1 and those too small for a spike.
        least: share of the largest scale of its map that a channel's has at least, in (0, 1]; with 1 all channels of a map
            are scaled alike.

    Raises:
        ValueError: one of them is out of range.
    """

    percentile: float | None = None
    least: float = 0.125

    def __post_init__(self) -> None:
        if self.percentile is not None and not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must be in (0, 100], or None, not {self.percentile!r}")
        if not 0 < self.least <= 1:
            raise ValueError(f"least must be in (0, 1], not {self.least!r}")


class Channel:
    """What is known of a channel's activations: sorted, and summed from the smallest on.

    Args:
        values: activations of any shape, at least 0.
    """

    def __init__(self, values: Tensor) -> None:
        flat = values.flatten().double()
        self.share = max(1, -(-len(flat) // SAMPLES))  # every so many values one is looked at
        self.sorted = flat[:: self.share].sort().values
        start = flat.new_zeros(1)
        self.sums = torch.cat([start, self.sorted.cumsum(0)])
        self.squares = torch.cat([start, self.sorted.square().cumsum(0)])

    def top(self, scaling: Scaling) -> float:
        """The activation that `Scaling.percentile` per cent do not exceed, the largest where that is None."""
        percentile = 100.0 if scaling.percentile is None else scaling.percentile
        return float(self.sorted[max(1, math.ceil(percentile / 100 * len(self.sorted))) - 1])

    def errors(self, scales: Tensor, *, lowest: float, gain: float) -> Tensor:
        """Summed squares of what is lost at each scale, where 1 stands for it: cut above, silent below.

        >>> Channel(torch.tensor([1.0, 8.0])).errors(torch.tensor([8.0, 4.0]), lowest=0.25, gain=1.0).tolist()
        [1.0, 16.0]
        """
        cut = torch.searchsorted(self.sorted, scales)
        above = len(self.sorted) - cut
        lost = self.squares[-1] - self.squares[cut] - 2 * scales * (self.sums[-1] - self.sums[cut]) + above * scales**2
        lost = lost + self.squares[torch.searchsorted(self.sorted, scales * (lowest / gain))]
        return lost * self.share


class Ties:
    """Channels in groups, in which each one's scale is a known multiple of the others'.

    Pixels are what they are: the input's scale is 1, with planes 256/255, since a plane's pixel is ``p / 256``. In a sum the
    residual's value adds to a membrane that stands for the gain times the output's value, so the output's scale is the
    gain times the residual's.

    Args:
        prepared: the network.
        values: each map ``[n, C, ...]`` in stage ``"relu"``, by the step's name.
        gain: by which membranes that fire are enlarged.
    """

    def __init__(self, prepared: Prepared, values: Mapping[str, Tensor], gain: float) -> None:
        self.prepared, self.values, self.gain = prepared, values, gain
        self.first: dict[str, int] = {}
        self.parent: list[int] = []
        self.ratio: list[float] = []  # a channel's scale as a multiple of its parent's
        self.pixels = self._add(INPUT)
        for step in prepared.steps:
            self._add(step.name)
            if not isinstance(prepared.layers[step.name], Synapses):
                size = values[step.source].shape[-2:]
                fires = step.fires or (step.merges and not prepared.merged(step, (int(size[0]), int(size[1]))))
                for inner, outer in self._passed(step):
                    self._tie(inner, outer, gain if fires else 1.0)
            for name in step.residuals:
                for channel in range(values[name].shape[1]):
                    self._tie(self.first[name] + channel, self.first[step.name] + channel, gain if step.fires else 1.0)

    def scales(self, scaling: Scaling, fixed: Mapping[str, float], pixels: float) -> dict[str, Tensor]:
        """What 1 stands for in every channel: float64 ``[C]`` by the step's name.

        Args:
            scaling: how it is chosen; in a group for all its channels together.
            fixed: in its place, of all channels of a map.
            pixels: scale of the input.
        """
        firing = [step.name for step in self.prepared.steps if step.fires]
        tops: dict[int, float] = {}  # in the unit of the group
        for name in firing:
            for channel, (root, ratio) in zip(self._channels(name, scaling), self._roots(name), strict=True):
                top = fixed[name] if name in fixed else channel.top(scaling)
                tops[root] = max(tops.get(root, SMALLEST), top / ratio)
        free = [name for name in firing if name not in fixed]
        chosen = dict(tops) if scaling.percentile is not None else self._of_least_error(free, scaling, tops)
        for name in free:
            whole = self._of_map(Channel(self.values[name]), scaling)
            for root, ratio in self._roots(name):
                chosen[root] = max(chosen[root], scaling.least * whole / ratio)
        chosen.update(dict.fromkeys(self.pixels, pixels))
        return {
            name: torch.tensor(
                [chosen.get(root, 1.0) * ratio for root, ratio in self._roots(name)], dtype=torch.float64
            )
            for name in self.first
        }

    def _channels(self, name: str, scaling: Scaling) -> list[Channel]:
        """The channels of a map; with `Scaling.least` 1 each is known by the whole map."""
        values = self.values[name]
        if scaling.least == 1:
            return [Channel(values)] * values.shape[1]
        return [Channel(values[:, channel]) for channel in range(values.shape[1])]

    def _of_least_error(self, firing: list[str], scaling: Scaling, tops: Mapping[int, float]) -> dict[int, float]:
        """Of each group the scale at which all its channels together lose least."""
        curves = {root: torch.zeros_like(TRIED) for root in tops}
        for name in firing:
            for channel, (root, ratio) in zip(self._channels(name, scaling), self._roots(name), strict=True):
                curves[root] += self._errors(channel, tops[root] * ratio * TRIED)
        return {root: top * float(TRIED[curves[root].argmin()]) for root, top in tops.items()}

    def _of_map(self, whole: Channel, scaling: Scaling) -> float:
        top = max(whole.top(scaling), SMALLEST)
        if scaling.percentile is not None:
            return top
        return top * float(TRIED[self._errors(whole, top * TRIED).argmin()])

    def _errors(self, channel: Channel, scales: Tensor) -> Tensor:
        lowest = float(self.prepared.code.kappa(self.prepared.code.T - 1))
        return channel.errors(scales, lowest=lowest, gain=self.gain)

    def _roots(self, name: str) -> list[tuple[int, float]]:
        return [self._root(self.first[name] + channel) for channel in range(self.values[name].shape[1])]

    def _add(self, name: str) -> range:
        """New channels, each in a group of its own."""
        count = self.values[name].shape[1]
        self.first[name] = len(self.parent)
        self.parent += range(len(self.parent), len(self.parent) + count)
        self.ratio += [1.0] * count
        return range(self.first[name], self.first[name] + count)

    def _passed(self, step: Step) -> set[tuple[int, int]]:
        """Pairs of channels, read and written, of which a step passes one on as the other."""
        starts = [self.first[name] for name in (step.source, *step.others)]
        widths = [self.values[name].shape[1] for name in (step.source, *step.others)]
        if step.kind in ("average", "maxpool", "dropout"):
            return {(starts[0] + channel, self.first[step.name] + channel) for channel in range(widths[0])}
        # What moves values is shown maps that hold their own channels' numbers, from 1 on: 0 is silence.
        maps = []
        for name, start, width in zip((step.source, *step.others), starts, widths, strict=True):
            numbers = torch.arange(start + 1, start + width + 1, dtype=torch.float64)
            like = self.values[name][:1]
            maps.append(numbers.reshape(1, -1, *[1] * (like.dim() - 2)).expand_as(like))
        seen = self.prepared.layers[step.name](*maps)[0]
        seen = seen.reshape(len(seen), -1)
        pairs = {(int(inner), outer) for outer, row in enumerate(seen.tolist()) for inner in set(row) if inner}
        return {(inner - 1, self.first[step.name] + outer) for inner, outer in pairs}

    def _root(self, channel: int) -> tuple[int, float]:
        """The channel that stands for a group, and the scale as a multiple of that one's."""
        ratio = 1.0
        while self.parent[channel] != channel:
            ratio *= self.ratio[channel]
            channel = self.parent[channel]
        return channel, ratio

    def _tie(self, one: int, other: int, ratio: float) -> None:
        """From now on the scale of ``other`` is ``ratio`` times that of ``one``; in one group already, they stay as they are."""
        kept, inner = self._root(one)
        moved, outer = self._root(other)
        if kept == moved:
            return
        change = ratio * inner / outer
        if moved in self.pixels:  # pixels stand for their groups
            kept, moved, change = moved, kept, 1 / change
        self.parent[moved], self.ratio[moved] = kept, change
