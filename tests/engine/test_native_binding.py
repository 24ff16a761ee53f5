"""The private binding refuses what would reach memory that is not there; firstspike.engine.native never gives it that."""

from typing import Any

import numpy as np
import pytest

native = pytest.importorskip("firstspike._native", reason="the extension is not built")

VALUES = np.zeros(256, dtype=np.int64)
IMAGE, LINEAR = (2, 4, 4), (8, 1, 1)


def engine(**changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "input": IMAGE,
        "T": 24,
        "weight_bits": 5,
        "accumulator_bits": 32,
        "instructions": "auto",
        "path": "auto",
    }
    return native.Engine(**(arguments | changes))


def synaptic(**changes: Any) -> dict[str, Any]:
    """A convolution of 2 x 4 x 4 inputs into 4 x 4 x 4 outputs that fires."""
    return {
        "source": 0,
        "in_shape": IMAGE,
        "out_shape": (4, 4, 4),
        "stream": np.zeros(45, dtype=np.uint8),
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "fires": True,
        "silence": 24,
        "spike_values": VALUES,
        "weights": VALUES[:32],
        "bias": VALUES[:4],
        "thresholds": VALUES[:24],
        "identity": VALUES,
        "residuals": [],
        "parts": [],
        "partial": False,
        "shifts": VALUES[:0],
    } | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"input": (0, 4, 4)}, r"input: channels must be in 1\.\.16777216, not 0"),
        ({"input": (1, -1, 4)}, r"input: height must be in 1\.\.65536, not -1"),
        ({"input": (1, 4, 65537)}, r"input: width must be in 1\.\.65536, not 65537"),
        ({"input": (2, 1 << 12, 1 << 12)}, r"input: size must be in 1\.\.16777216, not 33554432"),
        ({"T": 0}, r"T must be in 1\.\.255, not 0"),
        ({"T": 256}, r"T must be in 1\.\.255, not 256"),
        ({"weight_bits": 1}, r"weight_bits must be in 2\.\.8, not 1"),
        ({"weight_bits": 9}, r"weight_bits must be in 2\.\.8, not 9"),
        ({"accumulator_bits": 7}, r"accumulator_bits must be in 8\.\.48, not 7"),
        ({"accumulator_bits": 49}, r"accumulator_bits must be in 8\.\.48, not 49"),
        ({"path": "sparse"}, "path must be auto, event or dense, not 'sparse'"),
        ({"instructions": "mmx"}, "instruction set must be auto or one of"),
    ],
)
def test_engines(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        engine(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source": -1}, "source must be the number of an activation, not -1"),
        ({"source": 1}, "source must be the number of an activation, not 1"),
        ({"in_shape": (2, 4, 5)}, "in_shape must be that of its source"),
        ({"out_shape": (4, 4, 3)}, "windows must be 4, not 3"),
        ({"out_shape": (4, 5, 4)}, "windows must be 4, not 5"),
        ({"out_shape": (5, 4, 4)}, "bytes of stream must be 57, not 45"),
        ({"out_shape": (0, 4, 4)}, "out_shape: channels must be in"),
        ({"stream": np.zeros(44, dtype=np.uint8)}, "bytes of stream must be 45, not 44"),
        ({"kernel": (0, 3)}, r"kernel must be in 1\.\.65536, not 0"),
        ({"kernel": (7, 3), "out_shape": (4, 1, 4)}, "kernel must fit its padded input, not 7"),
        ({"stride": (1, 0)}, r"stride must be in 1\.\.65536, not 0"),
        ({"padding": (3, 1)}, r"padding must be in 0\.\.2, not 3"),
        ({"padding": (1, -1)}, r"padding must be in 0\.\.2, not -1"),
        ({"groups": 0}, r"groups must be in 1\.\.65536, not 0"),
        ({"groups": -1}, r"groups must be in 1\.\.65536, not -1"),
        ({"groups": 3}, "groups must divide the channels, not 3"),
        ({"groups": 4}, "groups must divide the channels, not 4"),
        ({"dilation": (0, 1)}, r"dilation must be in 1\.\.65536, not 0"),
        ({"dilation": (1, 1 << 16)}, r"kernel with its gaps must be in 1\.\.65536, not"),
        ({"weights": VALUES[:31]}, "entries of weights must be 32, not 31"),
        ({"weights": VALUES[:32] + 1}, "weight of code 15 must be 0, not 1"),
        ({"bias": VALUES[:3]}, "entries of bias must be 4, not 3"),
        ({"thresholds": VALUES[:23]}, "entries of thresholds must be 24, not 23"),
        ({"fires": False}, "entries of thresholds must be 0, not 24"),
        ({"silence": 0}, r"silence must be in 1\.\.255, not 0"),
        ({"silence": 256}, r"silence must be in 1\.\.255, not 256"),
        ({"spike_values": VALUES[:255]}, "entries of spike_values must be 256, not 255"),
        ({"spike_values": VALUES + 1}, "spike_values of silence must be 0, not 1"),
        ({"identity": VALUES[:255]}, "entries of identity must be 256, not 255"),
        ({"shifts": VALUES[:3]}, "entries of shifts must be 4, not 3"),
        ({"shifts": VALUES[:4] + 8}, r"shifts must be in 0\.\.7, not 8"),
        ({"shifts": VALUES[:4] - 1}, r"shifts must be in 0\.\.7, not -1"),
        ({"shifts": VALUES[:4], "fires": False, "thresholds": VALUES[:0]}, "entries of shifts must be 0, not 4"),
        ({"residuals": [0]}, "residuals must be activations of out_shape, not 0"),
        ({"residuals": [-1]}, "residuals must be activations of out_shape, not -1"),
        ({"residuals": [1]}, "residuals must be activations of out_shape, not 1"),
        (
            {"kernel": (65536, 1), "padding": (65535, 0), "stride": (65536, 1), "out_shape": (4, 1, 4)},
            r"windows must be 2, not 1",
        ),
    ],
)
def test_layers_with_weights(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        engine().add_synaptic(**synaptic(**changes))


def test_sizes_beyond_the_bounds() -> None:
    built = engine(input=(1 << 12, 32, 64))
    with pytest.raises(ValueError, match=r"size of the padded input must be in 1\.\.33554432, not 125829120"):
        built.add_pool(0, (1 << 12, 32, 64), (1 << 12, 1, 1), (128, 128), (128, 128), (64, 64))
    with pytest.raises(ValueError, match=r"inputs below the kernel must be in 1\.\.4194304, not 8388608"):
        built.add_synaptic(**synaptic(in_shape=(1 << 12, 32, 64), out_shape=(4, 1, 1), kernel=(32, 64), padding=(0, 0)))


def test_pools() -> None:
    with pytest.raises(ValueError, match="out_shape must have the channels of in_shape"):
        engine().add_pool(0, IMAGE, (3, 2, 2), (2, 2), (2, 2), (0, 0))
    with pytest.raises(ValueError, match="source must be the number of an activation, not 2"):
        engine().add_pool(2, IMAGE, (2, 2, 2), (2, 2), (2, 2), (0, 0))
    with pytest.raises(ValueError, match="in_shape must be that of its source"):
        engine().add_flatten(0, (3, 4, 4))


def test_an_engine_ends_in_its_only_read_out() -> None:
    times, logits = np.zeros((1, *IMAGE), dtype=np.uint8), np.zeros(64, dtype=np.int64)
    built = engine()
    with pytest.raises(ValueError, match="the engine must end in a read-out"):
        built.run(times, logits, [], 1)
    built.add_synaptic(**synaptic())
    built.add_pool(1, (4, 4, 4), (4, 2, 2), (2, 2), (2, 2), (0, 0))
    with pytest.raises(ValueError, match="the engine must end in a read-out"):
        built.run(times, logits, [], 1)
    built.add_synaptic(**synaptic(fires=False, thresholds=VALUES[:0]))
    with pytest.raises(ValueError, match="nothing may follow a read-out"):
        built.add_flatten(1, (4, 4, 4))
    with pytest.raises(ValueError, match="traces must hold one array per layer before the read-out"):
        built.run(times, logits, [np.zeros(64, dtype=np.uint8)], 1)
    for threads in (0, -1, 1025, 1 << 30):
        with pytest.raises(ValueError, match=rf"threads must be in 1\.\.1024, not {threads}"):
            built.run(times, logits, [], threads)
    with pytest.raises(ValueError, match="times must hold whole images"):
        built.run(times.reshape(-1)[:31], logits, [], 1)
    with pytest.raises(ValueError, match="logits must fit the read-out"):
        built.run(times, logits[:63], [], 1)
    with pytest.raises(ValueError, match="traces must fit their layers"):
        built.run(times, logits, [np.zeros(64, dtype=np.uint8), np.zeros(15, dtype=np.uint8)], 1)
    with pytest.raises(RuntimeError):
        built.run(times, logits, [np.zeros(64, dtype=np.int8), np.zeros(16, dtype=np.uint8)], 1)
    built.run(times, logits, [np.zeros(64, dtype=np.uint8), np.zeros(16, dtype=np.uint8)], 1)
    with pytest.raises(ValueError, match="steps must be added one after another, before the first run"):
        built.add_flatten(1, (4, 4, 4))


def test_codes_of_layers_without() -> None:
    built = engine()
    built.add_pool(0, IMAGE, (2, 2, 2), (2, 2), (2, 2), (0, 0))
    built.add_synaptic(**synaptic())
    for number in (0, 2, 1 << 40):
        with pytest.raises(ValueError, match=f"number must be that of a layer with weights, not {number}"):
            built.codes(number, np.zeros(45, dtype=np.uint8))
    with pytest.raises(ValueError, match="stream must hold one code per weight"):
        built.codes(1, np.zeros(44, dtype=np.uint8))
    with pytest.raises(TypeError):
        built.codes(-1, np.zeros(45, dtype=np.uint8))


LEVELS = np.array([0.5, 1.0], dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: native.ttfs_forward(0, 64, 0, 1, LEVELS, "float32"), "addresses must not be 0"),
        (lambda: native.clip_forward(64, 0, 0, 1, "float32"), "addresses must not be 0"),
        (lambda: native.masked_backward(64, 0, 64, 1, "float32"), "addresses must not be 0"),
        (lambda: native.quantise_forward(0, 64, 1, LEVELS[:1], LEVELS), "addresses must not be 0"),
        (lambda: native.clip_forward(64, 64, 0, -1, "float32"), "count must be at least 0, not -1"),
        (lambda: native.clip_forward(0, 0, 0, 0, "float64"), "dtype must be float32 or bfloat16, not 'float64'"),
        (lambda: native.clip_forward(0, 0, 0, 0, "float32", 0), r"threads must be in 1\.\.1024, not 0"),
        (lambda: native.clip_forward(0, 0, 0, 0, "float32", 1 << 30), r"threads must be in 1\.\.1024"),
        (lambda: native.quantise_forward(0, 0, 0, LEVELS, LEVELS), "levels must hold one entry more than boundaries"),
        (lambda: native.ttfs_forward(0, 0, 0, 0, LEVELS[:0], "float32"), r"kernel must hold 1\.\.255 values, not 0"),
        (lambda: native.ttfs_forward(0, 0, 0, 0, LEVELS[:1], "float32"), "kernel must end with 1"),
        (lambda: native.ttfs_forward(0, 0, 0, 0, LEVELS[::-1].copy(), "float32"), "kernel must rise strictly"),
        (lambda: native.ttfs_forward(0, 0, 0, 0, np.float32([0.3, 1]), "bfloat16"), "exact in bfloat16"),
        (lambda: native.encode(LEVELS, np.zeros(3, np.uint8), LEVELS), "values and times must have the same size"),
        (lambda: native.encode(LEVELS, np.zeros(2, np.uint8), np.ones(256, np.float32)), r"must hold 1\.\.255 values"),
        (lambda: native.encode(LEVELS, np.zeros(2, np.uint8), LEVELS[:0]), r"kernel must hold 1\.\.255 values, not 0"),
    ],
)
def test_activations(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
