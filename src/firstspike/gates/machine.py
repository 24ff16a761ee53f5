"""The whole processor at gate level: the mapped netlist with its memories and an ideal DRAM, cycle by cycle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from firstspike.compiler.image import MemoryImage
from firstspike.gates.activity import CompiledNetlist, Waves
from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Bit, Macro, Netlist
from firstspike.spec.processor import ProcessorSpec


@dataclass(kw_only=True)
class Access:
    """Reads and writes of a memory."""

    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What a run saw.

    Attributes:
        waves: every net in the recorded cycles.
        first: the first recorded cycle (the one after ``start`` is 0).
        cycles: cycles run.
        taken: cycle at which each operation was taken.
        finished: whether the program's HALT was reached.
        memories: accesses by memory path in the recorded cycles.
        dram: bytes of the DRAM at the end.
        dram_words: words read and written over the DRAM port in the recorded cycles.
    """

    waves: Waves
    first: int
    cycles: int
    taken: tuple[int, ...]
    finished: bool
    memories: dict[str, Access]
    dram: bytes
    dram_words: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What runs, and of which cycles the nets are kept.

    Attributes:
        image: program and weights.
        processor: latency and bandwidth of the DRAM.
        inputs: the input map's bytes for its DRAM region.
        operations: record from taking the first of these to taking the second.
        limit: most cycles recorded.
        to_the_end: go on to the HALT after recording.
    """

    image: MemoryImage
    processor: ProcessorSpec
    inputs: bytes
    operations: tuple[int, int]
    limit: int
    to_the_end: bool = False


def run(netlist: Netlist, library: Library, setup: Setup, *, progress: Callable[[int], None] | None = None) -> Run:
    """Run one image.

    Args:
        netlist: of `synthesise.design("processor", ...)`.
        library: its cells.
        setup: what runs.
        progress: called every 1000 cycles.

    Raises:
        RuntimeError: the processor broke a rule of the port, or did not take the first operation.
    """
    machine = _Machine(netlist, library, setup)
    recorded: list[np.ndarray] = []
    taken: list[int] = []
    accesses: dict[str, Access] = {path: Access() for path in netlist.memories}
    words = first = 0
    finished = False
    for cycle, nets in enumerate(machine):
        if progress is not None and cycle % 1000 == 0:
            progress(cycle)
        if machine.bit("operation"):
            taken.append(cycle)
        recording = setup.operations[0] < len(taken) <= setup.operations[1] and len(recorded) < setup.limit
        if recording:
            if not recorded:
                first = cycle
            recorded.append(np.array(nets, dtype=np.uint8))
            words += machine.moved
            for path, kind in machine.accessed:
                if kind == "read":
                    accesses[path].reads += 1
                else:
                    accesses[path].writes += 1
        finished = bool(machine.bit("done"))
        if finished or (recorded and not recording and not setup.to_the_end):
            break
    if not recorded:
        raise RuntimeError(f"operation {setup.operations[0]} must be taken before the HALT, but was not")
    return Run(
        waves=Waves(nets=np.stack(recorded), streams=1, clocks=machine.program.clocks),
        first=first,
        cycles=cycle + 1,
        taken=tuple(taken),
        finished=finished,
        memories=accesses,
        dram=bytes(machine.dram),
        dram_words=words,
    )


class _Machine:
    """Netlist, memories and DRAM; iterating gives the nets of cycle after cycle."""

    def __init__(self, netlist: Netlist, library: Library, setup: Setup) -> None:
        self.netlist, self.processor, image = netlist, setup.processor, setup.image
        self.program = CompiledNetlist(netlist, library)
        self.dram = bytearray(image.data)
        start = image.regions["input"] * image.word_bytes
        self.dram[start : start + len(setup.inputs)] = setup.inputs
        self.width = image.word_bytes
        self.words = {path: [0] * macro.parameters["DEPTH"] for path, macro in netlist.memories.items()}
        self.held = dict.fromkeys(netlist.memories, 0)
        self.accessed: list[tuple[str, str]] = []
        self.moved = self.left = self.wait = self.address = 0
        self.writing = False
        self.nets: tuple[int, ...] = ()

    def bit(self, port: str) -> int:
        return self._word(self.netlist.outputs[port])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        state: tuple[int, ...] = (0,) * self.program.states
        places = {bit: index for index, bit in enumerate(self.program.sources)}
        values = [0] * len(places)
        cycle = -2  # two cycles of reset, then start in cycle 0
        ports = self.netlist.inputs
        while True:
            drive = self._drive() | {"rst": int(cycle < 0), "start": int(cycle == 0)}
            for name, word in drive.items():
                _spread(values, places, ports[name], word)
            for path, macro in self.netlist.memories.items():
                _spread(values, places, macro.outputs["read_data"], self.held[path])
            self.nets, state = self.program.step(tuple(values), state, 1)
            self.accessed = []
            for path, macro in self.netlist.memories.items():
                self._memory(path, macro)
            self._clock(drive)
            if cycle >= 0:
                yield self.nets
            cycle += 1

    def _word(self, bits: Sequence[Bit]) -> int:
        nets, value = self.nets, 0
        for index, bit in enumerate(bits):
            if (isinstance(bit, int) and nets[bit]) or bit == "1":
                value |= 1 << index
        return value

    def _memory(self, path: str, macro: Macro) -> None:
        pins, words = macro.inputs, self.words[path]
        if "enable" in pins:
            if not self._word(pins["enable"]):
                return
            address = self._word(pins["address"])
            if self._word(pins["write"]):
                words[address] = self._word(pins["write_data"])
                self.accessed.append((path, "write"))
            else:
                self.held[path] = words[address] if address < len(words) else 0
                self.accessed.append((path, "read"))
            return
        if self._word(pins["read_enable"]):
            self.held[path] = words[self._word(pins["read_address"]) % len(words)]
            self.accessed.append((path, "read"))
        if self._word(pins["write_enable"]):
            words[self._word(pins["write_address"]) % len(words)] = self._word(pins["write_data"])
            self.accessed.append((path, "write"))

    def _drive(self) -> dict[str, int]:
        """The DRAM's side of the port: depends on its state only."""
        busy = self.left > 0 and self.wait == 0
        place = self.address * self.width
        reading = busy and not self.writing
        return {
            "dram__request__ready": int(self.left == 0),
            "dram__read__valid": int(reading),
            "dram__read__payload": int.from_bytes(self.dram[place : place + self.width], "little") if reading else 0,
            "dram__write__ready": int(busy and self.writing),
        }

    def _clock(self, drive: dict[str, int]) -> None:
        interval = self.processor.dram_cycles_per_word
        self.moved = 0
        if self.left and self.wait:
            self.wait -= 1
        elif drive["dram__read__valid"] and self.bit("dram__read__ready"):
            self._advance(interval)
        elif drive["dram__write__ready"] and self.bit("dram__write__valid"):
            word = self.bit("dram__write__payload").to_bytes(self.width, "little")
            self.dram[self.address * self.width : (self.address + 1) * self.width] = word
            self._advance(interval)
        if drive["dram__request__ready"] and self.bit("dram__request__valid"):
            request = self.bit("dram__request__payload")
            self.address, self.left, self.writing = (
                request & 0xFFFFFFFF,
                request >> 32 & 0xFFFFFF,
                bool(request >> 56 & 1),
            )
            self.wait = (0 if self.writing else self.processor.dram_latency_cycles) + interval - 1
            if not self.left or (self.address + self.left) * self.width > len(self.dram):
                raise RuntimeError("a burst must have a word and stay inside the memory image, but does not")

    def _advance(self, interval: int) -> None:
        self.moved = 1
        self.address += 1
        self.left -= 1
        self.wait = interval - 1


def _spread(values: list[int], places: dict[Bit, int], bits: Sequence[Bit], word: int) -> None:
    for index, bit in enumerate(bits):
        place = places.get(bit)
        if place is not None:
            values[place] = word >> index & 1
