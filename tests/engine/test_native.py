"""The native engine against the reference engine: every spike time and every logit with ``==``, on every path."""

import itertools
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import firstspike
from engine.networks import needed_bits, networks, shifted, spike_times
from firstspike import arith
from firstspike.arith import NO_SPIKE, Code, LogWeights, encode, kernel, membrane_exponent
from firstspike.engine import ReferenceEngine, create
from firstspike.engine.images import encode_images
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network

native = pytest.importorskip("firstspike._native", reason="the extension is not built")
from firstspike.engine.native import NativeEngine  # noqa: E402
from firstspike.engine.native import encode as native_encode  # noqa: E402

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PATHS = list(itertools.product(native.instruction_sets(), ["event", "dense", "auto"]))


def assert_equal(network: Network, times: np.ndarray, instructions: str, path: str, threads: int) -> None:
    expected = ReferenceEngine(network).layers(times)
    engine = NativeEngine(network, threads=threads, instructions=instructions, path=path)
    assert engine.instructions == instructions
    found = engine.layers(times)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values), f"{name}: {instructions}, {path}, {threads} threads"
    assert np.array_equal(engine.logits(times), expected[network.layers[-1].name])


# ---- random networks of all kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("instructions", "path"), PATHS)
def test_random_networks(instructions: str, path: str) -> None:
    @settings(SLOW, max_examples=60)
    @given(data=st.data(), threads=st.integers(1, 3))
    def check(data: st.DataObject, threads: int) -> None:
        network = data.draw(networks(size=8))
        assert_equal(network, data.draw(spike_times(network, max_images=7)), instructions, path, threads)

    check()


# ---- layers larger than a block of channels, a panel or a tile ----------------------------------------------------


def chain(
    *layers: Layer,
    shape: tuple[int, ...],
    code: Code | None = None,
    weights: LogWeights | None = None,
    wide: bool = False,
) -> Network:
    """A network of these layers, in an accumulator just wide enough for them (or of 48 bits)."""
    network = Network(
        code=code or Code(), weights=weights or LogWeights(), input_shape=shape, layers=layers, accumulator_bits=48
    )
    return network if wide else replace(network, accumulator_bits=needed_bits(network))


def layer(
    kind: type[Conv2d] | type[Linear],
    name: str,
    source: str,
    shape: tuple[int, ...],
    *,
    seed: int = 0,
    weights: LogWeights | None = None,
    **options: object,
) -> Conv2d | Linear:
    """A layer of random codes; its scale keeps the sums near the firing level, its bias spreads the spike times."""
    weights = weights or LogWeights()
    rng = np.random.default_rng(seed)
    scale = int(weights.levels_per_octave * (math.log2(math.prod(shape[1:])) / 2 - 1))
    level = 2.0 ** membrane_exponent(Code(), weights, scale)
    codes = rng.integers(0, 1 << weights.bits, shape, dtype=np.uint8)
    bias = np.rint(rng.normal(size=shape[0]) * 0.3 * level).astype(np.int64)
    return kind(name=name, source=source, codes=codes, scale=scale, bias=bias, **options)


def spikes(shape: tuple[int, ...], density: float, T: int = 24, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.integers(0, T, shape), NO_SPIKE).astype(np.uint8)


CONVOLUTIONS = [
    # outputs, inputs, kernel, height, width, stride, padding, groups
    (64, 3, (3, 3), 9, 7, (1, 1), (1, 1), 1),
    (70, 64, (3, 3), 5, 6, (1, 1), (1, 1), 1),
    (33, 130, (3, 3), 4, 4, (1, 1), (1, 1), 1),  # one tap's rows fill a panel in part
    (5, 800, (1, 3), 3, 4, (1, 2), (0, 1), 1),  # several blocks of channels
    (130, 7, (5, 1), 6, 3, (2, 1), (2, 0), 1),
    (40, 21, (2, 4), 4, 9, (3, 2), (1, 3), 1),  # odd runs, much padding
    (24, 20, (3, 3), 5, 5, (1, 1), (1, 1), 4),  # groups
    (12, 12, (3, 3), 5, 4, (2, 1), (1, 1), 12),  # depthwise
    (24, 12, (3, 3), 5, 4, (1, 1), (1, 1), 12),  # two outputs a group
    (32, 16, (1, 1), 40, 41, (1, 1), (0, 0), 1),  # more positions than a tile
]


