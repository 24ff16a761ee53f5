"""Assembler: a network's program -> descriptors and payloads in a DRAM image, and images and logits in its regions."""

from dataclasses import dataclass

import numpy as np

from firstspike.arith import NO_SPIKE, PLANES
from firstspike.compiler import packing
from firstspike.compiler.channels import resolve
from firstspike.compiler.descriptor import pack
from firstspike.compiler.packing import weight_words
from firstspike.compiler.pixel_groups import connection_of, layer_of
from firstspike.compiler.stages import threshold_words
from firstspike.spec.network import Conv2d, Network
from firstspike.spec.processor import SHIFT_BITS, ProcessorSpec
from firstspike.spec.program import (
    ADDRESS_BITS,
    HALT,
    Convolve,
    Operation,
    Program,
    Window,
    descriptor,
)
from firstspike.spec.program import descriptor_words as words_of_descriptor


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryImage:
    """The DRAM's contents before a run.

    Attributes:
        data: little-endian bytes of the DRAM's words: descriptors, payloads (each once), then the regions (zero).
        regions: first word of each region of the program.
        word_bytes: bytes of a word.
        descriptors: number of descriptors, the HALT included.
    """

    data: bytes
    regions: dict[str, int]
    word_bytes: int
    descriptors: int

    @property
    def words(self) -> int:
        """Words of the whole image."""
        return len(self.data) // self.word_bytes


