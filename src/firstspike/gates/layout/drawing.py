"""The layout as GDS: cells of the kit, wires, vias, power, names; by KLayout's Python module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firstspike.extras import needed
from firstspike.gates.layout.deffile import Placed, Wires
from firstspike.gates.layout.lef import MetalLayer, Rect, Via
from firstspike.gates.layout.pdk import Kit
from firstspike.gates.layout.supply import Supply


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Everything that is drawn.

    Attributes:
        name: of the top cell.
        size: width and height of the die.
        cells: by name.
        fills: filler cells.
        ports: x, y and layer, by name.
        wires: by net.
        vias: by name.
        supplies: power and ground.
        layers: routing layers by name.
    """

    name: str
    size: tuple[float, float]
    cells: Mapping[str, Placed]
    fills: tuple[Placed, ...]
    ports: Mapping[str, tuple[float, float, str]]
    wires: Mapping[str, Wires]
    vias: Mapping[str, Via]
    supplies: tuple[Supply, Supply]
    layers: Mapping[str, MetalLayer]


def klayout() -> Any:
    """KLayout's database module.

    Raises:
        ImportError: it is not installed.
    """
    with needed("a layout"):
        import klayout.db
    return klayout.db


def wire_rects(wires: Wires, vias: Mapping[str, Via], layers: Mapping[str, MetalLayer]) -> list[tuple[str, Rect]]:
    """Metal and cuts of a net as rectangles."""
    found: list[tuple[str, Rect]] = []
    for segment in wires.segments:
        own = segment.width is None
        half = (layers[segment.layer].width if segment.width is None else segment.width) / 2
        (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(segment.start, segment.end, strict=True))
        along, across = (half if own else 0.0), half
        dx, dy = (along, across) if y0 == y1 else (across, along)
        found.append((segment.layer, (x0 - dx, y0 - dy, x1 + dx, y1 + dy)))
    for via in wires.vias:
        x, y = via.at
        for shape in vias[via.name].shapes:
            left, bottom, right, top = shape.rect
            found.append((shape.layer, (x + left, y + bottom, x + right, y + top)))
    return found


def fill(
    kit: Kit, drawn_cells: Mapping[str, Placed], widths: Mapping[str, float], core: Rect, height: float, site: float
) -> tuple[Placed, ...]:
    """Filler cells for the gaps of the rows, so that wells and rails go on.

    Args:
        kit: its fillers.
        drawn_cells: what stands in the rows.
        widths: of all cells, by type.
        core: the rows' outline.
        height: of a row.
        site: width of a site.
    """
    left, bottom, right, top = core
    fills = []
    for row in range(round((top - bottom) / height)):
        y = bottom + row * height
        here = sorted((c.x, c.x + widths[c.type]) for c in drawn_cells.values() if abs(c.y - y) < site / 2)
        at = left
        for start, end in [*here, (right, right)]:
            gap = round((start - at) / site)
            for kind in kit.fills:
                size = round(widths[kind] / site)
                while gap >= size:
                    fills.append(Placed(type=kind, x=start - gap * site, y=y, flipped=row % 2 == 1))
                    gap -= size
            at = end
    return tuple(fills)


def draw(kit: Kit, drawn: Drawn) -> Any:
    """A KLayout layout of everything, cells included."""
    db = klayout()
    layout = db.Layout()
    layout.read(str(kit.gds))
    layout.dbu = 0.001
    top = layout.create_cell(drawn.name)
    numbers = dict(kit.metals) | {cut: layer for cut, (layer, _, _) in kit.cuts.items()}
    places = {name: layout.layer(number, 0) for name, number in numbers.items()}
    heights = {}
    for cell in [*drawn.cells.values(), *drawn.fills]:
        master = layout.cell(cell.type)
        if cell.type not in heights:
            outline = next(i for i in layout.layer_infos() if (i.layer, i.datatype) == (189, 4))
            heights[cell.type] = master.bbox_per_layer(layout.layer(outline)).height()
        left, low = _units(cell.x), _units(cell.y)
        up = db.Trans(left, low)
        turn = db.Trans(db.Trans.M0, left, low + heights[cell.type]) if cell.flipped else up
        top.insert(db.CellInstArray(master.cell_index(), turn))
    for wires in drawn.wires.values():
        for layer, rect in wire_rects(wires, drawn.vias, drawn.layers):
            top.shapes(places[layer]).insert(_box(db, rect))
    for supply in drawn.supplies:
        for shape in supply.shapes:
            top.shapes(places[shape.layer]).insert(_box(db, shape.rect))
        for x, y in supply.middles:
            _name(db, layout, top, (kit.metals[supply.strap], kit.texts), supply.name, x, y)
    for name, (x, y, layer) in drawn.ports.items():
        half = drawn.layers[layer].width / 2
        top.shapes(places[layer]).insert(_box(db, (x - half, y - half, x + half, y + half)))
        _name(db, layout, top, (kit.metals[layer], kit.texts), name, x, y)
    outline = layout.layer(*kit.outline)
    top.shapes(outline).insert(_box(db, (0.0, 0.0, *drawn.size)))
    for index in [c.cell_index() for c in layout.each_cell() if c.is_top() and c.cell_index() != top.cell_index()]:
        layout.prune_cell(index, -1)
    return layout


def _name(db: Any, layout: Any, top: Any, layer: tuple[int, int], name: str, x: float, y: float) -> None:
    top.shapes(layout.layer(*layer)).insert(db.Text(name, db.Trans(_units(x), _units(y))))


def _box(db: Any, rect: Rect) -> Any:
    return db.Box(*(_units(value) for value in rect))


def _units(length: float) -> int:
    return round(length * 1000)
