"""The host's end of the serial line: loads a network into a board, runs images, compares every logit with the engine."""

import binascii
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from firstspike import engine
from firstspike.compiler import mapping
from firstspike.compiler.image import MemoryImage, assemble, store_input
from firstspike.rtl.fpga import protocol
from firstspike.rtl.parameters import Parameters
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec

CHUNK = 1 << 16
"""Bytes of a write while a network is loaded, so that a fault is found early."""

TESTED_BYTES = 1 << 10
"""Bytes by which the board's memory is tried at each of its places."""

MEMORY_BYTES = 1 << 25
"""The board's SDRAM."""


class Line(Protocol):
    """What the board is behind, as pyserial has it: ``read`` returns fewer bytes only if its time runs out."""

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""

    def read(self, size: int, /) -> bytes:
        """Receive so many bytes."""


def open_line(port: str, *, baud: int = protocol.BAUD, timeout: float = 5) -> Line:
    """The serial line of a device, or of whatever else pyserial takes for a port.

    Raises:
        RuntimeError: pyserial is not installed, or the port cannot be opened.
    """
    try:
        import serial
    except ImportError:
        raise RuntimeError("a board needs pyserial; install it with: pip install 'firstspike[fpga]'") from None
    try:
        line: Line = serial.serial_for_url(port, baudrate=baud, timeout=timeout)
    except serial.SerialException as error:
        raise RuntimeError(
            f"the board's port must be a serial device that may be opened, not {port!r}: {error}"
        ) from None
    return line


class BoardError(RuntimeError):
    """The board did not answer as it must; the text says how, and what to try."""


class Board:
    """A board behind a line.

    Args:
        line: to the board.
        word_bytes: bytes of a word of its DRAM port.
    """

    def __init__(self, line: Line, word_bytes: int) -> None:
        self.line = line
        self.word_bytes = word_bytes

    def identify(self) -> int:
        """Fingerprint of the board's build (`protocol.fingerprint`)."""
        return int.from_bytes(self._ask([self._command(protocol.IDENTIFY)])[0], "little")

    def write(self, address: int, data: bytes) -> None:
        """Write whole words."""
        self._ask([self._write(address, data)])

    def read(self, address: int, words: int) -> bytes:
        """Read words."""
        return self._ask([self._read(address, words)])[0]

    def run(self, address: int, data: bytes, logits: int, words: int) -> tuple[int, bytes]:
        """Write an input, run the program, read the logits, all in one exchange.

        Returns:
            The cycles of the run, and the logits.
        """
        commands = [self._write(address, data), self._command(protocol.START, answer=4), self._read(logits, words)]
        _, cycles, read = self._ask(commands)
        return int.from_bytes(cycles, "little"), read

    def _command(self, letter: bytes, rest: bytes = b"", answer: int = 4) -> tuple[bytes, int]:
        return letter + rest, answer

    def _write(self, address: int, data: bytes) -> tuple[bytes, int]:
        words, spare = divmod(len(data), self.word_bytes)
        assert not spare
        return self._command(protocol.WRITE, _number(address) + _number(words) + data, answer=0)

    def _read(self, address: int, words: int) -> tuple[bytes, int]:
        return self._command(protocol.READ, _number(address) + _number(words), answer=words * self.word_bytes)

    def _ask(self, commands: list[tuple[bytes, int]]) -> list[bytes]:
        """Send commands at once; the answers, without letters and sums."""
        self.line.write(b"".join(command for command, _ in commands))
        answers = []
        for command, length in commands:
            answer = self.line.read(length + 3)
            letter = chr(command[0])
            if len(answer) < length + 3:
                raise BoardError(
                    f"the board must answer {letter!r} with {length + 3} bytes, not {len(answer)!r}; is its bitstream "
                    "loaded, and the port the board's? Press its reset button or load the bitstream again"
                )
            body, found = answer[:-2], int.from_bytes(answer[-2:], "little")
            wanted = binascii.crc_hqx(command + body, 0)
            if body[:1] != command[:1] or found != wanted:
                raise BoardError(
                    f"the board must answer {letter!r} by that letter and the sum {wanted:#06x}, not "
                    f"{chr(body[0])!r} and {found:#06x}: bytes were lost on the line"
                )
            answers.append(body[1:])
        return answers


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardRun:
    """What a board did with images.

    Attributes:
        images: how many; correct ones, by the labels, are ``correct``.
        differences: images with a logit that is not the engine's.
        seconds: of all exchanges, loading excepted.
        load_seconds: until the network was on the board and read back.
        cycles: clock cycles of every run.
        clock_mhz: of the board's design.
    """

    images: int
    correct: int
    differences: list[int]
    seconds: float
    load_seconds: float
    cycles: list[int]
    clock_mhz: float

    @property
    def images_per_second(self) -> float:
        """Through the serial line."""
        return self.images / self.seconds

    @property
    def processor_images_per_second(self) -> float:
        """Of the processor alone, by its own count of cycles."""
        return self.images * 1e6 * self.clock_mhz / sum(self.cycles)

    def json(self) -> dict[str, Any]:
        """All fields and both rates."""
        rates = {name: getattr(self, name) for name in ("images_per_second", "processor_images_per_second")}
        return asdict(self) | rates