@pytest.mark.parametrize("density", [0.3, 0.95])
@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "48 bits"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(case: tuple, wide: bool, density: float) -> None:
    outputs, inputs, kernel, height, width, stride, padding, groups = case
    options = {"stride": stride, "padding": padding, "groups": groups}
    first = layer(Conv2d, "a", INPUT, (outputs, inputs // groups, *kernel), **options)
    (_, rows, columns) = first.output_shape((inputs, height, width))
    same = layer(Conv2d, "b", "a", (outputs, outputs, 3, 3), seed=1, padding=(1, 1), residuals=("a", "a"))
    last = layer(Linear, "d", "c", (11, outputs * rows * columns), seed=2, fires=False)
    network = chain(first, same, Flatten(name="c", source="b"), last, shape=(inputs, height, width), wide=wide)
    times = spikes((5, inputs, height, width), density)
    for instructions, path in PATHS:
        assert_equal(network, times, instructions, path, threads=2)


@pytest.mark.parametrize("wide", [False, True])
def test_shifts_of_many_channels(wide: bool) -> None:
    """More channels than lanes, groups, a depthwise layer."""
    first = layer(Conv2d, "a", INPUT, (70, 6, 3, 3), padding=(1, 1))
    deep = layer(Conv2d, "b", "a", (70, 1, 3, 3), seed=1, padding=(1, 1), groups=70)
    grouped = layer(Conv2d, "c", "b", (140, 35, 1, 1), seed=2, groups=2)
    last = layer(Linear, "e", "d", (11, 140 * 20), seed=3, fires=False)
    network = shifted(chain(first, deep, grouped, Flatten(name="d", source="c"), last, shape=(6, 4, 5)))
    network = replace(network, accumulator_bits=48) if wide else network
    times = spikes((5, 6, 4, 5), 0.6)
    for instructions, path in PATHS:
        assert_equal(network, times, instructions, path, threads=2)


def test_residuals_of_the_input_and_of_a_pool() -> None:
    pool = MaxPool2d(name="p", source=INPUT, kernel=(3, 2), stride=(1, 1), padding=(1, 0))
    conv = layer(Conv2d, "a", INPUT, (6, 6, 3, 2), padding=(1, 0), residuals=("p",))
    out = layer(Conv2d, "b", "a", (6, 6, 1, 2), padding=(0, 1), fires=False, residuals=(INPUT,))
    network = chain(pool, conv, out, shape=(6, 5, 7))
    for instructions, path in PATHS:
        assert_equal(network, spikes((3, 6, 5, 7), 0.5), instructions, path, threads=2)


FORMATS = [
    (Code(), LogWeights()),
    (Code(T=1), LogWeights(bits=2)),
    (Code(T=31), LogWeights(bits=4)),
    (Code(T=32), LogWeights(bits=6, levels_per_octave=4)),
    (Code(T=33, tau=4), LogWeights(bits=7, levels_per_octave=16)),
    (Code(T=65, tau=8, mantissa_bits=7), LogWeights(bits=8, levels_per_octave=16, mantissa_bits=7)),
    (Code(T=255, tau=32, mantissa_bits=9), LogWeights(bits=3)),
    (Code(T=64, tau=4), LogWeights()),  # kernel values beyond 16 bits
    (Code(T=12), LogWeights(bits=6)),  # weights beyond 16 bits
]


@pytest.mark.parametrize(("code", "weights"), FORMATS, ids=str)
def test_formats(code: Code, weights: LogWeights) -> None:
    a = layer(Conv2d, "a", INPUT, (40, 6, 3, 3), weights=weights, padding=(1, 1))
    b = layer(Conv2d, "b", "a", (40, 40, 3, 3), seed=1, weights=weights, padding=(1, 1), residuals=("a",))
    c = layer(Conv2d, "c", "b", (40, 1, 2, 2), seed=2, weights=weights, groups=40)
    d = layer(Linear, "e", "d", (7, 40 * 25), seed=3, weights=weights, fires=False)
    network = chain(a, b, c, Flatten(name="d", source="c"), d, shape=(6, 6, 6), code=code, weights=weights)
    for instructions, path in PATHS:
        assert_equal(network, spikes((3, 6, 6, 6), 0.5, T=code.T), instructions, path, threads=2)


def test_any_number_of_images_and_threads() -> None:
    network = chain(layer(Linear, "a", INPUT, (70, 33)), layer(Linear, "b", "a", (10, 70), fires=False), shape=(33,))
    everything = spikes((150, 33), 0.4)
    everything[:5], everything[5:9] = NO_SPIKE, 0
    expected = ReferenceEngine(network).logits(everything)
    for images, threads in itertools.product([0, 1, 2, 3, 7, 33, 150], [1, 2, 5]):
        found = NativeEngine(network, threads=threads).logits(everything[:images])
        assert found.shape == (images, 10)
        assert np.array_equal(found, expected[:images])


def test_bytes_that_are_no_spike_time_are_silent() -> None:
    network = chain(layer(Linear, "b", INPUT, (10, 256), fires=False), shape=(256,))
    times = np.arange(256, dtype=np.uint8)[None]
    for instructions, path in PATHS:
        assert_equal(network, times, instructions, path, threads=1)


def test_inputs_that_are_not_contiguous() -> None:
    network = chain(layer(Conv2d, "a", INPUT, (10, 3, 3, 3), fires=False), shape=(3, 5, 6))
    times = spikes((8, 6, 5, 3), 0.5).transpose(0, 3, 2, 1)[::2]
    assert_equal(network, times, native.instruction_sets()[-1], "auto", threads=1)


def test_weights_stay_packed() -> None:
    network = chain(
        layer(Conv2d, "a", INPUT, (64, 64, 3, 3)),
        layer(Conv2d, "b", "a", (128, 64, 3, 3), fires=False),
        shape=(64, 8, 8),
    )
    assert NativeEngine(network).weight_bytes == (64 + 128) * 64 * 9 * 5 // 8


def test_errors() -> None:
    network = chain(layer(Linear, "b", INPUT, (10, 4), fires=False), shape=(4,))
    engine = NativeEngine(network)
    with pytest.raises(TypeError, match="times must be uint8, not float64"):
        engine.logits(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"times must have shape \(n, 4\), not \(1, 5\)"):
        engine.logits(np.zeros((1, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match="path must be auto, event or dense, not 'sparse'"):
        NativeEngine(network, path="sparse")
    with pytest.raises(ValueError, match=r"instruction set must be auto or one of portable.*, not 'mmx'"):
        NativeEngine(network, instructions="mmx")
    with pytest.raises(ValueError, match=r"threads must be in 1\.\.1024, not 0"):
        NativeEngine(network, threads=0)


def test_native_is_the_default() -> None:
    network = chain(layer(Linear, "b", INPUT, (10, 4), fires=False), shape=(4,))
    assert create(network).name == "native"
    assert create(network, "native", threads=3).threads == 3


def test_without_the_extension_the_reference_runs_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    network = chain(layer(Linear, "b", INPUT, (10, 4), fires=False), shape=(4,))
    monkeypatch.delitem(sys.modules, "firstspike.engine.native")
    monkeypatch.setitem(sys.modules, "firstspike._native", None)
    monkeypatch.delattr(firstspike, "_native")
    with pytest.warns(RuntimeWarning, match="the native engine is not built") as warnings:
        assert create(network).name == "reference"
    assert len(warnings) == 1
    with pytest.raises(ImportError, match="engine 'native' needs the compiled extension"):
        create(network, "native")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("code", [Code(), Code(T=1), Code(T=255, tau=32, mantissa_bits=12)], ids=str)
def test_encode_equals_arith(code: Code, dtype: type) -> None:
    levels = kernel(code).astype(dtype)
    near = [levels, np.nextafter(levels, dtype(0)), np.nextafter(levels, dtype(2))]
    values = np.concatenate([*near, np.random.default_rng(0).random(70_001).astype(dtype), [-1, -0.0, 0, 2, np.inf]])
    values = values.astype(dtype)
    assert np.array_equal(native_encode(values, code, threads=2), encode(values, code))
    assert np.array_equal(native_encode(values[::3], code), encode(values[::3], code))
    with pytest.raises(TypeError, match="values must be float32 or float64, not int64"):
        native_encode(np.zeros(3, dtype=np.int64), code)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_images_are_encoded_by_the_compiled_encoder(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is built it is used: the NumPy one gives the same times, and nobody would see that it is slow."""
    network = chain(layer(Linear, "b", INPUT, (10, 4), fires=False), shape=(4,))
    images = np.arange(8).reshape(2, 4).astype(dtype) / dtype(1 if dtype is np.uint8 else 8)
    compiled, seen = native.encode, []
    monkeypatch.setattr(native, "encode", lambda values, *rest: seen.append(values.shape) or compiled(values, *rest))
    monkeypatch.setattr(arith, "encode", None)
    encode_images(network, images.astype(dtype))
    assert seen == [(2, 4)]
