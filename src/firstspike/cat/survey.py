"""A first walk through a network that is to be pruned: which channels to keep, and what zeros cost in each layer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.moments import moments
from firstspike.cat.prepared import Prepared, Step
from firstspike.cat.sparse import Sparse, whole_channels
from firstspike.cat.walking import Values, own_part

POSITIONS = 8
"""Of a map, at most, that are looked at in an image."""

SHARES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
"""Shares of zeros at which each layer is tried before one is chosen for it."""

Progress = Callable[[Sequence[Step]], Iterator[Step]]
"""Wraps the steps of a walk, for a progress bar."""


class Survey:
    """A first walk, of the given network alone: which channels to keep, and what zeros cost in each layer."""

    def __init__(self, given: Prepared, images: Tensor, channels: Mapping[str, int], *, curves: bool) -> None:
        self.given, self.values, self.wants_curves = given, Values(given, images), curves
        self.channels = {reader(given, name).name: (name, count) for name, count in channels.items()}
        self.kept: dict[str, Tensor] = {}
        self.curves: dict[str, list[float]] = {}

    def run(self, progress: Progress) -> None:
        """Walk through all steps."""
        for index, step in enumerate(progress(self.given.steps)):
            layer = self.given.layers[step.name]
            if isinstance(layer, Synapses) and not grouped(layer):
                self._look(step, layer)
            self.values.advance(index)

    def _look(self, step: Step, layer: Synapses) -> None:
        if not self.wants_curves and step.name not in self.channels:
            return
        found = moments(layer.linear, self._pairs(step, layer), POSITIONS)
        weight = layer.quantised()[0].flatten(1)
        if step.name in self.channels:
            name, count = self.channels[step.name]
            before = len(self.given.layers[name].linear.weight)  # type: ignore[union-attr,arg-type]
            taps = weight.shape[1] // before
            _, kept = Sparse(found, weight, whole_channels(taps)).solve(1 - count / before)
            self.kept[name] = kept[0].view(before, taps)[:, 0].nonzero().flatten()
            columns = kept[0].nonzero().flatten()
            found = found.among(columns)
            weight = found.fitted(weight[:, columns])
        if self.wants_curves:
            sparse = Sparse(found, weight)
            self.curves[step.name] = [found.error(sparse.solve(share, rise=4, rest=1)[0]) for share in SHARES]

    def _pairs(self, step: Step, layer: Synapses) -> Iterator[tuple[Tensor, Tensor]]:
        for values, membrane in zip(self.values.batches(step), self.values.membranes(step), strict=True):
            yield layer.framed(values[step.source]), own_part(step, values, membrane)

    def sizes(self) -> dict[str, int]:
        """Weights of every layer that can be pruned, when the channels are gone."""
        fewer = {after: (count, name) for after, (name, count) in self.channels.items()}
        keeps = dict(self.channels.values())
        sizes = {}
        for name in self.curves:
            layer = self.given.layers[name]
            assert isinstance(layer, Synapses)
            outputs, inputs = len(layer.linear.weight), layer.linear.weight[0].numel()
            if name in fewer:
                count, source = fewer[name]
                inputs = inputs // len(self.given.layers[source].linear.weight) * count  # type: ignore[union-attr,arg-type]
            sizes[name] = keeps.get(name, outputs) * inputs
        return sizes


def reader(given: Prepared, name: str) -> Step:
    """The layer that reads another's channels.

    Raises:
        ValueError: there is not exactly one, or it does more with them than weigh them.
    """
    source = name
    while True:
        readers = [step for step in given.steps if source in step.reads]
        rule = f"layer {name!r} can lose channels only where one convolution or linear layer without groups reads it"
        own = next(step for step in given.steps if step.name == name)
        if len(readers) != 1 or not own.fires or own.residuals or own.parts:
            raise ValueError(f"{rule}, and nothing is added to it")
        step = readers[0]
        if step.kind in ("maxpool", "flatten"):
            source = step.name
            continue
        layer = given.layers[step.name]
        if not isinstance(layer, Synapses) or source != step.source or grouped(layer):
            raise ValueError(f"{rule}, not {step.name!r}")
        return step


def grouped(layer: Synapses) -> bool:
    """Whether a layer's channels read only some of those before."""
    return isinstance(layer.linear, nn.Conv2d) and layer.linear.groups > 1


def allocate(curves: Mapping[str, Sequence[float]], sizes: Mapping[str, int], zeros: float) -> dict[str, float]:
    """Share of zeros of every layer: the least sum of errors for a share of zeros of all weights together.

    Args:
        curves: error of every layer at each of `SHARES`, rising.
        sizes: how many weights it has.
        zeros: the share wanted, of the weights of all of them.

    >>> even = [share**2 for share in SHARES]
    >>> allocate({"a": even, "b": [0.01 * error for error in even]}, {"a": 100, "b": 100}, 0.49)
    {'a': 0.0, 'b': 0.98}
    """
    total = sum(sizes.values())
    steps = sorted(
        (slope, name, share, before)
        for name, curve in curves.items()
        for slope, share, before in _slopes(curve, sizes[name])
    )
    shares, left = dict.fromkeys(sizes, 0.0), zeros * total
    for _, name, share, before in steps:
        taken = min(left, (share - before) * sizes[name])
        shares[name] = before + taken / sizes[name]
        left -= taken
        if left <= 0:
            break
    return shares


def _slopes(curve: Sequence[float], size: int) -> Iterator[tuple[float, float, float]]:
    """The convex hull of a curve: error a weight, up to which share, from which."""
    points = [(0.0, curve[0])]
    for share, error in zip(SHARES[1:], curve[1:], strict=True):
        while len(points) > 1 and _slope(points[-2], points[-1]) >= _slope(points[-1], (share, error)):
            points.pop()
        points.append((share, error))
    for before, after in pairwise(points):
        yield _slope(before, after) / size, after[0], before[0]


def _slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0])
