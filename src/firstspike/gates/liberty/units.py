"""A cell's group -> `Cell`, in the units that the head of its file states."""

import re
from collections.abc import Sequence
from statistics import fmean

from firstspike.gates.liberty.cells import Arc, Cell, ClockGate, FlipFlop, LookupTable, Pin, Power
from firstspike.gates.liberty.parse import Group, LibertyError, parse

_SCALE = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}


class Units:
    """Units and table templates of one file's head."""

    def __init__(self, head: str, file: str) -> None:
        root = parse(head[re.search(r"\blibrary\s*\(", head).start() :])  # type: ignore[union-attr]
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
        """The cell of a group ``cell``, in units of this package."""
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

    def _energy(self, group: Group, name: str) -> LookupTable | None:
        scale = self.energy / 1e-15
        return self._table(group, name, scale) or self._table(group, "power", scale)

    def _table(self, group: Group, name: str, scale: float) -> LookupTable | None:
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
        return LookupTable(slews=slews, loads=loads, values=grid)


def _numbers(texts: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(number) for text in texts for number in text.replace(",", " ").split())


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
