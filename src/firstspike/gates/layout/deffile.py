"""DEF: placed cells, ports and wires for other tools (LEF/DEF 5.7 language reference)."""

from collections.abc import Mapping
from dataclasses import dataclass

from firstspike.gates.layout.block import CellBlock
from firstspike.gates.layout.floorplan import Floorplan

DBU = 1000
"""Database units of a um."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A placed cell: type, lower left corner in um, turned upside down or not."""

    type: str
    x: float
    y: float
    flipped: bool


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A straight wire on a layer; ends in um.

    Attributes:
        layer: its layer.
        start, end: of its centre line.
        width: in um; None: the layer's, and the wire reaches half of it beyond both ends.
    """

    layer: str
    start: tuple[float, float]
    end: tuple[float, float]
    width: float | None = None


@dataclass(frozen=True, kw_only=True)
class ViaAt:
    """A via of that name, its lower metal, its centre in um."""

    name: str
    layer: str
    at: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Wires:
    """What connects a net."""

    segments: tuple[Segment, ...]
    vias: tuple[ViaAt, ...]


def write(
    block: CellBlock,
    floorplan: Floorplan,
    cells: Mapping[str, Placed],
    ports: Mapping[str, tuple[float, float, str]],
    wires: Mapping[str, Wires],
) -> str:
    """A routed block; power and ground are in the GDS alone."""
    wide, high = (_units(length) for length in floorplan.die)
    lines = [
        "VERSION 5.7 ;",
        'DIVIDERCHAR "/" ;',
        'BUSBITCHARS "[]" ;',
        f"DESIGN {block.name} ;",
        f"UNITS DISTANCE MICRONS {DBU} ;",
        f"DIEAREA ( 0 0 ) ( {wide} {high} ) ;",
    ]
    horizontal = next(layer for layer in floorplan.layers if layer.horizontal)
    vertical = next(layer for layer in floorplan.layers if not layer.horizontal)
    for layer in floorplan.layers:
        for axis, extent, pitch in (("X", wide, vertical.pitch), ("Y", high, horizontal.pitch)):
            step = _units(pitch)
            lines.append(f"TRACKS {axis} 0 DO {extent // step + 1} STEP {step} LAYER {layer.name} ;")
    lines.append(f"COMPONENTS {len(cells)} ;")
    for name, cell in cells.items():
        place = f"( {_units(cell.x)} {_units(cell.y)} ) {'FS' if cell.flipped else 'N'}"
        lines.append(f"- {name} {cell.type} + PLACED {place} ;")
    lines += ["END COMPONENTS", f"PINS {len(block.ports)} ;"]
    widths = {layer.name: _units(layer.width) // 2 for layer in floorplan.layers}
    for name, port in block.ports.items():
        x, y, metal = ports[name]
        half = widths[metal]
        lines += [
            f"- {name} + NET {port.net} + DIRECTION {port.direction.upper()}",
            f"  + LAYER {metal} ( {-half} {-half} ) ( {half} {half} )",
            f"  + PLACED ( {_units(x)} {_units(y)} ) N ;",
        ]
    lines += ["END PINS", f"NETS {len(block.nets)} ;"]
    for net in block.nets.values():
        pins = [f"( PIN {port} )" for port in net.ports]
        pins += [f"( {cell} {pin} )" for cell, pin in net.pins]
        lines += [f"- {net.name} {' '.join(pins)}", *_routed(wires[net.name]), "  ;"]
    return "\n".join([*lines, "END NETS", "END DESIGN", ""])


def _routed(wires: Wires) -> list[str]:
    """A net's wires: regular wiring, in which a wire reaches half its width beyond its ends."""
    lines = []
    for segment in wires.segments:
        # a piece with a width of its own ends flush, so its centre line is shorter here
        inset = 0.0 if segment.width is None else segment.width / 2
        lying = segment.start[1] == segment.end[1]
        (x0, y0), (x1, y1) = sorted((segment.start, segment.end))
        dx, dy = (inset, 0.0) if lying else (0.0, inset)
        start = f"( {_units(x0 + dx)} {_units(y0 + dy)} )"
        lines.append(f"{segment.layer} {start} ( {_units(x1 - dx)} {_units(y1 - dy)} )")
    lines += [f"{via.layer} ( {_units(via.at[0])} {_units(via.at[1])} ) {via.name}" for via in wires.vias]
    return [("  + ROUTED " if index == 0 else "    NEW ") + line for index, line in enumerate(lines)]


def _units(length: float) -> int:
    return round(length * DBU)
