"""Tiles of outputs, boxes of a receptive field, blocks of pixels: each product once, and nothing beside the maps."""

from collections import Counter

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights
from firstspike.compiler.mapping import program
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spec.program import Convolve


def conv(name: str, source: str, shape: tuple[int, ...], **options: object) -> Conv2d:
    codes = np.random.default_rng(0).integers(0, 32, shape, dtype=np.uint8)
    return Conv2d(name=name, source=source, codes=codes, scale=4, bias=np.zeros(shape[0], np.int64), **options)  # type: ignore[arg-type]


def network() -> Network:
    """``b`` has one box and three residuals; the others have several boxes where the weight buffer is small."""
    layers = (
        conv("a", INPUT, (8, 8, 1, 1)),
        conv("b", "a", (8, 8, 1, 1), residuals=("a", "a", INPUT)),
        conv("c", "b", (64, 8, 3, 3), padding=(1, 1)),
        conv("out", "c", (3, 64, 5, 4), fires=False),
    )
    return Network(code=Code(), weights=LogWeights(), input_shape=(8, 5, 4), layers=layers, accumulator_bits=40)


PROCESSORS = [
    ProcessorSpec(pes=16, accumulator_bits=40, weight_buffer_kib=kib, membrane_rows=rows, images=images)
    for kib in (1, 64)
    for rows in (3, 16, 41)
    for images in (1, 3)
]


def convolutions(net: Network, processor: ProcessorSpec) -> list[Convolve]:
    return [operation for operation in program(net, processor).operations if isinstance(operation, Convolve)]


def test_a_residual_without_a_box_reads_one_word_against_no_weights() -> None:
    for processor in PROCESSORS:
        empty = [operation for operation in convolutions(network(), processor) if operation.empty]
        assert empty and {operation.layer for operation in empty} == {"b"}
        for operation in empty:
            assert operation.residual is not None
            assert (operation.kernel, operation.words, operation.rows) == ((1, 1), 1, processor.lanes)


@pytest.mark.parametrize("processor", PROCESSORS, ids=str)
def test_every_product_of_every_image_once(processor: ProcessorSpec) -> None:
    """By output pixel, tap and channel word of the kernel; the first box of a pixel starts it and the last one fires it.

    The rows of a box fit a bank of the weight buffer; 64 channels do not at one tap, in the small one.
    """
    net = network()
    found: Counter[tuple[object, ...]] = Counter()
    ends: dict[tuple[object, ...], list[tuple[bool, bool]]] = {}
    added: Counter[tuple[object, ...]] = Counter()
    for o in convolutions(net, processor):
        height, width = net.shapes[o.layer][1:]
        top, left = _first_pixel(net, o)
        assert o.rows <= processor.weight_rows(net.weights)
        assert o.images >= 1 and top + o.height <= height and left + o.width <= width
        for image in range(o.image, o.image + o.images):
            for y in range(top, top + o.height):
                for x in range(left, left + o.width):
                    pixel = (o.layer, image, o.outputs[0], y, x)
                    ends.setdefault(pixel, []).append((o.first, o.last))
                    added[(*pixel, o.residual)] += o.residual is not None
                    for tap in () if o.empty else np.ndindex(*o.kernel, o.words):
                        place = (o.kernel_offset[0] + tap[0], o.kernel_offset[1] + tap[1], o.channel_word + tap[2])
                        found[(*pixel, *place)] += 1
    wanted = set()
    for layer in net.synaptic:
        outputs, channels, rows, columns = layer.weight_shape
        _, height, width = net.shapes[layer.name]
        for first in range(0, outputs, processor.pes):
            for place in np.ndindex(processor.images, height, width, rows, columns, -(-channels // processor.lanes)):
                image, y, x, *tap = place
                wanted.add((layer.name, image, first, y, x, *tap))
    assert set(found) == wanted and set(found.values()) == {1}
    for pixel, passes in ends.items():
        assert [first for first, _ in passes] == [True] + [False] * (len(passes) - 1), pixel
        assert [last for _, last in passes] == [False] * (len(passes) - 1) + [True], pixel
        sums = {name: added[(*pixel, name)] for name in ("a", INPUT)}
        assert sums == ({"a": 2, INPUT: 1} if pixel[0] == "b" else {"a": 0, INPUT: 0})


def _first_pixel(net: Network, o: Convolve) -> tuple[int, int]:
    """The output pixel at which an operation begins, from where it begins to read."""
    layer = net.layers[[layer.name for layer in net.layers].index(o.layer)]
    assert isinstance(layer, Conv2d)
    return tuple(o.origin[axis] - o.kernel_offset[axis] + layer.padding[axis] for axis in (0, 1))  # type: ignore[return-value]
