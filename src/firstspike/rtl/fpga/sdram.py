"""SDRAM controller: the processor's bursts as commands of a 16-bit single-data-rate SDRAM."""

import math
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, Signature

from firstspike.rtl.blocks.memory_port import MemoryPort

BITS = 16
"""Width of the data pins."""

NOTHING, ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = 0b111, 0b011, 0b101, 0b100, 0b010, 0b001, 0b000
"""Commands: the levels of ras, cas and we, active low, ras first."""

CAS_CYCLES = 2
"""CAS latency; the usual speed grades take 2 up to 100 MHz."""

DELAY = 5
"""Cycles from a READ to its first beat in a register: the controller's register, the pin's, half a cycle, CAS latency, half
a cycle, register."""

DRIVEN = ("command", "bank", "address", "data", "drive", "mask")
"""What the controller gives the pins (`SdramPins`)."""

DEPTH = 4
"""Words that a read may be ahead of its user."""


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """What a chip asks for, the slowest of its usual grades (W9825G6KH-75, IS42S16160-7, MT48LC16M16A2-75, AS4C16M16-7).

    Attributes:
        clock_mhz: of controller and chip.
        row_bits, column_bits, bank_bits: of an address.
        precharge_ns, activate_ns, active_ns, refresh_ns, recover_ns: tRP, tRCD, tRAS, tRFC and tWR.
        refresh_every_ns: a row is refreshed so often; 64 ms over all rows.
        power_up_us: rest before the first command.

    Raises:
        ValueError: the clock is faster than a CAS latency of 2 allows.

    >>> t = SdramTiming(clock_mhz=80)
    >>> t.cycles(t.activate_ns), t.cycles(t.refresh_ns), t.halfwords
    (2, 6, 16777216)
    """

    clock_mhz: float
    row_bits: int = 13
    column_bits: int = 9
    bank_bits: int = 2
    precharge_ns: float = 20
    activate_ns: float = 20
    active_ns: float = 45
    refresh_ns: float = 70
    recover_ns: float = 15
    refresh_every_ns: float = 64e6 / 8192
    power_up_us: float = 200

    def __post_init__(self) -> None:
        if not 0 < self.clock_mhz <= 100:
            raise ValueError(f"SdramTiming.clock_mhz must be in (0, 100], not {self.clock_mhz!r}")

    def cycles(self, nanoseconds: float) -> int:
        """Whole cycles that last so long."""
        return max(1, math.ceil(nanoseconds * self.clock_mhz / 1000 - 1e-9))

    def beats(self, word_bits: int) -> int:
        """Beats of a burst that is a word.

        Raises:
            ValueError: the chip has no such burst.
        """
        beats = word_bits // BITS
        if beats not in (2, 4, 8):
            raise ValueError(f"words of an SDRAM must have 32, 64 or 128 bits, not {word_bits!r}")
        return beats

    @property
    def halfwords(self) -> int:
        """Size of the memory in 16 bits."""
        return 1 << (self.row_bits + self.column_bits + self.bank_bits)


class SdramPins(Signature):
    """Controller to the chip's pins: its registers, before those at the pins, which may be far away.

    Members:
        command: ras, cas, we as `NOTHING` and the others have them.
        bank, address: of the command.
        data: written in this cycle, if ``drive``.
        drive: the pins are outputs.
        mask: both bytes are masked (during power-up).
        capture: (back) the pins half a cycle late, as the register at the pins has them.
    """

    def __init__(self, timing: SdramTiming) -> None:
        super().__init__(
            {
                "command": Out(3, init=NOTHING),
                "bank": Out(timing.bank_bits),
                "address": Out(timing.row_bits),
                "data": Out(BITS),
                "drive": Out(1),
                "mask": Out(1),
                "capture": In(BITS),
            }
        )


class _Registers:
    """What a controller knows of its burst and of the chip."""

    def __init__(self, timing: SdramTiming, beats: int) -> None:
        # of the next word, in halfwords
        self.place = place = Signal(timing.row_bits + timing.bank_bits + timing.column_bits)
        self.left, self.writing = Signal(24), Signal(name="writing")
        self.column = place[: timing.column_bits]
        self.bank = place[timing.column_bits :][: timing.bank_bits]
        self.row = place[timing.column_bits + timing.bank_bits :]
        # Cycles that are left, as so many ones: whether there are any is a bit.
        self.wait, self.active, self.gap = Signal(16), Signal(16), Signal(beats, name="gap")
        self.opened, self.open_row = Signal(), Signal.like(self.row)
        self.open_bank = Signal.like(self.bank)
        self.owed = Signal(range(DEPTH + 1))  # words of the FIFO and on their way to it
        self.read, self.write = Signal(), Signal(name="write")  # commands of this cycle
        self.hit = Signal()
        self.pins = SdramPins(timing).create(path=("next",))  # what the pins show in the next cycle


