"""Rearranged channels on the processor: they are no operation, their readers read the maps behind them.

A connection that reads concatenated, chosen, shuffled or silent channels becomes one connection for each map behind them,
with its codes at the channels of that map and weight zero elsewhere. A residual through them becomes a part of weight 1, max
pooling of them one of each map behind. Channels that become pixels are copied there; where they are no whole map, a layer of
weight 1 makes one of them first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from firstspike.arith import NO_SPIKE, membrane_exponent
from firstspike.compiler.spread import Spread
from firstspike.spec.network import Channels, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, PixelShuffle, Synaptic
from firstspike.spec.windows import max_pool

_Pick = tuple[str, int] | None
"""Name of a map and a channel there, or None for silence."""


def resolve(network: Network) -> Network:
    """The same network without rearranged channels: the same spikes and logits. One that has none is returned as it is.

    Raises:
        ValueError: a residual's weight of 1 does not fit the layer's grid, or the firing of a layer of weight 1 the
            accumulator.
    """
    if not any(isinstance(layer, Channels | PixelShuffle) for layer in network.layers):
        return network
    resolving = _Resolving(network)
    layers = [made for layer in network.layers for made in resolving.layer(layer)]
    return replace(network, layers=tuple(layers))


def moved_times(network: Network, times: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spike times of all maps of a resolved network, from those of the network that it was made of."""
    found = dict(times)
    for layer in network.layers:
        if layer.name in found:
            continue
        source = found[layer.source]
        if isinstance(layer, Flatten):
            found[layer.name] = source.reshape(len(source), math.prod(source.shape[1:]))
        elif isinstance(layer, MaxPool2d):
            found[layer.name] = max_pool(layer, source)
        elif isinstance(layer, Conv2d) and layer.fires:  # of weight 1: it repeats spikes
            repeated = np.full((len(source), layer.outputs, *source.shape[2:]), NO_SPIKE, dtype=np.uint8)
            for connection in layer.connections:
                here, there = np.nonzero(connection.codes[:, :, 0, 0] == network.weights.q_max)
                repeated[:, here] = found[connection.source][:, there]
            found[layer.name] = repeated
    return found


@dataclass(frozen=True, kw_only=True)
class _Picked:
    """What a map of rearranged channels is made of, a map of its size, and whether this is its flattening."""

    channels: tuple[_Pick, ...]
    like: str
    flattened: bool = False


