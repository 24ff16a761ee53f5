"""Runs every path of an instrumented build of the extension against the reference engine (scripts/sanitize.sh).

Usage: native_smoke.py BUILD_FOLDER. Without pytest and torch, so that the sanitizers see little else.
"""

import importlib.util
import sys
import threading
from pathlib import Path

import numpy as np

SOURCES = Path(__file__).parents[2] / "src"
sys.path.insert(0, str(SOURCES))


def load_extension(folder: Path) -> None:
    """Make the extension in ``folder`` the one that `firstspike` uses."""
    (path,) = folder.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("firstspike._native", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["firstspike._native"] = module
    spec.loader.exec_module(module)


def package_without_init() -> None:
    """Import sub-packages of `firstspike` without the public API, which would load torch."""
    package = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("firstspike", loader=None, is_package=True)
    )
    package.__path__ = [str(SOURCES / "firstspike")]
    sys.modules["firstspike"] = package


class _Numbers:
    """Random codes of few levels below the highest, so that sums stay small, and biases."""

    def __init__(self, weights, seed: int) -> None:
        self.weights, self.rng = weights, np.random.default_rng(seed)

    def __call__(self, *shape: int, part: bool = False) -> dict:
        zero, sign = self.weights.zero_level, self.weights.bits - 1
        magnitude = self.rng.integers(zero - 3, zero, shape, endpoint=True)
        codes = (magnitude | self.rng.integers(0, 2, shape) << sign).astype(np.uint8)
        bias = np.zeros(shape[0], np.int64) if part else self.rng.integers(0, 1 << 18, shape[0])
        return {"codes": codes, "bias": bias, **({"fires": False} if part else {})}


def networks() -> list:
    from firstspike.arith import Code, LogWeights

    formats = [
        (Code(), LogWeights(), 40),
        (Code(), LogWeights(), 32),
        (Code(T=40, tau=8, mantissa_bits=6), LogWeights(bits=7, levels_per_octave=16), 32),
        (Code(T=44), LogWeights(), 32),
    ]
    chains = [chain(code, weights, bits) for code, weights, bits in formats]
    return [
        *chains,
        *(branches(Code(input=source), bits) for source in ("spike", "planes") for bits in (32, 48)),
    ]


def chain(code, weights, accumulator_bits: int):
    """One layer after the other: dense, pooled, grouped, depthwise with a residual."""
    from firstspike.spec.network import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network

    n = _Numbers(weights, accumulator_bits)
    residual = {"groups": 70, "padding": (1, 1), "residuals": ("c",)}
    layers = (
        Conv2d(name="a", source=INPUT, scale=2, padding=(1, 1), **n(70, 3, 3, 3)),
        MaxPool2d(name="b", source="a", kernel=(2, 2), stride=(2, 2), padding=(1, 0)),
        Conv2d(name="c", source="b", scale=4, groups=2, stride=(2, 1), **n(70, 35, 3, 2)),
        Conv2d(name="d", source="c", scale=0, **residual, **n(70, 1, 3, 3)),
        Flatten(name="e", source="d"),
        Linear(name="f", source="e", scale=8, **(n(9, 70 * 2 * 4) | {"fires": False})),
    )
    shape = (3, 9, 10)
    return Network(code=code, weights=weights, input_shape=shape, layers=layers, accumulator_bits=accumulator_bits)


def branches(code, accumulator_bits: int):
    """Layers of several sources, dense, grouped, depthwise and linear, some of the input; channels rearranged."""
    from firstspike.arith import LogWeights
    from firstspike.spec.network import INPUT, Channels, Conv2d, Flatten, Linear, MaxPool2d, Network

    n, weights = _Numbers(LogWeights(), accumulator_bits), LogWeights()
    of_input = Conv2d(name="c.1", source=INPUT, scale=2, stride=(2, 2), **n(70, 3, 1, 2, part=True))
    grouped = Conv2d(name="c.2", source="b", scale=1, groups=35, **n(70, 2, 1, 1, part=True))
    depthwise = Conv2d(name="d.1", source="b", scale=0, groups=70, **n(70, 1, 1, 1, part=True))
    flat = Linear(name="f.1", source="g", scale=4, **n(9, 270, part=True))
    layers = (
        Conv2d(name="a", source=INPUT, scale=2, padding=(1, 1), **n(70, 3, 3, 3)),
        MaxPool2d(name="b", source="a", kernel=(2, 2), stride=(2, 2), padding=(1, 0)),
        Channels(name="h", source="b", others=("b",), channels=tuple(int(c) for c in n.rng.integers(-1, 140, 33))),
        Conv2d(name="c", source="h", scale=2, padding=(1, 1), parts=(of_input, grouped), **n(70, 33, 3, 3)),
        Conv2d(name="d", source="c", scale=0, groups=70, padding=(1, 1), parts=(depthwise,), **n(70, 1, 3, 3)),
        Conv2d(name="i", source="d", scale=2, residuals=("b", "d"), **n(70, 70, 1, 1)),
        Flatten(name="e", source="i"),
        Flatten(name="g", source=INPUT),
        Linear(name="f", source="e", scale=8, parts=(flat,), **(n(9, 70 * 5 * 5) | {"fires": False})),
    )
    shape = (3, 9, 10)
    return Network(code=code, weights=weights, input_shape=shape, layers=layers, accumulator_bits=accumulator_bits)


