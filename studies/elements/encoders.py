"""Two ways from membranes to spike times: a comparator in every lane and a sweep of all steps, or a few shared encoders.

Every threshold is a mantissa of the code times a power of two, rounded up: so the leading one of a membrane says its octave, and
the `mantissa_bits - 1` bits behind it say which mantissas it reaches. An encoder needs no thresholds at all.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.arith import NO_SPIKE, Code


class Compared(wiring.Component):
    """What a lane has beside its element: comparator and spike register, as in `firstspike.rtl.blocks.lane.Lane`.

    Ports:
        membrane, theta, step: compared while ``compare``. clear: ``spike <= 255``. spike: the register.
    """

    def __init__(self, code: Code, bits: int) -> None:
        super().__init__(
            {
                "membrane": In(signed(bits)),
                "theta": In(signed(bits)),
                "step": In(range(code.T)),
                "compare": In(1),
                "clear": In(1),
                "spike": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.If(self.clear):
            m.d.sync += self.spike.eq(NO_SPIKE)
        with m.Elif(self.compare & (self.spike == NO_SPIKE) & (self.membrane >= self.theta)):
            m.d.sync += self.spike.eq(self.step)
        return m


class Encoded(wiring.Component):
    """One spike time of every group of lanes a cycle: the group's membrane, its leading one, the bits behind it.

    Ports:
        membranes: of all lanes, lane 0 in the low bits. index: which of each group's, as `Encoder` has words.
        exponent: ``G`` of the layer. times: one of each group, 8 bits.
    """

    def __init__(self, code: Code, bits: int, *, pes: int, groups: int) -> None:
        self.code, self.bits, self.pes, self.groups = code, bits, pes, groups
        self.exponent_bits = bits.bit_length()
        super().__init__(
            {
                "membranes": In(pes * bits),
                "index": In(range(pes // groups)),
                "exponent": In(self.exponent_bits),
                "times": Out(8 * groups),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = [Signal(signed(self.bits), name=f"row{group}") for group in range(self.groups)]
        for group, row in enumerate(rows):
            with m.Switch(self.index):
                for place in range(self.pes // self.groups):
                    lane = place * self.groups + group
                    with m.Case(place):
                        m.d.comb += row.eq(self.membranes[lane * self.bits : (lane + 1) * self.bits])
            m.d.comb += self.times[8 * group : 8 * group + 8].eq(self._encoder(m, row, group))
        return m

    def _encoder(self, m: Module, row: Signal, group: int) -> Signal:
        """The spike time of a membrane."""
        code = self.code
        after = code.mantissa_bits - 1
        lead, behind = Signal(self.exponent_bits, name=f"lead{group}"), Signal(after, name=f"behind{group}")
        for place in range(self.bits - 1):  # the highest one is the last to be assigned
            low = place - after
            kept = row[max(low, 0) : place] if place else 0
            with m.If(row[place]):
                m.d.comb += [lead.eq(place), behind.eq(kept << max(-low, 0))]
        # steps after an octave's first at which the bits are reached: 0 only by the mantissa of the next octave's first
        later = Signal(range(code.tau + 1), name=f"later{group}")
        reached = [int(mantissa) - (1 << after) for mantissa in code.mantissas[1:]]
        m.d.comb += later.eq(code.tau)
        for step in range(code.tau - 1, 0, -1):
            with m.If(behind >= reached[step - 1]):
                m.d.comb += later.eq(step)
        time = Signal(signed(self.exponent_bits + code.tau.bit_length() + 1), name=f"time{group}")
        octaves = Signal(signed(self.exponent_bits + 1), name=f"octaves{group}")
        m.d.comb += [octaves.eq(self.exponent - lead - 1), time.eq(octaves * code.tau + later)]
        late = Signal(name=f"late{group}")
        m.d.comb += late.eq((row <= 0) | (time >= code.T))
        chosen = Signal(8, name=f"chosen{group}")
        m.d.comb += chosen.eq(Mux(late, NO_SPIKE, Mux(time < 0, 0, time)))
        return chosen
