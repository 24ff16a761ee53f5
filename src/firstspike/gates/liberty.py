"""Liberty files: what area, timing and power need of a cell library (Synopsys Liberty, non-linear delay model)."""

import gzip
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean

from firstspike.gates import boolean

_TOKEN = re.compile(r'"[^"]*"|[{}();:,\n]|[^\s{}();:,"\\]+')
_CELL = re.compile(r'^[ \t]*cell\s*\(\s*"?([^")\s]+)"?\s*\)', re.MULTILINE)
_SCALE = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}


class LibertyError(ValueError):
    """A Liberty file breaks a rule; the text names file and rule."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group statement: ``name (arguments) { attributes; groups }``; values are texts without quotes."""

    name: str
    arguments: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def text(self, key: str, default: str = "") -> str:
        """First value of an attribute."""
        return self.attributes.get(key, (default,))[0]

    def all(self, name: str) -> list["Group"]:
        """Groups of that name, in order."""
        return [group for group in self.groups if group.name == name]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A look-up table over input transition (ps) and output load (fF); an empty axis does not matter.

    Attributes:
        slews, loads: axes, rising.
        values: row per slew, column per load; energies in fJ, times in ps.
    """

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, slew: float, load: float) -> float:
        """Bilinear between entries, linear beyond the last ones.

        >>> Table(slews=(0, 10), loads=(), values=((1,), (3,))).at(5, 99)
        2.0
        """
        row, y = _place(self.slews, slew)
        column, x = _place(self.loads, load)
        low = self.values[row]
        high = self.values[min(row + 1, len(self.values) - 1)]
        right = min(column + 1, len(low) - 1)
        return (low[column] * (1 - x) + low[right] * x) * (1 - y) + (high[column] * (1 - x) + high[right] * x) * y


@dataclass(frozen=True, kw_only=True)
class Power:
    """An ``internal_power`` group: fJ per rising and falling transition, in the state ``when`` ("" for any other)."""

    related: str
    when: str
    supply: str
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True, kw_only=True)
class Arc:
    """The output transition times (ps) of a ``timing`` group."""

    related: str
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A pin: capacitance in fF, Boolean function of an output, internal power, transition times."""

    name: str
    direction: str
    capacitance: float
    function: str
    powers: tuple[Power, ...]
    arcs: tuple[Arc, ...]


@dataclass(frozen=True, kw_only=True)
class FlipFlop:
    """An ``ff`` group; empty texts where it has no clear or preset."""

    state: str
    inverse: str
    clock: str
    next_state: str
    clear: str
    preset: str


