"""LEF: sizes, pins and obstructions of cells; widths, pitches and wire constants of routing layers.

LEF/DEF 5.7 language reference, the statements that placement, drawing and checking need; the rest is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Rect = tuple[float, float, float, float]
"""Lower left and upper right corner, in um."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A rectangle on a layer."""

    layer: str
    rect: Rect


@dataclass(frozen=True, kw_only=True)
class MacroPin:
    """A pin of a cell: its direction (``INPUT`` ...), its use (``SIGNAL``, ``POWER``, ``GROUND`` ...), its metal."""

    direction: str
    use: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True)
class LefMacro:
    """A cell: width and height in um, its pins, metal that blocks wires."""

    name: str
    kind: str
    width: float
    height: float
    pins: dict[str, MacroPin]
    obstructions: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True)
class MetalLayer:
    """A routing layer.

    Attributes:
        horizontal: its preferred direction.
        pitch, offset, width: of its tracks and wires in um.
        spacing: between its wires in um, the least of its table.
        area: least of a piece of metal in um2; 0 for none.
        resistance_ohm: of a square.
        area_ff, edge_ff: capacitance to ground in fF of a um2, and of a um of each edge.
    """

    name: str
    horizontal: bool
    pitch: float
    offset: float
    width: float
    spacing: float
    area: float
    resistance_ohm: float
    area_ff: float
    edge_ff: float


@dataclass(frozen=True, kw_only=True)
class Via:
    """A via: its metal and cut, around its centre, and its resistance."""

    name: str
    shapes: tuple[Shape, ...]
    resistance_ohm: float


@dataclass(frozen=True, kw_only=True)
class Lef:
    """Routing layers from the bottom up, vias and cells."""

    layers: dict[str, MetalLayer] = field(default_factory=dict)
    vias: dict[str, Via] = field(default_factory=dict)
    macros: dict[str, LefMacro] = field(default_factory=dict)


def read(paths: list[Path]) -> Lef:
    """Read a technology file and files of cells.

    Raises:
        ValueError: a statement ends before its values.
    """
    lef = Lef()
    for path in paths:
        tokens = _Tokens(path)
        for word in tokens:
            if word == "LAYER":
                _layer(lef, tokens)
            elif word.upper() == "VIA":
                _via(lef, tokens)
            elif word == "MACRO":
                _macro(lef, tokens)
            elif word == "PROPERTYDEFINITIONS":
                tokens.until("END")
                next(tokens)
            elif word.upper() == "VIARULE":
                name = next(tokens)
                while tokens.until("END") and next(tokens) != name:
                    pass
    return lef


class _Tokens:
    """Words of a file; ``;`` is one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines()
        self.words = iter([word for line in lines for word in line.partition("#")[0].split()])

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self.words)

    def statement(self) -> list[str]:
        """Words up to the semicolon."""
        found: list[str] = []
        for word in self.words:
            if word == ";":
                return found
            found.append(word)
        raise ValueError(f"{self.path} must end each statement with ;, but the last one does not")

    def until(self, end: str) -> bool:
        """Pass over everything up to a word; whether it came."""
        return any(word == end for word in self.words)

    def rect(self) -> Rect:
        """Four coordinates; a MASK before them is passed over."""
        left, bottom, right, top = (float(word) for word in self.statement()[-4:])
        return left, bottom, right, top


def _layer(lef: Lef, tokens: _Tokens) -> None:
    name = next(tokens)
    found: dict[str, list[str]] = {}
    for word in tokens:
        if word == "END":
            next(tokens)
            break
        values = tokens.statement()
        key = f"{word} {values[0]}" if word in ("RESISTANCE", "CAPACITANCE") and len(values) > 1 else word
        found.setdefault(key, values)
    if found["TYPE"] != ["ROUTING"]:
        return

    def number(key: str, default: float = 0.0) -> float:
        return float(found[key][-1]) if key in found else default

    lef.layers[name] = MetalLayer(
        name=name,
        horizontal=found["DIRECTION"] == ["HORIZONTAL"],
        pitch=number("PITCH"),
        offset=number("OFFSET"),
        width=number("WIDTH"),
        spacing=_spacing(found),
        area=number("AREA"),
        resistance_ohm=number("RESISTANCE RPERSQ"),
        # pF to fF
        area_ff=1e3 * number("CAPACITANCE CPERSQDIST"),
        edge_ff=1e3 * number("EDGECAPACITANCE"),
    )


def _spacing(found: dict[str, list[str]]) -> float:
    """The value of SPACING, or the first of the table's first row."""
    if "SPACINGTABLE" in found:
        table = found["SPACINGTABLE"]
        return float(table[table.index("WIDTH") + 2])
    return float(found.get("SPACING", ["0"])[0])


def _via(lef: Lef, tokens: _Tokens) -> None:
    name, layer, resistance = next(tokens), "", 0.0
    shapes: list[Shape] = []
    for word in tokens:
        if word == "END":
            next(tokens)
            break
        if word.upper() == "DEFAULT":
            continue
        if word == "RECT":
            shapes.append(Shape(layer=layer, rect=tokens.rect()))
            continue
        values = tokens.statement()
        if word == "LAYER":
            layer = values[0]
        elif word == "RESISTANCE":
            resistance = float(values[0])
    lef.vias[name] = Via(name=name, shapes=tuple(shapes), resistance_ohm=resistance)


def _macro(lef: Lef, tokens: _Tokens) -> None:
    name, kind, size = next(tokens), "", (0.0, 0.0)
    pins: dict[str, MacroPin] = {}
    blocked: tuple[Shape, ...] = ()
    for word in tokens:
        if word == "END":
            next(tokens)
            break
        if word == "PIN":
            pin = next(tokens)
            pins[pin] = _pin(tokens)
        elif word == "OBS":
            blocked += tuple(_shapes(tokens))
        else:
            values = tokens.statement()
            if word == "CLASS":
                kind = values[0]
            elif word == "SIZE":
                size = (float(values[0]), float(values[2]))
    lef.macros[name] = LefMacro(name=name, kind=kind, width=size[0], height=size[1], pins=pins, obstructions=blocked)


def _pin(tokens: _Tokens) -> MacroPin:
    direction, use = "", "SIGNAL"
    shapes: list[Shape] = []
    for word in tokens:
        if word == "END":
            next(tokens)
            break
        if word == "PORT":
            shapes += _shapes(tokens)
            continue
        values = tokens.statement()
        if word == "DIRECTION":
            direction = values[0]
        elif word == "USE":
            use = values[0]
    return MacroPin(direction=direction, use=use, shapes=tuple(shapes))


def _shapes(tokens: _Tokens) -> list[Shape]:
    layer = ""
    found = []
    for word in tokens:
        if word == "END":
            break
        if word == "RECT":
            found.append(Shape(layer=layer, rect=tokens.rect()))
            continue
        values = tokens.statement()
        if word == "LAYER":
            layer = values[0]
    return found
