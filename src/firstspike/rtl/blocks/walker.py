"""Input generator: walks a window over the activation buffer, skips silence, delivers spikes with their weight rows."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, PureInterface

from firstspike.rtl.blocks.interfaces import WindowWalk, Words, spikes
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
                "window": In(WindowWalk(address_bits, row_bits)),
                "buffer": Out(ReadPort(p.processor.word_bits, address_bits)),
                "spikes": Out(spikes(p.time_bits, row_bits)),
                "words": Out(Words(p.processor.word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        word = _Word(self.row_bits)
        self._addresses(m, word)
        self._words(m, word)
        return m

    def _addresses(self, m: Module, held: "_Word") -> None:
        """Address stage: hands a word, or a position outside, to the word stage whenever that advances."""
        window = self.window
        advance = held.advance
        active = Signal()
        place = _Place(self.address_bits, self.row_bits)
        y, x, next_row = place.y, place.x, place.next_row
        within = Signal()
        m.d.comb += within.eq((y >= 0) & (y < window.in_height) & (x >= 0) & (x < window.in_width))
        last_word = Signal()
        last_x = Signal()
        last_y = Signal()
        m.d.comb += [
            last_word.eq(~within | (place.word == window.words - 1)),
            last_x.eq(place.kernel_x == window.kernel_width - 1),
            last_y.eq(place.kernel_y == window.kernel_height - 1),
            self.buffer.enable.eq(active & advance & within),
            self.buffer.address.eq(place.address),
        ]
        with m.If(advance):
            m.d.sync += [
                held.valid.eq(active),
                held.inside.eq(within),
                held.last.eq(last_word & last_x & last_y),
                held.row.eq(next_row),
            ]
        with m.If(active & advance):
            m.d.sync += next_row.eq(
                next_row + Mux(within, Const(self.parameters.processor.lanes), window.position_rows)
            )
            with m.If(~last_word):
                m.d.sync += [place.word.eq(place.word + 1), place.address.eq(place.address + 1)]
            with m.Elif(~last_x):
                place.next_column(m, window)
            with m.Else():
                place.next_line(m, window)
                m.d.sync += active.eq(~last_y)
        with m.If(window.start):
            place.first(m, window)
            m.d.sync += active.eq(1)

    def _words(self, m: Module, held: "_Word") -> None:
        """Word stage: delivers the spikes of the word that the buffer holds."""
        lanes = self.parameters.processor.lanes
        window, data, words = self.window, self.buffer.data, self.words
        advance, valid, inside, last, row = held.advance, held.valid, held.inside, held.last, held.row
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


class _Word:
    """What the address stage hands to the word stage.

    Attributes:
        advance: (back) the word stage takes the next one in this cycle.
        valid: there is a word, or a position outside.
        inside: it is a word of the map.
        last: it is the window's last.
        row: weight row of its first lane.
    """

    def __init__(self, row_bits: int) -> None:
        self.advance = Signal()
        self.valid = Signal()
        self.inside = Signal()
        self.last = Signal()
        self.row = Signal(row_bits)


class _Place:
    """Where the address stage stands: registers, and what they become.

    Attributes:
        kernel_y, kernel_x: position in the window.
        word: channel word at this position.
        y, x: position in the map, signed: it may lie outside.
        first_x: column of the window's first position.
        address: of the word.
        position, line: of the position's first word, and of its line's first position.
        next_row: weight row of the word's first lane.
    """

    def __init__(self, address_bits: int, row_bits: int) -> None:
        self.kernel_y = Signal(16)
        self.kernel_x = Signal(16)
        self.word = Signal(16)
        self.y = Signal(Shape(20, signed=True))
        self.x = Signal(Shape(20, signed=True))
        self.first_x = Signal(Shape(20, signed=True))
        self.address = Signal(address_bits)
        self.position = Signal(address_bits)
        self.line = Signal(address_bits)
        self.next_row = Signal(row_bits)

    def first(self, m: Module, window: PureInterface) -> None:
        """The window's first word."""
        m.d.sync += [
            self.kernel_y.eq(0),
            self.kernel_x.eq(0),
            self.word.eq(0),
            self.next_row.eq(0),
            self.y.eq(window.y),
            self.x.eq(window.x),
            self.first_x.eq(window.x),
            self.address.eq(window.address),
            self.position.eq(window.address),
            self.line.eq(window.address),
        ]

    def next_column(self, m: Module, window: PureInterface) -> None:
        """One position to the right."""
        m.d.sync += [
            self.word.eq(0),
            self.kernel_x.eq(self.kernel_x + 1),
            self.x.eq(self.x + 1),
            self.position.eq(self.position + window.in_pixel),
            self.address.eq(self.position + window.in_pixel),
        ]

    def next_line(self, m: Module, window: PureInterface) -> None:
        """The first position of the next line."""
        m.d.sync += [
            self.word.eq(0),
            self.kernel_x.eq(0),
            self.x.eq(self.first_x),
            self.kernel_y.eq(self.kernel_y + 1),
            self.y.eq(self.y + 1),
            self.line.eq(self.line + window.in_row),
            self.position.eq(self.line + window.in_row),
            self.address.eq(self.line + window.in_row),
        ]
