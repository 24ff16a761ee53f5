"""Whether the metal connects what the netlist says: shorts and opens, from the drawn shapes alone.

KLayout extracts connected metal from the flat GDS, wires and cells together. Every pin of every cell and every port is
looked up by its place in the cell's LEF; metal inside a cell that is no pin must stay apart from every net.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from firstspike.gates.layout.block import CellBlock
from firstspike.gates.layout.deffile import Placed
from firstspike.gates.layout.drawing import klayout
from firstspike.gates.layout.lef import LefMacro
from firstspike.gates.layout.pdk import Kit


@dataclass(frozen=True, kw_only=True)
class Connections:
    """What was found.

    Attributes:
        nets: that were looked at, power and ground among them.
        pins: that were looked up.
        opens: nets in more than one piece.
        shorts: pairs of nets that are one piece; a cell's inner metal is ``cell type/inside``.
    """

    nets: int
    pins: int
    opens: tuple[str, ...]
    shorts: tuple[tuple[str, str], ...]


def check(
    kit: Kit,
    layout: Any,
    top: str,
    block: CellBlock,
    cells: Mapping[str, Placed],
    macros: Mapping[str, LefMacro],
    ports: Mapping[str, tuple[float, float, str]],
) -> Connections:
    """Compare the metal of a layout with a block.

    Args:
        kit: metals and vias.
        layout: KLayout's.
        top: its top cell.
        block: the netlist.
        cells: where they stand, fillers too.
        macros: their pins.
        ports: x, y and layer.
    """
    db = klayout()
    pieces = _Pieces(db, kit, layout, top)
    found: dict[str, set[int]] = {}
    pins = 0
    nets = {(cell, pin): net.name for net in block.nets.values() for cell, pin in net.pins}
    for name, x, y, layer in _points(block, cells, macros, nets, kit.supplies):
        found.setdefault(name, set()).add(pieces.at(layer, x, y))
        pins += 1
    for name, port in block.ports.items():
        x, y, layer = ports[name]
        found.setdefault(port.net, set()).add(pieces.at(layer, x, y))
        pins += 1
    owners: dict[int, set[str]] = {}
    for name, numbers in found.items():
        for number in numbers:
            owners.setdefault(number, set()).add(name)
    shorts = {
        (first, second)
        for number, names in owners.items()
        for first in names
        for second in names
        if first < second and not (first.endswith("/inside") and second.endswith("/inside"))
    }
    opens = [n for n, numbers in found.items() if len(numbers) > 1 and not n.endswith("/inside")]
    return Connections(
        nets=len(found) - len({n for n in found if n.endswith("/inside")}),
        pins=pins,
        opens=tuple(sorted(opens)),
        shorts=tuple(sorted(shorts)),
    )


class _Pieces:
    """Connected metal of the flat layout."""

    def __init__(self, db: Any, kit: Kit, layout: Any, top: str) -> None:
        self.db = db
        flat = db.Layout()
        flat.dbu = layout.dbu
        cell = flat.create_cell(top)
        numbers = dict(kit.metals) | {cut: number for cut, (number, _, _) in kit.cuts.items()}
        for number in numbers.values():
            region = db.Region(layout.cell(top).begin_shapes_rec(layout.layer(number, 0)))
            cell.shapes(flat.layer(number, 0)).insert(region.merged())
        self.extraction = db.LayoutToNetlist(db.RecursiveShapeIterator(flat, cell, []))
        self.regions = {
            name: self.extraction.make_layer(flat.layer(number, 0), name) for name, number in numbers.items()
        }
        for metal in kit.metals:
            self.extraction.connect(self.regions[metal])
        for cut, (_, below, above) in kit.cuts.items():
            self.extraction.connect(self.regions[cut])
            self.extraction.connect(self.regions[cut], self.regions[below])
            self.extraction.connect(self.regions[cut], self.regions[above])
        self.extraction.extract_netlist()
        self.flat = flat

    def at(self, layer: str, x: float, y: float) -> int:
        """Number of the piece at a place; -1 where there is none."""
        net = self.extraction.probe_net(self.regions[layer], self.db.DPoint(x, y))
        return -1 if net is None else int(net.cluster_id)


def _points(
    block: CellBlock,
    cells: Mapping[str, Placed],
    macros: Mapping[str, LefMacro],
    nets: Mapping[tuple[str, str], str],
    supplies: tuple[str, str],
) -> Iterator[tuple[str, float, float, str]]:
    """Net, place and layer of every piece of pin metal; unconnected pins and inner metal by cell."""
    for name, cell in cells.items():
        macro = macros[cell.type]
        for pin, what in macro.pins.items():
            net = pin if pin in supplies else nets.get((name, pin), f"{name}/{pin}")
            for shape in what.shapes:
                yield net, *_centre(cell, macro, shape.rect), shape.layer
        for number, shape in enumerate(macro.obstructions):
            yield f"{name}.{number}/inside", *_centre(cell, macro, shape.rect), shape.layer


def _centre(cell: Placed, macro: LefMacro, rect: tuple[float, float, float, float]) -> tuple[float, float]:
    x, y = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2
    return cell.x + x, cell.y + (macro.height - y if cell.flipped else y)
