"""The metal of a routed net: wires, vias, pads that the rules ask for."""

from collections.abc import Iterator, Sequence

from firstspike.gates.layout.deffile import Segment, ViaAt, Wires
from firstspike.gates.layout.tracks import PinAccess, RoutedNet, TrackGrid

WIDE, TALL = 0.045, 0.005
"""What a wide pad adds to a wire at each end and on each side, in um."""

LANDING, SHORT, LONG = 0.36, 0.31, 0.42
"""How far the pad above a pin reaches from its grid point, in um: enough area for itself, and clear of the next pad."""


def wires(grid: TrackGrid, tree: RoutedNet, halos: Sequence[int]) -> Wires:
    """Segments and vias of a routed net.

    Args:
        grid: the tracks.
        tree: the net.
        halos: how many nets keep each grid point free for their pads.
    """
    segments: list[Segment] = []
    vias: list[ViaAt] = []
    straight: dict[tuple[int, int, bool], list[int]] = {}
    for a, b in tree.edges:
        layer, column, line = grid.point(a)
        if b - a == grid.plane:
            vias.append(ViaAt(name=grid.vias[layer], layer=grid.layers[layer].name, at=grid.place(a)))
        elif b - a == 1:
            straight.setdefault((layer, line, True), []).append(column)
        else:
            straight.setdefault((layer, column, False), []).append(line)
    for (layer, track, lying), starts in straight.items():
        for first, last in _runs(starts):
            ends = [(first, track), (last, track)] if lying else [(track, first), (track, last)]
            start, end = ((x * grid.pitch[0], y * grid.pitch[1]) for x, y in ends)
            segments.append(Segment(layer=grid.layers[layer].name, start=start, end=end))
    for node, following in _between(grid, tree):
        metal = grid.layers[node // grid.plane]
        # as high as the pads
        width = metal.width + 2 * TALL
        (left, y), (right, _) = grid.place(node), grid.place(following)
        start, end = (left - width / 2, y), (right + width / 2, y)
        segments.append(Segment(layer=metal.name, start=start, end=end, width=width))
    for landing in tree.landings:
        if landing.via:
            metal = grid.layers[landing.point[0]]
            x, y = grid.place(grid.at(landing.point))
            centre = (x + landing.shift[0], y + landing.shift[1])
            vias.append(ViaAt(name=landing.via, layer=grid.pins, at=centre))
            low, high = _pad(grid, landing, halos)
            bottom, top = (x, y - low), (x, y + high)
            # as wide as a via beside the track needs
            width = metal.width + 2 * abs(landing.shift[0])
            segments.append(Segment(layer=metal.name, start=bottom, end=top, width=width))
    return Wires(segments=tuple(segments), vias=tuple(vias))


def _between(grid: TrackGrid, tree: RoutedNet) -> set[tuple[int, int]]:
    """Steps between wide pads of the net that stand side by side: metal as high as they are fills the notch."""
    pads = {node for edge in tree.edges if edge[1] - edge[0] == grid.plane for node in edge}
    last = grid.columns - 1
    return {(n, n + 1) for n in pads if n + 1 in pads and n % grid.columns != last}


def terminals(grid: TrackGrid, tree: RoutedNet) -> dict[str, tuple[float, float]]:
    """Where the net meets its pins."""
    found = {}
    for landing in tree.landings:
        x, y = grid.place(grid.at(landing.point))
        found[landing.pin] = (x + landing.shift[0], y + landing.shift[1])
    return found


def _pad(grid: TrackGrid, landing: PinAccess, halos: Sequence[int]) -> tuple[float, float]:
    """How far the pad above a pin reaches down and up: less towards a pad two points away."""
    layer, column, line = landing.point
    meets = [
        halos[grid.at((layer, column, beside))] > 1 if 0 <= beside < grid.lines else False
        for beside in (line - 1, line + 1)
    ]
    if meets == [True, False]:
        return SHORT, LONG
    if meets == [False, True]:
        return LONG, SHORT
    return (SHORT, SHORT) if all(meets) else (LANDING, LANDING)


def _runs(starts: list[int]) -> Iterator[tuple[int, int]]:
    """Steps from ``n`` to ``n + 1`` as runs: first and last point."""
    starts = sorted(starts)
    first = starts[0]
    for here, following in zip(starts, [*starts[1:], None], strict=True):
        if following != here + 1:
            yield first, here + 1
            if following is not None:
                first = following
