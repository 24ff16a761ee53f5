"""Rearranged channels without an operation: the resolved network has the same spikes and logits, and runs in RTL."""

from dataclasses import replace

import numpy as np
from engine.networks import networks, spike_times
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from firstspike.arith import Code, LogWeights
from firstspike.compiler.channels import moved_times, resolve
from firstspike.compiler.spread import Spread
from firstspike.engine import ReferenceEngine
from firstspike.spec import INPUT, Channels, Conv2d, Flatten, Linear, MaxPool2d, Network, PixelShuffle


def run(network: Network, times: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every layer of a resolved network."""
    engine, values = ReferenceEngine(network), {INPUT: times}
    for layer in network.layers:
        if isinstance(layer, Spread):
            (down, across), maps = layer.factor, [values[name] for name in layer.inputs]
            images, channels, height, width = maps[0].shape
            spread = np.empty((images, channels, down * height, across * width), dtype=np.uint8)
            for number, one in enumerate(maps):
                spread[:, :, number // across :: down, number % across :: across] = one
            values[layer.name] = spread
        else:
            values[layer.name] = engine._run(layer, values)
    return values


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=40)
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    network = data.draw(networks(size=4))
    try:
        resolved = resolve(network)
    except ValueError as error:
        if not any(text in str(error) for text in ("must fit", "a weight of 1")):
            raise
        reject()
    assert not any(isinstance(layer, Channels | PixelShuffle) for layer in resolved.layers)
    times = data.draw(spike_times(network))
    expected, found = ReferenceEngine(network).layers(times), run(resolved, times)
    for name in expected.keys() & found.keys():
        assert np.array_equal(expected[name], found[name]), name
    moved = moved_times(resolved, {INPUT: times, **expected})
    assert all(np.array_equal(found[layer.name], moved[layer.name]) for layer in resolved.layers)
    through = [layer for layer in network.layers if isinstance(layer, MaxPool2d) and layer.name not in found]
    assert all(isinstance(network.layer(layer.source), Channels | MaxPool2d) for layer in through)
    kept = {layer.name for layer in network.layers if not isinstance(layer, Channels | Flatten | MaxPool2d)}
    assert kept <= found.keys()
    for layer in network.synaptic:
        twin = resolved.layer(layer.name)
        assert isinstance(twin, Conv2d | Linear)
        assert resolved.exponent(twin) == network.exponent(layer)
        (low, high), (least, most) = network.membrane_bounds(layer), resolved.membrane_bounds(twin)
        assert low <= least and most <= high  # silent channels have no weights there


def residual_network() -> Network:
    """The parameter-free shortcut of ResNets for CIFAR-10, and a concatenation behind it, through a flattening too."""
    rng = np.random.default_rng(3)
    weights = LogWeights(bits=4, levels_per_octave=2, mantissa_bits=3)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 16, shape, dtype=np.uint8)

    def bias(count: int) -> np.ndarray:
        return rng.integers(-(1 << 12), 1 << 13, count)

    first = Conv2d(name="a", source=INPUT, codes=codes(4, 2, 3, 3), scale=1, bias=bias(4), padding=(1, 1))
    every = MaxPool2d(name="every", source="a", kernel=(1, 1), stride=(2, 2))
    padded = Channels(name="padded", source="every", channels=(-1, -1, 0, 1, 2, 3, -1, 0))
    second = Conv2d(
        name="b",
        source="a",
        codes=codes(8, 4, 3, 3),
        scale=0,
        bias=bias(8),
        padding=(1, 1),
        stride=(2, 2),
        residuals=("padded",),
    )
    both = Channels(name="both", source="b", others=("every",), channels=(11, 0, 1, 10, 2, 3, 4, 9))
    third = Conv2d(name="c", source="both", codes=codes(6, 4, 1, 1), scale=2, bias=bias(6), groups=2)
    joined = Channels(name="joined", source="c", others=("b",), channels=tuple(range(14)))
    flat = Flatten(name="flat", source="joined")
    last = Linear(name="out", source="flat", codes=codes(5, 14 * 9), scale=1, bias=bias(5), fires=False)
    layers = (first, every, padded, second, both, third, joined, flat, last)
    code = Code(T=9, tau=2, mantissa_bits=4)
    return Network(code=code, weights=weights, input_shape=(2, 5, 5), layers=layers, accumulator_bits=32)


def test_a_residual_and_a_concatenation() -> None:
    network = residual_network()
    resolved = resolve(network)
    sources = {layer.name: [c.source for c in layer.connections] for layer in resolved.synaptic}
    assert sources == {"a": [INPUT], "b": ["a", "every", "every"], "c": ["every", "b"], "out": ["c@flat", "b@flat"]}
    assert resolve(resolved) is resolved
    times = np.random.default_rng(0).integers(0, 12, (6, 2, 5, 5)).astype(np.uint8)
    expected, found = ReferenceEngine(network).layers(times), ReferenceEngine(resolved).layers(times)
    assert all(np.array_equal(expected[name], found[name]) for name in ("b", "c", "out"))


def test_pooling_rearranged_channels_pools_the_maps_behind() -> None:
    network = residual_network()
    pool = MaxPool2d(name="pool", source="padded", kernel=(2, 2), stride=(1, 1))
    last = replace(
        network.layer("b"),
        name="last",
        source="pool",
        codes=np.zeros((5, 8, 1, 1), dtype=np.uint8),
        bias=np.arange(5) << 9,
        residuals=(),
        padding=(0, 0),
        fires=False,
    )
    network = replace(network, layers=(*network.layers[:3], pool, last))
    resolved = resolve(network)
    assert [layer.name for layer in resolved.layers] == ["a", "every", "pool@0", "last"]
    times = np.random.default_rng(0).integers(0, 12, (6, 2, 5, 5)).astype(np.uint8)
    assert np.array_equal(ReferenceEngine(network).logits(times), ReferenceEngine(resolved).logits(times))


def test_no_image() -> None:
    code, weights = Code(T=4, tau=4, mantissa_bits=3), LogWeights(bits=5, levels_per_octave=2, mantissa_bits=0)
    network = Network(
        code=code,
        weights=weights,
        input_shape=(2, 2, 3),
        layers=(
            PixelShuffle(name="spread", source=INPUT, factor=(1, 2)),
            Flatten(name="flat", source="spread"),
            Linear(
                name="out",
                source="flat",
                codes=np.full((1, 12), 11, np.uint8),
                scale=0,
                bias=np.array([0]),
                fires=False,
            ),
        ),
        accumulator_bits=16,
    )
    times = np.empty((0, 2, 2, 3), dtype=np.uint8)
    resolved = resolve(network)
    moved = moved_times(resolved, {INPUT: times, **ReferenceEngine(network).layers(times)})
    assert {name: len(values) for name, values in moved.items()} == dict.fromkeys(moved, 0)


def test_no_image_of_a_flattened_concatenation() -> None:
    network = residual_network()
    times = np.empty((0, 2, 5, 5), dtype=np.uint8)
    moved = moved_times(resolve(network), {INPUT: times, **ReferenceEngine(network).layers(times)})
    assert {name: moved[name].shape for name in ("c@flat", "b@flat")} == {"c@flat": (0, 54), "b@flat": (0, 72)}
