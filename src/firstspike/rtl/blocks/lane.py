"""One output channel: a processing element and the spike time register behind it."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.arith import NO_SPIKE
from firstspike.rtl.blocks.interfaces import Membranes, Sweep, WeightedSpike
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.parameters import Parameters


class Lane(wiring.Component):
    """Processing element, threshold comparator and spike time register.

    The register serves twice: loaded with a residual's spike times it selects the step at which ``theta`` is added;
    cleared, it takes the first step at which the membrane reaches ``theta``.

    Ports:
        synapses: a spike and this lane's weight code.
        sums: what the membrane begins with, and the membrane.
        sweep: where ``spike == step``, ``add`` adds ``theta`` to the membrane; where still silent and
            ``membrane >= theta``, ``compare`` sets ``spike <= step``; a tie fires.
        spike_clear: ``spike <= 255``.
        spike_load, spike_data: ``spike <= spike_data``.
        spike: the register.
        halve: with `Parameters.channel_shifts`, ``membrane <= membrane >> 1``.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "synapses": In(WeightedSpike(p, 1)),
                "sums": In(Membranes(p, 1)),
                "sweep": In(Sweep(p)),
                "spike_clear": In(1),
                "spike_load": In(1),
                "spike_data": In(8),
                "spike": Out(8),
                **({"halve": In(1)} if p.channel_shifts else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        synapses, sums, sweep = self.synapses, self.sums, self.sweep
        hit: Value = self.spike == sweep.step
        if self.parameters.long_wires:
            # Compared a step ahead: the sum itself is long.
            hit = Signal()
            m.d.sync += hit.eq(self.spike == sweep.following)
        m.submodules.pe = pe = LogPE(self.parameters)
        m.d.comb += [
            pe.enable.eq(synapses.enable),
            pe.time.eq(synapses.time),
            pe.code.eq(synapses.codes),
            pe.fraction.eq(synapses.fraction),
            *([pe.shift.eq(synapses.shift)] if self.parameters.shift_bits else []),
            pe.load.eq(sums.load),
            pe.initial.eq(sums.initial),
            pe.add.eq(sweep.add & hit),
            pe.addend.eq(sweep.theta),
            sums.membranes.eq(pe.membrane),
        ]
        if self.parameters.channel_shifts:
            m.d.comb += pe.halve.eq(self.halve)
        with m.If(self.spike_clear):
            m.d.sync += self.spike.eq(NO_SPIKE)
        with m.Elif(self.spike_load):
            m.d.sync += self.spike.eq(self.spike_data)
        with m.Elif(sweep.compare & (self.spike == NO_SPIKE) & (pe.membrane >= sweep.theta)):
            m.d.sync += self.spike.eq(sweep.step)
        return m
