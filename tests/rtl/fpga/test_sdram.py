"""The SDRAM controller against a chip that checks its rules, cycle by cycle; a controller that is too quick is caught."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from firstspike.rtl.fpga.sdram import SdramController, SdramTiming

POWER_UP_US = 2
"""Shorter than a chip's, for the simulator."""


class Broken(AssertionError):
    """A rule of the chip."""


@dataclass
class Chip:
    """A 16-bit SDRAM, a command a cycle; times in ns from the data sheets, not from the controller."""

    clock_mhz: float
    memory: dict[int, int] = field(default_factory=dict)
    now: int = 0
    rows: dict[int, tuple[int, float]] = field(default_factory=dict)
    precharged: float = -1e9
    refreshed: float = -1e9
    written: float = -1e9
    refreshes: list[float] = field(default_factory=list)
    burst: int = 0
    moded: bool = False
    reading: dict[int, int] = field(default_factory=dict)
    writing: list[int] = field(default_factory=list)
    fault: str = ""

    def clock(self, command: int, bank: int, address: int, data: int, drive: bool) -> int:
        """Take a command; what the pins show two cycles after their command, or rubbish."""
        time = self.now * 1000 / self.clock_mhz
        if self.writing:
            self._store(data, drive, time)
        if drive and self.reading.keys() & {self.now - 1, self.now, self.now + 1}:
            raise Broken("the pins rest between a read and a write")
        getattr(self, f"_{command:03b}")(time, bank, address, data, drive)
        if self.refreshes and time - self.refreshes[0] > (len(self.refreshes) + 1) * 64e6 / 8192:
            raise Broken("every row is refreshed in 64 ms")
        self.now += 1
        return self.reading.pop(self.now - 1, 0xDEAD)

    def _111(self, *_: Any) -> None:
        pass

    def _011(self, time: float, bank: int, address: int, *_: Any) -> None:
        self._holds(self.moded, "power-up comes first")
        self._holds(bank not in self.rows, "an activated bank is closed")
        self._holds(time - self.precharged >= 20 and time - self.refreshed >= 70, "tRP and tRFC before an activation")
        self.rows[bank] = (address, time)

    def _101(self, time: float, bank: int, address: int, *_: Any) -> None:
        for beat, place in enumerate(self._burst(time, bank, address)):
            self._holds(self.now + 2 + beat not in self.reading, "bursts of reads do not overlap")
            self.reading[self.now + 2 + beat] = self.memory.get(place, 0xBEEF)

    def _100(self, time: float, bank: int, address: int, data: int, drive: bool) -> None:
        self.writing = self._burst(time, bank, address)
        self._store(data, drive, time)

    def _010(self, time: float, bank: int, address: int, *_: Any) -> None:
        self._holds(time >= 1000 * POWER_UP_US, "rest before the first command")
        self._holds(bool(address >> 10 & 1), "all banks are closed together")
        self._holds(not self.writing and time - self.written >= 15, "tWR before a precharge")
        self._holds(not self.reading or max(self.reading) <= self.now + 1, "a read ends before a precharge")
        self._holds(all(time - opened >= 45 for _, opened in self.rows.values()), "tRAS before a precharge")
        self.rows = {}
        self.precharged = time

    def _001(self, time: float, *_: Any) -> None:
        self._holds(not self.rows and time - self.precharged >= 20, "tRP before a refresh")
        self._holds(time - self.refreshed >= 70, "tRFC between refreshes")
        self.refreshed = time
        self.refreshes.append(time)

    def _000(self, time: float, bank: int, address: int, *_: Any) -> None:
        self._holds(len(self.refreshes) >= 2 and time - self.refreshed >= 70, "refreshes before the mode")
        self._holds(bank == 0 and address & ~0b111 == 2 << 4, "sequential bursts, CAS latency 2")
        self.burst, self.moded = 1 << (address & 7), True

    def _burst(self, time: float, bank: int, address: int) -> list[int]:
        self._holds(bank in self.rows, "the bank is open")
        row, opened = self.rows[bank]
        self._holds(time - opened >= 20, "tRCD before a read or write")
        self._holds(not self.writing and address < 512 and address % self.burst == 0, "whole bursts, no precharge")
        return [(row << 11) + (bank << 9) + address + beat for beat in range(self.burst)]

    def _store(self, data: int, drive: bool, time: float) -> None:
        self._holds(drive, "written data is at the pins")
        self.memory[self.writing.pop(0)] = data
        self.written = time

    @staticmethod
    def _holds(condition: bool, rule: str) -> None:
        if not condition:
            raise Broken(rule)


