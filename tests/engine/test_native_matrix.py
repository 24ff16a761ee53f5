"""Layers of narrow formats as matrices of bytes: every spike time and every logit is the reference engine's, with ``==``."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.narrow import CODE, chain, layer, random_apart, random_branches, random_chain, rare, spikes
from engine.networks import shifted
from firstspike.arith import LogWeights
from firstspike.engine import ReferenceEngine
from firstspike.spec import INPUT, Channels, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, load, save

native = pytest.importorskip("firstspike._native", reason="the extension is not built")
from firstspike.engine.native import NativeEngine  # noqa: E402

pytestmark = pytest.mark.skipif("amx" not in native.instruction_sets(), reason="the processor has no tiles of bytes")


def assert_equal(network: Network, times: np.ndarray, *, matrices: int, path: str = "dense", threads: int = 1) -> None:
    expected = ReferenceEngine(network).layers(times)
    engine = NativeEngine(network, threads=threads, instructions="amx", path=path)
    assert engine.matrices == matrices
    found = engine.layers(times)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(found[name], values), f"{name}: {threads} threads"
    # where nobody asks for spike times, they go from layer to layer as values
    assert np.array_equal(engine.logits(times), expected[network.layers[-1].name]), f"{threads} threads"


SHAPES = [
    # outputs, inputs, kernel, height, width, stride, padding, dilation, groups
    (32, 64, (3, 3), 5, 6, (1, 1), (1, 1), (1, 1), 1),
    (70, 128, (3, 3), 4, 4, (1, 1), (1, 1), (1, 1), 1),  # a last tile of columns alone, and filled up
    (17, 50, (3, 2), 5, 4, (2, 1), (2, 1), (1, 1), 1),  # taps filled up, strides
    (33, 3, (3, 3), 7, 7, (1, 1), (1, 1), (1, 1), 1),  # taps that are not
    (5, 200, (1, 3), 3, 7, (1, 2), (0, 2), (1, 2), 1),  # gaps
    (40, 20, (3, 3), 5, 5, (1, 1), (1, 1), (1, 1), 4),  # groups
    (96, 128, (1, 1), 2, 2, (1, 1), (0, 0), (1, 1), 2),
]


@pytest.mark.parametrize("n", [1, 5, 16, 35])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_convolutions(case: tuple, n: int) -> None:
    outputs, inputs, kernel, height, width, stride, padding, dilation, groups = case
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    first = layer(Conv2d, "a", INPUT, (outputs, inputs // groups, *kernel), seed=n, **options)
    (_, rows, columns) = first.output_shape((inputs, height, width))
    same = layer(Conv2d, "b", "a", (outputs, outputs, 3, 3), seed=1, padding=(1, 1), residuals=("a", "a"))
    last = layer(Linear, "d", "c", (11, outputs * rows * columns), seed=2, fires=False)
    network = chain(first, same, Flatten(name="c", source="b"), last, shape=(inputs, height, width))
    for threads in (1, 3):
        assert_equal(network, spikes(n, (inputs, height, width)), matrices=3, threads=threads)


@pytest.mark.parametrize("n", [1, 16, 35])
def test_shifts(n: int) -> None:
    """Spikes straight from sums, with half a tile of columns; through membranes, behind a part; a depthwise layer between."""
    first = layer(Conv2d, "a", INPUT, (80, 64, 1, 1), seed=n)
    deep = layer(Conv2d, "b", "a", (80, 1, 3, 3), seed=2, padding=(1, 1), groups=80)
    part = replace(layer(Conv2d, "p", INPUT, (80, 64, 1, 1), seed=4, fires=False), bias=np.zeros(80, np.int64))
    sums = replace(layer(Conv2d, "c", "b", (80, 80, 1, 1), seed=3), parts=(part,))
    last = layer(Linear, "e", "d", (11, 80 * 25), seed=5, fires=False)
    network = shifted(chain(first, deep, sums, Flatten(name="d", source="c"), last, shape=(64, 5, 5)))
    assert all(any(one.shifts) for one in network.synaptic[:-1])
    for threads in (1, 2):
        assert_equal(network, spikes(n, (64, 5, 5)), matrices=5, threads=threads)


@pytest.mark.parametrize("share", [0.0, 0.0002, 0.002])
@pytest.mark.parametrize("n", [1, 5, 16, 35])
def test_large_weights_in_some_tiles(n: int, share: float) -> None:
    """As in trained networks: some tiles of weights need further planes, others do not."""
    rng = np.random.default_rng(n)
    first = rare(layer(Conv2d, "a", INPUT, (96, 128, 3, 3), seed=n, padding=(1, 1)), share, rng)
    same = rare(layer(Conv2d, "b", "a", (64, 96, 3, 3), seed=1, padding=(1, 1)), share, rng)
    last = rare(layer(Linear, "d", "c", (40, 64 * 16), seed=2, fires=False), share, rng)
    network = chain(first, same, Flatten(name="c", source="b"), last, shape=(128, 4, 4))
    for threads in (1, 3):
        assert_equal(network, spikes(n, (128, 4, 4)), matrices=3, threads=threads)


@pytest.mark.parametrize("n", [2, 33])
def test_planes_pools_and_parts(n: int) -> None:
    first = layer(Conv2d, "a", INPUT, (64, 3, 3, 3), seed=1, padding=(1, 1), planes=True)
    part = layer(Conv2d, "q", "a", (64, 64, 1, 1), seed=3, stride=(2, 2), fires=False)
    sums = layer(Conv2d, "s", "a", (64, 64, 2, 2), seed=4, stride=(2, 2), residuals=("p",))
    sums = replace(sums, parts=(replace(part, bias=np.zeros(64, dtype=np.int64)),))
    both = Channels(name="b", source="s", others=("p",), channels=(*range(0, 128, 2), -1, 5))
    last = layer(Linear, "l", "f", (10, 66 * 16), seed=2, fires=False)
    pool = MaxPool2d(name="p", source="a", kernel=(2, 2), stride=(2, 2))
    layers = (first, pool, sums, both, Flatten(name="f", source="b"), last)
    network = chain(*layers, shape=(3, 8, 8), code=replace(CODE, input="planes"))
    for path in ("dense", "auto"):
        assert_equal(network, spikes(n, (3, 8, 8), planes=True), matrices=4, path=path, threads=2)


@pytest.mark.parametrize(("height", "width"), [(13, 20), (12, 35), (12, 9)])  # 9: too narrow for strips
@pytest.mark.parametrize("n", [3, 16, 37])
def test_layers_that_feed_the_next(n: int, height: int, width: int) -> None:
    """A chain: few channels first, pools with and without rows left over, one pixel that is flattened."""
    layers: list[Layer] = [
        layer(Conv2d, "a", INPUT, (50, 3, 3, 2), seed=1, padding=(1, 0), stride=(1, 1), planes=True),
        layer(Conv2d, "b", "a", (128, 50, 3, 3), seed=2, padding=(1, 1)),
        MaxPool2d(name="p", source="b", kernel=(2, 2), stride=(2, 2)),
        layer(Conv2d, "c", "p", (128, 64, 3, 3), seed=3, padding=(1, 1), groups=2),
        MaxPool2d(name="q", source="c", kernel=(3, 2), stride=(3, 2)),
        layer(Conv2d, "d", "q", (64, 64, 2, 1), seed=4, stride=(2, 1), groups=2),
        MaxPool2d(name="r", source="d", kernel=(1, 2), stride=(1, 2)),
    ]
    shape = after = (3, height, width)
    for made in layers:
        after = made.output_shape(after)
    layers += [
        Flatten(name="f", source="r"),
        layer(Linear, "g", "f", (112, math.prod(after)), seed=5),
        layer(Linear, "l", "g", (10, 112), seed=6, fires=False),
    ]
    network = chain(*layers, shape=shape, code=replace(CODE, input="planes"))
    for threads in (1, 2):
        assert_equal(network, spikes(n, shape, planes=True), matrices=6, threads=threads)


@pytest.mark.parametrize("n", [2, 18])
def test_pools_in_passing(n: int) -> None:
    """Rows of tiles are positions where images are few: the pool's windows still fill them. Then one window for all the map."""
    layers = (
        layer(Conv2d, "a", INPUT, (64, 64, 3, 3), seed=1, padding=(1, 1)),
        MaxPool2d(name="p", source="a", kernel=(2, 2), stride=(2, 2)),
        layer(Conv2d, "b", "p", (70, 64, 3, 4), seed=2, stride=(1, 3)),
        MaxPool2d(name="q", source="b", kernel=(2, 4), stride=(1, 1)),
        Flatten(name="f", source="q"),
        layer(Linear, "l", "f", (10, 70), seed=3, fires=False),
    )
    check_random(chain(*layers, shape=(64, 8, 26)), n)


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_random_chains(seed: int, shifts: bool) -> None:
    rng = np.random.default_rng(seed)
    network, n = random_chain(rng), int(rng.integers(1, 40))
    check_random(shifted(network, seed) if shifts else network, n)


