"""Processing elements to compare with: what the logarithmic one replaces, and what it might have been.

All have the ports and the two stages of `LogPE`: a product is registered, then accumulated; both registers are gated
alike. Accumulators give every variant the same headroom over its largest product (`HEADROOM_BITS`). What all lanes share
(the decoder or table that turns a spike time into a factor) is a component of its own, counted once per array.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from amaranth.hdl import Array, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from jaxtyping import Integer

from firstspike.arith import Code, LogWeights, integer_kernel, product_table
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.parameters import Parameters
from firstspike.spec.processor import ProcessorSpec

HEADROOM_BITS = 9
"""Bits of an accumulator above the largest product: 32 bits for the default logarithmic element."""

TABLE_BITS = 16
"""Bits of a kernel value in base e."""

SINGLE_TABLE_FRACTION = 10
"""Fraction bits of a product of the single-table variant."""


class Element(wiring.Component):
    """The second stage: accumulate a registered product, load, add a residual. The first is the variant's.

    Ports:
        enable, code: a spike's weight code is at ``code``. factor: what came with the spike (`factor_bits` bits).
        load, initial, add, addend, membrane: as in `LogPE`.
    """

    def __init__(
        self, *, factor_bits: int, code_bits: int, product: Shape, accumulator_bits: int, fraction_bits: int = 0
    ) -> None:
        self.product = product
        self.accumulator_bits = accumulator_bits
        accumulator = signed(accumulator_bits)
        super().__init__(
            {
                "enable": In(1),
                "factor": In(factor_bits),
                "code": In(code_bits),
                "load": In(1),
                "initial": In(accumulator),
                "add": In(1),
                "addend": In(accumulator),
                "membrane": Out(accumulator),
                **({"fraction": In(fraction_bits)} if fraction_bits else {}),
            }
        )

    def stage(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Add the first stage: registered product, its sign (subtract), valid."""
        raise NotImplementedError

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product, negative, valid = self.stage(m)
        width = self.accumulator_bits
        inverted, operand, total = Signal(width), Signal(width), Signal(width)
        m.d.comb += [
            inverted.eq(product ^ negative.replicate(width)),
            operand.eq(Mux(self.add, self.addend, inverted)),
            total.eq(self.membrane + operand + (negative & ~self.add)),
        ]
        with m.If(self.load):
            m.d.sync += self.membrane.eq(self.initial)
        with m.Elif(valid | self.add):
            m.d.sync += self.membrane.eq(total)
        return m


class LinearPE(Element):
    """A multiplier: two's complement weight of ``weight_bits`` bits times an unsigned factor.

    With the base-2 kernel the factor is ``kappa(t) * 2^(M + octaves)`` (`KernelDecoder`, 11 bits by default); with the
    base-e kernel an entry of the layer's table (`KernelTable`, 16 bits). A weight of zero moves nothing.
    """

    def __init__(self, *, weight_bits: int, factor_bits: int) -> None:
        self.weight_bits = weight_bits
        product = signed(weight_bits + factor_bits)
        super().__init__(
            factor_bits=factor_bits,
            code_bits=weight_bits,
            product=product,
            accumulator_bits=weight_bits + factor_bits + HEADROOM_BITS,
        )

    def stage(self, m: Module) -> tuple[Signal, Signal, Signal]:
        product, valid, moving = Signal(self.product), Signal(), Signal()
        m.d.comb += moving.eq(self.enable & self.code.any())
        m.d.sync += valid.eq(moving)
        with m.If(moving):
            m.d.sync += product.eq(self.code.as_signed() * self.factor)
        extended = Signal(signed(self.accumulator_bits))
        m.d.comb += extended.eq(product)
        return extended, Signal(name="never"), valid


class AddPE(Element):
    """An adder: a two's complement weight is accumulated as it is, as where sorted spikes let a kernel wait (SpinalFlow).

    The accumulator is a multiplier's, for the kernel is applied to the same membrane later. Weight zero moves nothing.
    """

    def __init__(self, *, weight_bits: int, factor_bits: int, kernel_bits: int) -> None:
        super().__init__(
            factor_bits=factor_bits,
            code_bits=weight_bits,
            product=signed(weight_bits),
            accumulator_bits=weight_bits + kernel_bits + HEADROOM_BITS,
        )

    def stage(self, m: Module) -> tuple[Signal, Signal, Signal]:
        weight, valid, moving = Signal(self.product), Signal(), Signal()
        m.d.comb += moving.eq(self.enable & self.code.any())
        m.d.sync += valid.eq(moving)
        with m.If(moving):
            m.d.sync += weight.eq(self.code.as_signed())
        extended = Signal(signed(self.accumulator_bits))
        m.d.comb += extended.eq(weight)
        return extended, Signal(name="never"), valid


