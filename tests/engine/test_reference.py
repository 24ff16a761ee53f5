"""The reference engine against the oracle: every membrane, spike time and logit of random networks, with ``==``."""

from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from oracles import network as oracle
from oracles import tables

from engine.networks import networks, neurons, pixels, plain, spike_times
from firstspike.arith import Code, LogWeights
from firstspike.engine import NAMES, ReferenceEngine, create, encode
from firstspike.engine.reference import wrap
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, Synaptic

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(SLOW, max_examples=250)
@given(data=st.data())
def test_every_layer_equals_the_oracle(data: st.DataObject) -> None:
    network = data.draw(networks())
    times = data.draw(spike_times(network))
    engine = ReferenceEngine(network)
    outputs = engine.layers(times)
    assert list(outputs) == [layer.name for layer in network.layers]
    last = network.layers[-1].name
    for name, values in outputs.items():
        assert values.shape == (len(times), *network.shapes[name])
        assert values.dtype == (np.int64 if name == last else np.uint8)
    assert np.array_equal(engine.logits(times), outputs[last])
    written = plain(network)
    for image in range(len(times)):
        expected = oracle.run_times(written, neurons(network, times[image]))
        for layer in network.layers:
            if network.planes(layer.name) > 1:
                assert neurons(network, outputs[layer.name][image]) == expected.times[layer.name]
                continue
            found = outputs[layer.name][image].reshape(-1).tolist()
            assert found == (expected.logits if layer.name == last else expected.times[layer.name]), layer.name
            if isinstance(layer, Synaptic):
                before = {INPUT: times[image : image + 1]} | {n: v[image : image + 1] for n, v in outputs.items()}
                membranes = engine.membranes(layer, before)
                assert membranes.reshape(-1).tolist() == expected.membranes[layer.name], layer.name
        assert int(outputs[last][image].argmax()) == expected.label
    event(f"input {network.code.input}")
    event(f"{sum(len(layer.parts) for layer in network.synaptic)} parts")
    for layer in network.layers:
        event(layer.kind + (" with residuals" if isinstance(layer, Synaptic) and layer.residuals else ""))
        event("shifts" if isinstance(layer, Synaptic) and any(layer.shifts) else "one scale")


@settings(SLOW, max_examples=80)
@given(data=st.data())
def test_integers_are_the_real_network(data: st.DataObject) -> None:
    """From pixels to logits in fractions, without membranes in integers: the same spikes, the same logits times 2^G."""
    network = data.draw(networks(max_layers=3, size=5))
    images = data.draw(pixels(network, max_images=2))
    outputs = ReferenceEngine(network).layers(encode(images, network.code))
    last = network.layers[-1]
    assert isinstance(last, Synaptic)
    unit = tables.power_of_two(-network.exponent(last))
    for image, expected in enumerate(oracle.run_exact(plain(network), x) for x in images):
        for layer in network.layers[:-1]:
            if network.planes(layer.name) == 1:
                assert outputs[layer.name][image].reshape(-1).tolist() == expected.times[layer.name], layer.name
        assert [u * unit for u in outputs[last.name][image].reshape(-1).tolist()] == expected.logits


@settings(SLOW, max_examples=120)
@given(network=networks())
def test_bounds_shapes_and_thresholds_equal_the_oracle(network: Network) -> None:
    written = plain(network)
    bits = oracle.plane_maps(written)
    assert network.shapes == oracle.check(written)
    assert {name for name in network.shapes if network.planes(name) > 1} == bits
    for layer, other in zip(network.layers, written["layers"], strict=True):
        if isinstance(layer, Synaptic):
            assert network.membrane_bounds(layer) == oracle.membrane_bounds(other, written["params"], bits)
            assert oracle.fits(other, written["params"], bits)
            theta = tables.thresholds(oracle.exponent(other, bits, written["params"]), written["params"])
            assert network.thresholds(layer).tolist() == theta


@settings(SLOW, max_examples=80)
@given(data=st.data())
def test_images_do_not_influence_each_other(data: st.DataObject) -> None:
    network = data.draw(networks())
    times = data.draw(spike_times(network))
    engine = ReferenceEngine(network)
    together = engine.logits(times)
    assert together.shape == (len(times), *network.shapes[network.layers[-1].name])
    for image in range(len(times)):
        assert np.array_equal(engine.logits(times[image : image + 1])[0], together[image])


def chain(*layers: Conv2d | Flatten | Linear | MaxPool2d, shape: tuple[int, ...], bits: int = 32) -> Network:
    return Network(code=Code(), weights=LogWeights(), input_shape=shape, layers=layers, accumulator_bits=bits)