class SdramController(wiring.Component):
    """One burst at a time, one row open at a time; a word is one burst of the chip, so that words follow without a gap.

    A row is left open after a burst and closed for the next row or for a refresh. Refreshes come between words, also
    within a long burst. Words of a read wait in a FIFO; a READ is issued only if there is a place for its word. Requests
    and written words wait in a register each, so that no path leads from the chip's state to the port's user.

    Ports:
        dram: bursts of words, addresses in words.
        pins: the chip.
        ready: power-up is over.
    """

    def __init__(self, timing: SdramTiming, word_bits: int) -> None:
        self.timing, self.word_bits = timing, word_bits
        self.beats = timing.beats(word_bits)
        super().__init__({"dram": In(MemoryPort(word_bits)), "pins": Out(SdramPins(timing)), "ready": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        timing, beats, dram = self.timing, self.beats, self.dram
        r = _Registers(timing, beats)
        due = self._refresh_timer(m, r)
        request, write = _waiting(m, dram.request, "request"), _waiting(m, dram.write, "write")
        m.submodules.words = words = SyncFIFOBuffered(width=self.word_bits, depth=DEPTH)
        m.d.comb += [
            r.hit.eq(r.opened & (r.open_row == r.row) & (r.open_bank == r.bank)),
            dram.read.valid.eq(words.r_rdy),
            dram.read.payload.eq(words.r_data),
            words.r_en.eq(dram.read.ready),
            r.pins.bank.eq(r.bank),
        ]
        m.d.sync += [
            *(getattr(self.pins, name).eq(getattr(r.pins, name)) for name in DRIVEN),
            r.owed.eq(r.owed + r.read - (words.r_rdy & words.r_en)),
            *(left.eq(left >> 1) for left in (r.wait, r.active, r.gap)),
        ]
        self._data(m, r, words, write.payload)
        with m.If(r.read | r.write):
            m.d.sync += [r.place.eq(r.place + beats), r.left.eq(r.left - 1), r.gap.eq(_ones(beats - 1))]
            m.d.comb += r.pins.address.eq(r.column)
        with m.FSM(name="sdram") as states:
            m.d.comb += self.ready.eq(states.ongoing("RUN") | states.ongoing("CLOSED") | states.ongoing("REFRESH"))
            self._power_up(m, r)
            self._run(m, r, due, request, write)
            with m.State("CLOSED"), m.If(~r.wait[0]):
                m.next = "RUN"
                with m.If(due):
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                m.d.comb += r.pins.command.eq(REFRESH)
                m.d.sync += r.wait.eq(_ones(timing.cycles(timing.refresh_ns) - 1))
                m.next = "RUN"
        return m

    def _run(self, m: Module, r: _Registers, due: Signal, request: stream.Interface, write: stream.Interface) -> None:
        """Words of the burst, rows opened and closed for them, and the next request."""
        timing, beats = self.timing, self.beats
        with m.State("RUN"), m.If(~r.wait[0] & ~r.gap[0]):
            stop = due | ((r.left != 0) & r.opened & ~r.hit)
            with m.If(stop & r.opened & ~r.active[0]):
                m.d.comb += [r.pins.command.eq(PRECHARGE), r.pins.address.eq(1 << 10)]
                m.d.sync += [r.opened.eq(0), r.wait.eq(_ones(timing.cycles(timing.precharge_ns) - 1))]
                m.next = "CLOSED"
            with m.Elif(stop & r.opened):
                pass
            with m.Elif(due):
                m.next = "REFRESH"
            with m.Elif((r.left != 0) & ~r.opened):
                m.d.comb += [r.pins.command.eq(ACTIVATE), r.pins.address.eq(r.row)]
                m.d.sync += [r.opened.eq(1), r.open_row.eq(r.row), r.open_bank.eq(r.bank)]
                m.d.sync += r.wait.eq(_ones(timing.cycles(timing.activate_ns) - 1))
                m.d.sync += r.active.eq(_ones(timing.cycles(timing.active_ns) - 1))
            with m.Elif(r.left != 0):
                m.d.comb += [r.read.eq(~r.writing & (r.owed != DEPTH)), r.write.eq(r.writing & write.valid)]
                with m.If(r.write):
                    m.d.comb += [write.ready.eq(1), r.pins.command.eq(WRITE)]
                    # The row may close a while after the last beat; the next word may come at once.
                    m.d.sync += r.active.eq(_ones(beats - 1 + timing.cycles(timing.recover_ns)))
                with m.If(r.read):
                    m.d.comb += r.pins.command.eq(READ)
            with m.Else():
                m.d.comb += request.ready.eq(r.owed == 0)
                with m.If(request.valid & (r.owed == 0)):
                    m.d.sync += [
                        r.place.eq(request.payload.address * beats),
                        r.left.eq(request.payload.words),
                        r.writing.eq(request.payload.write),
                    ]

    def _refresh_timer(self, m: Module, r: _Registers) -> Signal:
        """A refresh is due."""
        timing = self.timing
        every = math.floor(timing.refresh_every_ns * timing.clock_mhz / 1000)
        count, due = Signal(range(every)), Signal()
        m.d.sync += count.eq(Mux(count == every - 1, 0, count + 1))
        with m.If(count == every - 1):
            m.d.sync += due.eq(1)
        with m.Elif(r.pins.command == REFRESH):
            m.d.sync += due.eq(0)
        return due

    def _power_up(self, m: Module, r: _Registers) -> None:
        """Rest, precharge all banks, eight refreshes, mode register."""
        timing, wait = self.timing, r.wait
        pause = timing.cycles(1000 * timing.power_up_us)
        rest, refreshes = Signal(range(pause + 1)), Signal(range(9))
        with m.State("REST"):
            m.d.comb += r.pins.mask.eq(1)
            m.d.sync += rest.eq(rest + 1)
            with m.If(rest == pause):
                m.d.comb += [r.pins.command.eq(PRECHARGE), r.pins.address.eq(1 << 10)]
                m.d.sync += wait.eq(_ones(timing.cycles(timing.precharge_ns) - 1))
                m.next = "REFRESHES"
        with m.State("REFRESHES"), m.If(~wait[0]):
            m.d.comb += r.pins.command.eq(REFRESH)
            m.d.sync += [refreshes.eq(refreshes + 1), wait.eq(_ones(timing.cycles(timing.refresh_ns) - 1))]
            with m.If(refreshes == 7):
                m.next = "MODE"
        with m.State("MODE"), m.If(~wait[0]):
            length = self.beats.bit_length() - 1
            m.d.comb += [r.pins.command.eq(MODE), r.pins.address.eq(CAS_CYCLES << 4 | length)]
            m.d.sync += wait.eq(_ones(2))
            m.next = "RUN"

    def _data(self, m: Module, r: _Registers, words: SyncFIFOBuffered, word: Value) -> None:
        """Beats of a written word go out, lowest first; those of a read one are gathered."""
        pins, beats = r.pins, self.beats
        sending = Signal(self.word_bits - BITS)
        driving = Signal(beats - 1)
        m.d.comb += [pins.drive.eq(r.write | driving[0]), pins.data.eq(Mux(r.write, word[:BITS], sending[:BITS]))]
        m.d.sync += [sending.eq(Mux(r.write, word[BITS:], sending >> BITS))]
        m.d.sync += driving.eq(Mux(r.write, -1, driving >> 1))
        beat, gathered = Signal(BITS), Signal(self.word_bits)
        coming = Signal(DELAY + beats)  # a READ was issued so many cycles ago
        m.d.sync += [
            beat.eq(self.pins.capture),
            gathered.eq(Cat(gathered[BITS:], beat)),
            coming.eq(Cat(r.read, coming)),
        ]
        m.d.comb += [words.w_data.eq(gathered), words.w_en.eq(coming[DELAY + beats - 1])]


def _ones(count: int) -> int:
    """A number of so many ones."""
    return (1 << count) - 1


def _waiting(m: Module, source: stream.Interface, name: str) -> stream.Interface:
    """A stream behind a register: whether it is ready comes from a flip-flop; it passes on every other cycle at most."""
    target = stream.Signature(source.payload.shape()).create(path=(name,))
    m.d.comb += source.ready.eq(~target.valid)
    with m.If(~target.valid):
        m.d.sync += [target.payload.eq(source.payload), target.valid.eq(source.valid)]
    with m.Elif(target.ready):
        m.d.sync += target.valid.eq(0)
    return target
