"""Unpacker: packed weight rows from DRAM words, one word a cycle (docs/reference/program.md, "Packed rows")."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import WeightPayload, WeightRows
from firstspike.rtl.parameters import Parameters


class Unpacker(wiring.Component):
    """Gives the codes of every word to the lanes of a group that wait for one.

    In a group with a bitmap the lanes of its ones wait, otherwise all. A word holds up to ``K = (word_bits + B_w - 1) //
    B_w`` whole codes, with the bits that the word before left over; codes that no lane waits for are kept for the next
    group. Every group has a word of its own, its bitmap or its codes, so a word can come in every cycle.

    Three stages: the word and how many ones it has; the codes that it completes, and how many of them the group takes; the
    lanes that take them. What goes round from word to word knows of lanes nothing but their number.

    Ports:
        payload: words from the loader; ``bitmap`` and ``last_group`` hold until the last word's row has come.
        rows: a row comes three cycles after its last word, one before a spike can ask for it.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        super().__init__({"payload": In(WeightPayload(parameters.processor)), "rows": Out(WeightRows(parameters))})

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        payload, width = self.payload, self.parameters.processor.word_bits
        every = Const((1 << width) - 1, width)
        valid, word, ones = Signal(), Signal(width, reset_less=True), Signal(range(width + 1))
        m.d.sync += valid.eq(payload.push)
        with m.If(payload.push):
            m.d.sync += [word.eq(payload.word), ones.eq(Mux(payload.bitmap, ones_below(m, payload.word)[-1], width))]

        begun, missing = Signal(), Signal.like(ones)  # a group that needs more words, and how many codes
        wanted = Signal.like(ones)
        m.d.comb += wanted.eq(Mux(begun, missing, ones))
        codes, available, taken = self._codes(m, valid, word, payload.bitmap & ~begun, wanted)
        with m.If(valid):
            m.d.sync += [begun.eq(wanted > available), missing.eq(wanted - taken)]
        with m.If(payload.clear):
            m.d.sync += begun.eq(0)

        lanes = Signal(width)
        m.d.comb += lanes.eq(Mux(payload.bitmap, word, every))
        self._lanes(m, valid, ~begun, wanted <= available, lanes, codes, available)
        return m

    def _codes(
        self, m: Module, valid: Signal, word: Signal, header: Value, wanted: Signal
    ) -> tuple[Signal, Signal, Signal]:
        """Codes that can be taken in this cycle, the lowest first, how many, and how many are: up to ``wanted``."""
        width, bits = self.parameters.processor.word_bits, self.parameters.weights.bits
        most = (width + bits - 1) // bits
        # whole codes, then the bits of one that the next word completes
        held, count, rest = Signal(width + bits - 1), Signal(range(most + 1)), Signal(range(bits))
        codes, available, left = Signal.like(held), Signal.like(count), Signal.like(rest)
        m.d.comb += [codes.eq(held), available.eq(count), left.eq(rest)]
        with m.If(~header), m.Switch(rest):
            for r in range(bits):
                with m.Case(r):
                    m.d.comb += [codes.eq(held | (word << r)), available.eq((width + r) // bits)]
                    m.d.comb += left.eq((width + r) % bits)
        taken = Signal.like(count)
        m.d.comb += taken.eq(Mux(wanted < available, wanted, available))
        with m.If(valid):
            m.d.sync += [count.eq(available - taken), rest.eq(left)]
            with m.Switch(taken):
                for number in range(most + 1):
                    with m.Case(number):
                        m.d.sync += held.eq(codes[number * bits :])
        with m.If(self.payload.clear):
            m.d.sync += [held.eq(0), count.eq(0), rest.eq(0)]
        return codes, available, taken

    def _lanes(
        self, m: Module, valid: Signal, begins: Value, ends: Value, lanes: Signal, codes: Signal, available: Signal
    ) -> None:
        """The last stage: which lane takes which code.

        Args:
            m: where it is.
            valid: a word came.
            begins: it begins a group.
            ends: it ends one.
            lanes: those of a group that begins which want a code.
            codes: those that the word completes, and others before them.
            available: how many.
        """
        width, bits = self.parameters.processor.word_bits, self.parameters.weights.bits
        zero = Const(self.parameters.weights.zero_level, bits)
        comes, first, last = Signal(), Signal(), Signal()
        given, many = Signal.like(codes), Signal.like(available)
        waiting = Signal(width)
        ranks = [Signal(range(width), name=f"rank{lane}") for lane in range(width)]
        takes, change = Signal(width), Signal(width)
        m.d.comb += takes.eq(Cat(bit & (rank < many) for bit, rank in zip(waiting, ranks, strict=True)))
        m.d.comb += change.eq(Mux(comes, takes | first.replicate(width), 0))
        m.d.sync += comes.eq(valid)
        with m.If(comes):
            m.d.sync += waiting.eq(waiting & ~takes)
        with m.If(valid):
            m.d.sync += [first.eq(begins), last.eq(ends), given.eq(codes), many.eq(available)]
            with m.If(begins):
                m.d.sync += waiting.eq(lanes)
        # Only lanes that wait for a code have a rank that moves: each has a clock gate.
        for lane, (rank, below) in enumerate(zip(ranks, ones_below(m, lanes), strict=False)):
            with m.If(valid & begins & lanes[lane]):
                m.d.sync += rank.eq(below)
            with m.Elif(comes & waiting[lane]):
                m.d.sync += rank.eq(rank - many)
        chosen = [given.word_select(rank[: len(many)], bits) for rank in ranks]
        self._rows(
            m,
            group=[Mux(take, code, zero) for take, code in zip(takes, chosen, strict=True)],
            change=change,
            done=comes & last,
        )

    def _rows(self, m: Module, *, group: Sequence[Value], change: Value, done: Value) -> None:
        """The row's registers.

        Args:
            m: where they are.
            group: codes of the lanes of the group that comes.
            change: which of them are taken over.
            done: it is the group's last cycle.
        """
        payload, rows = self.payload, self.rows
        width, bits, pes = (
            self.parameters.processor.word_bits,
            self.parameters.weights.bits,
            self.parameters.processor.pes,
        )
        number, fill = Signal.like(payload.last_group), Signal(2)
        last = Signal()
        m.d.comb += last.eq(number == payload.last_group)
        m.d.sync += [rows.push.eq(done & last), fill.eq(Cat(payload.fill, fill)), rows.fill.eq(fill[1])]
        with m.If(done):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
        for lane in range(pes):
            row = rows.codes.word_select(lane, bits)
            with m.If(change[lane % width] & (number == lane // width)):
                m.d.sync += row.eq(group[lane % width])
        with m.If(payload.clear):  # groups that are not stored stay zero
            m.d.sync += [
                number.eq(0),
                rows.codes.eq(Cat(Const(self.parameters.weights.zero_level, bits) for _ in range(pes))),
            ]


def ones_below(m: Module, word: Signal) -> list[Value]:
    """For every bit of a word, and for its end, how many lower bits are 1: sums of halves, ``log2`` of its width deep."""
    # of every block of bits: how many ones are below each of its bits, and in all of it
    counts: list[list[Value]] = [[Const(0, 1), bit] for bit in word]
    while len(counts) > 1:
        pairs = [counts[index : index + 2] for index in range(0, len(counts), 2)]
        counts = []
        for pair in pairs:
            if len(pair) == 1:
                counts.append(pair[0])
                continue
            low, high = pair
            total = low[-1]
            made: list[Value] = []
            for part in high[1:]:
                value = Signal(range(len(low) + len(high) - 1))
                m.d.comb += value.eq(total + part)
                made.append(value)
            counts.append([*low, *made])
    return counts[0]
