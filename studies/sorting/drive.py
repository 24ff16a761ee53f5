"""The spikes of a real map, driven through list encoder, merge and walker; what happens at every cycle is recorded."""

from dataclasses import dataclass

import numpy as np
from amaranth.sim import SimulatorContext

from firstspike.arith import NO_SPIKE
from firstspike.rtl.blocks.walker import Walker
from studies.sorting.merge import Merge
from studies.sorting.replay import Recording, Tick, record
from studies.sorting.spike_list import ListEncoder


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """What is driven through a block.

    Attributes:
        source: spike times of one image and one tile of channels, uint8 ``[channels, height, width]``.
        pixels: row and column of every pixel, in the order in which they are visited, ``[pixels, 2]``.
        spikes: about how many spikes.
        T: steps of a window.
        lanes: channels of a word of the activation buffer.
        neurons: of the list encoder.
    """

    source: np.ndarray
    pixels: np.ndarray
    spikes: int
    T: int
    lanes: int
    neurons: int

    def sorted_list(self, y: int, x: int) -> list[dict[str, int]]:
        """The spikes of a pixel by time, then channel, and the end; outside the map the end alone."""
        inside = 0 <= y < self.source.shape[1] and 0 <= x < self.source.shape[2]
        column = self.source[:, y, x] if inside else np.array([], dtype=np.uint8)
        spikes = sorted((int(t), c) for c, t in enumerate(column) if t != NO_SPIKE)
        return [*({"time": t, "index": c, "end": 0} for t, c in spikes), {"time": 0, "index": 0, "end": 1}]

    def words(self) -> tuple[int, list[int]]:
        """Words of a pixel, and the map as the activation buffer holds it."""
        channels, height, width = self.source.shape
        words = -(-channels // self.lanes)
        padded = np.full((height, width, words * self.lanes), NO_SPIKE, dtype=np.uint8)
        padded[:, :, :channels] = self.source.transpose(1, 2, 0)
        return words, [int.from_bytes(bytes(row), "little") for row in padded.reshape(-1, self.lanes)]


def encoder_recording(block: ListEncoder, drive: Drive) -> tuple[Recording, int]:
    """First crossings of pixel after pixel."""
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        ctx.set(block.spikes.ready, 1)
        for y, x in drive.pixels:
            if given >= drive.spikes:
                break
            column = drive.source[:, y, x]
            for step in range(drive.T):
                crossed = sum(1 << int(c) for c in np.flatnonzero(column == step))
                ctx.set(block.steps.valid, 1)
                ctx.set(block.steps.payload, {"time": step, "neurons": crossed, "last": step == drive.T - 1})
                while not ctx.get(block.steps.ready):
                    await tick()
                await tick()
            given += int((column != NO_SPIKE).sum())
        ctx.set(block.steps.valid, 0)
        for _ in range(drive.neurons):
            await tick()

    return record(block, bench), given


def merge_recording(block: Merge, drive: Drive, kernel: int) -> tuple[Recording, int]:
    """The lists of window after window of ``kernel * kernel`` positions, items offered in every cycle."""
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        ctx.set(block.spikes.ready, 1)
        queues: list[list[dict[str, int]]] = [[] for _ in range(block.lists)]
        chosen = 0
        while given < drive.spikes or any(queues):
            if given < drive.spikes and not all(queues):
                y, x = drive.pixels[chosen % len(drive.pixels)]
                chosen += 1
                for number, queue in enumerate(queues):
                    fresh = drive.sorted_list(y + number // kernel - kernel // 2, x + number % kernel - kernel // 2)
                    given += len(fresh) - 1
                    queue += fresh
            for number, queue in enumerate(queues):
                port = getattr(block, f"list{number}")
                ctx.set(port.valid, int(bool(queue)))
                if queue:
                    ctx.set(port.payload, queue[0])
            for number, queue in enumerate(queues):
                if queue and ctx.get(getattr(block, f"list{number}").ready):
                    queue.pop(0)
            await tick()
        for number in range(block.lists):
            ctx.set(getattr(block, f"list{number}").valid, 0)
        for _ in range(4):
            await tick()

    return record(block, bench), given


def walker_recording(block: Walker, drive: Drive) -> tuple[Recording, int]:
    """The walk of window after window of 3 x 3 positions over the same map."""
    _, height, width = drive.source.shape
    words, memory = drive.words()
    given = 0

    async def bench(ctx: SimulatorContext, tick: Tick) -> None:
        nonlocal given
        fixed = {
            "kernel_height": 3,
            "kernel_width": 3,
            "words": words,
            "in_height": height,
            "in_width": width,
            "in_pixel": words,
            "in_row": words * width,
            "position_rows": words * drive.lanes,
        }
        for name, value in fixed.items():
            ctx.set(getattr(block.window, name), value)
        ctx.set(block.spikes.ready, 1)
        for y, x in drive.pixels:
            if given >= drive.spikes:
                break
            ctx.set(block.window.start, 1)
            ctx.set(block.window.y, int(y) - 1)
            ctx.set(block.window.x, int(x) - 1)
            ctx.set(block.window.address, int((y - 1) * words * width + (x - 1) * words) % (1 << block.address_bits))
            done = False
            while not done:
                given += ctx.get(block.spikes.valid)
                done = bool(ctx.get(block.window.done))
                address = ctx.get(block.buffer.address) if ctx.get(block.buffer.enable) else None
                await tick()
                ctx.set(block.window.start, 0)
                if address is not None:
                    ctx.set(block.buffer.data, memory[address])

    return record(block, bench), given
