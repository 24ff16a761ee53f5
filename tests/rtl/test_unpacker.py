"""The unpacker against the rows that were packed: every form, gaps between words, one payload behind the other."""

import inspect
import types
from collections.abc import Callable

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights
from firstspike.compiler.packing import pack
from firstspike.rtl.blocks import unpacker as module
from firstspike.rtl.blocks.unpacker import Unpacker
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec

FAULTS = {
    "bits of a code are lost between words": ("left.eq((width + r) % bits)", "left.eq(0)"),
    "codes are lost between groups": ("count.eq(available - taken)", "count.eq(0)"),
    "lanes keep what the row before had": ("takes | first.replicate(width)", "takes"),
    "a lane takes a code that has not come": ("rank < many", "rank <= many"),
    "groups that are not stored keep what was": (
        "rows.codes.eq(Cat(Const(self.parameters.weights.zero_level, bits) for _ in range(pes)))",
        "rows.codes.eq(rows.codes)",
    ),
}


@pytest.mark.parametrize("bitmap", [True, False])
@pytest.mark.parametrize("bits", [3, 4, 5])
@pytest.mark.parametrize("pes", [40, 64])
def test_rows(pes: int, bits: int, bitmap: bool) -> None:
    """A row comes three cycles after its last word, in its bank; lanes of groups that are not stored are zero."""
    seen, wanted = _run(Unpacker, pes=pes, bits=bits, bitmap=bitmap)
    assert seen == wanted


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_caught(name: str) -> None:
    source = inspect.getsource(module)
    old, new = FAULTS[name]
    assert source.count(old) == 1
    mutated = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new), module.__file__, "exec"), mutated.__dict__)
    seen, wanted = _run(mutated.Unpacker, pes=64, bits=5, bitmap=True)
    assert seen != wanted


_Rows = list[list[tuple[int, int]]]


def _run(create: Callable[[Parameters], Unpacker], *, pes: int, bits: int, bitmap: bool) -> tuple[_Rows, _Rows]:
    """Bank and codes of the rows of every payload: as they come, and as they should."""
    processor = ProcessorSpec(pes=pes, word_bits=32, packed_rows=True)
    weights = LogWeights(bits=bits)
    unpacker = create(Parameters(processor=processor, code=Code(), weights=weights))
    rng = np.random.default_rng(bits)
    payloads = [(outputs, _rows(rng, outputs, pes, weights, zeros)) for outputs, zeros in _CASES]
    seen: _Rows = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(unpacker.payload.bitmap, bitmap)
        for slot, (outputs, rows) in enumerate(payloads):
            data = pack(rows, outputs, weights=weights, processor=processor, bitmap=bitmap)
            ctx.set(unpacker.payload.last_group, (outputs - 1) // 32)
            ctx.set(unpacker.payload.clear, 1)
            await ctx.tick()
            ctx.set(unpacker.payload.clear, 0)
            ctx.set(unpacker.payload.fill, slot % 2)
            seen.append([])
            words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
            for word in [*words, None, None, None, None]:
                ctx.set(unpacker.payload.push, word is not None)
                ctx.set(unpacker.payload.word, word or 0)
                if word is None:  # the loader may hand the bank over at once
                    ctx.set(unpacker.payload.fill, 1 - slot % 2)
                await ctx.tick()
                ctx.set(unpacker.payload.push, 0)
                if word is not None and rng.random() < 0.2:
                    await ctx.tick()

    async def watch(ctx: SimulatorContext) -> None:
        async for _, reset, push, fill, codes in ctx.tick().sample(
            unpacker.rows.push, unpacker.rows.fill, unpacker.rows.codes
        ):
            assert not reset
            if push:
                seen[-1].append((fill, codes))

    simulator = Simulator(unpacker)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    wanted = [
        [(slot % 2, sum(int(code) << (bits * lane) for lane, code in enumerate(row))) for row in rows]
        for slot, (_, rows) in enumerate(payloads)
    ]
    return seen, wanted


_CASES = [(33, 0.8), (7, 0.0), (40, 1.0), (40, 0.5), (32, 0.97), (38, 0.2)]
"""Outputs and share of zeros of each payload."""


def _rows(rng: np.random.Generator, outputs: int, pes: int, weights: LogWeights, zeros: float) -> np.ndarray:
    codes = rng.integers(0, 1 << weights.bits, (9, pes)).astype(np.uint8)
    codes[(codes & weights.zero_level) == weights.zero_level] = weights.zero_level
    codes[rng.random(codes.shape) < zeros] = weights.zero_level
    codes[:, outputs:] = weights.zero_level
    return codes
