"""Executor: runs one operation after the other, pixel by pixel, and commands all other blocks."""

from amaranth.hdl import Module, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, PureInterface

from firstspike.rtl.blocks.cursor import STARTS, STRIDES, Cursor
from firstspike.rtl.blocks.descriptor import LAYOUT, Fields, layout
from firstspike.rtl.blocks.interfaces import (
    WINDOW_FIELDS,
    ResultWord,
    Settle,
    SpikeTimes,
    SumsControl,
    SweepControl,
    TransferControl,
    WeightChoice,
    WindowWalk,
    operation,
)
from firstspike.rtl.blocks.sram import SramPort
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE, HALT, LOAD, POOL, STORE

KEPT = tuple(name for name in LAYOUT.members if name not in ("bias_words", "theta_words"))
"""Descriptor fields of the running operation; the others are the loader's."""


class Executor(wiring.Component):
    """The states of an operation (docs/explanation/processor.md, "Life of a spike").

    WAKE first, if a memory was off that the operation needs.

    CONVOLVE, per pixel: PIXEL, WALK, DRAIN (2), then RESIDUAL and ADD with a residual, then KEEP (partial sum), or FIRE
    (behind SETTLE where channels have shifts) and WRITE, or WRITE alone (logits), then NEXT. POOL, per pixel and channel
    word: PIXEL, WALK, WRITE, NEXT. LOAD and STORE: TRANSFER. The `Cursor` knows the pixel; the transfer unit moves the
    words.

    Ports:
        operation: stream from the loader.
        window: to the walker. weights: to the weight buffer. sums: what membranes begin with, partial sums.
        times: residual spike times into the lanes, or none. sweep: thresholds.
        settle: with `Parameters.channel_shifts`, halves membranes before they fire.
        result: the word that is written. buffer: the activation buffer, for residuals and results.
        transfer: LOAD and STORE.
        awake: where memories are switched off, those that are on: a bit for each bank of the activation
            buffer, the highest for the membrane memory.
        halted: the last operation is done.
    """

    def __init__(self, parameters: Parameters, address_bits: int, row_bits: int, membrane_bits: int) -> None:
        self.parameters = p = parameters
        self.address_bits = address_bits
        self.row_bits = row_bits
        self.membrane_bits = membrane_bits
        super().__init__(
            {
                "operation": In(stream.Signature(operation(p.processor))),
                "window": Out(WindowWalk(address_bits, row_bits)),
                "weights": Out(WeightChoice(p)),
                "sums": Out(SumsControl(membrane_bits)),
                "times": Out(SpikeTimes(p)),
                "sweep": Out(SweepControl()),
                "result": Out(ResultWord(p)),
                "buffer": Out(SramPort(p.processor.word_bits, address_bits)),
                "transfer": Out(TransferControl(address_bits)),
                "halted": Out(1),
                **({"settle": Out(Settle())} if p.channel_shifts else {}),
                **({"awake": Out(p.processor.banks + 1)} if p.processor.switched else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        p = self.parameters
        widths = {"scale_fraction": p.fraction_bits, "position_rows": self.row_bits, "shift": max(1, p.shift_bits)}
        d = Fields(KEPT, self.address_bits, widths).create(path=("running",))
        slot = Signal()
        bank = Signal() if p.processor.resident_weights else slot
        index = Signal(16)
        new = View(layout(p.processor), self.operation.payload.descriptor.as_value())
        m.submodules.cursor = cursor = Cursor(self.address_bits, self.membrane_bits)
        m.d.comb += [
            *(getattr(cursor.starts, name).eq(new[name]) for name in STARTS),
            *(getattr(cursor.strides, name).eq(getattr(d, name)) for name in STRIDES),
        ]
        # The states' accesses to the activation buffer.
        self.reads, self.writes = Signal(name="reads"), Signal(name="writes")
        self._broadcast(m, d, slot, index, cursor)
        m.d.comb += self.weights.slot.eq(bank)
        self._words(m, index, cursor)
        m.d.sync += self.window.start.eq(0)  # a register beside the state PIXEL: the way from it is long
        with m.FSM(name="executor"):
            with m.State("TAKE"):
                m.d.comb += self.operation.ready.eq(1)
                with m.If(self.operation.valid):
                    m.d.comb += cursor.take.eq(1)
                    m.d.sync += [
                        *(getattr(d, name).eq(new[name]) for name in KEPT),
                        slot.eq(self.operation.payload.slot),
                        *([bank.eq(new.bank)] if p.processor.resident_weights else []),
                        index.eq(0),
                    ]
                    if p.processor.switched:
                        self._switch(m, new)
                    else:
                        self._begin(m, new.kind)
            if p.processor.switched:
                self._wake(m, d.kind)
            with m.State("TRANSFER"), m.If(self.transfer.done):
                m.next = "TAKE"
            self._window(m, d, index, cursor)
            self._residual(m, d, index, cursor)
            self._fire(m)
            with m.State("WRITE"):
                m.d.comb += self.writes.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(index == d.out_words - 1):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += cursor.advance.eq(1)
                m.d.sync += self.window.start.eq(~cursor.last)
                m.next = "PIXEL"
                with m.If(cursor.last):
                    m.next = "TAKE"
        return m

    def _begin(self, m: Module, kind: Value) -> None:
        """The first pixel, a transfer, or the end."""
        with m.Switch(kind):
            with m.Case(CONVOLVE, POOL):
                m.d.sync += self.window.start.eq(1)
                m.next = "PIXEL"
            with m.Case(LOAD, STORE):
                m.d.comb += self.transfer.start.eq(1)
                m.next = "TRANSFER"
            with m.Case(HALT):
                m.d.comb += self.halted.eq(1)

    def _switch(self, m: Module, new: View) -> None:
        """Memories on and off as the new operation says; one that comes on has to wake up first."""
        m.d.sync += self.awake.eq(new.awake)
        if not self.parameters.processor.wake_cycles:
            self._begin(m, new.kind)
            return
        with m.If((new.awake & ~self.awake).any()):
            m.next = "WAKE"
        with m.Else():
            self._begin(m, new.kind)

    def _wake(self, m: Module, kind: Value) -> None:
        """WAKE: as many cycles as a memory needs from switching it on to its first access."""
        cycles = self.parameters.processor.wake_cycles
        if not cycles:
            return
        waited = Signal(range(cycles))
        with m.State("WAKE"):
            m.d.sync += waited.eq(waited + 1)
            with m.If(waited == cycles - 1):
                m.d.sync += waited.eq(0)
                self._begin(m, kind)

    def _broadcast(self, m: Module, d: PureInterface, slot: Signal, index: Signal, cursor: Cursor) -> None:
        """What the other blocks see of the operation and its pixel in every state."""
        window, sums = self.window, self.sums
        started = Signal()
        m.d.sync += started.eq(window.start)
        m.d.comb += [
            window.pool.eq(d.kind == POOL),
            window.address.eq(cursor.source),
            window.y.eq(cursor.y),
            window.x.eq(cursor.x),
            *(getattr(window, name).eq(getattr(d, name)) for name in WINDOW_FIELDS),
            self.weights.fraction.eq(d.scale_fraction),
            *([self.weights.shift.eq(d.shift)] if self.parameters.shift_bits else []),
            sums.slot.eq(slot),
            sums.first.eq(d.first),
            sums.load.eq(started & (d.kind == CONVOLVE)),
            sums.address.eq(cursor.pixel),
            self.sweep.slot.eq(slot),
            self.times.word.eq(self.buffer.read_data),
            self.result.pool.eq(d.kind == POOL),
            self.result.fires.eq(d.fires),
            self.result.index.eq(index),
            self.transfer.store.eq(d.kind == STORE),
            self.transfer.address.eq(cursor.source),
            self.transfer.dram_address.eq(d.dram_address),
            self.transfer.words.eq(d.dram_words),
        ]

    def _words(self, m: Module, index: Signal, cursor: Cursor) -> None:
        """Which word of a residual or of the result is read or written, and which lanes take a residual's."""
        buffer, times = self.buffer, self.times
        m.d.comb += buffer.enable.eq(self.reads | buffer.write)
        if not self.parameters.long_wires:
            m.d.comb += [buffer.address.eq(cursor.target + index), times.index.eq(index - 1)]
            m.d.comb += [buffer.write.eq(self.writes), buffer.write_data.eq(self.result.word)]
            return
        # Registers: a word is written a cycle later, the last one in NEXT; the address counts along; a residual's word
        # finds its lanes chosen.
        m.d.sync += [buffer.write.eq(self.writes), buffer.write_data.eq(self.result.word)]
        m.d.sync += [buffer.address.eq(cursor.target), times.load.eq(0), times.index.eq(index)]
        m.d.sync += self.sweep.start.eq(0)
        with m.If(buffer.enable):
            m.d.sync += buffer.address.eq(buffer.address + 1)

    def _window(self, m: Module, d: PureInterface, index: Signal, cursor: Cursor) -> None:
        """PIXEL, WALK, DRAIN: all spikes of a window into the membranes, or all words into the pool unit."""
        with m.State("PIXEL"):
            m.d.comb += self.sums.enable.eq((d.kind == CONVOLVE) & ~d.first)
            m.next = "WALK"
        with m.State("WALK"):
            m.d.sync += index.eq(0)
            with m.If(self.window.done):
                m.next = "WRITE"
                with m.If(d.kind == CONVOLVE):
                    m.next = "DRAIN"
        with m.State("DRAIN"):
            m.next = "DRAINED"
        with m.State("DRAINED"):
            self._after_walk(m, d)
            if self.parameters.long_wires:
                with m.If(d.residual):
                    m.d.sync += self.buffer.address.eq(cursor.residual)

    def _residual(self, m: Module, d: PureInterface, index: Signal, cursor: Cursor) -> None:
        """RESIDUAL, ADD: spike times of another map into the lanes, then a sweep that adds their thresholds."""
        with m.State("RESIDUAL"):
            more = index != d.residual_words
            if self.parameters.long_wires:
                m.d.comb += self.reads.eq(1)
                m.d.sync += self.times.load.eq(more)
            else:
                m.d.comb += [self.reads.eq(more), self.buffer.address.eq(cursor.residual + index)]
                m.d.comb += self.times.load.eq(index != 0)
            m.d.sync += index.eq(index + 1)
            with m.If(index == d.residual_words):
                m.d.sync += index.eq(0)
                self._announce(m, 1)
                m.next = "ADD_START"
        with m.State("ADD_START"):
            m.d.comb += self.sweep.add.eq(1)
            self._start(m)
            m.next = "ADD"
        with m.State("ADD"):
            m.d.comb += self.sweep.add.eq(1)
            with m.If(self.sweep.done):
                self._after_sums(m, d)

    def _fire(self, m: Module) -> None:
        """FIRE: the first crossing of every lane; or KEEP: the sums into the membrane memory."""
        with m.State("KEEP"):
            m.d.comb += [self.sums.enable.eq(1), self.sums.write.eq(1)]
            m.next = "NEXT"
        if self.parameters.channel_shifts:
            self._settle(m)
        with m.State("FIRE_START"):
            m.d.comb += [self.times.clear.eq(1), self.sweep.compare.eq(1)]
            self._start(m)
            m.next = "FIRE"
        with m.State("FIRE"):
            m.d.comb += self.sweep.compare.eq(1)
            with m.If(self.sweep.done):
                m.next = "WRITE"

    def _settle(self, m: Module) -> None:
        """SETTLE: membranes halve as often as the largest shift of the operation says, each as often as its own."""
        settle = self.settle
        with m.State("SETTLE"):
            m.d.comb += settle.active.eq(1)
            m.d.sync += settle.step.eq(settle.step + 1)
            following = settle.needed.bit_select(settle.step + 1, 1)
            self._announce(m, ~following)
            with m.If(~following):
                m.d.sync += settle.step.eq(0)
                m.next = "FIRE_START"

    def _after_walk(self, m: Module, d: PureInterface) -> None:
        """Go on once all spikes are in the membranes."""
        self._after_sums(m, d)
        with m.If(d.residual):
            m.next = "RESIDUAL"
            self._announce(m, 0)

    def _after_sums(self, m: Module, d: PureInterface) -> None:
        """Go on once the membranes are complete, their residual included."""
        m.next = "WRITE"
        self._announce(m, d.fires & d.last)
        with m.If(d.fires):
            m.next = "FIRE_START"
        if self.parameters.channel_shifts:
            with m.If(d.fires & d.last & self.settle.needed[0]):
                self._announce(m, 0)
                m.next = "SETTLE"
        with m.If(~d.last):
            m.next = "KEEP"

    def _announce(self, m: Module, sweep: ValueLike) -> None:
        """A sweep starts in the next cycle: a register beside the state, where the way from it is long."""
        if self.parameters.long_wires:
            m.d.sync += self.sweep.start.eq(sweep)

    def _start(self, m: Module) -> None:
        """A sweep starts in this cycle."""
        if not self.parameters.long_wires:
            m.d.comb += self.sweep.start.eq(1)