def matrices() -> int:
    """Layers in a narrow format that feed the next, with few images and many: matrices of bytes where the processor has tiles."""
    from firstspike import _native
    from firstspike.arith import Code, LogWeights
    from firstspike.engine.native import NativeEngine
    from firstspike.engine.reference import ReferenceEngine
    from firstspike.spec.network import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network

    rng, weights = np.random.default_rng(0), LogWeights(bits=5, levels_per_octave=2, mantissa_bits=2)

    def numbers(*shape: int) -> dict:
        return {"codes": rng.integers(0, 32, shape).astype(np.uint8), "bias": rng.integers(0, 1 << 12, shape[0])}

    part = Conv2d(
        name="p",
        source="d",
        scale=10,
        codes=rng.integers(0, 32, (64, 64, 1, 1)).astype(np.uint8),
        bias=np.zeros(64, np.int64),
        fires=False,
    )
    layers = (
        Conv2d(name="a", source=INPUT, scale=6, padding=(1, 1), **numbers(70, 3, 3, 3)),
        Conv2d(name="b", source="a", scale=10, padding=(1, 0), stride=(2, 1), **numbers(64, 70, 3, 3)),
        MaxPool2d(name="c", source="b", kernel=(2, 3), stride=(2, 3)),
        Conv2d(name="d", source="c", scale=10, residuals=("c",), **numbers(64, 64, 1, 1)),
        Conv2d(name="h", source="d", scale=2, padding=(1, 1), groups=64, **numbers(64, 1, 3, 3)),
        Conv2d(name="i", source="h", scale=10, residuals=("d", "h"), parts=(part,), **numbers(64, 64, 1, 1)),
        Flatten(name="e", source="i"),
        Linear(name="f", source="e", scale=8, **numbers(64, 512)),
        Linear(name="g", source="f", scale=8, **(numbers(10, 64) | {"fires": False})),
    )
    code, runs = Code(T=16, tau=4, mantissa_bits=3, input="planes"), 0
    network = Network(code=code, weights=weights, input_shape=(3, 9, 14), layers=layers)
    for images in (1, 6, 17, 33):
        times = rng.integers(0, 256, (images, 3, 9, 14)).astype(np.uint8)
        expected = ReferenceEngine(network).layers(times)
        for instructions in _native.instruction_sets():
            engine = NativeEngine(network, threads=2, instructions=instructions)
            assert np.array_equal(engine.logits(times), expected["g"])
            found = engine.layers(times)
            assert all(np.array_equal(found[name], values) for name, values in expected.items())
            runs += 2
    return runs


def main() -> None:
    package_without_init()
    load_extension(Path(sys.argv[1]))
    from firstspike import _native
    from firstspike.arith import kernel
    from firstspike.engine.native import NativeEngine
    from firstspike.engine.reference import ReferenceEngine

    runs = matrices()
    for network in networks():
        for images in (0, 1, 5):
            rng = np.random.default_rng(images)
            times = rng.integers(0, 2 * network.code.T, (images, 3, 9, 10)).astype(np.uint8)
            expected = ReferenceEngine(network).layers(times)
            for instructions in _native.instruction_sets():
                for path in ("event", "dense"):
                    engine = NativeEngine(network, threads=3, instructions=instructions, path=path)
                    found = engine.layers(times)
                    assert all(np.array_equal(found[name], values) for name, values in expected.items())
                    for layer in network.connections:
                        wanted = layer.packed(network.weights.bits)
                        stream = np.empty(wanted.shape, dtype=np.uint8)
                        engine._native.codes(engine._numbers[layer.name] - 1, stream)
                        assert np.array_equal(stream, wanted)
                    runs += 1
        # several callers at once share one pool of threads
        shared = NativeEngine(network, threads=2)
        callers = [threading.Thread(target=shared.logits, args=(times,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        x = np.random.default_rng(0).normal(size=100_003).astype(np.float32)
        out, mask = np.empty_like(x), np.empty(len(x), dtype=np.uint8)
        levels = kernel(network.code)[::-1].astype(np.float32)
        _native.encode(x, mask, levels, 3)
        _native.ttfs_forward(x.ctypes.data, out.ctypes.data, mask.ctypes.data, len(x), levels, "float32", 3)
        _native.clip_forward(x.ctypes.data, out.ctypes.data, mask.ctypes.data, len(x), "float32", 3)
        _native.masked_backward(x.ctypes.data, mask.ctypes.data, out.ctypes.data, len(x), "float32", 3)
        _native.quantise_forward(x.ctypes.data, out.ctypes.data, len(x), levels[1:], levels, 3)
    print(f"{runs} runs equal to the reference")


if __name__ == "__main__":
    main()