@dataclass(frozen=True, kw_only=True)
class ClockGate:
    """Pins of an integrated clock gate: a latch transparent while the clock is low, then AND; ``test`` pins are tied low."""

    clock: str
    enable: str
    output: str
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A library cell: area in um2, leakage in nW (all supplies, mean over states)."""

    name: str
    area: float
    leakage: float
    pins: dict[str, Pin]
    flipflop: FlipFlop | None
    clock_gate: ClockGate | None

    @property
    def inputs(self) -> tuple[Pin, ...]:
        """Input pins, in order."""
        return tuple(pin for pin in self.pins.values() if pin.direction == "input")

    @property
    def outputs(self) -> tuple[Pin, ...]:
        """Output pins, in order."""
        return tuple(pin for pin in self.pins.values() if pin.direction == "output")


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
        self._cells: dict[str, tuple[str, _Units]] = {}
        self._parsed: dict[str, Cell] = {}
        voltages: dict[float, str] = {}
        seconds: list[float] = []
        for path in self.paths:
            text = re.sub(r"/\*.*?\*/", "", read_text(path), flags=re.DOTALL)
            starts = [(match.start(), match.group(1)) for match in _CELL.finditer(text)]
            head = text[: starts[0][0]] if starts else text
            if not re.search(r"\blibrary\s*\(", head):
                raise LibertyError(f"{path.name}: must be a Liberty library, not {text[:30]!r}")
            units = _Units(head + "\n}", path.name)
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
            self._parsed[name] = units.cell(_parse(text))
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


def _place(axis: Sequence[float], value: float) -> tuple[int, float]:
    if len(axis) < 2:
        return 0, 0.0
    index = min(max(bisect_right(axis, value) - 1, 0), len(axis) - 2)
    return index, max((value - axis[index]) / (axis[index + 1] - axis[index]), 0.0)


def _parse(text: str) -> Group:
    """The first group of a text."""
    tokens = _TOKEN.findall(text.replace("\\\n", " "))
    group, _ = _group(tokens, _skip(tokens, 0))
    return group


def _skip(tokens: list[str], position: int) -> int:
    while position < len(tokens) and tokens[position] == "\n":
        position += 1
    return position


def _group(tokens: list[str], position: int) -> tuple[Group, int]:
    """Group whose name is at ``position``; returns the position after its closing brace."""
    name = tokens[position]
    arguments: list[str] = []
    position += 2
    while tokens[position] != ")":
        if tokens[position] not in (",", "\n"):
            arguments.append(tokens[position].strip('"'))
        position += 1
    group = Group(name=name, arguments=tuple(arguments))
    position = _skip(tokens, position + 1) + 1  # the closing parenthesis and the brace
    while position < len(tokens) and tokens[position] != "}":
        key = tokens[position]
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if key in (";", "\n"):
            position += 1
        elif following == ":":
            end = next(i for i in range(position, len(tokens)) if tokens[i] in (";", "\n"))  # some files forget the ";"
            group.attributes[key] = (" ".join(token.strip('"') for token in tokens[position + 2 : end]),)
            position = end + 1
        elif following == "(":
            end = tokens.index(")", position)
            after = _skip(tokens, end + 1)
            if after < len(tokens) and tokens[after] == "{":
                child, position = _group(tokens, position)
                group.groups.append(child)
            else:
                values = tuple(token.strip('"') for token in tokens[position + 2 : end] if token not in (",", "\n"))
                group.attributes[key] = values
                position = end + 1
        else:
            raise LibertyError(f"group {name} must hold attributes and groups, not {key!r}")
    return group, position + 1


def _numbers(texts: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(number) for text in texts for number in text.replace(",", " ").split())


class _Units:
    """Units and table templates of one file's head."""

    def __init__(self, head: str, file: str) -> None:
        root = _parse(head[re.search(r"\blibrary\s*\(", head).start() :])  # type: ignore[union-attr]
        self.file = file
        try:
            number, unit = root.attributes["capacitive_load_unit"]
            self.farad = float(number) * _SCALE[unit.lower().removesuffix("f")]
            self.second = _unit(root.text("time_unit", "1ns"), "s")
            self.watt = _unit(root.text("leakage_power_unit", "1nW"), "W")
            volt = _unit(root.text("voltage_unit", "1V"), "V")
            self.voltage = float(root.text("nom_voltage")) * volt
        except (KeyError, ValueError) as error:
            raise LibertyError(f"{file}: must state its units and nom_voltage, but misses {error}") from None
        self.energy = self.farad * volt * volt
        self.leakage = float(root.text("default_cell_leakage_power", "0") or 0)
        self.templates = {group.arguments[0]: group for group in root.groups if group.arguments}

    def cell(self, group: Group) -> Cell:
        pins = {
            name: self._pin(name, pin)
            for pin in group.all("pin")
            for name in pin.arguments
            if pin.text("direction") in ("input", "output", "inout")
        }
        return Cell(
            name=group.arguments[0],
            area=float(group.text("area", "0")),
            leakage=self._leakage(group),
            pins=pins,
            flipflop=_flipflop(group),
            clock_gate=_clock_gate(group),
        )

    def _leakage(self, group: Group) -> float:
        supplies: dict[str, list[Group]] = {}
        for entry in group.all("leakage_power"):
            supplies.setdefault(entry.text("related_pg_pin"), []).append(entry)
        if "cell_leakage_power" in group.attributes or not supplies:
            total = float(group.text("cell_leakage_power") or self.leakage)
        else:
            total = sum(
                fmean(float(entry.text("value")) for entry in ([e for e in entries if not e.text("when")] or entries))
                for entries in supplies.values()
            )
        return total * self.watt / 1e-9

    def _pin(self, name: str, group: Group) -> Pin:
        powers = tuple(
            Power(
                related=power.text("related_pin"),
                when=power.text("when"),
                supply=power.text("related_pg_pin"),
                rise=self._energy(power, "rise_power"),
                fall=self._energy(power, "fall_power"),
            )
            for power in group.all("internal_power")
        )
        arcs = tuple(
            Arc(
                related=timing.text("related_pin"),
                rise=self._table(timing, "rise_transition", self.second / 1e-12),
                fall=self._table(timing, "fall_transition", self.second / 1e-12),
            )
            for timing in group.all("timing")
            if timing.all("rise_transition") or timing.all("fall_transition")
        )
        return Pin(
            name=name,
            direction=group.text("direction"),
            capacitance=float(group.text("capacitance", "0")) * self.farad / 1e-15,
            function=group.text("function"),
            powers=powers,
            arcs=arcs,
        )

    def _energy(self, group: Group, name: str) -> Table | None:
        scale = self.energy / 1e-15
        return self._table(group, name, scale) or self._table(group, "power", scale)

    def _table(self, group: Group, name: str, scale: float) -> Table | None:
        found = group.all(name)
        if not found:
            return None
        table = found[0]
        template = self.templates.get(table.arguments[0] if table.arguments else "scalar")
        axes: dict[str, tuple[float, ...]] = {"slew": (), "load": ()}
        order = []
        for index in ("1", "2"):
            values = table.attributes.get(f"index_{index}") or (
                template.attributes.get(f"index_{index}", ()) if template is not None else ()
            )
            if not values:
                continue
            variable = template.text(f"variable_{index}") if template is not None else ""
            axis = "load" if "capacitance" in variable or (not variable and index == "2") else "slew"
            axes[axis] = _numbers(values)
            order.append(axis)
        flat = _numbers(table.attributes["values"])
        unit = self.farad / 1e-15, self.second / 1e-12
        slews, loads = tuple(x * unit[1] for x in axes["slew"]), tuple(x * unit[0] for x in axes["load"])
        rows, columns = max(1, len(slews)), max(1, len(loads))
        if len(flat) != rows * columns:
            raise LibertyError(f"{self.file}: table {name} must hold {rows * columns} values, not {len(flat)!r}")
        if order[:1] == ["load"] and len(order) == 2:
            grid = tuple(tuple(flat[c * rows + r] * scale for c in range(columns)) for r in range(rows))
        else:
            grid = tuple(tuple(flat[r * columns + c] * scale for c in range(columns)) for r in range(rows))
        return Table(slews=slews, loads=loads, values=grid)


