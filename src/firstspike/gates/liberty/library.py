"""One or several Liberty files as one library."""

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from firstspike.gates import boolean
from firstspike.gates.liberty.cells import Cell
from firstspike.gates.liberty.parse import LibertyError, parse
from firstspike.gates.liberty.units import Units

_CELL = re.compile(r'^[ \t]*cell\s*\(\s*"?([^")\s]+)"?\s*\)', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The reference gate of "gate equivalents"."""

    name: str
    area: float


class Library:
    """One or several Liberty files as one library; a cell is parsed when it is asked for.

    Args:
        paths: files, plain or gzip (``.gz``).

    Raises:
        OSError: a file cannot be read.
        LibertyError: a file is no Liberty library, or the files differ in voltage.
    """

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.paths = tuple(Path(path) for path in paths)
        if not self.paths:
            raise LibertyError("liberty must be at least one file, not none")
        self._cells: dict[str, tuple[str, Units]] = {}
        self._parsed: dict[str, Cell] = {}
        voltages: dict[float, str] = {}
        seconds: list[float] = []
        for path in self.paths:
            text = re.sub(r"/\*.*?\*/", "", read_text(path), flags=re.DOTALL)
            starts = [(match.start(), match.group(1)) for match in _CELL.finditer(text)]
            head = text[: starts[0][0]] if starts else text
            if not re.search(r"\blibrary\s*\(", head):
                raise LibertyError(f"{path.name}: must be a Liberty library, not {text[:30]!r}")
            units = Units(head + "\n}", path.name)
            voltages[units.voltage] = path.name
            seconds.append(units.second)
            ends = [start for start, _ in starts[1:]] + [len(text)]
            for (start, name), end in zip(starts, ends, strict=True):
                self._cells[name] = (text[start:end], units)
        if len(voltages) > 1:
            raise LibertyError(f"liberty files must have one voltage, not {voltages!r}")
        self.voltage = next(iter(voltages))
        """Nominal supply voltage in V."""
        self.time_unit_ns = seconds[0] / 1e-9
        """Time unit of the first file in ns."""

    @property
    def name(self) -> str:
        """File names without endings, joined."""
        return "+".join(path.name.removesuffix(".gz").removesuffix(".lib") for path in self.paths)

    def names(self) -> tuple[str, ...]:
        """All cells."""
        return tuple(self._cells)

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def cell(self, name: str) -> Cell:
        """A cell.

        Raises:
            LibertyError: there is none of that name.
        """
        if name not in self._cells:
            raise LibertyError(f"library {self.name} has no cell {name!r}")
        if name not in self._parsed:
            text, units = self._cells[name]
            self._parsed[name] = units.cell(parse(text))
        return self._parsed[name]

    @cached_property
    def nand2(self) -> Gate:
        """The smallest two-input NAND: the unit of gate equivalents.

        Raises:
            LibertyError: there is none.
        """
        found = [
            (area, name) for name, area, functions in self._summary() if len(functions) == 1 and _is_nand2(functions[0])
        ]
        if not found:
            raise LibertyError(f"library {self.name} must have a two-input NAND, but has none")
        area, name = min(found)
        return Gate(name=name, area=area)

    @cached_property
    def clock_gate(self) -> Cell | None:
        """The smallest integrated clock gate for rising-edge flip-flops, one without test pin first; None without one."""
        names = [
            name
            for name, (text, _) in self._cells.items()
            if re.search(r'clock_gating_integrated_cell\s*:\s*"?latch_posedge', text)
        ]
        gates = [cell for cell in map(self.cell, names) if cell.clock_gate is not None]
        return min(gates, key=lambda cell: (len(cell.clock_gate.test), cell.area), default=None)  # type: ignore[union-attr]

    @cached_property
    def buffers(self) -> tuple[str, ...]:
        """Cells with one input that they pass on, delay cells among them."""
        found = []
        for name, _, functions in self._summary():
            if len(functions) == 1 and re.fullmatch(r"[\s(]*[A-Za-z_]\w*[\s)]*", functions[0]):
                cell = self.cell(name)
                if [pin.name for pin in cell.inputs] == [functions[0].strip(" ()")]:
                    found.append(name)
        return tuple(found)

    @cached_property
    def typical_slew(self) -> float:
        """A transition time in ps a third up the reference gate's axis: for clocks and primary inputs."""
        for pin in self.cell(self.nand2.name).outputs:
            for arc in pin.arcs:
                if arc.rise is not None and arc.rise.slews:
                    return arc.rise.slews[len(arc.rise.slews) // 3]
        return 0.0

    def _summary(self) -> Iterator[tuple[str, float, list[str]]]:
        for name, (text, _) in self._cells.items():
            area = re.search(r"\barea\s*:\s*([0-9.eE+-]+)", text)
            yield name, float(area.group(1)) if area else 0.0, re.findall(r'\bfunction\s*:\s*"([^"]*)"', text)


def read_text(path: Path) -> str:
    """Text of a plain or gzip file (``.gz``)."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as stream:
            return stream.read()
    return path.read_text(encoding="utf-8", errors="replace")


def _is_nand2(function: str) -> bool:
    names = boolean.pins(function)
    if len(names) != 2:
        return False
    source = boolean.python_source(function, {names[0]: "a", names[1]: "b"}, "1")
    return all(eval(source, {"a": a, "b": b}) == 1 - (a & b) for a, b in product((0, 1), repeat=2))
