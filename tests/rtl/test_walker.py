"""The input generator against a naive walk, with its consumer held back at random, and the stream rule."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.arith import Code, LogWeights
from firstspike.rtl.blocks.walker import Walker
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec

PARAMETERS = Parameters(processor=ProcessorSpec(pes=8, word_bits=32), code=Code(), weights=LogWeights())
HEIGHT, WIDTH, WORDS = 4, 3, 2


def _naive(
    memory: np.ndarray, y0: int, x0: int, kernel: tuple[int, int], word: int, words: int
) -> list[tuple[int, int]]:
    """(time, weight row) of every spike, in the order of the words, lowest lane first."""
    spikes = []
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, x = y0 + ky, x0 + kx
            if not (0 <= y < HEIGHT and 0 <= x < WIDTH):
                continue
            for channel in range(4 * words):
                time = int(memory[y, x, 4 * word + channel])
                if time != 255:
                    spikes.append((time, (ky * kernel[1] + kx) * 4 * words + channel))
    return spikes


@pytest.mark.parametrize(("density", "outside"), [(0.0, False), (0.4, False), (0.4, True), (1.0, True)])
@pytest.mark.parametrize("readiness", [1.0, 0.5])
@pytest.mark.parametrize(("word", "words"), [(0, 2), (1, 1)])
def test_spikes_of_windows(density: float, outside: bool, readiness: float, word: int, words: int) -> None:
    """All windows of a padded 3 x 2 kernel; a spike that is not taken stays; without stalls the cycles are the formula's.

    The walker that reads outside the map too finds spikes there.
    """
    rng = np.random.default_rng(int(10 * density) + word)
    shape = (HEIGHT, WIDTH, 4 * WORDS)
    memory = np.where(rng.random(shape) < density, rng.integers(0, 24, shape), 255)
    flat = [int.from_bytes(bytes(int(b) for b in row), "little") for row in memory.reshape(-1, 4)]
    flat += [0x05040302] * (64 - len(flat))
    kernel = (3, 2)
    walker = Walker(replace(PARAMETERS, long_wires=outside), 6, 8)
    window = walker.window

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(window.kernel_height, kernel[0])
        ctx.set(window.kernel_width, kernel[1])
        ctx.set(window.words, words)
        ctx.set(window.in_height, HEIGHT)
        ctx.set(window.in_width, WIDTH)
        ctx.set(window.in_pixel, WORDS)
        ctx.set(window.in_row, WORDS * WIDTH)
        ctx.set(window.position_rows, 4 * words)
        for y0 in range(-2, HEIGHT):
            for x0 in range(-1, WIDTH):
                expected = _naive(memory, y0, x0, kernel, word, words)
                ctx.set(window.start, 1)
                ctx.set(window.address, (y0 * WORDS * WIDTH + x0 * WORDS + word) % 64)
                ctx.set(window.y, y0)
                ctx.set(window.x, x0)
                read = flat[ctx.get(walker.buffer.address)] if ctx.get(walker.buffer.enable) else None
                await ctx.tick()
                if read is not None:
                    ctx.set(walker.buffer.data, read)
                ctx.set(window.start, 0)
                seen: list[tuple[int, int]] = []
                cycles, held, done = 0, None, False
                while not done:
                    ctx.set(walker.spikes.ready, int(rng.random() < readiness))
                    spike = None
                    if ctx.get(walker.spikes.valid):
                        spike = (ctx.get(walker.spikes.payload.time), ctx.get(walker.spikes.payload.row))
                    assert held is None or spike == held
                    held = spike
                    if spike is not None and ctx.get(walker.spikes.ready):
                        seen.append(spike)
                        held = None
                    done = bool(ctx.get(window.done))
                    read = flat[ctx.get(walker.buffer.address)] if ctx.get(walker.buffer.enable) else None
                    await ctx.tick()
                    if read is not None:
                        ctx.set(walker.buffer.data, read)
                    cycles += 1
                    assert cycles < 1000
                assert seen == expected, (y0, x0)
                if readiness == 1:
                    assert cycles == 1 + _formula(memory, y0, x0, kernel, word, words)

    simulator = Simulator(walker)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def _formula(memory: np.ndarray, y0: int, x0: int, kernel: tuple[int, int], word: int, words: int) -> int:
    cycles = 0
    for y in range(y0, y0 + kernel[0]):
        for x in range(x0, x0 + kernel[1]):
            if 0 <= y < HEIGHT and 0 <= x < WIDTH:
                spikes = (memory[y, x, 4 * word : 4 * (word + words)].reshape(words, 4) != 255).sum(axis=1)
                cycles += int(np.maximum(spikes, 1).sum())
            else:
                cycles += 1
    return cycles