class _Resolving:
    """Walks the layers in order; adds a flattening of a map where a linear layer needs one."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = dict(network.shapes)  # of new layers too
        self.picked: dict[str, _Picked] = {}
        self.flat: dict[str, str] = {}
        self.new: list[Layer] = []

    def layer(self, layer: Layer) -> list[Layer]:
        """What takes the place of a layer."""
        self.new = []
        if isinstance(layer, Channels):
            behind: list[_Pick] = []
            for name in layer.inputs:
                behind += self._channels(name)
            picked = self.picked.get(layer.source)
            like = layer.source if picked is None else self._flat(picked.like) if picked.flattened else picked.like
            channels = tuple(None if c < 0 else behind[c] for c in layer.channels)
            self.picked[layer.name] = _Picked(channels=channels, like=like)
            return self.new
        if isinstance(layer, Flatten) and layer.source in self.picked:
            self.picked[layer.name] = replace(self.picked[layer.source], flattened=True)
            return []
        if isinstance(layer, MaxPool2d) and layer.source in self.picked:
            self._pool(layer)
            return self.new
        if isinstance(layer, PixelShuffle):
            spread = self._spread_pixels(layer)
            return [*self.new, spread]
        if isinstance(layer, Synaptic) and self.picked.keys() & set(layer.inputs):
            made = self._synaptic(layer)
            return [*self.new, made]
        return [layer]

    def _pool(self, layer: MaxPool2d) -> None:
        """Pool every map behind rearranged channels; those of the pooled maps are picked in its place."""
        picked = self.picked[layer.source]
        pooled: dict[str, str] = {}
        for name in dict.fromkeys([*(pick[0] for pick in picked.channels if pick is not None), picked.like]):
            pooled[name] = f"{layer.name}@{len(pooled)}"
            self.new.append(replace(layer, name=pooled[name], source=name))
            self.shapes[pooled[name]] = layer.output_shape(self.shapes[name])
        channels = tuple(None if pick is None else (pooled[pick[0]], pick[1]) for pick in picked.channels)
        self.picked[layer.name] = _Picked(channels=channels, like=pooled[picked.like])

    def _spread_pixels(self, layer: PixelShuffle) -> Spread:
        """Channels that become pixels: one map for each place, copied there."""
        channels = self._channels(layer.source)
        like = self.picked[layer.source].like if layer.source in self.picked else layer.source
        count = layer.factor[0] * layer.factor[1]
        names = [self._whole(layer.name, channels[place::count], like, place) for place in range(count)]
        return Spread(name=layer.name, source=names[0], others=tuple(names[1:]), factor=layer.factor)

    def _whole(self, name: str, channels: tuple[_Pick, ...], like: str, number: int) -> str:
        """The name of a map that is these channels: one that is there, or a new layer of weight 1 that repeats spikes."""
        first = channels[0]
        source = like if first is None else first[0]
        if channels == tuple((source, channel) for channel in range(self.shapes[source][0])):
            return source
        weights, made = self.network.weights, []
        one = weights.q_max  # at scale -q_max the weight 1, on the coarsest grid that repeats all spikes
        for index, (source, places) in enumerate(_places(channels) or [(like, {})]):
            codes = np.full((len(channels), self.shapes[source][0], 1, 1), weights.zero_level, dtype=np.uint8)
            for there, here in places.items():
                codes[here, there] = one
            zero = np.zeros(len(channels), dtype=np.int64)
            part = f"{name}@{number}.{index}"
            made.append(Conv2d(name=part, source=source, codes=codes, scale=-one, bias=zero, fires=False))
        own, *parts = made
        self.new.append(replace(own, name=f"{name}@{number}", fires=True, parts=tuple(parts)))
        self.shapes[f"{name}@{number}"] = (len(channels), *self.shapes[like][1:])
        return f"{name}@{number}"

    def _channels(self, name: str) -> tuple[_Pick, ...]:
        if name in self.picked and self.picked[name].flattened:
            return self._features(self.picked[name])
        if name in self.picked:
            return self.picked[name].channels
        return tuple((name, channel) for channel in range(self.shapes[name][0]))

    def _features(self, picked: _Picked) -> tuple[_Pick, ...]:
        """The features of a flattened map of rearranged channels, each in the flattening of the map behind."""
        pixels = math.prod(self.shapes[picked.like][1:])
        features: list[_Pick] = []
        for pick in picked.channels:
            if pick is None:
                features += [None] * pixels
            else:
                features += [(self._flat(pick[0]), pick[1] * pixels + pixel) for pixel in range(pixels)]
        return tuple(features)

    def _synaptic(self, layer: Synaptic) -> Synaptic:
        connections = [made for connection in layer.connections for made in self._connection(layer, connection)]
        through = [name for name in layer.residuals if name in self.picked]
        connections += [part for number, name in enumerate(through) for part in self._residual(layer, name, number)]
        own, *parts = connections
        residuals = tuple(name for name in layer.residuals if name not in self.picked)
        fields: dict[str, Any] = {"fires": layer.fires, "residuals": residuals, "shifts": layer.shifts}
        return replace(own, name=layer.name, bias=layer.bias, parts=tuple(parts), **fields)

    def _connection(self, layer: Synaptic, connection: Synaptic) -> list[Synaptic]:
        alone = replace(connection, bias=np.zeros_like(layer.bias), fires=False, residuals=(), parts=(), shifts=())
        if connection.source not in self.picked:
            return [alone]
        picked = self.picked[connection.source]
        codes = self._dense(connection)
        if isinstance(connection, Linear):
            pixels = codes.shape[1] // len(picked.channels) if picked.flattened else 1
            codes = codes.reshape(len(codes), len(picked.channels), pixels)
        made = []
        # silence alone still decides the layer's grid: a map of its size through weights of zero
        for number, (name, places) in enumerate(_places(picked.channels) or [(picked.like, {})]):
            rows = self._spread(codes, name, places)
            source = name
            if isinstance(connection, Linear):
                rows = rows.reshape(len(rows), -1)
                source = self._flat(name) if picked.flattened else name
            if isinstance(alone, Conv2d):
                alone = replace(alone, groups=1)
            made.append(replace(alone, name=f"{connection.name}@{number}", source=source, codes=rows))
        return made

    def _dense(self, connection: Synaptic) -> np.ndarray:
        """Codes ``[out, in, ...]`` over all input channels, weight zero between groups."""
        codes = connection.codes
        groups = connection.groups if isinstance(connection, Conv2d) else 1
        if groups == 1:
            return codes
        inside, across = codes.shape[1], connection.outputs // groups
        dense = np.full(
            (len(codes), inside * groups, *codes.shape[2:]), self.network.weights.zero_level, dtype=np.uint8
        )
        for group in range(groups):
            rows = slice(group * across, (group + 1) * across)
            dense[rows, group * inside : (group + 1) * inside] = codes[rows]
        return dense

    def _spread(self, codes: np.ndarray, name: str, places: dict[int, int]) -> np.ndarray:
        """Codes over the channels of a map: from ``places``, channel there to channel among the rearranged."""
        shape = (len(codes), self.shapes[name][0], *codes.shape[2:])
        rows = np.full(shape, self.network.weights.zero_level, dtype=np.uint8)
        for there, here in places.items():
            rows[:, there] = codes[:, here]
        return rows

    def _flat(self, name: str) -> str:
        """A flattening of a map, made once."""
        if len(self.shapes[name]) == 1:
            return name
        if name not in self.flat:
            self.flat[name] = f"{name}@flat"
            self.new.append(Flatten(name=self.flat[name], source=name))
            self.shapes[self.flat[name]] = (math.prod(self.shapes[name]),)
        return self.flat[name]

    def _residual(self, layer: Synaptic, name: str, number: int) -> list[Synaptic]:
        """Parts of weight 1 that add what a residual through rearranged channels would."""
        network, picked = self.network, self.picked[name]
        weights = network.weights
        grid = network.exponent(layer)
        level = next(
            (q for q in range(weights.q_max + 1) if membrane_exponent(network.code, weights, -q) <= grid), None
        )
        if level is None:
            raise ValueError(
                f"layer {layer.name!r}: a residual through rearranged channels needs a weight of 1 on its grid, 2^-{grid}, which "
                f"is too coarse; use more levels an octave or fewer octaves of weights"
            )
        made: list[Synaptic] = []
        for index, (source, places) in enumerate(_places(picked.channels)):
            fields: dict[str, Any] = {"name": f"{layer.name}@{name}@{number}@{index}", "scale": -level, "fires": False}
            fields |= {"bias": np.zeros_like(layer.bias)}
            if len(self.shapes[name]) == 3:
                codes = np.full((layer.outputs, self.shapes[source][0], 1, 1), weights.zero_level, dtype=np.uint8)
                for there, here in places.items():
                    codes[here, there] = level
                made.append(Conv2d(**fields, source=source, codes=codes))
                continue
            pixels = math.prod(self.shapes[source][1:]) if picked.flattened else 1
            codes = np.full((layer.outputs, self.shapes[source][0] * pixels), weights.zero_level, dtype=np.uint8)
            for there, here in places.items():
                place = np.arange(pixels)
                codes[here * pixels + place, there * pixels + place] = level
            made.append(Linear(**fields, source=self._flat(source) if picked.flattened else source, codes=codes))
        return made


def _places(channels: tuple[_Pick, ...]) -> list[tuple[str, dict[int, int]]]:
    """For each map, channels there to channels here; a map again for each further time that one of its channels is taken."""
    found: dict[tuple[str, int], dict[int, int]] = {}
    for here, pick in enumerate(channels):
        if pick is not None:
            name, there = pick
            again = 0
            while there in found.setdefault((name, again), {}):
                again += 1
            found[name, again][there] = here
    return [(name, places) for (name, _), places in found.items()]
