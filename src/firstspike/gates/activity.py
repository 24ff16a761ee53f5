"""Gate-level simulation of many streams at once: every net's value after every cycle, without delays (no glitches)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt, UInt64

from firstspike.gates import boolean
from firstspike.gates.liberty import Cell, Library
from firstspike.gates.netlist import Bit, Instance, Netlist

Step = Callable[[tuple[int, ...], tuple[int, ...], int], tuple[tuple[int, ...], tuple[int, ...]]]

STREAMS = 64
"""Streams of one simulation: one bit each of a 64-bit word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Waves:
    """What a simulation saw.

    Attributes:
        nets: unsigned ``[cycles, nets]``: value of every net at the end of a cycle, bit ``s`` of stream ``s``; bytes for
            up to 8 streams, else 64-bit words.
        streams: streams in use, 1..64.
        clocks: net that enables each gated clock: the clock net runs in a cycle if this net was 1 at the end of
            the cycle before; and None for the root clock.
    """

    nets: UInt[np.ndarray, "cycles nets"]
    streams: int
    clocks: dict[int, tuple[Bit, ...] | None]

    @property
    def ones(self) -> np.unsignedinteger:
        """The word in which all streams are 1."""
        return word_type(self.streams)((1 << self.streams) - 1)

    def value(self, bit: Bit) -> UInt[np.ndarray, " cycles"]:
        """A net, or a constant (``x`` reads 0)."""
        if isinstance(bit, int):
            return self.nets[:, bit]
        return np.full(len(self.nets), self.ones if bit == "1" else 0, dtype=self.nets.dtype)

    def word(self, bits: tuple[Bit, ...], *, signed: bool = False) -> Integer[np.ndarray, "cycles streams"]:
        """A port's value in every stream."""
        planes = np.stack([self.value(bit) for bit in bits]).astype(np.uint64)
        split = (planes[:, :, None] >> np.arange(self.streams, dtype=np.uint64)) & np.uint64(1)
        weights = np.array([1 << index for index in range(len(bits))], dtype=np.int64)
        if signed:
            weights[-1] = -weights[-1]
        return np.tensordot(weights, split.astype(np.int64), axes=1)


def word_type(streams: int) -> type[np.unsignedinteger]:
    """Type of a word of that many streams."""
    return np.uint8 if streams <= 8 else np.uint64


def pack(values: Integer[np.ndarray, "cycles streams"], bits: int) -> UInt64[np.ndarray, "cycles bits"]:
    """Stimulus of a port of ``bits`` bits: bit plane per bit, bit ``s`` of a plane for stream ``s``.

    Raises:
        ValueError: there are more than 64 streams.

    >>> pack(np.array([[1, 2, 3]]), 2).tolist()
    [[5, 6]]
    """
    if values.shape[1] > STREAMS:
        raise ValueError(f"stimulus must have at most {STREAMS} streams, not {values.shape[1]!r}")
    planes = (values[:, :, None].astype(np.int64) >> np.arange(bits)) & 1
    shifts = np.arange(values.shape[1], dtype=np.uint64)[:, None]
    words: np.ndarray = np.bitwise_or.reduce(planes.astype(np.uint64) << shifts, axis=1)
    return words


def simulate(
    netlist: Netlist, library: Library, stimulus: Mapping[str, UInt64[np.ndarray, "cycles bits"]], *, streams: int
) -> Waves:
    """Values of all nets; flip-flops start at 0; ports without a stimulus are 0.

    Args:
        netlist: of cells of the library; one clock, named ``clk``.
        library: the cells' functions.
        stimulus: by input port.
        streams: streams in use.

    Raises:
        ValueError: a port is unknown, a cell has no function, a set or reset is not tied off, or there is a loop.
    """
    for name in stimulus:
        if name not in netlist.inputs:
            raise ValueError(f"stimulus must be of the ports {', '.join(netlist.inputs)}, not {name!r}")
    program = CompiledNetlist(netlist, library)
    cycles = len(next(iter(stimulus.values())))
    given: dict[Bit, list[int]] = {}
    for name, planes in stimulus.items():
        for index, bit in enumerate(netlist.inputs[name]):
            given[bit] = planes[:, index].tolist()
    silent = [0] * cycles
    columns = [given.get(bit, silent) for bit in program.sources]
    ones = (1 << streams) - 1
    state: tuple[int, ...] = (0,) * program.states
    nets = np.empty((cycles, program.nets), dtype=word_type(streams))
    for cycle, inputs in enumerate(zip(*columns, strict=True)):
        nets[cycle], state = program.step(inputs, state, ones)
    return Waves(nets=nets, streams=streams, clocks=program.clocks)


