"""Pixels computed together: the same sums by wider windows, for which layers, and when it pays."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.arith import Code, LogWeights, decode_weights
from firstspike.compiler import mapping
from firstspike.compiler.pixel_groups import sizes, widened
from firstspike.engine import create
from firstspike.processor.cycles import count
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spec.program import Convolve

GROUPS = ProcessorSpec(packed_rows=True, pixel_groups=True)


def conv(name: str, source: str, shape: tuple[int, ...], **options: object) -> Conv2d:
    codes = np.random.default_rng(0).integers(0, 32, shape, dtype=np.uint8)
    bias = np.arange(shape[0], dtype=np.int64)
    return Conv2d(name=name, source=source, codes=codes, scale=4, bias=bias, **options)  # type: ignore[arg-type]


def network(width: int = 8, *layers: Conv2d) -> Network:
    out = conv("out", (INPUT, *(layer.name for layer in layers))[-1], (3, 16, 1, 1), fires=False)
    return Network(code=Code(), weights=LogWeights(), input_shape=(16, 6, width), layers=(*layers, out))


def chosen(net: Network, processor: ProcessorSpec) -> Mapping[str, int]:
    work = mapping.program(net, processor).operations
    return {operation.layer: operation.group for operation in work if isinstance(operation, Convolve)}


def sums(layer: Conv2d, values: np.ndarray) -> np.ndarray:
    """``[outputs, rows, columns]`` of ``[channels, rows, columns]``, tap by tap."""
    (down, across), (tall, wide) = layer.stride, layer.weight_shape[2:]
    weights = decode_weights(layer.codes, LogWeights(), layer.scale)
    rows, columns = (
        (size - k) // s + 1 for size, k, s in zip(values.shape[1:], (tall, wide), layer.stride, strict=True)
    )
    total = np.zeros((layer.outputs, rows, columns))
    for y in range(tall):
        for x in range(wide):
            seen = values[:, y : y + down * (rows - 1) + 1 : down, x : x + across * (columns - 1) + 1 : across]
            total += np.einsum("oc,cyx->oyx", weights[:, :, y, x], seen)
    return total + layer.bias[:, None, None]


@given(
    pixels=st.integers(1, 4),
    outputs=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 3),
)
def test_channels_of_a_wide_pixel_are_those_of_its_pixels(
    pixels: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int], groups: int
) -> None:
    layer = conv("a", INPUT, (outputs, 2, *kernel), stride=stride, shifts=tuple(range(outputs)))
    wide = widened(layer, pixels, zero=15)
    assert isinstance(wide, Conv2d)
    columns = kernel[1] + stride[1] * (pixels * groups - 1)
    values = np.random.default_rng(1).integers(0, 9, (2, 7, columns)).astype(float)
    narrow, together = sums(layer, values), sums(wide, values)
    assert narrow.shape[2] == pixels * groups
    apart = together.reshape(pixels, outputs, -1, groups).transpose(1, 2, 3, 0).reshape(narrow.shape)
    assert np.array_equal(apart, narrow)
    assert wide.shifts == layer.shifts * pixels
    assert widened(layer, pixels, zero=15) is wide


@pytest.mark.parametrize(
    ("options", "width", "expected"),
    [
        ({}, 8, (1, 2, 4, 8)),
        ({}, 6, (1, 2, 3, 6)),
        ({}, 7, (1, 7)),
        ({}, 11, (1,)),
        ({"outputs": 32}, 8, (1, 2, 4)),
        ({"outputs": 48}, 8, (1, 2)),
        ({"outputs": 128}, 8, (1,)),
        ({"outputs": 20}, 8, (1,)),
        ({"groups": 2}, 8, (1,)),
        ({"dilation": (1, 2)}, 12, (1,)),
        ({"fires": False}, 8, (1,)),
    ],
)
def test_sizes_are_divisors_of_a_row_that_fit_the_lanes(
    options: dict[str, object], width: int, expected: tuple[int, ...]
) -> None:
    outputs, groups = int(str(options.pop("outputs", 16))), int(str(options.get("groups", 1)))
    layer = conv("a", INPUT, (outputs, 16 // groups, 1, 3), padding=(0, 1), **options)
    net = (
        Network(code=Code(), weights=LogWeights(), input_shape=(16, 6, width), layers=(layer,))
        if not layer.fires
        else None
    )
    net = net or Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(16, 6, width),
        layers=(layer, conv("out", "a", (3, outputs, 1, 1), fires=False)),
    )
    assert sizes(net, GROUPS, layer) == expected
    assert sizes(net, ProcessorSpec(), layer) == (1,)


def tall(rows: int) -> Network:
    """16 channels of 32 pixels a row to as many, nine tenths of the weights zero."""
    layer = conv("a", INPUT, (16, 16, 3, 3), padding=(1, 1))
    codes = layer.codes.copy()
    codes[np.random.default_rng(2).random(codes.shape) < 0.9] = 15
    return replace(network(32, replace(layer, codes=codes)), input_shape=(16, rows, 32))


def test_groups_where_cycles_saved_are_worth_the_bytes_fetched() -> None:
    """The larger a map, the larger its groups: wider rows are fetched once for all of it."""
    assert [chosen(tall(rows), GROUPS)["a"] for rows in (1, 8, 32)] == [2, 4, 8]
    assert chosen(replace(tall(1), input_shape=(16, 1, 2)), GROUPS)["a"] == 1
    assert chosen(tall(32), GROUPS)["out"] == 1
    assert chosen(tall(32), replace(GROUPS, pixel_groups=False))["a"] == 1


def test_what_groups_change_and_what_they_do_not() -> None:
    """The synapses stay; windows, weight rows and cycles become fewer, products of zero weights more."""
    net = tall(32)
    rng = np.random.default_rng(0)
    times = np.where(rng.random((2, 16, 32, 32)) < 0.3, rng.integers(0, 24, (2, 16, 32, 32)), 255).astype(np.uint8)
    spikes = {INPUT: times, **create(net).layers(times)}
    alone, together = (
        count(net, spikes, processor).layers[1] for processor in (replace(GROUPS, pixel_groups=False), GROUPS)
    )
    for event in ("sops", "nonzero_adds", "activation_write_bits"):
        assert np.array_equal(getattr(alone, event), getattr(together, event)), event
    assert np.array_equal(together.threshold_steps * 8, alone.threshold_steps)
    # all windows of 3 columns, 1 apart, and of 10, 8 apart: their positions inside 32 columns
    assert np.array_equal(together.activation_read_bits * (3 * 30 + 2 * 2), alone.activation_read_bits * (4 * 10 - 2))
    for event in ("cycles", "rows", "walk_cycles", "weight_read_bits"):
        assert (getattr(together, event) < 0.5 * getattr(alone, event)).all(), event
    assert np.array_equal(together.lane_adds, together.rows * 128)
    assert np.array_equal(alone.lane_adds, alone.rows * 16)
