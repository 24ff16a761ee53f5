"""One output channel: a processing element and the spike time register behind it."""

from amaranth.hdl import Module, Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.arith import NO_SPIKE
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.parameters import Parameters


class Lane(wiring.Component):
    """Processing element, threshold comparator and spike time register.

    The register serves twice: loaded with a residual's spike times it selects the step at which ``theta`` is added;
    cleared, it takes the first step at which the membrane reaches ``theta``.

    Ports:
        enable, time, code, fraction, load, initial: as in `LogPE`.
        spike_clear: ``spike <= 255``.
        spike_load, spike_data: ``spike <= spike_data``.
        step, theta: the broadcast step and its threshold ``Theta[step]``.
        add: where ``spike == step``, add ``theta`` to the membrane.
        compare: where still silent and ``membrane >= theta``, ``spike <= step``; a tie fires.
        membrane, spike: the registers.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        accumulator = Shape(p.processor.accumulator_bits, signed=True)
        super().__init__(
            {
                "enable": In(1),
                "time": In(p.time_bits),
                "code": In(p.weights.bits),
                "fraction": In(p.fraction_bits),
                "load": In(1),
                "initial": In(accumulator),
                "spike_clear": In(1),
                "spike_load": In(1),
                "spike_data": In(8),
                "step": In(8),
                "theta": In(accumulator),
                "add": In(1),
                "compare": In(1),
                "membrane": Out(accumulator),
                "spike": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pe = pe = LogPE(self.parameters)
        m.d.comb += [
            pe.enable.eq(self.enable),
            pe.time.eq(self.time),
            pe.code.eq(self.code),
            pe.fraction.eq(self.fraction),
            pe.load.eq(self.load),
            pe.initial.eq(self.initial),
            pe.add.eq(self.add & (self.spike == self.step)),
            pe.addend.eq(self.theta),
            self.membrane.eq(pe.membrane),
        ]
        with m.If(self.spike_clear):
            m.d.sync += self.spike.eq(NO_SPIKE)
        with m.Elif(self.spike_load):
            m.d.sync += self.spike.eq(self.spike_data)
        with m.Elif(self.compare & (self.spike == NO_SPIKE) & (self.membrane >= self.theta)):
            m.d.sync += self.spike.eq(self.step)
        return m
