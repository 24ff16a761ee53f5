"""Values while a traced network is rebuilt: spikes, membranes that still have to fire, and the shapes they are seen in."""

from dataclasses import dataclass, field
from math import prod

import numpy as np
from torch import Tensor, fx, nn

from firstspike.cat import moves
from firstspike.cat.layers import AveragePool


@dataclass(frozen=True, kw_only=True)
class Spikes:
    """A value that is spikes: the output of a step."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Membrane:
    """A value that has not fired yet: a linear operation on spikes, and what is to follow its firing.

    Attributes:
        shift: of a first layer with padding, whose images are shifted: what it computes of the shift, read from a map of
            constants that ends where the images end.
    """

    path: str
    source: str
    linear: nn.Module
    norm: nn.Module | None = None
    frame: moves.Frame = (0, 0, 0, 0)
    residuals: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    shift: nn.Conv2d | None = None
    after: tuple[tuple[str, str, nn.Module], ...] = field(default_factory=tuple)

    @property
    def pools(self) -> bool:
        """Whether it is an average, which no weights of a network give."""
        return isinstance(self.linear, AveragePool)


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Values one behind the other along the channels; what follows works on each while it can."""

    path: str
    members: tuple[Spikes | Membrane, ...]


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """The input times a factor, plus a shift of each channel, which the layers that read it take in."""

    path: str
    factor: Tensor
    shift: Tensor

    def unread(self, path: str) -> str:
        """Why another layer cannot read it."""
        return f"{path}: images that {self.path!r} scales or shifts must be read by a Conv2d or Linear, which takes that in"


Value = Spikes | Membrane | Joined | Shifted


@dataclass(frozen=True, kw_only=True)
class Form:
    """The shape of a value without the images' axis.

    Attributes:
        map: as a map of spikes or membranes, ``(channels, height, width)`` or ``(features,)``.
        seen: as the network sees it: the same numbers in the same order, or their means where an average is under way.
        rule: what it must not be read as, while the two differ.
        order: for each place as the network sees it the number of its value in the map, -1 for a zero; None: in order.
    """

    map: tuple[int, ...]
    seen: tuple[int, ...]
    rule: str = ""
    order: np.ndarray | None = None

    @property
    def plain(self) -> bool:
        """Whether the network sees the map: as it is, or without its only row."""
        line = len(self.map) == 3 and self.map[1] == 1 and self.seen == (self.map[0], self.map[2])
        return self.order is None and (self.seen == self.map or line)


def form_of(node: fx.Node) -> Form:
    """The form of a map; a sequence is a map of one row."""
    shape = tuple(int(extent) for extent in node.meta["shape"][1:])
    return Form(map=(shape[0], 1, shape[1]) if len(shape) == 2 else shape, seen=shape)


def ordered(shape: tuple[int, ...], order: np.ndarray, rule: str) -> Form:
    """The form of values in some order, which may be that of the map."""
    same = np.array_equal(order.reshape(-1), np.arange(prod(shape)))
    return Form(map=shape, seen=order.shape, rule=rule, order=None if same else order)
