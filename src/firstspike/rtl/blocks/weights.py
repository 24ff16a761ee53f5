"""Weight row buffer: two banks, one read by the array while the loader fills the other."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.sram import Sram
from firstspike.rtl.parameters import Parameters


class WeightBuffer(wiring.Component):
    """Two single-port banks of weight rows; DRAM words are gathered to rows on the way in.

    Ports:
        clear: the next word begins row 0 of bank ``fill``.
        push, word, fill: the next word of a row; the row is written with its last word.
        read, read_row, select: read a row of bank ``select`` (never the bank being filled).
        row: the row, one cycle later, then held.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = p = parameters
        self.external = external
        self.address_bits = max(1, (p.weight_rows - 1).bit_length())
        super().__init__(
            {
                "clear": In(1),
                "push": In(1),
                "fill": In(1),
                "word": In(p.processor.word_bits),
                "read": In(1),
                "read_row": In(self.address_bits),
                "select": In(1),
                "row": Out(p.processor.pes * p.weights.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        width, words = p.processor.pes * p.weights.bits, p.row_words
        banks = [Sram(width, p.weight_rows, external=self.external) for _ in (0, 1)]
        m.submodules.bank0, m.submodules.bank1 = banks

        gathered = Signal((words - 1) * p.processor.word_bits, reset_less=True)
        index = Signal(range(max(2, words)))
        fill_row = Signal(self.address_bits)
        complete = Signal()
        m.d.comb += complete.eq(self.push & (index == words - 1))
        with m.If(self.push):
            m.d.sync += index.eq(Mux(complete, 0, index + 1))
            if words > 1:
                m.d.sync += gathered.eq(Cat(gathered, self.word)[p.processor.word_bits :])
        with m.If(complete):
            m.d.sync += fill_row.eq(fill_row + 1)
        with m.If(self.clear):
            m.d.sync += [index.eq(0), fill_row.eq(0)]

        for slot, bank in enumerate(banks):
            write = complete & (self.fill == slot)
            m.d.comb += [
                bank.write.eq(write),
                bank.enable.eq(write | (self.read & (self.select == slot))),
                bank.address.eq(Mux(write, fill_row, self.read_row)),
                bank.write_data.eq(Cat(gathered, self.word)),
            ]
        chosen = Signal()
        with m.If(self.read):
            m.d.sync += chosen.eq(self.select)
        m.d.comb += self.row.eq(Mux(chosen, banks[1].read_data, banks[0].read_data))
        return m
