"""The logarithmic processing element equals the contract's product on all codes and times."""

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights, integer_weights, planes_kernel, product_table, shift_base
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec

SETS = [
    (Code(), LogWeights(), 32),
    (Code(T=8, tau=1, mantissa_bits=0), LogWeights(bits=4, levels_per_octave=1, mantissa_bits=0), 24),
    (Code(T=13, tau=2, mantissa_bits=3), LogWeights(bits=3, levels_per_octave=4, mantissa_bits=4), 24),
    (Code(T=20, tau=8, mantissa_bits=6), LogWeights(bits=6, levels_per_octave=4, mantissa_bits=6), 40),
    (Code(T=5, tau=16, mantissa_bits=8), LogWeights(bits=2, levels_per_octave=2, mantissa_bits=3), 12),
]


@pytest.mark.parametrize("late", [False, True], ids=["", "late shift"])
@pytest.mark.parametrize(("code", "weights", "bits"), SETS)
def test_every_product(code: Code, weights: LogWeights, bits: int, late: bool) -> None:
    """All spike times, weight codes and scale fractions: membrane changes by the product, modulo 2^A."""
    processor = ProcessorSpec(accumulator_bits=bits)
    parameters = Parameters(processor=processor, code=code, weights=weights, late_shift=late)
    pe = LogPE(parameters)
    rho = weights.levels_per_octave
    stimuli = [(t, c, r) for r in range(rho) for t in range(code.T) for c in range(1 << weights.bits)]
    tables = [product_table(code, weights, r) for r in range(rho)]
    expected = np.cumsum([int(tables[r][t, c]) for t, c, r in stimuli])
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        for index, (t, c, r) in enumerate([*stimuli, (0, 0, 0), (0, 0, 0)]):
            ctx.set(pe.enable, index < len(stimuli))
            ctx.set(pe.time, t)
            ctx.set(pe.code, c)
            ctx.set(pe.fraction, r)
            await ctx.tick()
            if index >= 1:
                seen.append(ctx.get(pe.membrane))

    simulator = Simulator(pe)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    half = 1 << (bits - 1)
    wrapped = (expected + half) % (1 << bits) - half
    assert np.array_equal(seen[: len(stimuli)], wrapped)


def test_every_product_of_planes() -> None:
    """All planes, weight codes and fractions, with the first plane's shift; then a spike of the code with its own."""
    code, weights = Code(T=6, tau=2, mantissa_bits=3, input="planes"), LogWeights(bits=4, mantissa_bits=3)
    top = shift_base(code, weights, planes=True)
    pe = LogPE(Parameters(processor=ProcessorSpec(accumulator_bits=32), code=code, weights=weights, largest_shift=top))
    stimuli = [(r, j, c) for r in range(2) for j in range(8) for c in range(1 << weights.bits)]
    expected = [int(planes_kernel(code)[255 - (1 << (7 - j))] * integer_weights(weights, r)[c]) for r, j, c in stimuli]
    found = run(pe, [{"fraction": r, "time": 2 * j, "code": c, "shift": top} for r, j, c in stimuli])
    assert found == np.cumsum(expected).tolist()
    plain = [(r, t, c) for r in range(2) for t in range(code.T) for c in range(1 << weights.bits)]
    base = shift_base(code, weights)
    found = run(pe, [{"fraction": r, "time": t, "code": c, "shift": base} for r, t, c in plain])
    assert found == np.cumsum([int(product_table(code, weights, r)[t, c]) for r, t, c in plain]).tolist()


def run(pe: LogPE, spikes: list[dict[str, int]]) -> list[int]:
    """Membranes after each spike, from 0 on."""
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        for spike in [*spikes, {}, {}]:
            ctx.set(pe.enable, bool(spike))
            for name, value in spike.items():
                ctx.set(getattr(pe, name), value)
            await ctx.tick()
            seen.append(ctx.get(pe.membrane))

    simulator = Simulator(pe)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen[1 : 1 + len(spikes)]


def test_load_add_and_idle() -> None:
    """Loading wins, a residual adds its addend, and idle cycles and zero weights leave the membrane alone."""
    parameters = Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights())
    pe = LogPE(parameters)
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        async def cycle(**values: int) -> None:
            for name in ("enable", "load", "add", "time", "code", "initial", "addend"):
                ctx.set(getattr(pe, name), values.get(name, 0))
            await ctx.tick()
            seen.append(ctx.get(pe.membrane))

        await cycle(load=1, initial=-77)
        await cycle(time=3, code=1)
        await cycle(enable=1, time=3, code=15)
        await cycle(enable=1, time=3, code=31)
        await cycle()
        await cycle(add=1, addend=1000)
        await cycle(enable=1, time=0, code=16)
        await cycle(load=1, initial=5)
        await cycle()

    simulator = Simulator(pe)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [-77, -77, -77, -77, -77, 923, 923, 5, 5]


def test_halving_is_floor_division() -> None:
    """Membranes of either sign, to the ends of the accumulator, halved seven times."""
    parameters = Parameters(
        processor=ProcessorSpec(accumulator_bits=16), code=Code(), weights=LogWeights(), channel_shifts=True
    )
    pe, seen = LogPE(parameters), []
    starts = [-(1 << 15), (1 << 15) - 1, -1, 1, 0, -129, 100]

    async def bench(ctx: SimulatorContext) -> None:
        for start in starts:
            ctx.set(pe.initial, start)
            ctx.set(pe.load, 1)
            await ctx.tick()
            ctx.set(pe.load, 0)
            ctx.set(pe.halve, 1)
            for _ in range(7):
                await ctx.tick()
                seen.append(ctx.get(pe.membrane))
            ctx.set(pe.halve, 0)

    simulator = Simulator(pe)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [start // 2 ** (n + 1) for start in starts for n in range(7)]
