"""The native engine at the bounds of sizes: offsets of almost 32 bits, images that fill the memory in flight."""

import numpy as np
import pytest

from firstspike.arith import NO_SPIKE, Code, LogWeights
from firstspike.engine import ReferenceEngine
from firstspike.spec import INPUT, Conv2d, MaxPool2d, Network

native = pytest.importorskip("firstspike._native", reason="the extension is not built")
from firstspike.engine.native import NativeEngine  # noqa: E402


def conv(name: str, source: str, *shape: int, seed: int, **options: object) -> Conv2d:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 32, shape, dtype=np.uint8)
    bias = rng.integers(0, 1 << 20, shape[0])
    return Conv2d(name=name, source=source, codes=codes, scale=0, bias=bias, **options)


def network(*layers: Conv2d | MaxPool2d, shape: tuple[int, int, int], bits: int = 32) -> Network:
    return Network(code=Code(T=4), weights=LogWeights(), input_shape=shape, layers=layers, accumulator_bits=bits)


@pytest.mark.parametrize(("channels", "bits"), [(256, 32), (192, 48)])
def test_rows_as_wide_as_there_are(channels: int, bits: int) -> None:
    """Lists of a row hold byte offsets: 65536 columns * 256 channels * 128 bytes are 2^31, 192 * 256 bytes 3 * 2^30."""
    first = conv("a", INPUT, channels, 1, 1, 1, seed=1)
    last = conv("b", "a", 3, channels, 1, 2, seed=2, stride=(1, 61), padding=(0, 1), fires=False)
    wide = network(first, last, shape=(1, 1, 1 << 16), bits=bits)
    rng = np.random.default_rng(0)
    times = np.where(rng.random((1, 1, 1, 1 << 16)) < 0.3, rng.integers(0, 4, (1, 1, 1, 1 << 16)), NO_SPIKE)
    times = times.astype(np.uint8)
    expected = ReferenceEngine(wide).logits(times)
    assert len(np.unique(expected)) > 50
    for instructions in native.instruction_sets():
        for path in ("event", "dense") if bits == 32 else ("event",):
            found = NativeEngine(wide, threads=2, instructions=instructions, path=path).logits(times)
            assert np.array_equal(found, expected), (instructions, path)


@pytest.mark.parametrize(("images", "threads"), [(9, 1), (9, 5)])
def test_more_images_than_are_in_flight(images: int, threads: int) -> None:
    """8 million activations an image: eight images fill 64 MiB, one thread's or that of all."""
    pool = MaxPool2d(name="p", source=INPUT, kernel=(1, 1), stride=(1, 1))
    last = conv("b", "p", 2, 4, 3, 3, seed=1, stride=(64, 64), fires=False)
    large = network(pool, last, shape=(4, 1 << 10, 1 << 10))
    rng = np.random.default_rng(1)
    times = rng.integers(0, 6, (images, 4, 1 << 10, 1 << 10), dtype=np.uint8)
    expected = np.concatenate([ReferenceEngine(large).logits(times[i : i + 1]) for i in range(images)])
    assert np.array_equal(NativeEngine(large, threads=threads).logits(times), expected)
