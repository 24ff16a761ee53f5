"""Design rules of the metals and vias, checked with KLayout's geometry engine on the flat layout.

What is checked, with the kit's own numbers: width, spacing, spacing beside wide wires, area, size and spacing of vias,
metal around vias, and the manufacturing grid. Not checked: transistors and wells (the cells are the kit's own),
density, antennas.
"""

from collections import Counter
from typing import Any

from firstspike.gates.layout.drawing import klayout
from firstspike.gates.layout.pdk import Kit

GRID = 5
"""Manufacturing grid in database units of 1 nm."""


def check(kit: Kit, layout: Any, top: str) -> dict[str, list[tuple[float, float]]]:
    """Violations by rule (``Metal2.spacing``): the middle of each in um; rules that hold are there too, empty."""
    db = klayout()
    cell = layout.cell(top)
    found: dict[str, list[tuple[float, float]]] = {}
    regions = {}
    numbers = dict(kit.metals) | {cut: layer for cut, (layer, _, _) in kit.cuts.items()}
    for name, number in numbers.items():
        region = db.Region(cell.begin_shapes_rec(layout.layer(number, 0)))
        regions[name] = region.merged()

    def add(rule: str, result: Any) -> None:
        found[rule] = [_middle(item) for item in result.each()]

    for name, metal in kit.metal_rules().items():
        region = regions[name]
        add(f"{name}.width", region.width_check(_units(metal.width)))
        add(f"{name}.spacing", region.space_check(_units(metal.spacing)))
        if metal.area:
            add(f"{name}.area", region.with_area(0, round(metal.area * 1e6), False))
        if metal.wide:
            half = _units(metal.wide) // 2
            wide = region.sized(-half).sized(half)
            options = {"min_projection": _units(metal.run) + 1}
            add(f"{name}.wide", region.separation_check(wide, _units(metal.wide_spacing), **options))
        add(f"{name}.grid", region.grid_check(GRID, GRID))
    for name, cut in kit.cut_rules().items():
        region = regions[name]
        _, below, above = kit.cuts[name]
        size = _units(cut.size)
        squares = region.with_bbox_width(size, False).with_bbox_height(size, False)
        add(f"{name}.size", region - squares)
        add(f"{name}.spacing", region.space_check(_units(cut.spacing)))
        for metal_name, rims in ((below, cut.below), (above, cut.above)):
            rule = f"{name}.in.{metal_name}"
            add(rule, _thin(region, regions[metal_name], *(_units(rim) for rim in rims)))
    return found


def summary(violations: dict[str, list[tuple[float, float]]]) -> Counter[str]:
    """How many of each rule; rules that hold are left out."""
    return Counter({rule: len(places) for rule, places in violations.items() if places})


def _thin(cuts: Any, metal: Any, around: int, ends: int) -> Any:
    """Cuts without ``around`` of metal on all sides, or without ``ends`` on two opposite ones."""
    bad = cuts.outside(metal) + cuts.sized(around).not_inside(metal).sized(-around)
    lying = cuts.sized(ends, around, 2).inside(metal).sized(-ends, -around, 2)
    standing = cuts.sized(around, ends, 2).inside(metal).sized(-around, -ends, 2)
    return (bad + (cuts - lying - standing)).merged()


def _middle(item: Any) -> tuple[float, float]:
    box = item.bbox()
    return box.center().x / 1000, box.center().y / 1000


def _units(length: float) -> int:
    return round(length * 1000)
