"""The digits recipe to its end: every neuron of every test image in float64, in integers and by the oracle."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import Run
from engine.networks import plain
from oracles import network as oracle

from conversion import table_oracle
from firstspike.arith import encode
from firstspike.converter import convert
from firstspike.data import load
from firstspike.engine import ReferenceEngine
from firstspike.spec import Synaptic, Trace
from firstspike.spiking import SpikingNetwork

IMAGES = load("digits", split="test")
PIXELS = torch.from_numpy(IMAGES.pixels())
LABELS = IMAGES.labels


@pytest.fixture(scope="module")
def snn(digits_run: Run) -> SpikingNetwork:
    return convert(digits_run.fitted.network, example=PIXELS[:8], classes=IMAGES.classes)


@pytest.fixture(scope="module")
def trace(snn: SpikingNetwork) -> Trace:
    return snn.trace(PIXELS)


def test_the_network_is_what_the_recipe_says(snn: SpikingNetwork) -> None:
    assert snn.network.weights.bits == 5
    assert [layer.kind for layer in snn.network.layers].count("conv2d") >= 4
    assert [layer.kind for layer in snn.network.layers].count("maxpool2d") >= 2
    assert snn.latency_steps == (5 + 1) * 24
    assert snn.network.classes == tuple("0123456789")


def test_float64_equals_integers_in_every_neuron_of_every_image(
    digits_run: Run, snn: SpikingNetwork, trace: Trace
) -> None:
    double = deepcopy(digits_run.fitted.network).double().eval()
    with torch.no_grad():
        values = double.spike_values(PIXELS.double())
    assert set(values) == set(trace.layers)
    for name, layer in trace.layers.items():
        if layer.times is not None:
            found = encode(values[name].numpy(), snn.network.code)
            assert np.array_equal(found, layer.times), name
            assert np.isin(values[name].numpy(), double.encode.levels(values[name]).numpy()).all(), name
    unit = 2.0**-snn.logit_exponent
    assert np.array_equal(values[snn.network.layers[-1].name].numpy(), trace.logits * unit)
    assert np.array_equal(trace.logits, snn(PIXELS).numpy())
    assert np.array_equal(double(PIXELS.double()).argmax(1).numpy(), trace.predictions)


def test_the_oracle_agrees_on_every_image(snn: SpikingNetwork, trace: Trace) -> None:
    expected = table_oracle.run(plain(snn.network), PIXELS.double().numpy())
    for name, layer in trace.layers.items():
        found = trace.logits if layer.times is None else layer.times
        assert np.array_equal(expected[name], found), name
    assert [row.index(max(row)) for row in trace.logits.tolist()] == trace.predictions.tolist()


def test_the_slow_oracle_agrees(snn: SpikingNetwork, trace: Trace) -> None:
    """Synapse by synapse, with its counts; which also holds the oracle of whole data sets."""
    for image in range(0, 360, 60):
        result = oracle.run(plain(snn.network), PIXELS[image].double().numpy())
        for name, layer in trace.layers.items():
            if layer.times is not None:
                assert layer.times[image].flatten().tolist() == result.times[name], name
            if name in result.sops:
                assert int(layer.sops[image]) == result.sops[name]
                assert int(layer.sops_nonzero[image]) == result.sops_nonzero[name]
        assert trace.logits[image].tolist() == result.logits
        assert int(trace.predictions[image]) == result.label


def test_engines_agree(snn: SpikingNetwork, trace: Trace) -> None:
    times = trace.layers["input"].times
    assert times is not None
    for name, found in ReferenceEngine(snn.network).layers(times).items():
        expected = trace.layers[name].times
        assert np.array_equal(found, trace.logits if expected is None else expected), name


def test_accuracy_and_agreement_with_float32(digits_run: Run, trace: Trace) -> None:
    network = digits_run.fitted.network
    assert not network.training
    with torch.no_grad():
        trained = network(PIXELS).argmax(1).numpy()
    accuracy = float((trace.predictions == LABELS).mean())
    assert accuracy >= 0.97
    assert abs(accuracy - float((trained == LABELS).mean())) <= 0.005
    assert float((trained == trace.predictions).mean()) >= 0.99
    assert digits_run.fitted.metrics["validation_accuracy"] >= 0.96


def test_counts_add_up(snn: SpikingNetwork, trace: Trace) -> None:
    spikes = neurons = 0
    for name, layer in trace.layers.items():
        kind = None if name == "input" else snn.network.layer(name)
        if layer.times is not None and (kind is None or isinstance(kind, Synaptic)):
            spikes += int((layer.times != 255).sum())
            neurons += layer.times[0].size
            assert layer.spikes.tolist() == [(image != 255).sum() for image in layer.times]
    assert trace.neurons == neurons
    assert trace.spikes_per_neuron == spikes / (neurons * len(IMAGES))
    sops = sum(int(layer.sops.sum()) for layer in trace.layers.values())
    assert trace.sops_per_image == sops / len(IMAGES)
    assert 0.05 < trace.spikes_per_neuron < 0.45
