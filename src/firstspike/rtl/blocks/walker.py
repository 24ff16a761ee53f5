"""Input generator: walks a window over the activation buffer, skips silence, delivers spikes with their weight rows."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from firstspike.rtl.parameters import Parameters


class Walker(wiring.Component):
    """Two stages: an address stage that visits kernel rows, columns and channel words, and a word stage.

    The word stage delivers one spike a cycle, lowest lane first, and takes the next word with the last spike: a word
    costs as many cycles as it holds spikes, but at least one. A window position outside the map costs one cycle.

    Ports:
        start: begin a window at ``address`` (first word of the first position), row ``y``, column ``x``.
        pool: every word costs one cycle; no spikes are delivered, the words pass at ``word``.
        kernel_height ... position_rows: descriptor fields, stable during a window.
        read, read_address, read_data: the activation buffer; data one cycle after ``read``, then held.
        spikes: stream of ``time`` and weight ``row``.
        word_valid, word: a word of the map is at the word stage for the last cycle.
        done: the last word leaves in this cycle.
    """

    def __init__(self, parameters: Parameters, address_bits: int, row_bits: int) -> None:
        self.parameters = p = parameters
        self.address_bits = address_bits
        self.row_bits = row_bits
        super().__init__(
            {
                "start": In(1),
                "pool": In(1),
                "address": In(address_bits),
                "y": In(Shape(20, signed=True)),
                "x": In(Shape(20, signed=True)),
                "kernel_height": In(16),
                "kernel_width": In(16),
                "words": In(16),
                "in_height": In(16),
                "in_width": In(16),
                "in_pixel": In(address_bits),
                "in_row": In(address_bits),
                "position_rows": In(row_bits),
                "read": Out(1),
                "read_address": Out(address_bits),
                "read_data": In(p.processor.word_bits),
                "spikes": Out(stream.Signature(StructLayout({"time": p.time_bits, "row": row_bits}))),
                "word_valid": Out(1),
                "word": Out(p.processor.word_bits),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        advance = Signal()
        valid, inside, last = Signal(), Signal(), Signal()
        row = Signal(self.row_bits)
        self._addresses(m, advance, valid, inside, last, row)
        self._words(m, advance, valid, inside, last, row)
        return m

    def _addresses(self, m: Module, advance: Signal, valid: Signal, inside: Signal, last: Signal, row: Signal) -> None:
        """Address stage: hands a word, or a position outside, to the word stage whenever that advances."""
        active = Signal()
        kernel_y, kernel_x, word = Signal(16), Signal(16), Signal(16)
        y, x, first_x = (Signal(Shape(20, signed=True), name=name) for name in ("y", "x", "first_x"))
        address, position, line = (Signal(self.address_bits, name=name) for name in ("address", "position", "line"))
        next_row = Signal(self.row_bits)

        within = Signal()
        m.d.comb += within.eq((y >= 0) & (y < self.in_height) & (x >= 0) & (x < self.in_width))
        last_word, last_x, last_y = Signal(), Signal(), Signal()
        m.d.comb += [
            last_word.eq(~within | (word == self.words - 1)),
            last_x.eq(kernel_x == self.kernel_width - 1),
            last_y.eq(kernel_y == self.kernel_height - 1),
            self.read.eq(active & advance & within),
            self.read_address.eq(address),
        ]
        with m.If(advance):
            m.d.sync += [valid.eq(active), inside.eq(within), last.eq(last_word & last_x & last_y), row.eq(next_row)]
        with m.If(active & advance):
            m.d.sync += next_row.eq(next_row + Mux(within, Const(self.parameters.processor.lanes), self.position_rows))
            with m.If(~last_word):
                m.d.sync += [word.eq(word + 1), address.eq(address + 1)]
            with m.Elif(~last_x):
                m.d.sync += [
                    word.eq(0),
                    kernel_x.eq(kernel_x + 1),
                    x.eq(x + 1),
                    position.eq(position + self.in_pixel),
                    address.eq(position + self.in_pixel),
                ]
            with m.Else():
                m.d.sync += [
                    word.eq(0),
                    kernel_x.eq(0),
                    x.eq(first_x),
                    kernel_y.eq(kernel_y + 1),
                    y.eq(y + 1),
                    line.eq(line + self.in_row),
                    position.eq(line + self.in_row),
                    address.eq(line + self.in_row),
                    active.eq(~last_y),
                ]
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                kernel_y.eq(0),
                kernel_x.eq(0),
                word.eq(0),
                next_row.eq(0),
                y.eq(self.y),
                x.eq(self.x),
                first_x.eq(self.x),
                address.eq(self.address),
                position.eq(self.address),
                line.eq(self.address),
            ]

    def _words(self, m: Module, advance: Signal, valid: Signal, inside: Signal, last: Signal, row: Signal) -> None:
        """Word stage: delivers the spikes of the word that the buffer holds."""
        lanes = self.parameters.processor.lanes
        delivered = Signal(lanes)
        waiting, lowest = Signal(lanes), Signal(lanes)
        lane = Signal(range(lanes))
        for index in range(lanes):
            fires = ~self.read_data.word_select(index, 8).all()
            m.d.comb += waiting[index].eq(valid & inside & ~self.pool & fires & ~delivered[index])
        m.d.comb += lowest.eq(waiting & ~(waiting - 1))
        for index in reversed(range(lanes)):
            with m.If(waiting[index]):
                m.d.comb += lane.eq(index)
        spikes, consumed = self.spikes, Signal()
        m.d.comb += [
            spikes.valid.eq(waiting.any()),
            spikes.payload.time.eq(self.read_data.word_select(lane, 8)),
            spikes.payload.row.eq(row + lane),
            consumed.eq(((waiting & (waiting - 1)) == 0) & (spikes.ready | ~waiting.any())),
            advance.eq(~valid | consumed),
            self.done.eq(valid & consumed & last),
            self.word_valid.eq(valid & inside & consumed),
            self.word.eq(self.read_data),
        ]
        with m.If(advance):
            m.d.sync += delivered.eq(0)
        with m.Elif(spikes.ready):
            m.d.sync += delivered.eq(delivered | lowest)
