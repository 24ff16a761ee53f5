"""How weight rows lie in DRAM: whole, or packed as bitmaps and the codes that are not zero (docs/reference/program.md)."""

from weakref import WeakKeyDictionary

import numpy as np

from firstspike.arith import LogWeights
from firstspike.compiler.pixel_groups import connection_of
from firstspike.spec.network import Conv2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve

_Tile = tuple[int, int, tuple[int, int], int, int]
_counted: WeakKeyDictionary[Synaptic, dict[_Tile, np.ndarray]] = WeakKeyDictionary()
"""Counts of `_nonzero`, which many designs and stages ask for, for as long as their layer lives."""


def groups(outputs: int, processor: ProcessorSpec) -> int:
    """Groups of ``word_bits`` lanes that hold ``outputs`` outputs.

    >>> groups(10, ProcessorSpec()), groups(128, ProcessorSpec())
    (1, 2)
    """
    return -(-outputs // processor.word_bits)


def is_zero(codes: np.ndarray, weights: LogWeights) -> np.ndarray:
    """Which codes stand for 0: of either sign.

    >>> is_zero(np.array([15, 31, 3], dtype=np.uint8), LogWeights()).tolist()
    [True, True, False]
    """
    zero: np.ndarray = codes & weights.zero_level == weights.zero_level
    return zero


def weight_words(network: Network, processor: ProcessorSpec, operation: Convolve) -> tuple[int, bool]:
    """DRAM words of an operation's weight rows, and whether they have bitmaps (the shorter form is taken)."""
    if not processor.packed_rows:
        return operation.rows * processor.row_words(network.weights), False
    bits = network.weights.bits
    stored = operation.rows * groups(operation.outputs[1], processor)
    mapped = stored - (-_codes(network, processor, operation) * bits // processor.word_bits)
    return min(stored * bits, mapped), mapped < stored * bits


def pack(rows: np.ndarray, outputs: int, *, weights: LogWeights, processor: ProcessorSpec, bitmap: bool) -> bytes:
    """Packed rows as little-endian DRAM words.

    Args:
        rows: codes, uint8 ``[rows, pes]``.
        outputs: lanes that hold an output; groups behind them are not stored.
        weights: their format.
        processor: with ``packed_rows``.
        bitmap: the codes that are not zero behind a bitmap of each group, or all codes of each group.
    """
    width, bits = processor.word_bits, weights.bits
    count = groups(outputs, processor)
    codes = np.full((len(rows), count * width), weights.zero_level, dtype=np.uint8)
    stored = min(rows.shape[1], count * width)
    codes[:, :stored] = rows[:, :stored]
    codes = codes.reshape(-1, width)
    if not bitmap:
        return _stream(codes.reshape(-1), bits, width).tobytes()
    kept = ~is_zero(codes, weights)
    maps = np.packbits(kept, axis=1, bitorder="little")
    stream = _stream(codes[kept], bits, width)
    # a group's bitmap stands before the first word that the group needs and none before it did
    needed = -(-np.cumsum(kept.sum(axis=1)) * bits // width)
    before = np.concatenate([[0], needed[:-1]])
    words = np.empty((len(codes) + len(stream), width // 8), dtype=np.uint8)
    heads = np.arange(len(codes)) + before
    words[heads] = maps
    words[np.setdiff1d(np.arange(len(words)), heads, assume_unique=True)] = stream
    return words.tobytes()


def _stream(codes: np.ndarray, bits: int, width: int) -> np.ndarray:
    """Codes one behind the other, lowest bit first, in words of ``width`` bits: uint8 ``[words, width / 8]``."""
    planes = (codes[:, None] >> np.arange(bits)) & 1
    packed = np.packbits(planes.reshape(-1).astype(np.uint8), bitorder="little")
    return np.pad(packed, (0, -len(packed) % (width // 8))).reshape(-1, width // 8)


def _codes(network: Network, processor: ProcessorSpec, operation: Convolve) -> int:
    """Codes of an operation's weight rows that are not zero."""
    if operation.empty:
        return 0
    layer = connection_of(network, operation)
    counts = _nonzero(network, layer, operation)
    begin, (top, left), (height, width) = (
        operation.channel_word * processor.lanes,
        operation.kernel_offset,
        operation.kernel,
    )
    box = counts[begin : begin + operation.words * processor.lanes, top : top + height, left : left + width]
    return int(box.sum())


def _nonzero(network: Network, layer: Synaptic, operation: Convolve) -> np.ndarray:
    """Non-zero codes of a tile of outputs by input neuron channel, kernel row and column, int64."""
    first, count = operation.outputs
    planes = network.planes(layer.source)
    known = _counted.setdefault(layer, {})
    key = (first, count, operation.in_size, planes, network.weights.zero_level)
    if key not in known:
        codes = layer.codes
        codes = codes.reshape(layer.outputs, -1, *operation.in_size) if codes.ndim == 2 else codes
        kept = ~is_zero(codes[first : first + count], network.weights)
        each = layer.outputs // (layer.groups if isinstance(layer, Conv2d) else 1)
        whole = np.zeros((layer.outputs // each, *codes.shape[1:]), dtype=np.int64)
        np.add.at(whole, (first + np.arange(count)) // each, kept)
        known[key] = np.repeat(whole, planes, axis=1).reshape(-1, *codes.shape[2:])
    return known[key]