class CompiledNetlist:
    """The netlist as one Python function.

    Attributes:
        step: ``(inputs, state, ones) -> (nets, next state)``.
        sources: nets in the order of ``inputs``: ports but clocks, then outputs of memories.
        states: flip-flops. nets: number of nets.
        clocks: see `Waves`.
    """

    def __init__(self, netlist: Netlist, library: Library) -> None:
        self.clocks: dict[int, tuple[Bit, ...] | None] = {}
        root = netlist.inputs.get("clk", ())
        for bit in root:
            if isinstance(bit, int):
                self.clocks[bit] = None
        cells = [(instance, library.cell(instance.type)) for instance in netlist.instances]
        for instance, cell in cells:
            if cell.clock_gate is not None:
                gate = cell.clock_gate
                if instance.pins[gate.clock] not in root:
                    raise ValueError(f"clock gate {cell.name} in {instance.block!r} must hang on clk")
                output = instance.pins[gate.output]
                assert isinstance(output, int)
                self.clocks[output] = tuple(instance.pins[pin] for pin in (gate.enable, *gate.test))
        self.nets = 1 + max(
            (bit for i in netlist.instances for bit in i.pins.values() if isinstance(bit, int)),
            default=0,
        )
        ports = [bit for bits in (*netlist.inputs.values(), *netlist.outputs.values()) for bit in bits]
        self.nets = max(self.nets, 1 + max(bit for bit in ports if isinstance(bit, int)))
        inputs = [bit for bits in netlist.inputs.values() for bit in bits]
        inputs += [bit for macro in netlist.memories.values() for bits in macro.outputs.values() for bit in bits]
        self.sources: list[Bit] = [
            bit for bit in dict.fromkeys(inputs) if isinstance(bit, int) and bit not in self.clocks
        ]
        ordered = self.sources
        flipflops = [(i, c) for i, c in cells if c.flipflop is not None]
        self.states = len(flipflops)

        lines = ["def step(inputs, state, M):"]
        if ordered:
            lines.append(f" {','.join(f'n{bit}' for bit in ordered)}, = inputs")
        if flipflops:
            lines.append(f" {','.join(f's{index}' for index in range(self.states))}, = state")
        known: set[Bit] = set(self.sources)
        for index, (instance, cell) in enumerate(flipflops):
            known |= self._outputs(lines, instance, cell, f"s{index}")
        known |= set(self.clocks)
        lines += [f" n{bit} = 0" for bit in self.clocks]
        self._logic(lines, [(i, c) for i, c in cells if c.flipflop is None and c.clock_gate is None], known)
        following = [self._next(instance, cell, f"s{index}") for index, (instance, cell) in enumerate(flipflops)]
        values = ",".join(f"n{bit}" if bit in known else "0" for bit in range(self.nets))
        lines.append(f" return ({values},), ({','.join(following)}{',' if following else ''})")
        scope: dict[str, object] = {}
        exec("\n".join(lines), scope)
        self.step: Step = scope["step"]  # type: ignore[assignment]

    def _logic(self, lines: list[str], cells: list[tuple[Instance, Cell]], known: set[Bit]) -> None:
        """Combinational cells, each after those that drive it."""
        waiting: dict[Bit, list[int]] = {}
        missing: list[int] = []
        ready: list[int] = []
        for index, (instance, cell) in enumerate(cells):
            needs = {instance.pins.get(pin.name, "x") for pin in cell.inputs}
            needs = {bit for bit in needs if isinstance(bit, int) and bit not in known}
            driven = {o for i, c in [(instance, cell)] for o in (i.pins.get(p.name) for p in c.outputs)}
            if needs & driven:
                raise ValueError(f"netlist must have no combinational loop, not one through {cell.name}")
            missing.append(len(needs))
            for bit in needs:
                waiting.setdefault(bit, []).append(index)
            if not needs:
                ready.append(index)
        done = 0
        while ready:
            instance, cell = cells[ready.pop()]
            done += 1
            for bit in self._outputs(lines, instance, cell, None):
                known.add(bit)
                for index in waiting.pop(bit, ()):
                    missing[index] -= 1
                    if not missing[index]:
                        ready.append(index)
        if done != len(cells) and any(
            bit in waiting for i, c in cells for bit in (i.pins.get(p.name) for p in c.outputs) if isinstance(bit, int)
        ):
            raise ValueError("netlist must have no combinational loop and no undriven net")

    def _outputs(self, lines: list[str], instance: Instance, cell: Cell, state: str | None) -> set[Bit]:
        names = {name: _source(bit) for name, bit in instance.pins.items()}
        if state is not None and cell.flipflop is not None:
            names |= {cell.flipflop.state: state, cell.flipflop.inverse: f"(M^{state})"}
        found: set[Bit] = set()
        for pin in cell.outputs:
            bit = instance.pins.get(pin.name)
            if not isinstance(bit, int):
                continue
            if not pin.function:
                raise ValueError(f"cell {cell.name} must have a function at {pin.name}, but has none")
            lines.append(f" n{bit} = {boolean.python_source(pin.function, names)}")
            found.add(bit)
        return found

    def _next(self, instance: Instance, cell: Cell, state: str) -> str:
        flipflop = cell.flipflop
        assert flipflop is not None
        names = {name: _source(bit) for name, bit in instance.pins.items()}
        for expression in (flipflop.clear, flipflop.preset):
            tied = {name: bit for name, bit in instance.pins.items() if bit in ("0", "1")}
            if expression and not set(boolean.pins(expression)) <= tied.keys():
                raise ValueError(f"flip-flop {cell.name} must have set and reset tied off")
            if expression and eval(boolean.python_source(expression, tied, "1")):
                raise ValueError(f"flip-flop {cell.name} must not be held in set or reset")
        clock = instance.pins[boolean.pins(flipflop.clock)[0]]
        if flipflop.clock.strip("() ") not in instance.pins or clock not in self.clocks:
            raise ValueError(f"flip-flop {cell.name} in {instance.block!r} must be clocked by the rising edge of clk")
        following = boolean.python_source(flipflop.next_state, names)
        assert isinstance(clock, int)
        enables = self.clocks[clock]
        if enables is None:
            return following
        enable = "(" + "|".join(_source(bit) for bit in enables) + ")"
        return f"({state}&(M^{enable})|{following}&{enable})"


def _source(bit: Bit) -> str:
    if isinstance(bit, int):
        return f"n{bit}"
    return "M" if bit == "1" else "0"