def assemble(network: Network, program: Program, processor: ProcessorSpec) -> MemoryImage:
    """Memory image of a program.

    Raises:
        ValueError: a value does not fit its descriptor field.
    """
    network = resolve(network)
    width = processor.word_bits // 8
    descriptor_words = words_of_descriptor(processor)
    payload_start = descriptor_words * (len(program.operations) + 1)
    payloads: list[bytes] = []
    places: list[tuple[int, int]] = []
    shared: dict[tuple[object, ...], tuple[int, int]] = {}
    position = payload_start
    for operation in program.operations:
        if not isinstance(operation, Convolve):
            places.append((0, 0))
            continue
        key = _payload_key(operation)
        if key not in shared:
            payload = _payload(network, operation, processor)
            shared[key] = (position, len(payload) // width)
            payloads.append(payload)
            position += len(payload) // width
        places.append(shared[key])
    regions: dict[str, int] = {}
    for name, words in program.regions.items():
        regions[name] = position
        position += words
    descriptors = [
        _descriptor(network, operation, processor, place, regions)
        for operation, place in zip(program.operations, places, strict=True)
    ]
    descriptors.append(pack("the final HALT", {"kind": HALT}, descriptor(processor)))
    size = descriptor_words * width
    head = b"".join(value.to_bytes(size, "little") for value in descriptors)
    tail = bytes(sum(program.regions.values()) * width)
    return MemoryImage(
        data=b"".join([head, *payloads, tail]), regions=regions, word_bytes=width, descriptors=len(descriptors)
    )


def store_map(times: np.ndarray, processor: ProcessorSpec) -> np.ndarray:
    """Spike times ``[n, c, h, w]`` or ``[n, f]`` as the activation buffer holds them: uint8 ``[n, bytes]``.

    Channels last, every pixel padded with silence to whole words.

    >>> store_map(np.array([[1, 2, 3]], dtype=np.uint8), ProcessorSpec(pes=16)).tolist()
    [[1, 2, 3, 255, 255, 255, 255, 255]]
    """
    if times.ndim == 2:
        times = times[:, :, None, None]
    spare = -times.shape[1] % processor.lanes
    padded = np.pad(times, ((0, 0), (0, spare), (0, 0), (0, 0)), constant_values=NO_SPIKE)
    return np.ascontiguousarray(padded.transpose(0, 2, 3, 1)).reshape(len(times), -1)


def store_input(network: Network, times: np.ndarray, processor: ProcessorSpec) -> np.ndarray:
    """The input as the activation buffer holds it: uint8 ``[n, bytes]``.

    A spike of plane ``j`` is the time ``j * tau``: the processing element takes ``j`` octaves off its product, and the
    fraction is 0.

    Args:
        network: what the input is for.
        times: spike times of the input's neurons, uint8 ``[n, *neuron_shape]``.
        processor: the processor.
    """
    if network.code.planes:
        octave = (np.arange(PLANES, dtype=np.uint8) * network.code.tau)[:, None]
        grouped = times.reshape(len(times), network.input_shape[0], PLANES, -1)
        times = np.where(grouped == NO_SPIKE, grouped, octave).reshape(times.shape)
    return store_map(times, processor)


def _descriptor(
    network: Network, operation: Operation, processor: ProcessorSpec, place: tuple[int, int], regions: dict[str, int]
) -> int:
    if isinstance(operation, Convolve):
        fields = _window_fields(operation) | _convolve_fields(network, operation, processor, place)
    elif isinstance(operation, Window):
        words = {"words": 1, "repeat": operation.words, "in_next": 1, "out_next": 1, "out_words": 1}
        fields = _window_fields(operation) | words
    else:
        fields = {
            "in_address": operation.address,
            "dram_address": regions[operation.region] + operation.offset,
            "dram_words": operation.words,
        }
    if processor.switched:
        fields["awake"] = operation.awake
    if processor.resident_weights and isinstance(operation, Convolve):
        fields["bank"] = operation.bank
    if processor.resident_weights and processor.switched:
        fields["weights_awake"] = operation.weights_awake
    return pack(f"layer {operation.layer!r}", {"kind": operation.kind, **fields}, descriptor(processor))


def _window_fields(operation: Window) -> dict[str, int]:
    """Fields that convolutions and pooling share."""
    read, write, (top, left) = operation.read, operation.write, operation.origin
    return {
        "height": operation.height,
        "width": operation.width,
        "kernel_height": operation.kernel[0],
        "kernel_width": operation.kernel[1],
        "stride_y": operation.stride[0],
        "stride_x": operation.stride[1],
        "origin_y": top,
        "origin_x": left,
        "in_height": operation.in_size[0],
        "in_width": operation.in_size[1],
        "in_address": _modular(read.at(row=top, column=left).address),
        "in_pixel": _modular(read.pixel),
        "in_row": _modular(read.row),
        "in_step": _modular(read.pixel * operation.stride[1]),
        "in_line": _modular(read.row * operation.stride[0]),
        "out_address": write.address,
        "out_pixel": _modular(write.pixel),
        "out_row": _modular(write.row),
    }


def _convolve_fields(
    network: Network, operation: Convolve, processor: ProcessorSpec, place: tuple[int, int]
) -> dict[str, int]:
    """Fields of a convolution; ``place`` is first word and length of its payload."""
    layer = network.connection(operation.connection)
    residual: dict[str, int] = {}
    if operation.added is not None:
        residual = {
            "residual": 1,
            "residual_address": operation.added.address,
            "residual_pixel": _modular(operation.added.pixel),
            "residual_row": _modular(operation.added.row),
            "residual_next": _modular(operation.added.image),
            "residual_words": -(-operation.outputs[1] // processor.lanes),
        }
    return residual | {
        "first": operation.first,
        "bitmap": weight_words(network, processor, operation)[1],
        "last": operation.last,
        "fires": operation.fires,
        "scale_fraction": layer.scale % network.weights.levels_per_octave,
        "shift": operation.shift,
        "words": operation.words,
        "repeat": operation.images,
        "in_next": _modular(operation.read.image),
        "out_next": _modular(operation.write.image),
        "position_rows": operation.words * processor.lanes,
        "out_words": operation.out_words,
        "dram_address": place[0],
        "dram_words": place[1],
        "bias_words": operation.first * processor.bias_words,
        "theta_words": threshold_words(network, processor, operation),
    }


def _modular(address: int) -> int:
    """An address that may lie before the buffer (a window that begins in padding), modulo ``2^ADDRESS_BITS``."""
    return address & ((1 << ADDRESS_BITS) - 1)


def _payload_key(operation: Convolve) -> tuple[object, ...]:
    """Operations of the same key (blocks, strips and images of a tile) have the same payload."""
    return (*operation.weight_rows, operation.first, operation.thresholds, operation.kept)


def _payload(network: Network, operation: Convolve, processor: ProcessorSpec) -> bytes:
    """Biases, thresholds, shifts, weight rows: whole DRAM words, little endian."""
    layer = layer_of(network, operation)
    first, count = operation.outputs
    width = processor.word_bits // 8
    parts: list[bytes] = []
    if operation.first:
        biases = np.zeros((1, processor.pes), dtype=np.int64)
        biases[0, :count] = layer.bias[first : first + count]
        parts.append(_pack_rows(biases, processor.accumulator_bits, width))
    if operation.thresholds:
        theta = network.thresholds(layer)
        parts.append(_pack_rows(theta[:, None], processor.accumulator_bits, width))
        if any(layer.shifts):
            shifts = np.zeros((1, processor.pes), dtype=np.int64)
            shifts[0, :count] = layer.shifts[first : first + count]
            parts.append(_pack_rows(shifts, SHIFT_BITS, width))
    if operation.kept:
        return b"".join(parts)
    rows = weight_rows(network, operation, processor)
    if processor.packed_rows:
        _, bitmap = weight_words(network, processor, operation)
        parts.append(packing.pack(rows, count, weights=network.weights, processor=processor, bitmap=bitmap))
    else:
        parts.append(_pack_rows(rows, network.weights.bits, width))
    return b"".join(parts)


def weight_rows(network: Network, operation: Convolve, processor: ProcessorSpec) -> np.ndarray:
    """Codes of an operation's weight rows, uint8 ``[rows, pes]``, by kernel row, column, channel; zero without a synapse."""
    layer = connection_of(network, operation)
    (first, count), (height, width) = operation.outputs, operation.kernel
    zero = network.weights.zero_level
    rows = np.full((height, width, operation.words * processor.lanes, processor.pes), zero, dtype=np.uint8)
    if operation.empty:
        return rows.reshape(operation.rows, processor.pes)
    codes = layer.codes
    planes = network.planes(layer.source)
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    if codes.ndim == 2:
        codes = codes.reshape(layer.outputs, -1, *operation.in_size)  # a linear layer's kernel: the whole map
    if planes > 1:  # all planes of a pixel share its weights
        codes = np.repeat(codes, planes, axis=1)
    top, left = operation.kernel_offset
    channels = codes.shape[1]
    begin = operation.channel_word * processor.lanes
    for lane in range(count):
        group = (first + lane) // (layer.outputs // groups)
        low, high = max(begin, group * channels), min(begin + rows.shape[2], (group + 1) * channels)
        if low < high:
            part = codes[first + lane, low - group * channels : high - group * channels]
            box = part[:, top : top + height, left : left + width]
            rows[:, :, low - begin : high - begin, lane] = box.transpose(1, 2, 0)
    return rows.reshape(operation.rows, processor.pes)


def _pack_rows(values: np.ndarray, bits: int, width: int) -> bytes:
    """Rows of ``bits``-bit two's complement values, lowest first, each row padded to words of ``width`` bytes."""
    rows = len(values)
    planes = (values[:, :, None].astype(np.int64) >> np.arange(bits)) & 1
    stream = planes.reshape(rows, -1).astype(np.uint8)
    packed = np.packbits(stream, axis=1, bitorder="little")
    spare = -packed.shape[1] % width
    return np.pad(packed, ((0, 0), (0, spare))).tobytes()