class SingleTablePE(Element):
    """Logarithms added whole: one table of ``tau`` mantissas, one shift right that truncates (not the contract's product).

    ``s = t + (tau / rho) (q + r)``: magnitude ``(m[s mod tau] << P - M) >> (s div tau)``, ``P`` fraction bits, for
    ``rho`` up to ``tau``. The factor is the spike time; ``fraction`` is the layer's ``r``.
    """

    def __init__(self, parameters: Parameters, *, fraction_bits: int = SINGLE_TABLE_FRACTION) -> None:
        self.parameters = p = parameters
        self.fraction_bits = fraction_bits
        if p.weights.levels_per_octave > p.code.tau:
            self._MustUse__used = True  # refused, so Amaranth need not warn that it is never elaborated
            raise ValueError(
                f"SingleTablePE must have levels_per_octave up to tau = {p.code.tau}, not {p.weights.levels_per_octave!r}"
            )
        super().__init__(
            factor_bits=p.time_bits,
            code_bits=p.weights.bits,
            product=Shape(fraction_bits + 1),
            accumulator_bits=fraction_bits + 1 + HEADROOM_BITS,
            fraction_bits=p.fraction_bits,
        )

    @property
    def table(self) -> list[int]:
        """Mantissas at the product's scale."""
        code = self.parameters.code
        spare = self.fraction_bits - code.mantissa_bits
        return [mantissa << spare if spare >= 0 else mantissa >> -spare for mantissa in code.mantissas]

    def stage(self, m: Module) -> tuple[Signal, Signal, Signal]:
        p = self.parameters
        level_bits = p.weights.bits - 1
        level = self.code[:level_bits]
        ratio = (p.code.tau // p.weights.levels_per_octave).bit_length() - 1
        total = Signal(range(p.code.T + ((p.weights.zero_level + p.weights.levels_per_octave) << ratio)))
        mantissa, magnitude = Signal(self.product), Signal(self.product)
        negative, valid, moving = Signal(), Signal(), Signal()
        m.d.comb += [
            total.eq(self.factor + ((level + self.fraction) << ratio)),
            mantissa.eq(Array([Const(value, self.product) for value in self.table])[total[: p.tau_bits]]),
            moving.eq(self.enable & ~level.all()),
        ]
        m.d.sync += valid.eq(moving)
        with m.If(moving):
            m.d.sync += [magnitude.eq(mantissa >> (total >> p.tau_bits)), negative.eq(self.code[-1])]
        return magnitude, negative, valid


class KernelDecoder(wiring.Component):
    """Spike time -> ``kappa(t) * 2^(M + octaves)`` in base 2: a table of ``tau`` mantissas and a shift; one per array."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.factor_bits = code.exponent + 1
        super().__init__(
            {"enable": In(1), "time": In(max(1, (code.T - 1).bit_length())), "factor": Out(self.factor_bits)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        code = self.code
        bits = code.tau.bit_length() - 1
        mantissa = Signal(code.mantissa_bits + 1)
        m.d.comb += mantissa.eq(Array([Const(v, code.mantissa_bits + 1) for v in code.mantissas])[self.time[:bits]])
        shifted = Signal(self.factor_bits)
        m.d.comb += shifted.eq((mantissa << code.octaves) >> (self.time >> bits))
        with m.If(self.enable):
            m.d.sync += self.factor.eq(shifted)
        return m


class KernelTable(wiring.Component):
    """The layer's kernel of base e (T2FSNN, DAC 2020): ``T`` values, written with the layer, read with a spike; one per array.

    Registers: the 48 bytes are far below the smallest memory macro.
    """

    def __init__(self, steps: int, bits: int = TABLE_BITS) -> None:
        self.steps = steps
        width = max(1, (steps - 1).bit_length())
        super().__init__(
            {
                "enable": In(1),
                "time": In(width),
                "factor": Out(bits),
                "write": In(1),
                "write_time": In(width),
                "write_data": In(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entries = Array([Signal(len(self.factor), name=f"entry{t}", reset_less=True) for t in range(self.steps)])
        with m.If(self.write):
            m.d.sync += entries[self.write_time].eq(self.write_data)
        with m.If(self.enable):
            m.d.sync += self.factor.eq(entries[self.time])
        return m


Kind = Literal["log", "linear", "base-e", "single-table", "add", "dense"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One processing element of the comparison.

    Attributes:
        name: for tables.
        kind: "log" (ours), "linear", "base-e", "single-table", "add" or "dense" (8-bit activations).
        weight_bits: bits of a weight code.
        mantissa_bits: of kernel and weight levels (log kinds), of the kernel (linear).
    """

    name: str
    kind: Kind
    weight_bits: int = 5
    mantissa_bits: int = 5

    @property
    def parameters(self) -> Parameters:
        """Number system and accumulator of the logarithmic kinds."""
        code = Code(mantissa_bits=self.mantissa_bits)
        weights = LogWeights(bits=self.weight_bits, mantissa_bits=self.mantissa_bits)
        draft = Parameters(processor=ProcessorSpec(accumulator_bits=48), code=code, weights=weights)
        bits = draft.product_bits + HEADROOM_BITS
        return replace(draft, processor=ProcessorSpec(accumulator_bits=bits, word_bits=64))

    @property
    def factor_bits(self) -> int:
        """Bits that come to every lane with a spike."""
        if self.kind == "linear":
            return Code(mantissa_bits=self.mantissa_bits).exponent + 1
        if self.kind == "dense":
            return 8
        code = Code(mantissa_bits=self.mantissa_bits)
        return TABLE_BITS if self.kind == "base-e" else max(1, (code.T - 1).bit_length())

    def create(self) -> wiring.Component:
        """The processing element."""
        if self.kind == "log":
            return LogPE(self.parameters)
        if self.kind == "single-table":
            return SingleTablePE(self.parameters)
        if self.kind == "add":
            kernel = Code(mantissa_bits=self.mantissa_bits).exponent + 1
            return AddPE(weight_bits=self.weight_bits, factor_bits=self.factor_bits, kernel_bits=kernel)
        return LinearPE(weight_bits=self.weight_bits, factor_bits=self.factor_bits)

    def shared(self) -> wiring.Component | None:
        """What the array needs once, or None."""
        code = Code(mantissa_bits=self.mantissa_bits)
        if self.kind == "linear":
            return KernelDecoder(code)
        return KernelTable(code.T) if self.kind == "base-e" else None

    def factors(self) -> Integer[np.ndarray, " T"]:
        """What comes to the lanes for spike times ``0 .. T-1`` (base e: ``exp(-t / 5.77)``, the same decay as base 2)."""
        code = Code(mantissa_bits=self.mantissa_bits)
        if self.kind == "linear":
            return integer_kernel(code)[: code.T]
        if self.kind == "base-e":
            decay = code.tau / math.log(2)
            scale = (1 << TABLE_BITS) - 1
            return np.array([round(math.exp(-t / decay) * scale) for t in range(code.T)], dtype=np.int64)
        if self.kind == "dense":
            return np.array([round(2.0 ** (-t / code.tau) * 255) for t in range(code.T)], dtype=np.int64)
        return np.arange(code.T)

    def products(self) -> Integer[np.ndarray, "T codes"]:
        """What the element adds to the membrane for every spike time and weight code (scale fraction 0)."""
        codes = 1 << self.weight_bits
        if self.kind == "log":
            return product_table(self.parameters.code, self.parameters.weights, 0)
        if self.kind == "single-table":
            return self._truncated()
        weights = np.arange(codes)
        factors = np.ones_like(self.factors()) if self.kind == "add" else self.factors()
        return factors[:, None] * np.where(weights < codes // 2, weights, weights - codes)

    def _truncated(self) -> Integer[np.ndarray, "T codes"]:
        code, weights = self.parameters.code, self.parameters.weights
        sign_bit = 1 << (weights.bits - 1)
        result = np.zeros((code.T, 2 * sign_bit), dtype=np.int64)
        for t in range(code.T):
            for q in range(weights.zero_level):
                s = t + code.tau // weights.levels_per_octave * q
                mantissa = round(2**code.mantissa_bits * 2 ** (-(s % code.tau) / code.tau))
                value = int(mantissa * 2 ** (SINGLE_TABLE_FRACTION - code.mantissa_bits) / 2 ** (s // code.tau))
                result[t, q], result[t, q | sign_bit] = value, -value
        return result


VARIANTS = (
    Variant(name="multiplier, 8-bit weight", kind="linear", weight_bits=8),
    Variant(name="multiplier, 5-bit weight", kind="linear"),
    Variant(name="multiplier, 8-bit weight, 8-bit activation", kind="dense", weight_bits=8),
    Variant(name="base-e kernel table, 8-bit weight", kind="base-e", weight_bits=8),
    Variant(name="base-e kernel table, 5-bit weight", kind="base-e"),
    Variant(name="single table, truncating", kind="single-table"),
    Variant(name="adder, 8-bit weight", kind="add", weight_bits=8),
    Variant(name="ours, 3 mantissa bits", kind="log", mantissa_bits=3),
    Variant(name="ours, 4 mantissa bits", kind="log", mantissa_bits=4),
    Variant(name="ours, 5 mantissa bits", kind="log"),
)
"""The comparison."""
