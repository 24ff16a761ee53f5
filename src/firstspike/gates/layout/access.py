"""Where a via may land on a cell's pin: grid points, and the shape of its lowest metal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from firstspike.gates.layout.drawing import klayout
from firstspike.gates.layout.lef import LefMacro, Rect, Via

COARSE = frozenset((0.0, round(0.02 * y, 3)) for y in range(-10, 11))
"""Those of the shifts below that a via outside its pin's metal is tried at."""

ASIDE = 0.025
"""Furthest that a via may stand beside its track in um: a wide pad on the next track is then just far enough away."""

SHIFTS = tuple(
    (round(0.005 * x, 3), round(0.005 * y, 3))
    for x in sorted(range(-5, 6), key=abs)
    for y in sorted(range(-40, 41), key=abs)
)
"""Shifts of a via from its grid point in um that are tried: up and down first, then beside the track."""


@dataclass(frozen=True, kw_only=True)
class Landing:
    """A grid point of the cell that a via reaches the pin from.

    Attributes:
        column, line: tracks from the cell's lower left corner.
        shift: of the via's centre from that point to the right and up in um, so that its metal fits.
        via: its name.
        outside: whether its metal sticks out of the pin's.
    """

    column: int
    line: int
    shift: tuple[float, float]
    via: str
    outside: bool


def landings(
    macro: LefMacro, pin: str, vias: Sequence[Via], *, layer: str, pitch: tuple[float, float], spacing: float
) -> tuple[Landing, ...]:
    """All landings on a pin, those inside its metal first.

    Args:
        macro: the cell.
        pin: of it.
        vias: to choose from, the preferred one first.
        layer: the pins' metal.
        pitch: of the tracks in x and y.
        spacing: to other metal on the layer; half of it to the cell's sides.
    """
    own = [shape.rect for shape in macro.pins[pin].shapes if shape.layer == layer]
    others = [
        shape.rect
        for name, other in macro.pins.items()
        if name != pin
        for shape in other.shapes
        if shape.layer == layer
    ]
    others += [shape.rect for shape in macro.obstructions if shape.layer == layer]
    found: list[Landing] = []
    for column in range(round(macro.width / pitch[0]) + 1):
        for line in range(round(macro.height / pitch[1]) + 1):
            best = _best(own, others, macro.width, (column, line), pitch, vias, layer, spacing)
            if best is not None:
                found.append(best)
    return tuple(sorted(found, key=lambda landing: landing.outside))


def _best(
    own: list[Rect],
    others: list[Rect],
    width: float,
    at: tuple[int, int],
    pitch: tuple[float, float],
    vias: Sequence[Via],
    layer: str,
    spacing: float,
) -> Landing | None:
    """The landing of a grid point: inside the pin's metal with the least shift, else outside and clear of all other metal."""
    outside = None
    aim = (at[0] * pitch[0], at[1] * pitch[1])
    reach = max(y for _, y in SHIFTS)
    own_near = [rect for rect in own if _holds(_grown(rect, ASIDE, reach), (*aim, *aim))]
    if not own_near:
        return None
    for shift in SHIFTS:
        x, y = at[0] * pitch[0] + shift[0], at[1] * pitch[1] + shift[1]
        if not any(_holds(rect, (x, y, x, y)) for rect in own_near):
            continue
        for via in vias:
            left, bottom, right, top = next(s.rect for s in via.shapes if s.layer == layer)
            pad = (x + left, y + bottom, x + right, y + top)
            landing = Landing(column=at[0], line=at[1], shift=shift, via=via.name, outside=False)
            if any(_holds(rect, pad) for rect in own):
                return landing
            near = spacing / 2
            fits = pad[0] >= near and pad[2] <= width - near
            tried = outside is None and fits and shift in COARSE
            clear = tried and all(_apart(pad, rect, spacing) for rect in others)
            if clear and not _notched(own, pad, spacing):
                outside = replace(landing, outside=True)
    return outside


def _grown(rect: Rect, x: float, y: float) -> Rect:
    return rect[0] - x, rect[1] - y, rect[2] + x, rect[3] + y


def _notched(own: list[Rect], pad: Rect, spacing: float) -> bool:
    """Whether the pad and the pin's own metal leave a gap that is too narrow."""
    db = klayout()
    metal = db.Region()
    for rect in [*own, pad]:
        metal.insert(db.Box(*(round(1000 * value) for value in rect)))
    return bool(metal.merged().space_check(round(1000 * spacing)).count())


def _holds(outer: Rect, inner: Rect) -> bool:
    return (
        outer[0] <= inner[0] + 1e-6
        and outer[1] <= inner[1] + 1e-6
        and inner[2] <= outer[2] + 1e-6
        and inner[3] <= outer[3] + 1e-6
    )


def _apart(a: Rect, b: Rect, spacing: float) -> bool:
    dx = max(a[0] - b[2], b[0] - a[2], 0.0)
    dy = max(a[1] - b[3], b[1] - a[3], 0.0)
    return dx * dx + dy * dy >= spacing * spacing - 1e-9
