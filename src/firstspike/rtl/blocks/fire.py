"""Fire unit: broadcasts the thresholds step by step; and the encoder that writes spike times, or logits, as words."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.sram import RegisterFile
from firstspike.rtl.parameters import Parameters


class FireUnit(wiring.Component):
    """Threshold registers of the running and the next operation, and the step counter.

    A sweep takes ``T + 1`` cycles: step ``t`` and ``Theta[t]`` are at the outputs in cycle ``t + 1`` after ``start``.

    Ports:
        write, fill, word: the next threshold from DRAM (``clear`` begins at step 0) into set ``fill``.
        start: first cycle of a sweep over set ``select``.
        step, theta, active: broadcast to the lanes; ``active`` while ``theta`` is valid.
        done: last cycle of the sweep.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = parameters
        self.external = external
        processor = parameters.processor
        super().__init__(
            {
                "clear": In(1),
                "write": In(1),
                "fill": In(1),
                "word": In(processor.word_bits),
                "start": In(1),
                "select": In(1),
                "step": Out(8),
                "theta": Out(Shape(processor.accumulator_bits, signed=True)),
                "active": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps, bits = self.parameters.code.T, self.parameters.processor.accumulator_bits
        m.submodules.table = table = RegisterFile(bits, 2 * steps, external=self.external)
        filled = Signal(range(steps + 1))
        with m.If(self.clear):
            m.d.sync += filled.eq(0)
        with m.Elif(self.write):
            m.d.sync += filled.eq(filled + 1)
        request = Signal(range(steps + 1))
        reading = Signal()
        m.d.comb += [
            table.write_enable.eq(self.write),
            table.write_address.eq(Mux(self.fill, steps, 0) + filled),
            table.write_data.eq(self.word),
            reading.eq(self.start | (self.active & (request != steps))),
            table.read_enable.eq(reading),
            table.read_address.eq(Mux(self.select, steps, 0) + Mux(self.start, 0, request)),
            self.theta.eq(table.read_data),
            self.done.eq(self.active & (request == steps)),
        ]
        m.d.sync += self.active.eq(reading)
        with m.If(reading):
            m.d.sync += [request.eq(Mux(self.start, 1, request + 1)), self.step.eq(Mux(self.start, 0, request))]
        return m


class Encoder(wiring.Component):
    """Words of the tile's result: the spike times of ``lanes`` neighbouring outputs, or one sign-extended logit.

    Ports:
        index: which word; fires: spike times, not logits.
        spikes, membranes: registers of all lanes.
        word: the word to be written, in the same cycle.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        processor = parameters.processor
        super().__init__(
            {
                "index": In(range(processor.pes)),
                "fires": In(1),
                "spikes": In(processor.pes * 8),
                "membranes": In(processor.pes * processor.accumulator_bits),
                "word": Out(processor.word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        processor = self.parameters.processor
        logits = View(ArrayLayout(Shape(processor.accumulator_bits, signed=True), processor.pes), self.membranes)
        words = View(ArrayLayout(processor.word_bits, processor.pes // processor.lanes), self.spikes)
        logit = Signal(Shape(processor.accumulator_bits, signed=True))
        m.d.comb += logit.eq(logits[self.index])
        with m.If(self.fires):
            m.d.comb += self.word.eq(words[self.index])
        with m.Else():
            m.d.comb += self.word.eq(logit)
        return m