def _unit(text: str, symbol: str) -> float:
    match = re.fullmatch(r"([0-9.]+)\s*([fpnumk]?)" + symbol, text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    return float(match.group(1)) * _SCALE[match.group(2).lower()]


def _flipflop(group: Group) -> FlipFlop | None:
    for entry in group.all("ff"):
        return FlipFlop(
            state=entry.arguments[0],
            inverse=entry.arguments[1],
            clock=entry.text("clocked_on"),
            next_state=entry.text("next_state"),
            clear=entry.text("clear"),
            preset=entry.text("preset"),
        )
    return None


def _clock_gate(group: Group) -> ClockGate | None:
    if not group.text("clock_gating_integrated_cell").startswith("latch_posedge"):
        return None
    roles: dict[str, list[str]] = {"clock_gate_clock_pin": [], "clock_gate_enable_pin": [], "clock_gate_out_pin": []}
    roles["clock_gate_test_pin"] = []
    for pin in group.all("pin"):
        for role, names in roles.items():
            if pin.text(role) == "true":
                names += pin.arguments
    clock, enable, output, test = roles.values()
    if len(clock) != 1 or len(enable) != 1 or len(output) != 1:
        return None
    return ClockGate(clock=clock[0], enable=enable[0], output=output[0], test=tuple(test))
