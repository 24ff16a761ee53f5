"""Tracks, the ways from them to pins, and the points of them that a net takes."""

from dataclasses import dataclass, field

from firstspike.gates.layout.lef import MetalLayer


@dataclass(frozen=True, kw_only=True)
class PinAccess:
    """A way to reach a pin.

    Attributes:
        pin: its name (``cell:pin``, or a port's).
        point: layer, column, line.
        via: from the pin up to that point; "" for a port.
        shift: of the via's centre from it, to the right and up in um.
        penalty: added to the path's cost.
    """

    pin: str
    point: tuple[int, int, int]
    via: str = ""
    shift: tuple[float, float] = (0.0, 0.0)
    penalty: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrackGrid:
    """Tracks.

    Attributes:
        pins: the metal below them, of the cells' pins.
        layers: that wires may use, from the bottom up.
        columns, lines: tracks in x and y; track 0 is at 0.
        pitch: in x and y.
        vias: name of the via above each layer but the last.
        area: least area of metal in um2 by layer.
        blocked: grid points that no net may take.
    """

    pins: str
    layers: tuple[MetalLayer, ...]
    columns: int
    lines: int
    pitch: tuple[float, float]
    vias: tuple[str, ...]
    area: tuple[float, ...]
    blocked: frozenset[tuple[int, int, int]] = frozenset()

    @property
    def plane(self) -> int:
        """Grid points of a layer."""
        return self.lines * self.columns

    def at(self, point: tuple[int, int, int]) -> int:
        """Number of a grid point."""
        layer, column, line = point
        return (layer * self.lines + line) * self.columns + column

    def point(self, number: int) -> tuple[int, int, int]:
        """Grid point of a number."""
        rest, column = divmod(number, self.columns)
        layer, line = divmod(rest, self.lines)
        return layer, column, line

    def place(self, number: int) -> tuple[float, float]:
        """Where a grid point is, in um."""
        _, column, line = self.point(number)
        return column * self.pitch[0], line * self.pitch[1]


@dataclass(kw_only=True)
class RoutedNet:
    """A routed net: grid points taken by metal, edges between them, landings, and gaps beside its wide pads."""

    nodes: set[int] = field(default_factory=set)
    edges: set[tuple[int, int]] = field(default_factory=set)
    landings: list[PinAccess] = field(default_factory=list)
    halo: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)
