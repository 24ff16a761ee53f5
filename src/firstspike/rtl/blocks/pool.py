"""Max pooling: the earliest spike of every lane over the words of a window."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import Words
from firstspike.rtl.parameters import Parameters


class PoolUnit(wiring.Component):
    """Bytewise minimum: silence is 255, the largest byte.

    Ports:
        words: of a window, which begins with silence.
        earliest: minimum of all words since ``words.clear``, one cycle later.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        width = parameters.processor.word_bits
        super().__init__({"words": In(Words(width)), "earliest": Out(width)})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        width = self.parameters.processor.word_bits
        smaller = Signal(width)
        for index in range(self.parameters.processor.lanes):
            old, new = self.earliest.word_select(index, 8), self.words.word.word_select(index, 8)
            with m.If(new < old):
                m.d.comb += smaller.word_select(index, 8).eq(new)
            with m.Else():
                m.d.comb += smaller.word_select(index, 8).eq(old)
        with m.If(self.words.clear):
            m.d.sync += self.earliest.eq(Const((1 << width) - 1, width))
        with m.Elif(self.words.valid):
            m.d.sync += self.earliest.eq(smaller)
        return m
