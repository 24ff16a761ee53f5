"""The registers of channel shifts against a list: each lane halves as often as its own shift says, in either slot."""

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights
from firstspike.rtl.blocks.shifts import ChannelShifts
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec


@pytest.mark.parametrize("word_bits", [32, 64])
def test_every_lane_halves_as_often_as_its_shift(word_bits: int) -> None:
    """Two operations with shifts, the next one's coming in while one runs; one without; the largest from 0 to 7."""
    processor = ProcessorSpec(pes=24, word_bits=word_bits)
    block = ChannelShifts(Parameters(processor=processor, code=Code(), weights=LogWeights(), channel_shifts=True))
    rng = np.random.default_rng(0)
    operations = [rng.integers(0, most + 1, 24) for most in (7, 0, 3, 1, 5)] + [None, np.full(24, 7)]
    seen: list[tuple[list[int], int]] = []

    async def load(ctx: SimulatorContext, fill: int, shifts: np.ndarray | None) -> None:
        ctx.set(block.payload.fill, fill)
        ctx.set(block.payload.clear, 1)
        await ctx.tick()
        ctx.set(block.payload.clear, 0)
        nibbles = sum(int(s) << (4 * lane) for lane, s in enumerate(shifts)) if shifts is not None else 0
        for word in range(processor.shift_words if shifts is not None else 0):
            ctx.set(block.payload.push, 1)
            ctx.set(block.payload.word, nibbles >> (word * word_bits) & ((1 << word_bits) - 1))
            await ctx.tick()
        ctx.set(block.payload.push, 0)

    async def settle(ctx: SimulatorContext, slot: int) -> None:
        ctx.set(block.slot, slot)
        needed, halved = ctx.get(block.settle.needed), np.zeros(24, dtype=np.int64)
        for step in range(7):
            ctx.set(block.settle.active, 1)
            ctx.set(block.settle.step, step)
            halved += [ctx.get(block.halve) >> lane & 1 for lane in range(24)]
            await ctx.tick()
        ctx.set(block.settle.active, 0)
        assert ctx.get(block.halve) == 0
        seen.append((halved.tolist(), needed))

    async def bench(ctx: SimulatorContext) -> None:
        await load(ctx, 0, operations[0])
        for index in range(len(operations)):
            if index + 1 < len(operations):
                await load(ctx, (index + 1) % 2, operations[index + 1])
            await settle(ctx, index % 2)

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    lists = [[0] * 24 if shifts is None else shifts.tolist() for shifts in operations]
    assert seen == [(shifts, (1 << max(shifts)) - 1) for shifts in lists]