@pytest.mark.parametrize("seed", range(16))
def test_random_branches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, n = random_branches(rng), int(rng.choice([1, 7, 16, 17, 33]))
    check_random(shifted(network, seed) if seed % 4 == 3 else network, n)


@pytest.mark.parametrize("seed", range(24))
def test_random_depthwise_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, n = random_apart(rng), int(rng.choice([1, 7, 16, 17, 33]))
    apart = sum(one.groups > 1 for one in network.layers if isinstance(one, Conv2d))
    few = network.input_shape[0] < 16  # those take another kernel
    assert few or NativeEngine(network, instructions="amx", path="dense").matrices > apart
    check_random(shifted(network, seed) if seed % 3 == 2 else network, n)


def test_groups_that_end_inside_a_tile() -> None:
    """Of the outputs of 50 that a group has, the second 32 lie in two tiles of the next layer's inputs."""
    first = layer(Conv2d, "a", INPUT, (100, 64, 1, 1), seed=1, groups=2)
    second = layer(Conv2d, "b", "a", (100, 50, 3, 3), seed=2, padding=(1, 1), groups=2, residuals=("a",))
    third = layer(Conv2d, "c", "b", (64, 100, 3, 3), seed=3)
    last = layer(Linear, "l", "f", (10, 64 * 4), seed=4, fires=False)
    check_random(chain(first, second, third, Flatten(name="f", source="c"), last, shape=(128, 4, 4)), 20)


