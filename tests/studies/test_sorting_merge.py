"""Spike lists against naive models, every stream held back at random: the list encoder and the min-find merge."""

from collections.abc import Sequence

import numpy as np
import pytest
from amaranth.hdl import Elaboratable
from amaranth.lib import stream
from amaranth.sim import Simulator, SimulatorContext

from studies.sorting.merge import Merge
from studies.sorting.spike_list import ListEncoder

Item = dict[str, int]


def _pass(
    block: Elaboratable,
    feeds: Sequence[tuple[stream.Interface, list[Item]]],
    target: stream.Interface,
    count: int,
    *,
    offered: float,
    ready: float,
    seed: int,
) -> tuple[list[Item], int]:
    """Feed every stream its items and take ``count`` from the target, all with random pauses; checks the stream rule."""
    rng = np.random.default_rng(seed)
    seen: list[Item] = []
    cycles = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal cycles
        sent, valid = [0] * len(feeds), [False] * len(feeds)
        shown: Item | None = None
        while len(seen) < count:
            for number, (port, items) in enumerate(feeds):
                valid[number] = sent[number] < len(items) and (valid[number] or rng.random() < offered)
                ctx.set(port.valid, int(valid[number]))
                if valid[number]:
                    ctx.set(port.payload, items[sent[number]])
            ctx.set(target.ready, int(rng.random() < ready))
            fields = {name: ctx.get(getattr(target.payload, name)) for name, _ in target.payload.shape()}
            now = fields if ctx.get(target.valid) else None
            assert shown is None or now == shown, "an item that was shown must stay until it is taken"
            shown = now
            if now is not None and ctx.get(target.ready):
                seen.append(now)
                shown = None
            for number, (port, _) in enumerate(feeds):
                if valid[number] and ctx.get(port.ready):
                    sent[number], valid[number] = sent[number] + 1, False
            await ctx.tick()
            cycles += 1
            assert cycles < 20_000
        assert all(sent[number] == len(items) for number, (_, items) in enumerate(feeds))

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen, cycles


def _spikes(items: list[Item]) -> list[Item]:
    """Items without the fields that mean nothing in an end."""
    return [item if not item["end"] else {"end": 1} for item in items]


@pytest.mark.parametrize(("offered", "ready"), [(1.0, 1.0), (0.6, 0.6)])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_encoder_writes_sorted_lists(density: float, offered: float, ready: float) -> None:
    """Random first crossings of 13 neurons: sorted by time, then neuron; the cycles of the docstring."""
    rng = np.random.default_rng(int(10 * density))
    neurons, T, sweeps = 13, 9, 4
    encoder = ListEncoder(4, neurons)
    steps: list[Item] = []
    expected: list[Item] = []
    cycles = 0
    for _ in range(sweeps):
        times = np.where(rng.random(neurons) < density, rng.integers(0, T, neurons), 255)
        for t in range(T):
            crossed = [n for n in range(neurons) if times[n] == t]
            steps.append({"time": t, "neurons": sum(1 << n for n in crossed), "last": int(t == T - 1)})
            cycles += max(1, len(crossed))
        cycles += 1 - (steps[-1]["neurons"] == 0)  # the end comes in the cycle of a last step in which nothing crosses
        expected += [
            {"time": int(time), "index": n, "end": 0}
            for time, n in sorted((times[n], n) for n in range(neurons) if times[n] != 255)
        ]
        expected.append({"end": 1})
    seen, taken = _pass(
        encoder, [(encoder.steps, steps)], encoder.spikes, len(expected), offered=offered, ready=ready, seed=1
    )
    assert _spikes(seen) == expected
    if offered == ready == 1:
        assert taken == 1 + cycles


@pytest.mark.parametrize(("offered", "ready"), [(1.0, 1.0), (0.7, 0.5)])
@pytest.mark.parametrize("lists", [2, 3, 9, 16])
def test_merge_sorts(lists: int, offered: float, ready: float) -> None:
    """Random sorted lists, empty ones among them, three rounds: the sorted union; an item a cycle when nothing pauses."""
    rng = np.random.default_rng(lists)
    merge = Merge(lists, 4, 6)
    feeds: list[list[Item]] = [[] for _ in range(lists)]
    expected: list[Item] = []
    for _ in range(3):
        union = []
        for number in range(lists):
            length = int(rng.integers(0, 12)) * int(rng.random() < 0.7)
            spikes = sorted((int(rng.integers(0, 16)), int(rng.integers(0, 64))) for _ in range(length))
            feeds[number] += [{"time": time, "index": index, "end": 0} for time, index in spikes]
            feeds[number].append({"time": int(rng.integers(0, 16)), "index": 0, "end": 1})
            union += [(time, number, index) for time, index in spikes]
        expected += [
            {"time": time, "index": index, "source": number, "end": 0} for time, number, index in sorted(union)
        ]
        expected.append({"end": 1})
    ports = [(getattr(merge, f"list{number}"), items) for number, items in enumerate(feeds)]
    seen, cycles = _pass(merge, ports, merge.spikes, len(expected), offered=offered, ready=ready, seed=2)
    assert _spikes(seen) == expected
    if offered == ready == 1:
        assert cycles == 1 + len(expected)
