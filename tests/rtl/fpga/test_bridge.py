"""The board's end of the protocol, with the host's own client at the other: words, runs, lost and broken commands."""

import binascii

import pytest
from amaranth.hdl import Signal, Value
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights
from firstspike.rtl.blocks.memory_port import REQUEST
from firstspike.rtl.fpga import protocol
from firstspike.rtl.fpga.bridge import Bridge
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec

CYCLES = 37
"""Of a run of what stands for the processor."""


def _answers(*commands: bytes, memory: dict[int, int] | None = None, patience: int = 500) -> bytes:
    """What a bridge sends, with words of 32 bits; between the arguments its patience runs out."""
    bridge = Bridge(32, 0x12345678, patience)
    kept = {} if memory is None else memory
    sent = bytearray()

    async def host(ctx: SimulatorContext) -> None:
        for part in commands:
            for byte in part:
                ctx.set(bridge.received.payload, byte)
                ctx.set(bridge.received.valid, 1)
                await ctx.tick().until(bridge.received.ready)
                ctx.set(bridge.received.valid, 0)
                await ctx.tick().repeat(10)
            await ctx.tick().repeat(2 * patience)

    # What runs in the background waits by single ticks: a wait that never ends would be complained about.
    async def line(ctx: SimulatorContext) -> None:
        ctx.set(bridge.sent.ready, 1)
        while True:
            if ctx.get(bridge.sent.valid):
                sent.append(ctx.get(bridge.sent.payload))
            await ctx.tick()

    async def passes(ctx: SimulatorContext, ours: Signal, theirs: Signal, payload: Value) -> int:
        ctx.set(ours, 1)
        while not ctx.get(theirs):
            await ctx.tick()
        value = ctx.get(payload)
        await ctx.tick()
        ctx.set(ours, 0)
        return value

    async def dram(ctx: SimulatorContext) -> None:
        port = bridge.dram
        while True:
            asked = await passes(ctx, port.request.ready, port.request.valid, port.request.payload.as_value())
            request = REQUEST.from_bits(asked)
            for place in range(request.address, request.address + request.words):
                if request.write:
                    kept[place] = await passes(ctx, port.write.ready, port.write.valid, port.write.payload)
                else:
                    ctx.set(port.read.payload, kept.get(place, 0))
                    await passes(ctx, port.read.valid, port.read.ready, port.read.payload)

    async def processor(ctx: SimulatorContext) -> None:
        while True:
            while not ctx.get(bridge.start):
                await ctx.tick()
            await ctx.tick().repeat(CYCLES)
            assert ctx.get(bridge.running)
            ctx.set(bridge.done, 1)
            await ctx.tick()
            ctx.set(bridge.done, 0)

    simulator = Simulator(bridge)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    for bench in (line, dram, processor):
        simulator.add_testbench(bench, background=True)
    simulator.run()
    return bytes(sent)


def _summed(command: bytes, answer: bytes) -> bytes:
    return answer + binascii.crc_hqx(command + answer, 0).to_bytes(2, "little")


WRITE = b"W" + (5).to_bytes(4, "little") + (2).to_bytes(4, "little") + bytes(range(1, 9))
READ = b"R" + (6).to_bytes(4, "little") + (1).to_bytes(4, "little")


def test_commands() -> None:
    """Each command alone, then all at once: answers in order, sums over command and answer."""
    memory: dict[int, int] = {}
    assert _answers(WRITE, memory=memory) == _summed(WRITE, b"W")
    assert memory == {5: 0x04030201, 6: 0x08070605}
    assert _answers(READ, memory=memory) == _summed(READ, b"R" + bytes([5, 6, 7, 8]))
    assert _answers(b"I") == _summed(b"I", b"I" + (0x12345678).to_bytes(4, "little"))
    assert _answers(b"S") == _summed(b"S", b"S" + CYCLES.to_bytes(4, "little"))
    nothing = b"W" + bytes(8)
    whole = _answers(WRITE + b"S" + READ + nothing + b"I")
    parts = [(WRITE, b"W"), (b"S", b"S" + CYCLES.to_bytes(4, "little")), (READ, b"R" + bytes([5, 6, 7, 8]))]
    parts += [(nothing, b"W"), (b"I", b"I" + (0x12345678).to_bytes(4, "little"))]
    assert whole == b"".join(_summed(*part) for part in parts)


@pytest.mark.parametrize("stop", [1, 4, 9, 10, 13, 16])
def test_half_a_command_is_dropped(stop: int) -> None:
    """After its patience the board takes the next command; a burst that was begun is completed, nothing is answered."""
    memory: dict[int, int] = {}
    assert _answers(WRITE[:stop], b"I", memory=memory) == _summed(b"I", b"I" + (0x12345678).to_bytes(4, "little"))
    assert set(memory) in (set(), {5, 6})


def test_unknown_letters_are_skipped() -> None:
    """Noise before a command is no command."""
    assert _answers(b"\x00x\xff" + b"I") == _summed(b"I", b"I" + (0x12345678).to_bytes(4, "little"))


def test_fingerprint() -> None:
    """What changes the hardware changes it; the clock does not."""
    parameters = Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights())
    others = [
        Parameters(processor=ProcessorSpec(pes=64), code=Code(), weights=LogWeights()),
        Parameters(processor=ProcessorSpec(), code=Code(T=23), weights=LogWeights()),
        Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights(mantissa_bits=4)),
    ]
    prints = {protocol.fingerprint(each) for each in [parameters, *others]}
    assert len(prints) == 4
    slower = Parameters(processor=ProcessorSpec(clock_mhz=60), code=Code(), weights=LogWeights(), late_shift=True)
    assert protocol.fingerprint(slower) == protocol.fingerprint(parameters)