def check_random(network: Network, n: int) -> None:
    """All layers, and the logits where nobody asks for the others, on one thread and on two."""
    times = spikes(n, network.input_shape, planes=network.code.planes)
    expected = ReferenceEngine(network).layers(times)
    for threads in (1, 2):
        engine = NativeEngine(network, threads=threads, instructions="amx", path="dense")
        assert engine.matrices > 0
        assert np.array_equal(engine.logits(times), expected["l"])
        for name, values in engine.layers(times).items():
            assert np.array_equal(values, expected[name]), name


@pytest.mark.parametrize(("bits", "matrices"), [(2, 2), (3, 2), (4, 2), (6, 2)])  # 6 bits: eleven planes at most
def test_other_formats(bits: int, matrices: int) -> None:
    weights = LogWeights(bits=bits, levels_per_octave=4, mantissa_bits=3)
    first = layer(Conv2d, "a", INPUT, (24, 64, 3, 3), seed=1, padding=(1, 1), weights=weights)
    last = layer(Conv2d, "b", "a", (7, 24, 3, 3), seed=2, fires=False, weights=weights)
    assert_equal(chain(first, last, shape=(64, 5, 5), weights=weights), spikes(18, (64, 5, 5)), matrices=matrices)


@pytest.mark.parametrize("n", [3, 18])
def test_thresholds_of_more_bits(n: int) -> None:
    """Kernel mantissas of 5 bits: operands fit bytes, but thresholds are not found by octave and three more bits."""
    code = replace(CODE, T=8, mantissa_bits=5)
    first = layer(Conv2d, "a", INPUT, (64, 64, 3, 3), seed=1, padding=(1, 1), code=code)
    part = replace(
        layer(Conv2d, "p", INPUT, (64, 64, 1, 1), seed=2, fires=False, code=code), bias=np.zeros(64, np.int64)
    )
    second = replace(layer(Conv2d, "b", "a", (64, 64, 3, 3), seed=3, padding=(1, 1), code=code), parts=(part,))
    third = layer(Conv2d, "c", "b", (64, 64, 1, 1), seed=4, residuals=("a", "b"), code=code)
    last = layer(Linear, "l", "f", (10, 64 * 55), seed=5, fires=False, code=code)
    network = chain(first, second, third, Flatten(name="f", source="c"), last, shape=(64, 5, 11), code=code)
    assert_equal(network, spikes(n, network.input_shape), matrices=5)


def test_what_does_not_fit_takes_other_kernels() -> None:
    wide = layer(Conv2d, "a", INPUT, (8, 64, 1, 1), seed=1)
    network = chain(wide, replace(wide, name="b", source="a", fires=False, codes=wide.codes[:, :8]), shape=(64, 2, 2))
    assert NativeEngine(network, instructions="amx", path="event").matrices == 0
    assert NativeEngine(network, instructions="avx512", path="dense").matrices == 0
    assert_equal(network, spikes(3, (64, 2, 2)), matrices=0, path="event")


def test_the_codes_come_back(tmp_path: Path) -> None:
    first = layer(Conv2d, "a", INPUT, (21, 50, 3, 2), seed=1)
    second = layer(Linear, "b", "f", (5, 21 * 4), seed=2, fires=False)
    save(chain(first, Flatten(name="f", source="a"), second, shape=(50, 4, 3)), tmp_path / "net.safetensors")
    network = load(tmp_path / "net.safetensors")
    engine = NativeEngine(network, instructions="amx", path="dense", owned=True)
    assert engine.matrices == 2
    for kept, made in zip(network.synaptic, (first, second), strict=True):
        assert np.array_equal(kept.codes, made.codes)
