"""Every processing element of the comparison computes its product table: in Amaranth's simulator, register by register."""

import math
from fractions import Fraction

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights, fire, product_table, thresholds
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from studies.elements.encoders import Encoded
from studies.elements.formats import FORMATS
from studies.elements.variants import VARIANTS, KernelDecoder, KernelTable, SingleTablePE, Variant


def drive(component: wiring.Component, stimuli: list[dict[str, int]], outputs: str) -> list[int]:
    """The value of a port after every cycle."""
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        for values in stimuli:
            for name, value in values.items():
                ctx.set(getattr(component, name), value)
            await ctx.tick()
            seen.append(ctx.get(getattr(component, outputs)))

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_products(variant: Variant) -> None:
    """All times and codes (8-bit codes: 600 at random and the extremes): the membrane moves by the table's product."""
    codes = 1 << variant.weight_bits
    pairs = [(t, c) for t in range(24) for c in range(codes)]
    if codes > 32:
        rng = np.random.default_rng(0)
        extremes = [(t, c) for t in (0, 1, 23) for c in (0, 1, codes // 2 - 1, codes // 2, codes - 1)]
        pairs = extremes + [pairs[i] for i in rng.integers(0, len(pairs), 600)]
    table, factors = variant.products(), variant.factors()
    port = "time" if variant.kind == "log" else "factor"
    stimuli = [{"enable": 1, port: int(factors[t]), "code": c} for t, c in pairs]
    stimuli += [{"enable": 0}, {"enable": 0}]
    element = variant.create()
    seen = drive(element, stimuli, "membrane")[1:]
    half = 1 << (len(element.membrane) - 1)
    expected = np.cumsum([table[t, c] for t, c in pairs])
    assert np.array_equal(seen[: len(pairs)], (expected + half) % (2 * half) - half)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.kind != "log"], ids=lambda variant: variant.name)
def test_load_add_idle(variant: Variant) -> None:
    """Loading wins, a residual adds, zero weights and idle cycles move nothing."""
    zero = 15 if variant.kind == "single-table" else 0
    quiet = {"enable": 0, "load": 0, "add": 0}
    stimuli = [
        quiet | {"load": 1, "initial": -77},
        quiet | {"enable": 1, "factor": 3, "code": zero},
        quiet,
        quiet | {"add": 1, "addend": 1000},
        quiet | {"enable": 1, "factor": 3, "code": 1},
        quiet | {"load": 1, "initial": 5},
        quiet,
    ]
    assert drive(variant.create(), stimuli, "membrane") == [-77, -77, -77, 923, 923, 5, 5]


def test_tables_say_what_they_should() -> None:
    """Products of linear elements are factor times two's complement weight; the truncating table is below the exact one."""
    linear = VARIANTS[0].products()
    assert (linear[0, 127], linear[0, 128], linear[4, 255]) == (1024 * 127, -1024 * 128, -512)
    base_e = next(v for v in VARIANTS if v.kind == "base-e").factors()
    assert base_e[0] == 65535
    assert base_e[4] == round(65535 * math.exp(-4 * math.log(2) / 4))
    single = next(v for v in VARIANTS if v.kind == "single-table").products()
    exact = product_table(Code(), LogWeights(), 0)
    ratio = Fraction(1 << 10, 1 << 22)
    error = [Fraction(int(s)) - int(e) * ratio for s, e in zip(single[:, :15].flat, exact[:, :15].flat, strict=True)]
    # one mantissa of 5 bits for two, then cut: never off by more than 3 % of the largest product, and not exact
    assert max(abs(value) for value in error) < 32
    assert any(error)


def test_fraction_of_the_scale() -> None:
    """The single table takes ``r``: level ``q`` with ``r = 1`` is level ``q + 1``."""
    parameters = Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights())
    outcomes = []
    for level, r in ((3, 1), (4, 0)):
        stimuli = [{"enable": 1, "factor": 2, "code": level, "fraction": r}, {"enable": 0}, {"enable": 0}]
        outcomes.append(drive(SingleTablePE(parameters), stimuli, "membrane")[-1])
    assert outcomes[0] == outcomes[1] > 0
    with pytest.raises(ValueError, match="levels_per_octave up to tau = 1, not 2"):
        SingleTablePE(Parameters(processor=ProcessorSpec(), code=Code(tau=1), weights=LogWeights()))


def test_shared_blocks() -> None:
    """Decoder and table give the factor of every spike time one cycle later, and hold it."""
    variant = VARIANTS[0]
    times = list(range(24))
    stimuli = [{"enable": 1, "time": t} for t in times] + [{"enable": 0, "time": 0}]
    expected = [int(v) for v in variant.factors()]
    assert drive(KernelDecoder(Code()), stimuli, "factor") == [*expected, expected[-1]]
    table = VARIANTS[2].factors()
    write = [{"write": 1, "write_time": t, "write_data": int(table[t])} for t in times]
    read = [{"write": 0, "enable": 1, "time": t} for t in times]
    assert drive(KernelTable(24), [*write, *read], "factor")[24:] == [int(v) for v in table]


@pytest.mark.parametrize("code", [Code(), Code(T=16, mantissa_bits=3)], ids=["default", "narrow"])
@pytest.mark.parametrize("exponent", [2, 7, 10])
def test_a_shared_encoder_fires_as_the_comparators_do(code: Code, exponent: int) -> None:
    """Every membrane of 12 bits, by its leading one: also where thresholds are below 1, and equal."""
    values = np.arange(-4, 2048)
    values = values[: len(values) // 4 * 4].reshape(-1, 4)
    encoder, found = Encoded(code, 12, pes=4, groups=2), []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(encoder.exponent, exponent)
        for row in values:
            ctx.set(encoder.membranes, sum((int(value) & 4095) << (12 * lane) for lane, value in enumerate(row)))
            for index in (0, 1):
                ctx.set(encoder.index, index)
                found.append(ctx.get(encoder.times))

    simulator = Simulator(encoder)
    simulator.add_testbench(bench)
    simulator.run()
    seen = np.array(found).reshape(-1, 2)
    times = np.stack([seen & 255, seen >> 8], axis=2).reshape(-1, 4)
    assert np.array_equal(times, fire(values, thresholds(code, exponent)))


def test_codes_of_a_wider_format_keep_zero_and_sign() -> None:
    """Levels below the least become the least; only zero is zero."""
    four = next(one for one in FORMATS if one.weights.bits == 4)
    codes = four.codes(np.arange(32, dtype=np.uint8), LogWeights())
    assert codes.tolist() == [*range(7), *[6] * 8, 7, *range(8, 15), *[14] * 8, 15]
