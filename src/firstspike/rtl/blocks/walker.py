"""Input generator: walks a window over the activation buffer, skips silence, delivers spikes with their weight rows."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import WindowWalk, Words, spikes
from firstspike.rtl.blocks.sram import ReadPort
from firstspike.rtl.parameters import Parameters


class Walker(wiring.Component):
    """Three stages: an address stage that visits kernel rows, columns and channel words, a read stage, a word stage.

    The word stage delivers one spike a cycle, lowest lane first, and takes the next word with the last spike: a word
    costs as many cycles as it holds spikes, but at least one. A window position outside the map costs one cycle.

    The address stage reads ahead, the first word in the cycle of ``start``. Whether it reads depends on registers alone,
    on how many words are under way: no path leads from the buffer's data to its enable. Three words may be: one in the
    word stage, one in a register before it, one that the buffer holds. That is one more than the two cycles from an
    address to its word in the word stage need, so no cycle is lost where every word takes one.

    Ports:
        window: what to walk.
        buffer: the activation buffer.
        spikes: stream of spikes.
        words: the words of the window, for pooling.
    """

    def __init__(self, parameters: Parameters, address_bits: int, row_bits: int) -> None:
        self.parameters = p = parameters
        self.address_bits = address_bits
        self.row_bits = row_bits
        self.lane_bits = (p.processor.lanes - 1).bit_length()
        super().__init__(
            {
                "window": In(WindowWalk(address_bits, row_bits)),
                "buffer": Out(ReadPort(p.processor.word_bits, address_bits)),
                "spikes": Out(spikes(p.time_bits, row_bits)),
                "words": Out(Words(p.processor.word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        # What goes with a word: is it in the map, is it the window's last, its first weight row, in rows of all lanes.
        tag = StructLayout({"inside": 1, "last": 1, "rows": max(1, self.row_bits - self.lane_bits)})
        read, kept, next_tag = (Signal(tag, name=name) for name in ("read", "kept", "next_tag"))
        kept_data, next_data = (Signal(len(self.buffer.data), name=name) for name in ("kept_data", "next_data"))
        reading, keeping, advance = Signal(), Signal(), Signal()
        valid = self._words(m, advance, reading | keeping, next_tag, next_data)
        issue = self._addresses(m, ~(reading & keeping & valid), read)
        m.d.comb += [next_tag.eq(read), next_data.eq(self.buffer.data)]
        with m.If(keeping):
            m.d.comb += [next_tag.eq(kept), next_data.eq(kept_data)]

        # The read stage: the buffer's word goes on to the word stage, or to the register before it.
        moves = ~keeping | advance
        m.d.sync += reading.eq(issue | (reading & ~moves))
        with m.If(advance):
            m.d.sync += keeping.eq(keeping & reading)
        with m.Elif(reading):
            m.d.sync += keeping.eq(1)
        with m.If(reading & (keeping == advance)):
            m.d.sync += [kept.eq(read), kept_data.eq(self.buffer.data)]
        return m

    def _addresses(self, m: Module, room: Value, read: View) -> Value:
        """Address stage: where there is room, reads a word or notes a position outside; whether it does in this cycle."""
        window = self.window
        place = StructLayout(
            {
                **{
                    "y": Shape(20, signed=True),
                    "x": Shape(20, signed=True),
                    "kernel_y": 16,
                    "kernel_x": 16,
                    "word": 16,
                },
                **dict.fromkeys(("address", "position", "line"), self.address_bits),
                "rows": len(read.rows),
            }
        )
        held, here = Signal(place), Signal(place)
        active, issue, within = Signal(), Signal(), Signal()
        last_word, last_x, last_y = (Signal(name=f"last_{name}") for name in ("word", "x", "y"))
        m.d.comb += here.eq(held)
        long_wires = self.parameters.long_wires
        with m.If(window.start):
            if not long_wires:
                m.d.comb += here.eq(0)
            m.d.comb += [here.y.eq(window.y), here.x.eq(window.x)]
            m.d.comb += [getattr(here, name).eq(window.address) for name in ("address", "position", "line")]
        m.d.comb += [
            issue.eq(window.start | (active & room)),
            within.eq(self._within(here)),
            last_word.eq(~within | (here.word == window.words - 1)),
            last_x.eq(here.kernel_x == window.kernel_width - 1),
            last_y.eq(here.kernel_y == window.kernel_height - 1),
            self.buffer.enable.eq(issue if long_wires else issue & within),
            self.buffer.address.eq(here.address),
        ]
        if long_wires:
            inside = self._inside(m, here, issue & last_word, issue & last_word & last_x)
            m.d.comb += within.eq(Mux(window.start, self._within(window), inside))
        with m.If(issue):
            m.d.sync += [
                read.inside.eq(within),
                read.last.eq(last_word & last_x & last_y),
                read.rows.eq(here.rows),
                active.eq(~(last_word & last_x & last_y)),
            ]
            self._move(m, held, here, within, (last_word, last_x, last_y))
        return issue

    def _move(self, m: Module, held: View, here: View, within: Value, lasts: tuple[Value, Value, Value]) -> None:
        """To the next word, column or row of the kernel."""
        window, (last_word, last_x, last_y) = self.window, lasts
        m.d.sync += [
            held.eq(here),
            held.rows.eq(here.rows + Mux(within, 1, window.position_rows >> self.lane_bits)),
        ]
        with m.If(~last_word):
            m.d.sync += [held.word.eq(here.word + 1), held.address.eq(here.address + 1)]
        with m.Elif(~last_x):
            m.d.sync += [held.word.eq(0), held.kernel_x.eq(here.kernel_x + 1), held.x.eq(here.x + 1)]
            m.d.sync += [getattr(held, name).eq(here.position + window.in_pixel) for name in ("position", "address")]
        with m.Else():
            m.d.sync += [held.word.eq(0), held.kernel_x.eq(0), held.kernel_y.eq(here.kernel_y + 1)]
            m.d.sync += [held.x.eq(window.x), held.y.eq(here.y + 1)]
            m.d.sync += [getattr(held, name).eq(here.line + window.in_row) for name in ("line", "position", "address")]
            if self.parameters.long_wires:
                # The counters stand at 0 when a window starts: nothing waits for whether one does.
                with m.If(last_y):
                    m.d.sync += [held.kernel_y.eq(0), held.rows.eq(0)]

    def _within(self, here: Any) -> Value:
        """A position is in the map."""
        window = self.window
        return (here.y >= 0) & (here.y < window.in_height) & (here.x >= 0) & (here.x < window.in_width)

    def _inside(self, m: Module, here: View, moves: Value, new_row: Value) -> Value:
        """The same of the position that is held, from registers, which are compared a step ahead."""
        window = self.window
        inside_x, inside_y = Signal(), Signal()

        def next_within(place: Value, size: Value) -> Value:
            return (place >= -1) & (place < size - 1)

        with m.If(window.start):
            m.d.sync += inside_x.eq((window.x >= 0) & (window.x < window.in_width))
            m.d.sync += inside_y.eq((window.y >= 0) & (window.y < window.in_height))
        with m.If(new_row):
            m.d.sync += inside_x.eq((window.x >= 0) & (window.x < window.in_width))
            m.d.sync += inside_y.eq(next_within(here.y, window.in_height))
        with m.Elif(moves):
            m.d.sync += inside_x.eq(next_within(here.x, window.in_width))
        return inside_x & inside_y

    def _words(self, m: Module, advance: Signal, comes: Value, tag: View, data: Signal) -> Signal:
        """Word stage: delivers the spikes of a word, and advances to the word that comes; whether it has one."""
        lanes = self.parameters.processor.lanes
        window, words, spike = self.window, self.words, self.spikes
        valid, word, here = Signal(), Signal(len(data)), Signal(tag.shape())
        waiting = Signal(lanes)  # spikes that are not delivered
        lane = Signal(range(lanes))
        consumed = Signal()
        rest = waiting & (waiting - 1)
        if self.parameters.long_wires:
            rest = Cat(bit & waiting[:index].any() for index, bit in enumerate(waiting))
        for index in reversed(range(lanes)):
            with m.If(waiting[index]):
                m.d.comb += lane.eq(index)
        m.d.comb += [
            spike.valid.eq(waiting.any()),
            spike.payload.time.eq(word.word_select(lane, 8)),
            spike.payload.row.eq(Cat(lane, here.rows)),
            consumed.eq((rest == 0) & (spike.ready | ~waiting.any())),
            advance.eq(~valid | consumed),
            window.done.eq(valid & consumed & here.last),
            words.clear.eq(window.start),
            words.valid.eq(valid & here.inside & consumed),
            words.word.eq(word),
        ]
        fires = Cat(~data.word_select(index, 8).all() for index in range(lanes))
        with m.If(advance):
            m.d.sync += [valid.eq(comes), waiting.eq(0)]
            with m.If(comes):
                m.d.sync += [here.eq(tag), word.eq(data), waiting.eq(Mux(tag.inside & ~window.pool, fires, 0))]
        with m.Elif(spike.ready):
            m.d.sync += waiting.eq(rest)
        return valid
