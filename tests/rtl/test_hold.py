"""The stream hold: nothing lost, nothing doubled, the order kept, and the stream rule towards its consumer."""

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.rtl.blocks.hold import Hold


@pytest.mark.parametrize(("holding", "ready"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (0.9, 0.3)])
def test_items_pass_in_order(holding: float, ready: float) -> None:
    """Against the list of what was sent; without holds every cycle passes an item."""
    rng = np.random.default_rng(1)
    items = [int(item) for item in rng.integers(0, 256, 60)]
    hold = Hold(8)
    seen: list[int] = []
    cycles = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal cycles
        sent, shown = 0, None
        while len(seen) < len(items):
            ctx.set(hold.hold, int(rng.random() < holding))
            ctx.set(hold.source.valid, sent < len(items))
            ctx.set(hold.source.payload, items[min(sent, len(items) - 1)])
            ctx.set(hold.target.ready, int(rng.random() < ready))
            valid, payload = ctx.get(hold.target.valid), ctx.get(hold.target.payload)
            assert shown is None or (valid and payload == shown)
            shown = payload if valid and not ctx.get(hold.target.ready) else None
            if valid and ctx.get(hold.target.ready):
                seen.append(payload)
            sent += ctx.get(hold.source.valid) & ctx.get(hold.source.ready)
            await ctx.tick()
            cycles += 1
            assert cycles < 5000

    simulator = Simulator(hold)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == items
    if not holding:
        assert cycles == len(items)
    else:
        assert cycles > len(items)
