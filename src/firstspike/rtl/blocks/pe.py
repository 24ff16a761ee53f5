"""Logarithmic processing element: adds one spike's product to a membrane without a multiplier (numerics, section 3)."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.parameters import Parameters


class LogPE(wiring.Component):
    """Table, shift and accumulate: ``u += +/- mx[t mod tau] * mw[(q+r) mod rho] << (S - t div tau - (q+r) div rho)``.

    The integer parts of the two logarithms are subtracted from ``S``, the two fractions choose one of ``tau * rho``
    constants, one shift; the magnitude is registered and added or subtracted in the next cycle. Both registers have an
    enable of their own (for clock gating): a zero weight or an idle cycle moves nothing. With `Parameters.late_shift`
    constant and integer parts are registered, and the shift follows.

    Ports:
        enable: a spike's weight code is at ``code`` in this cycle.
        time: its spike time, 0..T-1.
        code: ``sign << (B_w-1) | q``.
        fraction: ``r`` of the layer's scale.
        shift: what stands for ``S``, in a design whose operations have shifts of their own.
        load: ``membrane <= initial`` (wins over an addition).
        add: ``membrane <= membrane + addend`` (a residual input; never together with a product).
        halve: with `Parameters.channel_shifts`, ``membrane <= membrane >> 1`` (numerics, section 8; never together with a
            product or an addition).
        membrane: ``u``, two's complement, valid two cycles after the last ``enable``.
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
                **({"shift": In(p.shift_bits)} if p.shift_bits else {}),
                "load": In(1),
                "initial": In(accumulator),
                "add": In(1),
                "addend": In(accumulator),
                **({"halve": In(1)} if p.channel_shifts else {}),
                "membrane": Out(accumulator),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        p = self.parameters
        level_bits = p.weights.bits - 1
        level = Signal(level_bits)
        zero = Signal()
        m.d.comb += [level.eq(self.code[:level_bits]), zero.eq(level.all())]

        logarithm = Signal(level_bits + 1)
        m.d.comb += logarithm.eq(level + self.fraction[: p.rho_bits] if p.rho_bits else level)
        mantissa = Signal(p.code.mantissa_bits + p.weights.mantissa_bits + 1)
        time = Signal(max(p.time_bits, p.tau_bits))
        m.d.comb += time.eq(self.time)
        fractions = Cat(time[: p.tau_bits], logarithm[: p.rho_bits])
        self._table(m, mantissa, fractions)

        magnitude = Signal(p.product_bits)
        negative = Signal()
        valid = Signal()
        # A constant, shifted by what the integer parts of the two logarithms leave of ``S``.
        shift = Signal(range(p.shift_base + 1))
        m.d.comb += shift.eq(
            (self.shift if p.shift_bits else p.shift_base) - (time >> p.tau_bits) - (logarithm >> p.rho_bits)
        )
        m.d.sync += valid.eq(self.enable & ~zero)
        if p.late_shift:
            kept_mantissa, kept_shift = Signal.like(mantissa), Signal.like(shift)
            m.d.comb += magnitude.eq(kept_mantissa << kept_shift)
            registered = [kept_mantissa.eq(mantissa), kept_shift.eq(shift)]
        else:
            registered = [magnitude.eq(mantissa << shift)]
        with m.If(self.enable & ~zero):
            m.d.sync += [*registered, negative.eq(self.code[-1])]

        inverted = Signal(p.processor.accumulator_bits)
        operand = Signal(p.processor.accumulator_bits)
        total = Signal(p.processor.accumulator_bits)
        m.d.comb += [
            inverted.eq(Mux(negative, ~Cat(magnitude, Const(0, unsigned(1))).as_signed(), magnitude)),
            operand.eq(Mux(self.add, self.addend, inverted)),
            total.eq(self.membrane + operand + (negative & ~self.add)),
        ]
        with m.If(self.load):
            m.d.sync += self.membrane.eq(self.initial)
        if p.channel_shifts:
            with m.Elif(self.halve):
                m.d.sync += self.membrane.eq(self.membrane >> 1)
        with m.Elif(valid | self.add):
            m.d.sync += self.membrane.eq(total)
        return m

    def _table(self, m: Module, mantissa: Signal, fractions: Cat) -> None:
        p = self.parameters
        if not len(fractions):
            m.d.comb += mantissa.eq(p.code.mantissas[0] * p.weights.mantissas[0])
            return
        with m.Switch(fractions):
            for g, mw in enumerate(p.weights.mantissas):
                for f, mx in enumerate(p.code.mantissas):
                    with m.Case(g * p.code.tau + f):
                        m.d.comb += mantissa.eq(mx * mw)
