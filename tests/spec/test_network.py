"""Every rule of the integer network: what keeps it is built, what breaks it is named."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from engine.networks import needed_bits, networks, params, plain
from hypothesis import HealthCheck, given, settings
from oracles import network as oracle

from firstspike.arith import Code, LogWeights
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Shape
from spec.model_files import small_network


def zeros(*shape: int) -> np.ndarray:
    return np.full(shape, 15, dtype=np.uint8)


def conv(name: str = "conv", source: str = INPUT, **changes: Any) -> Conv2d:
    fields: dict[str, Any] = {"codes": zeros(4, 2, 3, 3), "scale": 0, "bias": np.zeros(4, dtype=np.int64)}
    return Conv2d(name=name, source=source, **(fields | changes))


def linear(name: str = "out", source: str = INPUT, inputs: int = 3, outputs: int = 2, **changes: Any) -> Linear:
    fields: dict[str, Any] = {
        "codes": zeros(outputs, inputs),
        "scale": 0,
        "bias": np.zeros(outputs, dtype=np.int64),
        "fires": False,
    }
    return Linear(name=name, source=source, **(fields | changes))


def network(*layers: Layer, shape: Shape = (3,), **changes: Any) -> Network:
    fields: dict[str, Any] = {"code": Code(), "weights": LogWeights(), "input_shape": shape, "layers": layers}
    return Network(**(fields | changes))


def pool(**changes: Any) -> MaxPool2d:
    return MaxPool2d(**({"name": "pool", "source": INPUT, "kernel": (2, 2), "stride": (2, 2)} | changes))


CASES: list[tuple[Callable[[], object], type[Exception], str]] = [
    # layers
    (lambda: conv(name=3), TypeError, "layer 3: name must be a str, not 3"),  # type: ignore[arg-type]
    (lambda: Flatten(name="f", source=None), TypeError, "layer 'f': source must be a str, not None"),  # type: ignore[arg-type]
    (lambda: pool(name=b"p"), TypeError, "layer b'p': name must be a str, not b'p'"),
    (lambda: conv(scale=1.0), TypeError, "layer 'conv': scale must be an int, not 1.0"),
    (lambda: conv(scale=-257), ValueError, r"layer 'conv': scale must be in -256\.\.256, not -257"),
    (lambda: conv(fires=1), TypeError, "layer 'conv': fires must be a bool, not 1"),
    (lambda: conv(residuals="ab"), TypeError, "layer 'conv': residuals must be a tuple of names, not 'ab'"),
    (lambda: conv(codes=zeros(4, 2, 3)), TypeError, r"non-empty uint8 array with 4 axes, not uint8 \(4, 2, 3\)"),
    (lambda: conv(codes=zeros(4, 0, 3, 3)), TypeError, r"non-empty uint8 array with 4 axes, not uint8 \(4, 0, 3, 3\)"),
    (
        lambda: conv(codes=zeros(4, 2, 3, 3).astype(int)),
        TypeError,
        "codes must be a non-empty uint8 array .*, not int64",
    ),
    (
        lambda: linear(codes=zeros(2, 3, 1)),
        TypeError,
        r"layer 'out': codes must be .* with 2 axes, not uint8 \(2, 3, 1\)",
    ),
    (
        lambda: linear(bias=np.zeros(2)),
        TypeError,
        r"layer 'out': bias must be int64 with shape \(2,\), not float64 \(2,\)",
    ),
    (lambda: linear(bias=np.zeros(3, np.int64)), TypeError, r"bias must be int64 with shape \(2,\), not int64 \(3,\)"),
    (lambda: conv(stride=2), TypeError, "layer 'conv': stride must be a tuple of two ints, not 2"),
    (lambda: conv(stride=(0, 1)), ValueError, r"layer 'conv': stride must be in 1\.\.65536, not 0"),
    (lambda: conv(padding=(0, -1)), ValueError, r"layer 'conv': padding must be in 0\.\.65536, not -1"),
    (lambda: conv(padding=[0, 0]), TypeError, r"layer 'conv': padding must be a tuple of two ints, not \[0, 0\]"),
    (lambda: conv(groups=5), ValueError, r"layer 'conv': groups must be in 1\.\.4, not 5"),
    (lambda: conv(groups=3), ValueError, "layer 'conv': groups must divide 4 outputs, not 3"),
    (lambda: conv(groups=True), TypeError, "layer 'conv': groups must be an int, not True"),
    (lambda: pool(kernel=(2, 0)), ValueError, r"layer 'pool': kernel must be in 1\.\.65536, not 0"),
    (lambda: pool(kernel=(2,)), TypeError, r"layer 'pool': kernel must be a tuple of two ints, not \(2,\)"),
    (lambda: pool(stride=(1, 1.0)), TypeError, "layer 'pool': stride must be an int, not 1.0"),
    (lambda: pool(padding=(-1, 0)), ValueError, r"layer 'pool': padding must be in 0\.\.65536, not -1"),
    (lambda: conv(shifts=[0]), TypeError, r"layer 'conv': shifts must be a tuple of ints, not \[0\]"),
    (lambda: conv(shifts=(1,)), ValueError, "shifts must hold one entry for each of 4 output channels, not 1"),
    (lambda: conv(shifts=(0, 1, 2, 8)), ValueError, r"layer 'conv': shifts must be in 0\.\.7, not 8"),
    (lambda: conv(shifts=(0, 1, 2, 3.0)), TypeError, "layer 'conv': shifts must be an int, not 3.0"),
    (
        lambda: linear(shifts=(0, 1)),
        ValueError,
        "layer 'out': shifts must be 0 in a layer with residuals or logits, not 1 beside logits, which lie on one grid",
    ),
    (
        lambda: conv(shifts=(0, 0, 2, 1), residuals=("a",)),
        ValueError,
        "shifts must be 0 in a layer with residuals or logits, not 2 beside residual 'a'; give it one scale",
    ),
    (
        lambda: conv(parts=(conv("part", fires=False, shifts=(0,) * 4),)),
        ValueError,
        "a part must be a connection alone .*no residuals, parts or shifts, zero bias.*, not 'part' with more",
    ),
    # shapes
    (lambda: network(linear(inputs=4)), ValueError, r"layer 'out': input shape must be \(4,\), not \(3,\)"),
    (lambda: network(linear(inputs=4), shape=(1, 2, 2)), ValueError, r"input shape must be \(4,\), not \(1, 2, 2\)"),
    (
        lambda: network(conv(), shape=(3, 4, 4)),
        ValueError,
        r"input shape must be \(2, height, width\), not \(3, 4, 4\)",
    ),
    (lambda: network(conv(), shape=(2,)), ValueError, r"input shape must be \(2, height, width\), not \(2,\)"),
    (lambda: network(conv(groups=2), shape=(2, 4, 4)), ValueError, r"must be \(4, height, width\), not \(2, 4, 4\)"),
    (lambda: network(pool()), ValueError, r"layer 'pool': input shape must be \(channels, height, width\), not \(3,\)"),
    (
        lambda: network(conv(), shape=(2, 2, 4)),
        ValueError,
        r"window \(3, 3\) must fit its padded input, not \(2, 2, 4\)",
    ),
    (
        lambda: network(pool(), shape=(2, 4, 1)),
        ValueError,
        r"window \(2, 2\) must fit its padded input, not \(2, 4, 1\)",
    ),
    (lambda: network(linear(), shape=(3, 3)), ValueError, r"Network.input_shape must have 1 or 3 axes, not \(3, 3\)"),
    (lambda: network(linear(), shape=(0,)), ValueError, r"Network.input_shape must be in 1\.\.65536, not 0"),
    (lambda: network(linear(), shape=(3.0,)), TypeError, "Network.input_shape must be an int, not 3.0"),  # type: ignore[arg-type]
    (lambda: network(linear(), shape=[3]), TypeError, r"Network.input_shape must be a tuple, not \[3\]"),  # type: ignore[arg-type]
    (
        lambda: network(conv(), shape=(2, 65536, 65536)),
        ValueError,
        r"'input' must have at most 16777216 outputs, not shape \(2, 65536, 65536\)",
    ),
    (
        lambda: network(pool(kernel=(2100, 2100), stride=(1, 1), padding=(2099, 2099)), shape=(1, 4000, 4000)),
        ValueError,
        r"layer 'pool': its padded input must have at most 33554432 values, not \(1, 4000, 4000\) \+ 2 \* \(2099, 2099\)",
    ),
    # graph
    (lambda: network(), ValueError, r"Network.layers must hold 1\.\.4096 layers, not 0"),
    (lambda: network(linear(), layers=[linear()]), TypeError, "Network.layers must be a tuple, not "),
    (
        lambda: network(
            linear(""),
        ),
        ValueError,
        "layer names must be unique and not empty or 'input', not ''",
    ),
    (
        lambda: network(
            linear(INPUT),
        ),
        ValueError,
        "layer names must be unique and not empty or 'input', not 'input'",
    ),
    (
        lambda: network(linear("a", fires=True, outputs=3), linear("a", "a")),
        ValueError,
        "layer names must be unique and not empty or 'input', not 'a'",
    ),
    (lambda: network(linear("a", "b"), linear("b")), ValueError, "layer 'a': it must read an earlier layer, not 'b'"),
    (lambda: network(linear("a", "a")), ValueError, "layer 'a': it must read an earlier layer, not 'a'"),
    (
        lambda: network(linear(residuals=("gone",))),
        ValueError,
        "layer 'out': it must read an earlier layer, not 'gone'",
    ),
    (
        lambda: network(linear(residuals=(INPUT,))),
        ValueError,
        r"layer 'out': residual 'input' must have shape \(2,\), not \(3,\)",
    ),
    (
        lambda: network(linear("a"), linear("b")),
        ValueError,
        "layer 'a': only the last layer may be a read-out",
    ),
    (lambda: network(linear(fires=True)), ValueError, r"the last layer must be a read-out \(.*\), not 'out'"),
    (lambda: network(pool(), shape=(1, 4, 4)), ValueError, "the last layer must be a read-out .*, not 'pool'"),
    (lambda: network(linear(), classes=("a",)), ValueError, "Network.classes must name all 2 logits, not 1"),
    (lambda: network(linear(), classes=["a", "b"]), TypeError, r"Network.classes must be a tuple, not \['a', 'b'\]"),
    # numbers
    (lambda: network(linear(), accumulator_bits=7), ValueError, r"Network.accumulator_bits must be in 8\.\.48, not 7"),
    (lambda: network(linear(), accumulator_bits=32.0), TypeError, "Network.accumulator_bits must be an int, not 32.0"),
    (
        lambda: network(linear(codes=np.full((2, 3), 32, np.uint8))),
        ValueError,
        "layer 'out': codes must have 5 bits, not 32",
    ),
    (
        lambda: network(
            linear(),
            code=Code(T=25, tau=1, mantissa_bits=12),
            weights=LogWeights(bits=8, levels_per_octave=8, mantissa_bits=12),
        ),
        ValueError,
        r"Network.code and weights must have products of at most 62 bits \(M \+ M_w \+ S\), not 64",
    ),
    (
        lambda: network(linear("a", scale=18, fires=True, outputs=3), linear(source="a")),
        ValueError,
        r"layer 'a': the firing level 2\^G must fit 32 bits, not G = 31 \(scale 18\)",
    ),
    (
        lambda: network(linear("a", scale=-180, fires=True, outputs=3), linear(source="a")),
        ValueError,
        r"layer 'a': the firing level 2\^G must fit 32 bits, not G = -68 \(scale -180\)",
    ),
    (
        lambda: network(linear(scale=-25, residuals=(INPUT,), outputs=3)),
        ValueError,
        "layer 'out': a residual input needs G >= 10 to be exact, not 9",
    ),
]


@pytest.mark.parametrize(("build", "error", "text"), CASES)
def test_refused(build: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build()


def test_shifts_need_exact_thresholds() -> None:
    """``kappa(23) = 19 / 1024``: from ``G = 10`` on all thresholds are integers. ``G = 22 + e`` with ``e = k div 2``."""

    def built(scale: int) -> Network:
        first = linear("a", fires=True, scale=scale, shifts=(0, 1))
        return network(first, linear(source="a", inputs=2))

    assert built(-24).exponent(built(-24).synaptic[0]) == 10
    with pytest.raises(ValueError, match="layer 'a': shifts need G >= 10 for thresholds that are exact, not 9; give"):
        built(-25)


def test_just_inside_the_rules() -> None:
    network(linear("a", scale=17, fires=True, outputs=3), linear(source="a"))  # G = 30
    network(linear(scale=-24, residuals=(INPUT,), outputs=3))  # G = 10
    network(linear(scale=256))
    network(
        pool(kernel=(3, 4), stride=(1, 1), padding=(2, 3)),
        conv(source="pool", codes=zeros(4, 1, 3, 4), fires=False),
        shape=(1, 1, 1),
    )


@pytest.mark.parametrize("bits", [8, 9, 24, 32, 48])
def test_the_bound_is_exact(bits: int) -> None:
    """A membrane that just reaches the last value of ``A`` bits fits; one more, on either side, does not."""
    limit = 1 << (bits - 1)
    codes = np.array([[0, 16, 15], [16, 1, 31]], dtype=np.uint8)  # +-1, 0 and 23/32 at k = 0
    one, other = (0, 0) if bits < 24 else (1 << 22, 23 << 17)
    codes = codes if bits >= 24 else zeros(2, 3)

    def build(first: int, second: int) -> Network:
        return network(linear(codes=codes, bias=np.array([first, second])), accumulator_bits=bits)

    built = build(limit - 1 - one, -limit + one)
    assert built.membrane_bounds(built.synaptic[0]) == (-limit, limit - 1)
    with pytest.raises(
        ValueError, match=rf"layer 'out': the membrane must fit {bits} bits \({-limit}\.\.{limit - 1}\)"
    ):
        build(limit - one, 0)
    with pytest.raises(ValueError, match=rf"must fit {bits} bits .*, not {-limit - 1}\.\."):
        build(0, -limit + one - 1)
    build(0, limit - 1 - other)
    with pytest.raises(ValueError, match=rf"must fit {bits} bits .*, not -?[0-9]+\.\.{limit}$"):
        build(0, limit - other)


def test_a_residual_counts_in_the_bound() -> None:
    for residuals in ((), (INPUT,), (INPUT, INPUT)):
        built = network(linear(outputs=3, residuals=residuals))
        assert built.membrane_bounds(built.synaptic[0]) == (0, len(residuals) << 22)


def test_bounds_beyond_64_bits_are_not_lost() -> None:
    """Products of 60 bits, whose sums wrap 64: the bound is that of the oracle, and the layer is refused."""
    code, weights = Code(T=25, tau=1, mantissa_bits=12), LogWeights(bits=8, levels_per_octave=8, mantissa_bits=8)
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 128, (2, 64), dtype=np.uint8)
    codes[0] = 0  # 64 products of 2^60: 0 in 64 bits
    codes[1] = 128
    layer = linear(inputs=64, codes=codes, bias=np.array([(1 << 63) - 1, -1 << 63]))
    with pytest.raises(
        ValueError, match=r"layer 'out': the membrane must fit 48 bits .*, not -83010348331692982272\.\."
    ):
        network(layer, shape=(64,), code=code, weights=weights, accumulator_bits=48)
    written = oracle.linear("out", "input", codes, 0, layer.bias, fires=False)
    assert oracle.membrane_bounds(written, params(code, weights)) == (-83010348331692982272, 83010348331692982271)


def test_bounds_of_many_blocks_of_outputs() -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 32, (70, 40000), dtype=np.uint8)  # 70 rows, 26 to a block
    layer = linear(inputs=40000, outputs=70, codes=codes, bias=rng.integers(-1000, 1000, 70), scale=9)
    built = network(layer, shape=(40000,), accumulator_bits=48)
    values = built.products(layer)[0][codes]
    low = (layer.bias + np.minimum(values, 0).sum(axis=1)).min()
    high = (layer.bias + np.maximum(values, 0).sum(axis=1)).max()
    assert built.membrane_bounds(layer) == (low, high)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(network=networks(max_layers=3))
def test_one_bit_less_is_refused(network: Network) -> None:
    bits = needed_bits(network)
    assert replace(network, accumulator_bits=bits).accumulator_bits == bits
    if bits > 8:
        with pytest.raises(ValueError, match=rf"must fit {bits - 1} bits"):
            replace(network, accumulator_bits=bits - 1)


def test_shapes_by_hand() -> None:
    assert small_network().shapes == {
        "input": (2, 5, 4),
        "a": (4, 5, 4),
        "pool": (4, 3, 3),
        "b": (4, 3, 3),
        "c": (4, 3, 3),
        "flat": (36,),
        "out": (3,),
    }
    assert {layer["name"]: layer["kind"] for layer in plain(small_network())["layers"]} == {
        layer.name: layer.kind for layer in small_network().layers
    }


def test_latency_counts_the_longest_path_of_firing_layers() -> None:
    assert small_network().latency_steps == 4 * 24  # a, b, c fire
    assert network(linear()).latency_steps == 24
    short = network(
        linear("a", fires=True, outputs=3),
        linear("b", "a", fires=True, outputs=3),
        linear("side", fires=True, outputs=3),
        linear("out", "side", outputs=3, residuals=("b", INPUT)),
        code=Code(T=7),
    )
    assert short.latency_steps == 3 * 7


def test_layers_by_name() -> None:
    built = small_network()
    assert built.layer("pool") is built.layers[1]
    assert [layer.name for layer in built.synaptic] == ["a", "b", "c", "out"]
    with pytest.raises(KeyError, match="gone"):
        built.layer("gone")
    with pytest.raises(FrozenInstanceError):
        built.accumulator_bits = 8  # type: ignore[misc]
