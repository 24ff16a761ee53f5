"""Input generator: walks a window over the activation buffer, skips silence, delivers spikes with their weight rows."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import Window, Words, spikes
from firstspike.rtl.blocks.sram import ReadPort
from firstspike.rtl.parameters import Parameters


class Walker(wiring.Component):
    """Two stages: an address stage that visits kernel rows, columns and channel words, and a word stage.

    The word stage delivers one spike a cycle, lowest lane first, and takes the next word with the last spike: a word
    costs as many cycles as it holds spikes, but at least one. A window position outside the map costs one cycle.

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
        super().__init__(
            {
                "window": In(Window(address_bits, row_bits)),
                "buffer": Out(ReadPort(p.processor.word_bits, address_bits)),
                "spikes": Out(spikes(p.time_bits, row_bits)),
                "words": Out(Words(p.processor.word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        advance = Signal()
        valid = Signal()
        inside = Signal()
        last = Signal()
        row = Signal(self.row_bits)
        self._addresses(m, advance, valid, inside, last, row)
        self._words(m, advance, valid, inside, last, row)
        return m

    def _addresses(self, m: Module, advance: Signal, valid: Signal, inside: Signal, last: Signal, row: Signal) -> None:
        """Address stage: hands a word, or a position outside, to the word stage whenever that advances."""
        window = self.window
        active = Signal()
        kernel_y = Signal(16)
        kernel_x = Signal(16)
        word = Signal(16)
        y, x, first_x = (Signal(Shape(20, signed=True), name=name) for name in ("y", "x", "first_x"))
        address, position, line = (Signal(self.address_bits, name=name) for name in ("address", "position", "line"))
        next_row = Signal(self.row_bits)

        within = Signal()
        m.d.comb += within.eq((y >= 0) & (y < window.in_height) & (x >= 0) & (x < window.in_width))
        last_word = Signal()
        last_x = Signal()
        last_y = Signal()
        m.d.comb += [
            last_word.eq(~within | (word == window.words - 1)),
            last_x.eq(kernel_x == window.kernel_width - 1),
            last_y.eq(kernel_y == window.kernel_height - 1),
            self.buffer.enable.eq(active & advance & within),
            self.buffer.address.eq(address),
        ]
        with m.If(advance):
            m.d.sync += [valid.eq(active), inside.eq(within), last.eq(last_word & last_x & last_y), row.eq(next_row)]
        with m.If(active & advance):
            m.d.sync += next_row.eq(
                next_row + Mux(within, Const(self.parameters.processor.lanes), window.position_rows)
            )
            with m.If(~last_word):
                m.d.sync += [word.eq(word + 1), address.eq(address + 1)]
            with m.Elif(~last_x):
                m.d.sync += [
                    word.eq(0),
                    kernel_x.eq(kernel_x + 1),
                    x.eq(x + 1),
                    position.eq(position + window.in_pixel),
                    address.eq(position + window.in_pixel),
                ]
            with m.Else():
                m.d.sync += [
                    word.eq(0),
                    kernel_x.eq(0),
                    x.eq(first_x),
                    kernel_y.eq(kernel_y + 1),
                    y.eq(y + 1),
                    line.eq(line + window.in_row),
                    position.eq(line + window.in_row),
                    address.eq(line + window.in_row),
                    active.eq(~last_y),
                ]
        with m.If(window.start):
            m.d.sync += [
                active.eq(1),
                kernel_y.eq(0),
                kernel_x.eq(0),
                word.eq(0),
                next_row.eq(0),
                y.eq(window.y),
                x.eq(window.x),
                first_x.eq(window.x),
                address.eq(window.address),
                position.eq(window.address),
                line.eq(window.address),
            ]

    def _words(self, m: Module, advance: Signal, valid: Signal, inside: Signal, last: Signal, row: Signal) -> None:
        """Word stage: delivers the spikes of the word that the buffer holds."""
        lanes = self.parameters.processor.lanes
        window, data, words = self.window, self.buffer.data, self.words
        delivered = Signal(lanes)
        waiting = Signal(lanes)
        lowest = Signal(lanes)
        lane = Signal(range(lanes))
        for index in range(lanes):
            fires = ~data.word_select(index, 8).all()
            m.d.comb += waiting[index].eq(valid & inside & ~window.pool & fires & ~delivered[index])
        m.d.comb += lowest.eq(waiting & ~(waiting - 1))
        for index in reversed(range(lanes)):
            with m.If(waiting[index]):
                m.d.comb += lane.eq(index)
        spike, consumed = self.spikes, Signal()
        m.d.comb += [
            spike.valid.eq(waiting.any()),
            spike.payload.time.eq(data.word_select(lane, 8)),
            spike.payload.row.eq(row + lane),
            consumed.eq(((waiting & (waiting - 1)) == 0) & (spike.ready | ~waiting.any())),
            advance.eq(~valid | consumed),
            window.done.eq(valid & consumed & last),
            words.clear.eq(window.start),
            words.valid.eq(valid & inside & consumed),
            words.word.eq(data),
        ]
        with m.If(advance):
            m.d.sync += delivered.eq(0)
        with m.Elif(spike.ready):
            m.d.sync += delivered.eq(delivered | lowest)