def identify(board: Board, parameters: Parameters) -> None:
    """The board's build is the one that the network needs.

    Raises:
        BoardError: it is not.
    """
    found, wanted = board.identify(), protocol.fingerprint(parameters)
    if found != wanted:
        raise BoardError(
            f"the board's bitstream must be built for this network's formats and this processor (fingerprint "
            f"{wanted:#010x}), not {found:#010x}; build and load it with: firstspike rtl fpga NETWORK --out DIR"
        )


def try_memory(board: Board) -> None:
    """The board's memory keeps what is written, at both of its ends and at each bit of its addresses.

    Raises:
        BoardError: it does not.
    """
    rng = np.random.default_rng(0)
    words = TESTED_BYTES // board.word_bytes
    last = MEMORY_BYTES // board.word_bytes - words
    # Distances of one address bit each, so that two places that are one show; all are written before they are read.
    places = [0, *(place for bit in range(25) if words <= (place := 1 << bit) < last), last]
    tests = {place: rng.bytes(TESTED_BYTES if place in (0, last) else board.word_bytes) for place in places}
    for place, data in tests.items():
        board.write(place, data)
    for place, data in tests.items():
        if board.read(place, len(data) // board.word_bytes) != data:
            raise BoardError(
                f"the board's SDRAM must keep what is written at word {place:#x}; build for a slower clock with: "
                "firstspike rtl fpga NETWORK --clock-mhz 40 --out DIR"
            )


def load(board: Board, image: MemoryImage, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a program, read it back and compare.

    Raises:
        BoardError: what is read is not what was written.
    """
    size = CHUNK // image.word_bytes * image.word_bytes
    for start in range(0, len(image.data), size):
        part = image.data[start : start + size]
        address = start // image.word_bytes
        board.write(address, part)
        if board.read(address, len(part) // image.word_bytes) != part:
            raise BoardError(f"the board's memory must hold what was written at word {address:#x}; run it again")
        if progress is not None:
            progress(start + len(part), len(image.data))


def run(
    network: Network,
    times: np.ndarray,
    labels: np.ndarray,
    processor: ProcessorSpec,
    line: Line,
    *,
    loaded: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BoardRun:
    """Run images on a board, in batches of the processor's.

    Args:
        network: the integer network.
        times: encoded inputs, whole batches, uint8 ``[n, *input_shape]``.
        labels: classes of the images ``[n]``.
        processor: what the board was built for.
        line: to the board.
        loaded: the network is in the board's memory already (in simulation): it is not written, and nothing is tried.
        progress: called with what is done and all of it, bytes of the network and then images.

    Raises:
        ValueError: the network does not fit, or the last batch is not whole.
        BoardError: the board does not answer as it must.
    """
    batches, rest = divmod(len(times), processor.images)
    if rest or not batches:
        raise ValueError(f"images on a board must be whole batches of {processor.images}, not {len(times)!r}")
    program = mapping.program(network, processor)
    image = assemble(network, program, processor)
    board = Board(line, image.word_bytes)
    identify(board, Parameters.of(network, processor))
    load_seconds = 0.0 if loaded else _place(board, image, progress)
    neurons = network.neuron_times(times)
    inputs = store_input(network, neurons, processor).reshape(batches, -1)
    expected = _logits(network, times)
    differences: list[int] = []
    cycles: list[int] = []
    correct = 0
    words = expected[0].size * processor.images
    sent = time.perf_counter()
    for batch, values in enumerate(_runs(board, image, inputs, words, cycles)):
        for offset, found in enumerate(values.reshape(processor.images, -1)):
            index = batch * processor.images + offset
            if not np.array_equal(found, expected[index].ravel()):
                differences.append(index)
            correct += int(found.argmax() == labels[index])
        if progress is not None:
            progress((batch + 1) * processor.images, len(times))
    return BoardRun(
        images=len(times),
        correct=correct,
        differences=differences,
        seconds=time.perf_counter() - sent,
        load_seconds=load_seconds,
        cycles=cycles,
        clock_mhz=processor.clock_mhz,
    )


def _place(board: Board, image: MemoryImage, progress: Callable[[int, int], None] | None) -> float:
    """Try the memory and load a program; the seconds that it took."""
    begin = time.perf_counter()
    try_memory(board)
    load(board, image, progress)
    return time.perf_counter() - begin


def _runs(board: Board, image: MemoryImage, inputs: np.ndarray, words: int, cycles: list[int]) -> Iterator[np.ndarray]:
    """Logits of every batch, in the order of their region; its cycles are added to the list."""
    dtype = f"<i{image.word_bytes}" if image.word_bytes <= 8 else None
    for batch in inputs:
        taken, read = board.run(image.regions["input"], batch.tobytes(), image.regions["logits"], words)
        cycles.append(taken)
        if dtype is None:  # the sign fills a wide word: its low 8 bytes have the logit
            read = b"".join(read[start : start + 8] for start in range(0, len(read), image.word_bytes))
        yield np.frombuffer(read, dtype=dtype or "<i8").astype(np.int64)


def _logits(network: Network, times: np.ndarray) -> np.ndarray:
    """The engine's, int64 ``[n, ...]`` as their region has them."""
    logits = engine.create(network).layers(times)[network.layers[-1].name]
    return logits if logits.ndim == 2 else logits.transpose(0, 2, 3, 1)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")
