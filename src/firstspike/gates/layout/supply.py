"""Power and ground: vertical straps on the metal above the signals, via stacks down to the cells' rails."""

from dataclasses import dataclass

from firstspike.gates.layout.floorplan import Floorplan
from firstspike.gates.layout.lef import Rect, Shape
from firstspike.gates.layout.pdk import Kit


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Metal of one supply: straps and stacks, and the middle of each strap for its name."""

    name: str
    shapes: tuple[Shape, ...]
    strap: str
    middles: tuple[tuple[float, float], ...]


def straps(kit: Kit, floorplan: Floorplan, *, pairs: int = 2) -> tuple[Supply, Supply]:
    """Power and ground; straps in ``pairs`` spread over the core, each tied to every rail of its net.

    The rails are the cells' own: ground below row 0, then power and ground in turn.
    """
    top = list(kit.metals)[kit.signals]
    metals, cuts = kit.metal_rules(), kit.cut_rules()
    wide = metals[top].width
    supplies = []
    for index, name in enumerate(kit.supplies):
        shapes: list[Shape] = []
        middles = []
        for pair in range(pairs):
            share = (2 * pair + index + 0.5) / (2 * pairs)
            x = floorplan.left + round(share * floorplan.sites) * floorplan.site
            rails = range(1 - index, floorplan.rows + 1, 2)
            heights = [floorplan.bottom + row * floorplan.height for row in rails]
            shapes.append(Shape(layer=top, rect=(x - wide / 2, 0.0, x + wide / 2, floorplan.die[1])))
            middles.append((x, floorplan.die[1] / 2))
            for y in heights:
                for cut, (_, below, above) in kit.cuts.items():
                    rule = cuts[cut]
                    shapes.append(Shape(layer=cut, rect=_square(x, y, rule.size / 2)))
                    for metal, rim in ((below, max(rule.below)), (above, max(rule.above))):
                        if metal != top:
                            # a pad of its own must have the least area, on the grid of 10 nm
                            side = max(rule.size + 2 * rim, metals[metal].area ** 0.5)
                            side = -(-round(side * 1000) // 20) * 20 / 1000
                            shapes.append(Shape(layer=metal, rect=_square(x, y, side / 2)))
        supplies.append(Supply(name=name, shapes=tuple(shapes), strap=top, middles=tuple(middles)))
    power, ground = supplies
    return power, ground


def blocked(kit: Kit, supplies: tuple[Supply, Supply]) -> list[Shape]:
    """What the router must keep clear of: the stacks' pads above the cells' own metal."""
    signals = list(kit.metals)[1 : kit.signals]
    return [shape for supply in supplies for shape in supply.shapes if shape.layer in signals]


def _square(x: float, y: float, half: float) -> Rect:
    return (x - half, y - half, x + half, y + half)
