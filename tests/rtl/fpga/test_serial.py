"""The serial line: what one end sends the other receives; the bits are as UARTs have them."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator, SimulatorContext

from firstspike.rtl.fpga.serial import Receiver, Transmitter


@pytest.mark.parametrize("divider", [4, 5, 30])
def test_loopback(divider: int) -> None:
    """Random bytes, sent with and without pauses, arrive once and in order."""
    rng = np.random.default_rng(divider)
    sent = rng.integers(0, 256, 40).tolist()
    m = Module()
    m.submodules.receiver = receiver = Receiver(divider)
    m.submodules.transmitter = transmitter = Transmitter(divider)
    m.d.comb += receiver.line.eq(transmitter.line)
    found: list[int] = []

    async def send(ctx: SimulatorContext) -> None:
        for byte in sent:
            ctx.set(transmitter.bytes.payload, byte)
            ctx.set(transmitter.bytes.valid, 1)
            await ctx.tick().until(transmitter.bytes.ready)
            ctx.set(transmitter.bytes.valid, 0)
            await ctx.tick().repeat(int(rng.integers(1, 3 * divider)) if rng.random() < 0.5 else 1)

    async def receive(ctx: SimulatorContext) -> None:
        ctx.set(receiver.bytes.ready, 1)
        while len(found) < len(sent):
            (byte,) = await ctx.tick().sample(receiver.bytes.payload).until(receiver.bytes.valid)
            found.append(byte)

    _simulate(m, send, receive)
    assert found == sent


@pytest.mark.parametrize("byte", [0x00, 0x55, 0xA7, 0xFF])
def test_bits(byte: int) -> None:
    """A start bit, the bits from the lowest on, a stop bit, each as long as the divider says."""
    divider = 6
    transmitter = Transmitter(divider)
    line: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(transmitter.bytes.payload, byte)
        ctx.set(transmitter.bytes.valid, 1)
        await ctx.tick()
        ctx.set(transmitter.bytes.valid, 0)
        for _ in range(10 * divider):
            line.append(ctx.get(transmitter.line))
            await ctx.tick()
        assert ctx.get(transmitter.bytes.ready)

    _simulate(transmitter, bench)
    bits = [0, *(byte >> index & 1 for index in range(8)), 1]
    assert line == [bit for bit in bits for _ in range(divider)]


def test_noise_is_no_byte() -> None:
    """A pulse shorter than half a bit is not taken for a start bit, a byte without its stop bit is dropped."""
    divider = 16
    receiver = Receiver(divider)
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(receiver.bytes.ready, 1)
        levels = [0] * 4 + [1] * 400 + [0] * 11 * divider + [1] * 400
        for level in levels:
            ctx.set(receiver.line, level)
            if ctx.get(receiver.bytes.valid):
                seen.append(ctx.get(receiver.bytes.payload))
            await ctx.tick()

    _simulate(receiver, bench)
    assert seen == []


def _simulate(design: Module | wiring.Component, *benches: object) -> None:
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)  # type: ignore[arg-type]
    simulator.run()
