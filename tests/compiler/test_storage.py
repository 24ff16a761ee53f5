"""Strips of maps that live in DRAM: as many rows as fit, and where they lie, against a search that shares no code."""

import itertools

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights
from firstspike.compiler.storage import allocate
from firstspike.compiler.tiles import operations_of
from firstspike.spec import INPUT, Conv2d, MaxPool2d, Network, ProcessorSpec
from firstspike.spec.network import Layer
from firstspike.spec.program import Convolve, Load

LANES = 8
WIDTH = 20
ZERO = LogWeights().zero_level


def convolution(
    name: str, source: str, outputs: int, inputs: int, kernel: int, stride: int, fires: bool = True
) -> Conv2d:
    codes = np.full((outputs, inputs, kernel, 1), ZERO, dtype=np.uint8)
    bias = np.zeros(outputs, dtype=np.int64)
    return Conv2d(name=name, source=source, codes=codes, scale=1, bias=bias, stride=(stride, 1), fires=fires)


def network(height: int, kernel: int, stride: int, *, pool: bool) -> Network:
    """A tall map, a layer whose window is ``kernel`` rows, and a read-out of one pixel a column."""
    first: Layer = convolution("a", INPUT, 16, 8, kernel, stride)
    if pool:
        first = MaxPool2d(name="a", source=INPUT, kernel=(kernel, 1), stride=(stride, 1))
    rows = (height - kernel) // stride + 1
    last = convolution("out", "a", 1, 8 if pool else 16, rows, 1, fires=False)
    return Network(code=Code(), weights=LogWeights(), input_shape=(8, height, WIDTH), layers=(first, last))


def most_rows(height: int, kernel: int, stride: int, *, output_words: int, words: int) -> int:
    """Output rows whose strip and whose input rows fit together: every number is tried."""
    fitting = []
    for rows in range(1, (height - kernel) // stride + 2):
        read = {row * stride + tap for row in range(rows) for tap in range(kernel)}
        assert max(read) < height
        if rows * WIDTH * output_words + len(range(max(read) + 1)) * WIDTH <= words:
            fitting.append(rows)
    return max(fitting)


@pytest.mark.parametrize("pool", [False, True])
def test_strips_are_as_tall_as_fits_and_lie_side_by_side(pool: bool) -> None:
    seen = set()
    for height, kernel, stride, kib in itertools.product((40, 47), (1, 2, 3, 5), (1, 2, 3), (2, 3, 5)):
        processor = ProcessorSpec(pes=16, activation_buffer_kib=kib)
        words = kib * 1024 // LANES
        net = network(height, kernel, stride, pool=pool)
        layout = allocate(net, processor, layers=range(1))
        assert layout.maps[INPUT].region == "input"
        if layout.maps["a"].region is None:
            continue
        output_words = 1 if pool else 2
        rows = most_rows(height, kernel, stride, output_words=output_words, words=words)
        assert layout.rows == {"a": rows}
        assert layout.strips == {"a": {"map a": 0, "input": rows * WIDTH * output_words}}
        seen.add((kernel, stride, rows))
    assert len(seen) > 20


def test_a_strip_holds_the_rows_that_are_read_and_no_other() -> None:
    """By every tap of every output row of the operations between two loads."""
    loads = 0
    for height, kernel, stride, kib in itertools.product((40, 47), (1, 2, 3, 5), (1, 2, 3), (1, 2)):
        if kib == 1 and kernel > 2:
            continue  # not one row fits
        net, processor = network(height, kernel, stride, pool=False), ProcessorSpec(pes=16, activation_buffer_kib=kib)
        layout = allocate(net, processor, layers=range(1))
        layer = net.layers[0]
        assert isinstance(layer, Conv2d)
        found: dict[tuple[int, int], set[int]] = {}
        for operation in operations_of(net, processor, layer, layout):
            if isinstance(operation, Load):
                assert operation.offset % WIDTH == operation.words % WIDTH == 0
                strip = operation.offset // WIDTH, (operation.offset + operation.words) // WIDTH
                found[strip] = set()
            elif isinstance(operation, Convolve):
                first = operation.origin[0] + operation.in_first
                taps = itertools.product(range(operation.height), range(operation.kernel[0]))
                found[strip] |= {first + row * stride + tap for row, tap in taps}
        assert all(rows and (min(rows), max(rows) + 1) == strip for strip, rows in found.items())
        loads += len(found)
    assert loads > 100


def test_the_strip_of_a_source_is_no_taller_than_its_map() -> None:
    """Padding lies in no strip. ``a`` (120 words) is spilled beside a strip of the input (160) and fits beside ``b`` (120)."""
    first = convolution("a", INPUT, 16, 32, 2, 13)
    codes = np.full((16, 16, 5, 1), ZERO, dtype=np.uint8)
    second = Conv2d(name="b", source="a", codes=codes, scale=1, bias=np.zeros(16, dtype=np.int64), padding=(2, 0))
    last = convolution("out", "b", 1, 16, 3, 1, fires=False)
    net = Network(code=Code(), weights=LogWeights(), input_shape=(32, 40, WIDTH), layers=(first, second, last))
    layout = allocate(net, ProcessorSpec(pes=16, activation_buffer_kib=2), layers=range(2))
    assert {name: place.region for name, place in layout.maps.items()} == {INPUT: INPUT, "a": "map a", "b": None}
    assert layout.rows == {"a": 1, "b": 3}
    strip, place = layout.strips["b"]["map a"], layout.maps["b"].address
    assert sorted([(strip, strip + 120), (place, place + 120)])[0][1] <= max(strip, place)
