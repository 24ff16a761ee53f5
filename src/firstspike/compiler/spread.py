"""Channels that become pixels, on the processor: maps that are copied into one, a pixel apart."""

from dataclasses import dataclass
from typing import ClassVar

from firstspike.spec.limits import Shape
from firstspike.spec.network import Layer


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread(Layer):
    """``r * s`` maps of one size as one of ``r`` times the rows and ``s`` times the columns, ``factor = (r, s)``.

    Pixel ``(r y + i, s x + j)`` is pixel ``(y, x)`` of map ``i s + j``. A map may stand there more than once.

    Attributes:
        others: names of the maps behind ``source``.
    """

    kind: ClassVar[str] = "pixelshuffle"
    others: tuple[str, ...]
    factor: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the maps, in order."""
        return (self.source, *self.others)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the result, given that of each map."""
        return (shape[0], self.factor[0] * shape[1], self.factor[1] * shape[2])
