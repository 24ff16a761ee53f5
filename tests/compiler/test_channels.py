"""Rearranged channels without an operation: the resolved network has the same spikes and logits, and runs in RTL."""

from dataclasses import replace

import numpy as np
import pytest
from engine.networks import networks, spike_times
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from firstspike.arith import Code, LogWeights
from firstspike.compiler.channels import resolve
from firstspike.engine import ReferenceEngine
from firstspike.spec import INPUT, Channels, Conv2d, Flatten, Linear, MaxPool2d, Network


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    network = data.draw(networks(size=4))
    try:
        resolved = resolve(network)
    except ValueError as error:
        if not any(text in str(error) for text in ("pools no", "of rearranged vectors", "a weight of 1")):
            raise
        reject()
    assert not any(isinstance(layer, Channels) for layer in resolved.layers)
    times = data.draw(spike_times(network))
    expected, found = ReferenceEngine(network).layers(times), ReferenceEngine(resolved).layers(times)
    for name in expected.keys() & found.keys():
        assert np.array_equal(expected[name], found[name]), name
    kept = {layer.name for layer in network.layers if not isinstance(layer, Channels | Flatten)}
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


def test_pooling_rearranged_channels_is_refused() -> None:
    network = residual_network()
    pool = MaxPool2d(name="pool", source="padded", kernel=(2, 2), stride=(1, 1))
    with pytest.raises(
        ValueError, match="layer 'pool': the processor pools no rearranged channels; pool the maps before"
    ):
        resolve(replace(network, layers=(*network.layers[:3], pool, *network.layers[3:])))
