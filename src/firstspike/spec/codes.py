"""Packed weight codes: ``B_w`` bits each, as in the model file, and in memory once (docs/reference/model-file.md)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_GROUPS = 1 << 15  # groups of eight codes that are converted at once


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes (uint8, any shape) as a stream of ``bits`` bits each: C order, lowest bit first, zero bits at the end.

    >>> pack(np.array([1, 31, 2], dtype=np.uint8), 5).tolist()   # 00001 | 11111 << 5 | 00010 << 10
    [225, 11]
    """
    flat = codes.reshape(-1)
    packed = np.zeros((-(-flat.size // 8), bits), dtype=np.uint8)
    for first in range(0, len(packed), _GROUPS):
        chunk = flat[first * 8 : (first + _GROUPS) * 8]
        columns = np.pad(chunk, (0, -chunk.size % 8)).reshape(-1, 8)
        rows = packed[first : first + _GROUPS]
        for index in range(8):
            byte, shift = divmod(index * bits, 8)
            rows[:, byte] |= columns[:, index] << shift
            if shift + bits > 8:
                rows[:, byte + 1] |= columns[:, index] >> (8 - shift)
    return packed.reshape(-1)[: packed_size(flat.size, bits)]


def unpack(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The ``count`` codes (uint8) of a packed stream; its padding bits are not looked at.

    >>> unpack(np.array([225, 11], dtype=np.uint8), 5, 3).tolist()
    [1, 31, 2]
    """
    codes = np.empty((-(-count // 8), 8), dtype=np.uint8)
    for first in range(0, len(codes), _GROUPS):
        columns = codes[first : first + _GROUPS]
        chunk = packed[first * bits : (first + len(columns)) * bits]
        rows = np.pad(chunk, (0, -chunk.size % bits)).reshape(-1, bits)
        for index in range(8):
            byte, shift = divmod(index * bits, 8)
            columns[:, index] = rows[:, byte] >> shift
            if shift + bits > 8:
                columns[:, index] |= rows[:, byte + 1] << (8 - shift)
        columns &= (1 << bits) - 1
    return codes.reshape(-1)[:count]


def packed_size(count: int, bits: int) -> int:
    """Bytes of ``count`` packed codes."""
    return (count * bits + 7) // 8


class PackedCodes:
    """The codes of one layer as a stream, C order. Their values never change.

    Where they are kept may, by the will of the network's only owner: an engine that holds the same codes in an order of
    its own then takes the stream's place, so that a process holds them once.

    Attributes:
        shape: of the unpacked codes.
        bits: of a code.
    """

    def __init__(self, stream: np.ndarray, shape: tuple[int, ...], bits: int) -> None:
        self.shape = shape
        self.bits = bits
        self._stream: Callable[[], np.ndarray] = lambda: stream

    def stream(self) -> np.ndarray:
        """The stream, uint8; not to be written to."""
        return self._stream()

    def unpack(self) -> np.ndarray:
        """The codes, uint8, a new array; read-only, since a change would be lost."""
        codes = unpack(self.stream(), self.bits, math.prod(self.shape)).reshape(self.shape)
        codes.flags.writeable = False
        return codes

    def keep_in(self, stream: Callable[[], np.ndarray]) -> None:
        """Let go of the stream; ``stream`` gives the same bytes from now on."""
        self._stream = stream

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedCodes, (self.stream(), self.shape, self.bits)
