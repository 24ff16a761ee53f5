"""Power of a mapped netlist: Liberty internal energy, switching energy and leakage over the toggles of a stimulus.

Every transition of every net of a gate-level simulation is priced in the state in which it happens: internal energy of
the cell's table at the nets' transition time and load, ``C V^2 / 2`` of the pins and wires it drives, leakage all the time. The
clock's pins and internal energy are a category of their own. Wires are those of a layout, or none; the simulation has no
delays, so no glitches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CodeType

import numpy as np
from jaxtyping import UInt

from firstspike.gates import boolean
from firstspike.gates.activity import Waves
from firstspike.gates.liberty import Cell, Library, Pin, Power
from firstspike.gates.netlist import Bit, Instance, Netlist

CATEGORIES = ("clock", "sequential", "combinational", "switching")
"""Where dynamic energy goes: clock pins and gates; other flip-flop internal; gate internal; nets."""

GROUNDS = ("VSS", "GND", "VGND", "VNB")
"""Ground pins: some libraries give internal energy once per supply pin, and both see the same charge."""


@dataclass(kw_only=True)
class Energy:
    """Energy of one block in fJ over a whole stimulus, and its leakage.

    Attributes:
        supply: by category, internal energy of the supply pin only.
        both: by category, internal energy of supply and ground pins.
        leakage_nw: leakage power in nW.
        cells: number of library cells.
    """

    supply: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0.0))
    both: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0.0))
    leakage_nw: float = 0.0
    cells: int = 0

    def add(self, category: str, supply: float, both: float) -> None:
        """Add energy of one kind."""
        self.supply[category] += supply
        self.both[category] += both


@dataclass(frozen=True, kw_only=True)
class PowerReport:
    """Energy by block over a stimulus.

    Attributes:
        blocks: by instance path ("" is the top itself).
        cycles: clock cycles times streams that were priced.
        clock_ns: period.
    """

    blocks: dict[str, Energy]
    cycles: int
    clock_ns: float

    def per_cycle_fj(self, block: str | None = None) -> dict[str, float]:
        """Energy of a cycle in fJ by category, ``leakage`` and the bounds ``low``, ``high`` and mean ``total``.

        ``low`` counts internal energy at the supply pin, ``high`` at supply and ground pins, ``total`` and the categories
        are geometric means of both; they agree where a library does not tell them apart.
        """
        chosen = list(self.blocks.values()) if block is None else [self.blocks[block]]
        result = {}
        for name in CATEGORIES:
            low, high = (sum(getattr(e, kind)[name] for e in chosen) for kind in ("supply", "both"))
            result[name] = math.copysign(math.sqrt(abs(low * high)), low) / self.cycles
        # 1 nW for 1 ns is 1e-3 fJ
        result["leakage"] = sum(energy.leakage_nw for energy in chosen) * self.clock_ns * 1e-3
        low, high = (
            sum(sum(getattr(e, kind).values()) for e in chosen) / self.cycles + result["leakage"]
            for kind in ("supply", "both")
        )
        result |= {"low": low, "total": math.sqrt(max(low, 0) * max(high, 0)), "high": high}
        return result

    def power_uw(self, block: str | None = None) -> float:
        """Mean power in µW (``total``)."""
        return self.per_cycle_fj(block)["total"] / self.clock_ns  # fJ / ns = µW


def integrate(
    netlist: Netlist,
    library: Library,
    waves: Waves,
    *,
    clock_ns: float = 4.0,
    warmup: int = 2,
    slew_ps: float | None = None,
    wires: Mapping[int, float] | None = None,
) -> PowerReport:
    """Energy of the cycles after ``warmup``.

    Args:
        netlist: the design.
        library: its cells.
        waves: its simulation.
        clock_ns: period, for leakage.
        warmup: cycles at the beginning that are not priced (reset).
        slew_ps: transition time of clock and inputs; None: `Library.typical_slew`.
        wires: capacitance of each net's wires in fF, by its number; None: no wires.

    Raises:
        ValueError: no cycle is left.
    """
    if len(waves.nets) < warmup + 2:
        raise ValueError(f"stimulus must be longer than {warmup + 1} cycles, not {len(waves.nets)!r}")
    return _Integrator(netlist, library, waves, clock_ns, warmup, slew_ps, wires or {}).run()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moves:
    """Transitions of one pin in one direction.

    Attributes:
        mask: streams in which it moves, by cycle.
        state: the other pins meanwhile.
        slew, load: transition time in ps and load in fF.
        rising: their direction.
        share: of their energy that counts here.
    """

    mask: np.ndarray
    state: Mapping[str, np.ndarray]
    slew: float
    load: float
    rising: bool
    share: float = 1.0

    def energy(self, power: Power) -> float:
        """Of one transition, in fJ."""
        table = power.rise if self.rising else power.fall
        return 0.0 if table is None else table.at(self.slew, self.load)


class _Integrator:
    def __init__(
        self,
        netlist: Netlist,
        library: Library,
        waves: Waves,
        clock_ns: float,
        warmup: int,
        slew_ps: float | None,
        wires: Mapping[int, float],
    ) -> None:
        self.netlist, self.library, self.waves, self.clock_ns = netlist, library, waves, clock_ns
        self.ones = waves.ones
        self.before = waves.nets[warmup:-1]
        self.after = waves.nets[warmup + 1 :]
        self.events = len(self.after)
        self.cells = [(instance, library.cell(instance.type)) for instance in netlist.instances]
        self.blocks = {path: Energy() for path in netlist.modules}
        self.loads = self._loads(wires)
        self.slews = self._slews(library.typical_slew if slew_ps is None else slew_ps)

    def run(self) -> PowerReport:
        for instance, cell in self.cells:
            block = self.blocks[instance.block]
            block.cells += 1
            block.leakage_nw += cell.leakage
            if cell.clock_gate is not None:
                self._clock_gate(block, instance, cell)
            elif cell.flipflop is not None:
                self._flipflop(block, instance, cell)
            else:
                self._gate(block, instance, cell)
        self._switching()
        return PowerReport(blocks=self.blocks, cycles=self.events * self.waves.streams, clock_ns=self.clock_ns)

    def _loads(self, wires: Mapping[int, float]) -> dict[int, float]:
        loads = dict(wires)
        for instance, cell in self.cells:
            for pin in cell.inputs:
                bit = instance.pins.get(pin.name, "x")
                if isinstance(bit, int):
                    loads[bit] = loads.get(bit, 0.0) + pin.capacitance
        return loads

    def _slews(self, edge: float) -> dict[int, float]:
        """Transition time of every net: the slowest arc of its driver, mean of rising and falling."""
        slews: dict[int, float] = {}
        pending = list(self.cells)
        driven = {
            bit
            for instance, cell in self.cells
            if cell.clock_gate is None
            for pin in cell.outputs
            if isinstance(bit := instance.pins.get(pin.name), int)
        }
        while pending:
            later = []
            for instance, cell in pending:
                nets = [instance.pins.get(pin.name, "x") for pin in cell.inputs]
                if cell.flipflop is None and any(bit in driven and bit not in slews for bit in nets):
                    later.append((instance, cell))
                    continue
                for pin in cell.outputs:
                    bit = instance.pins.get(pin.name)
                    if not isinstance(bit, int) or bit not in driven:
                        continue
                    load = self.loads.get(bit, 0.0)
                    times = [
                        (arc.rise.at(start, load) + arc.fall.at(start, load)) / 2
                        for arc in pin.arcs
                        if arc.rise is not None and arc.fall is not None
                        for start in [self._slew(slews, instance.pins.get(arc.related, "x"), edge)]
                    ]
                    slews[bit] = max(times, default=edge)
            if len(later) == len(pending):
                break
            pending = later
        self.edge = edge
        return slews

    @staticmethod
    def _slew(slews: Mapping[int, float], bit: Bit, edge: float) -> float:
        return slews.get(bit, edge) if isinstance(bit, int) else edge

    def _value(self, rows: UInt[np.ndarray, "events nets"], bit: Bit) -> UInt[np.ndarray, " events"]:
        if isinstance(bit, int):
            return rows[:, bit]
        return np.full(self.events, self.ones if bit == "1" else 0, dtype=self.before.dtype)

    def _state(self, rows: np.ndarray, instance: Instance, **fixed: np.ndarray) -> dict[str, np.ndarray]:
        return {name: self._value(rows, bit) for name, bit in instance.pins.items() if name not in fixed} | fixed

    def _full(self) -> np.ndarray:
        return np.full(self.events, self.ones, dtype=self.before.dtype)

    def _running(self, bit: Bit) -> np.ndarray:
        """Streams in which a clock net has an edge in a cycle: its enables at the end of the cycle before."""
        enables = self.waves.clocks.get(bit) if isinstance(bit, int) else None
        if enables is None:
            return self._full()
        enabled: np.ndarray = np.bitwise_or.reduce([self._value(self.before, enable) for enable in enables])
        return enabled

    def _gate(self, block: Energy, instance: Instance, cell: Cell) -> None:
        old, new = self._state(self.before, instance), self._state(self.after, instance)
        toggles = {name: old[name] ^ new[name] for name in new}
        quiet = self._full()
        for pin in cell.outputs:
            if pin.name in toggles:
                quiet = quiet & ~toggles[pin.name]
                self._output(block, "combinational", instance, pin, toggles, new)
        for pin in cell.inputs:
            if pin.powers and pin.name in toggles:
                moved = toggles[pin.name] & quiet
                self._passive(block, "combinational", instance, pin, moved & new[pin.name], new, rising=True)
                self._passive(block, "combinational", instance, pin, moved & old[pin.name], new, rising=False)

    def _flipflop(self, block: Energy, instance: Instance, cell: Cell) -> None:
        assert cell.flipflop is not None
        clock = boolean.pins(cell.flipflop.clock)[0]
        running = self._running(instance.pins[clock])
        old = self._state(self.before, instance, **{clock: running & ~running})
        new = self._state(self.after, instance, **{clock: running})
        toggles = {name: old[name] ^ new[name] for name in new} | {clock: running}
        quiet = self._full()
        for pin in cell.outputs:
            if pin.name in toggles:
                quiet = quiet & ~toggles[pin.name]
                self._output(block, "sequential", instance, pin, toggles, new)
        self._passive(block, "clock", instance, cell.pins[clock], running & quiet, old, rising=True)
        self._passive(block, "clock", instance, cell.pins[clock], running, new, rising=False)
        for pin in cell.inputs:
            if pin.name != clock and pin.powers and pin.name in toggles:
                moved = toggles[pin.name]
                self._passive(block, "sequential", instance, pin, moved & new[pin.name], new, rising=True)
                self._passive(block, "sequential", instance, pin, moved & old[pin.name], new, rising=False)

    def _clock_gate(self, block: Energy, instance: Instance, cell: Cell) -> None:
        gate = cell.clock_gate
        assert gate is not None
        running = self._running(instance.pins[gate.output])
        none = running & ~running
        old = self._state(self.before, instance, **{gate.clock: none, gate.output: none})
        new = self._state(self.after, instance, **{gate.clock: self._full(), gate.output: running})
        pin = cell.pins[gate.output]
        bit = instance.pins[gate.output]
        load, slew = self.loads.get(bit, 0.0) if isinstance(bit, int) else 0.0, self.edge
        for rising, state in ((True, old), (False, new)):
            moves = _Moves(mask=running, state=state, slew=slew, load=load, rising=rising)
            self._price(block, "clock", pin.powers, moves)
            self._passive(block, "clock", instance, cell.pins[gate.clock], ~running & self.ones, state, rising=rising)
        for pin in cell.inputs:
            if pin.name != gate.clock and pin.powers and pin.name in new:
                moved = old[pin.name] ^ new[pin.name]
                self._passive(block, "clock", instance, pin, moved & new[pin.name], new, rising=True)
                self._passive(block, "clock", instance, pin, moved & old[pin.name], new, rising=False)

    def _output(
        self,
        block: Energy,
        category: str,
        instance: Instance,
        pin: Pin,
        toggles: Mapping[str, np.ndarray],
        state: Mapping[str, np.ndarray],
    ) -> None:
        """An output's transitions, shared by the related inputs in proportion to how often they moved in the same cycle."""
        bit = instance.pins[pin.name]
        moved = toggles[pin.name]
        if not pin.powers or not moved.any():
            return
        load = self.loads.get(bit, 0.0) if isinstance(bit, int) else 0.0
        for rising, mask in ((True, moved & state[pin.name]), (False, moved & ~state[pin.name])):
            count = _count(mask)
            if not count:
                continue
            related = {power.related: mask & toggles.get(power.related, mask) for power in pin.powers}
            weight = sum(_count(part) for part in related.values())
            for name, part in related.items():
                share = count / weight if weight else 1 / len(related)
                powers = tuple(power for power in pin.powers if power.related == name)
                slew = self._slew(self.slews, instance.pins.get(name, "x"), self.edge)
                seen = part if weight else mask
                moves = _Moves(mask=seen, state=state, slew=slew, load=load, rising=rising, share=share)
                self._price(block, category, powers, moves)

    def _passive(
        self,
        block: Energy,
        category: str,
        instance: Instance,
        pin: Pin,
        mask: np.ndarray,
        state: Mapping[str, np.ndarray],
        *,
        rising: bool,
    ) -> None:
        """An input's transitions that move no output."""
        if pin.powers:
            slew = self._slew(self.slews, instance.pins[pin.name], self.edge)
            moves = _Moves(mask=mask, state=state, slew=slew, load=0.0, rising=rising)
            self._price(block, category, pin.powers, moves)

    def _price(self, block: Energy, category: str, powers: tuple[Power, ...], moves: _Moves) -> None:
        """Transitions by the groups whose ``when`` holds; those without ``when`` take what is left."""
        if not moves.mask.any():
            return
        for supply in dict.fromkeys(power.supply for power in powers):
            groups = [power for power in powers if power.supply == supply]
            left, energy = moves.mask, 0.0
            for power in (g for g in groups if g.when):
                part = left & _evaluate(power.when, moves.state, self.ones)
                left = left & ~part
                energy += _count(part) * moves.energy(power)
            default = [g for g in groups if not g.when] or groups
            energy += _count(left) * float(np.mean([moves.energy(g) for g in default]))
            block.add(category, 0.0 if supply in GROUNDS else energy * moves.share, energy * moves.share)

    def _switching(self) -> None:
        """Charging pins and wires: ``C V^2 / 2`` a transition, to the block of the driver (the top for inputs)."""
        owner = {
            bit: instance.block
            for instance, cell in self.cells
            for pin in cell.outputs
            if isinstance(bit := instance.pins.get(pin.name), int)
        }
        toggles = np.bitwise_count(self.before ^ self.after).sum(axis=0, dtype=np.int64)
        for bit, load in self.loads.items():
            block = self.blocks[owner.get(bit, "")]
            clock = bit in self.waves.clocks
            count = 2 * _count(self._running(bit)) if clock else int(toggles[bit])
            energy = count * load * self.library.voltage**2 / 2
            block.add("clock" if clock else "switching", energy, energy)


def _count(mask: np.ndarray) -> int:
    return int(np.bitwise_count(mask).sum(dtype=np.int64))


def _evaluate(expression: str, state: Mapping[str, np.ndarray], ones: np.unsignedinteger) -> np.ndarray:
    known = tuple(name for name in boolean.pins(expression) if name in state)
    result = eval(_code(expression, known), {"v": state, "M": ones})
    return np.broadcast_to(np.asarray(result, dtype=type(ones)), next(iter(state.values())).shape)


@cache
def _code(expression: str, known: tuple[str, ...]) -> CodeType:
    """Compiled condition; pins that are not connected read 0."""
    names = dict.fromkeys(boolean.pins(expression), "(M^M)") | {name: f"v[{name!r}]" for name in known}
    return compile(boolean.python_source(expression, names), "<when>", "eval")