def test_shifts_by_hand() -> None:
    """Weights 1/2 and 1/8 of the same code, on the value 27/32, and the last membrane that does not reach a threshold."""
    codes = np.array([[2], [2], [2], [2]], dtype=np.uint8)
    kappa = 27 << 17  # kappa(1) * 2^22
    bias = np.array([0, 0, (kappa << 2) - (kappa >> 1), (kappa << 2) - (kappa >> 1) - 1])
    hidden = Linear(name="hidden", source=INPUT, codes=codes, scale=0, bias=bias, shifts=(0, 2, 2, 2))
    last = Linear(
        name="out", source="hidden", codes=np.zeros((1, 4), np.uint8), scale=0, bias=np.zeros(1, np.int64), fires=False
    )
    network = chain(hidden, last, shape=(1,))
    engine, times = ReferenceEngine(network), np.array([[1]], dtype=np.uint8)
    assert engine.membranes(hidden, {INPUT: times}).tolist() == [[kappa >> 1, kappa >> 1, kappa << 2, (kappa << 2) - 1]]
    # 27/64 = kappa(5) and 27/256 = kappa(13), ties both; kappa(1), and just below it
    assert engine.layers(times)["hidden"].tolist() == [[5, 13, 1, 2]]


def test_by_hand() -> None:
    """One neuron with weights 1 and -1/2 on values 1/2 and 1, and a bias of a quarter: the sum is 1/4."""
    hidden = Linear(
        name="hidden",
        source=INPUT,
        codes=np.array([[0, 16 | 2]], dtype=np.uint8),
        scale=0,
        bias=np.array([1 << 20]),
    )
    out = Linear(
        name="out",
        source="hidden",
        codes=np.array([[0], [16], [15]], dtype=np.uint8),
        scale=2,
        bias=np.array([0, 0, 7]),
        fires=False,
    )
    outputs = ReferenceEngine(chain(hidden, out, shape=(2,))).layers(np.array([[4, 0]], dtype=np.uint8))
    assert outputs["hidden"].tolist() == [[8]]  # kappa(8) = 1/4: a tie fires
    assert outputs["out"].tolist() == [[1 << 20, -1 << 20, 7]]  # 1/4 * 1/2 in units of 2^-23


def test_padding_is_silent() -> None:
    pool = MaxPool2d(name="pool", source=INPUT, kernel=(2, 2), stride=(1, 1), padding=(1, 1))
    flat = Flatten(name="flat", source="pool")
    ones = np.zeros((1, 16), dtype=np.uint8)
    out = Linear(name="out", source="flat", codes=ones, scale=0, bias=np.array([5]), fires=False)
    outputs = ReferenceEngine(chain(pool, flat, out, shape=(1, 3, 3))).layers(np.full((1, 1, 3, 3), 4, dtype=np.uint8))
    assert outputs["pool"].reshape(-1).tolist() == [4] * 16  # each window sees one input at least
    assert outputs["out"].tolist() == [[5 + (16 << 21)]]
    conv = Conv2d(
        name="out",
        source=INPUT,
        codes=np.zeros((1, 1, 2, 2), dtype=np.uint8),
        scale=0,
        bias=np.array([5]),
        padding=(1, 1),
        fires=False,
    )
    outputs = ReferenceEngine(chain(conv, shape=(1, 1, 1))).layers(np.full((1, 1, 1, 1), 4, dtype=np.uint8))
    assert outputs["out"].reshape(-1).tolist() == [5 + (1 << 21)] * 4  # one product, three inputs of padding


@pytest.mark.parametrize("bits", [8, 31, 32, 48])
def test_wrap_is_twos_complement(bits: int) -> None:
    edge = 1 << (bits - 1)
    values = [0, 1, -1, edge - 1, edge, -edge, -edge - 1, 2 * edge, 3 * edge + 5, -7 * edge - 2]
    assert wrap(np.array(values), bits).tolist() == [tables.wrap(value, bits) for value in values]


def test_the_order_of_addition_does_not_matter_after_wrapping() -> None:
    """Sums far beyond the accumulator wrap to the same bits however they are split."""
    rng = np.random.default_rng(1)
    terms = rng.integers(-(1 << 40), 1 << 40, 500)
    stepwise = 0
    for term in terms.tolist():
        stepwise = tables.wrap(stepwise + term, 20)
    assert int(wrap(terms.sum(keepdims=True), 20)[0]) == stepwise


def test_engines_by_name() -> None:
    out = Linear(
        name="out", source=INPUT, codes=np.zeros((2, 3), dtype=np.uint8), scale=0, bias=np.arange(2), fires=False
    )
    network = chain(out, shape=(3,))
    assert create(network, "reference").network is network
    assert prod(create(network, "reference").logits(np.zeros((4, 3), dtype=np.uint8)).shape) == 8
    with pytest.raises(ValueError, match=f"engine must be one of {', '.join(NAMES)}.*, not 'quantum'"):
        create(network, "quantum")
