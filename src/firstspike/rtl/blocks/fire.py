"""Fire unit: broadcasts the thresholds step by step; and the encoder that writes spike times, or logits, as words."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out, connect, flipped

from firstspike.rtl.blocks.interfaces import Payload, Registers, ResultWord, Settle, Sweep, SweepControl
from firstspike.rtl.blocks.shifts import ChannelShifts
from firstspike.rtl.blocks.sram import RegisterFile
from firstspike.rtl.parameters import Parameters


class FireUnit(wiring.Component):
    """Threshold registers of the running and the next operation, and the step counter.

    A sweep takes ``T + 1`` cycles: step ``t`` and ``Theta[t]`` are at the outputs in cycle ``t + 1`` after ``start``.

    Ports:
        payload: thresholds from the loader, from step 0 on.
        control: sweeps.
        sweep: broadcast to the lanes; it adds or compares while ``theta`` is valid.
        settle, halve: with `Parameters.channel_shifts`, the executor's wish, and which lanes' membranes halve in this cycle.
    """

    def __init__(self, parameters: Parameters, *, external: bool = False) -> None:
        self.parameters = parameters
        self.external = external
        processor = parameters.processor
        super().__init__(
            {
                "payload": In(Payload(processor.word_bits)),
                "control": In(SweepControl()),
                "sweep": Out(Sweep(parameters)),
                **({"settle": In(Settle()), "halve": Out(processor.pes)} if parameters.channel_shifts else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        steps, bits = self.parameters.code.T, self.parameters.processor.accumulator_bits
        m.submodules.table = table = RegisterFile(bits, 2 * steps, external=self.external)
        payload, control, sweep = self.payload, self.control, self.sweep
        filled = Signal(range(steps + 1))
        theta: Value = payload.push
        if self.parameters.channel_shifts:
            theta = payload.push & (filled != steps)
            m.submodules.shifts = shifts = ChannelShifts(self.parameters)
            m.d.comb += [
                *(getattr(shifts.payload, name).eq(getattr(payload, name)) for name in ("clear", "fill", "word")),
                shifts.payload.push.eq(payload.push & (filled == steps)),
                shifts.slot.eq(control.slot),
                self.halve.eq(shifts.halve),
            ]
            connect(m, flipped(self.settle), shifts.settle)
        with m.If(payload.clear):
            m.d.sync += filled.eq(0)
        with m.Elif(theta):
            m.d.sync += filled.eq(filled + 1)
        request = Signal(range(steps + 1))
        reading = Signal()
        active = Signal()
        m.d.comb += [
            table.write.enable.eq(theta),
            table.write.address.eq(Mux(payload.fill, steps, 0) + filled),
            table.write.data.eq(payload.word),
            reading.eq(control.start | (active & (request != steps))),
            table.read.enable.eq(reading),
            table.read.address.eq(Mux(control.slot, steps, 0) + Mux(control.start, 0, request)),
            sweep.theta.eq(table.read.data),
            control.done.eq(active & (request == steps)),
        ]
        m.d.sync += [
            active.eq(reading),
            sweep.add.eq(control.add & reading),
            sweep.compare.eq(control.compare & reading),
        ]
        if self.parameters.long_wires:
            m.d.comb += sweep.following.eq(Mux(control.start, 0, request))
        with m.If(reading):
            m.d.sync += [
                request.eq(Mux(control.start, 1, request + 1)),
                sweep.step.eq(Mux(control.start, 0, request)),
            ]
        return m


class Encoder(wiring.Component):
    """Words of a result: spike times of ``lanes`` neighbouring outputs, one sign-extended logit, or the pool unit's word.

    Ports:
        result: which word, and the word.
        registers: of all lanes.
        earliest: the pool unit's word.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        processor = parameters.processor
        super().__init__(
            {
                "result": In(ResultWord(parameters)),
                "registers": In(Registers(parameters)),
                "earliest": In(processor.word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        processor = self.parameters.processor
        result, registers = self.result, self.registers
        logits = View(ArrayLayout(Shape(processor.accumulator_bits, signed=True), processor.pes), registers.membranes)
        words = View(ArrayLayout(processor.word_bits, processor.pes // processor.lanes), registers.spikes)
        logit = Signal(Shape(processor.accumulator_bits, signed=True))
        m.d.comb += logit.eq(logits[result.index])
        with m.If(result.pool):
            m.d.comb += result.word.eq(self.earliest)
        with m.Elif(result.fires):
            m.d.comb += result.word.eq(words[result.index])
        with m.Else():
            m.d.comb += result.word.eq(logit)
        return m