def _run(
    timing: SdramTiming, word_bits: int, *, seed: int = 0, bursts: int = 12, idle: int = 0, longest: int = 140
) -> Chip:
    """Random bursts; every word read is the last one written there."""
    controller = SdramController(timing, word_bits)
    chip = Chip(timing.clock_mhz)
    rng = np.random.default_rng(seed)
    words = 512 * 4 * 3 * 16 // word_bits  # three rows of all banks

    async def pins(ctx: SimulatorContext) -> None:
        pins = controller.pins
        while True:
            values = [ctx.get(getattr(pins, name)) for name in ("command", "bank", "address", "data", "drive")]
            try:
                shown = 0 if chip.fault else chip.clock(*values)
            except Broken as error:
                chip.fault = str(error)
            await ctx.tick()
            ctx.set(pins.capture, shown)

    async def user(ctx: SimulatorContext) -> None:
        dram, kept = controller.dram, {}
        places = [0]
        for number in range(bursts):
            write = number % 2 == 0 or rng.random() < 0.3
            start = int(rng.integers(words)) if write else places[int(rng.integers(len(places)))]
            count = int(rng.choice([1, 2, 5, 40, 140])) if write else max(1, int(rng.integers(60)))
            places.append(start)
            payload = dram.request.payload
            ctx.set(payload, {"address": start, "words": count, "write": int(write)})
            ctx.set(dram.request.valid, 1)
            await ctx.tick().until(dram.request.ready)
            ctx.set(dram.request.valid, 0)
            for place in range(start, start + count):
                while rng.random() < 0.2:
                    await ctx.tick()
                if write:
                    kept[place] = int.from_bytes(rng.bytes(word_bits // 8), "little")
                    ctx.set(dram.write.payload, kept[place])
                    ctx.set(dram.write.valid, 1)
                    await ctx.tick().until(dram.write.ready)
                    ctx.set(dram.write.valid, 0)
                else:
                    ctx.set(dram.read.ready, 1)
                    (found,) = await ctx.tick().sample(dram.read.payload).until(dram.read.valid)
                    ctx.set(dram.read.ready, 0)
                    assert chip.fault or place not in kept or found == kept[place], hex(place)
            await ctx.tick().repeat(idle if number % 5 == 4 else 1)

    simulator = Simulator(controller)
    simulator.add_clock(1e-6)
    simulator.add_testbench(user)
    simulator.add_testbench(pins, background=True)
    simulator.run()
    return chip


@pytest.mark.parametrize(("clock_mhz", "word_bits"), [(60, 64), (80, 64), (100, 32), (50, 128)])
def test_random_bursts(clock_mhz: float, word_bits: int) -> None:
    """Words come back, all rules hold, refreshes go on in long bursts and at rest."""
    chip = _run(SdramTiming(clock_mhz=clock_mhz, power_up_us=POWER_UP_US), word_bits, seed=word_bits, idle=1000)
    assert not chip.fault, chip.fault
    assert len(chip.refreshes) > 10
    assert {place >> 9 & 3 for place in chip.memory} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("change", "rule", "bursts", "idle"),
    [
        ({"precharge_ns": 5}, "tRP", 1, 1),
        ({"activate_ns": 5}, "tRCD", 1, 1),
        ({"refresh_ns": 20}, "tRFC", 1, 1),
        ({"refresh_every_ns": 40000}, "every row", 5, 8000),
        ({"power_up_us": 1}, "rest", 1, 1),
    ],
)
def test_a_controller_that_is_too_quick_is_caught(change: dict[str, float], rule: str, bursts: int, idle: int) -> None:
    """The chip checks the times that the controller keeps; tRAS and tWR it keeps by its states already."""
    timing = SdramTiming(**{"clock_mhz": 80, "power_up_us": POWER_UP_US, **change})
    assert rule in _run(timing, 64, bursts=bursts, idle=idle).fault


def test_limits() -> None:
    """Clocks and words that the chip has not."""
    with pytest.raises(ValueError, match=r"clock_mhz must be in \(0, 100\], not 120"):
        SdramTiming(clock_mhz=120)
    with pytest.raises(ValueError, match="must have 32, 64 or 128 bits, not 256"):
        SdramTiming(clock_mhz=80).beats(256)
