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


def networks() -> list:
    from firstspike.arith import Code, LogWeights
    from firstspike.spec.network import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network

    found = []
    rng = np.random.default_rng(0)
    formats = [
        (Code(), LogWeights(), 40),
        (Code(), LogWeights(), 32),
        (Code(T=40, tau=8, mantissa_bits=6), LogWeights(bits=7, levels_per_octave=16), 32),
        (Code(T=44), LogWeights(), 32),
    ]
    for code, weights, bits in formats:

        def codes(*shape: int, weights: LogWeights = weights) -> np.ndarray:
            magnitude = rng.integers(weights.zero_level - 3, weights.zero_level, shape, endpoint=True)
            return (magnitude | rng.integers(0, 2, shape) << (weights.bits - 1)).astype(np.uint8)

        def bias(n: int) -> np.ndarray:
            return rng.integers(0, 1 << 18, n)

        layers = (
            Conv2d(name="a", source=INPUT, codes=codes(70, 3, 3, 3), scale=2, bias=bias(70), padding=(1, 1)),
            MaxPool2d(name="b", source="a", kernel=(2, 2), stride=(2, 2), padding=(1, 0)),
            Conv2d(name="c", source="b", codes=codes(70, 35, 3, 2), scale=4, bias=bias(70), groups=2, stride=(2, 1)),
            Conv2d(
                name="d",
                source="c",
                codes=codes(70, 1, 3, 3),
                scale=0,
                bias=bias(70),
                groups=70,
                padding=(1, 1),
                residuals=("c",),
            ),
            Flatten(name="e", source="d"),
            Linear(name="f", source="e", codes=codes(9, 70 * 2 * 4), scale=8, bias=bias(9), fires=False),
        )
        found.append(Network(code=code, weights=weights, input_shape=(3, 9, 10), layers=layers, accumulator_bits=bits))
    return found


def main() -> None:
    package_without_init()
    load_extension(Path(sys.argv[1]))
    from firstspike import _native
    from firstspike.arith import kernel
    from firstspike.engine.native import NativeEngine
    from firstspike.engine.reference import ReferenceEngine
    from firstspike.spec.network import Synaptic

    runs = 0
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
                    for number, layer in enumerate(network.layers):
                        if isinstance(layer, Synaptic):
                            stream = np.empty(layer.packed(network.weights.bits).shape, dtype=np.uint8)
                            engine._native.codes(number, stream)
                            assert np.array_equal(stream, layer.packed(network.weights.bits))
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
