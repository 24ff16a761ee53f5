"""A trained network in SpikingJelly, stepping through time: every spike time, logit and class as our engines have them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import firstspike as fs
from firstspike.data import load
from firstspike.spiking import SpikingNetwork

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra bench)")
nir = pytest.importorskip("nir")

from interop import stepped  # noqa: E402
from interop.shortcuts import Residual  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def digits() -> tuple[SpikingNetwork, np.ndarray]:
    return fs.zoo.load("digits"), load("digits", split="test").pixels(0, 120)


@torch.no_grad()
def test_few_spike_neurons_have_every_spike_time(digits: tuple[SpikingNetwork, np.ndarray]) -> None:
    snn, images = digits
    trace = snn.trace(images)
    found, logits = stepped.few_spike(snn.network, snn.encode(images))
    assert np.array_equal(np.ldexp(logits.numpy(), snn.logit_exponent), trace.logits)
    assert set(found) == set(trace.times) - {"input"}
    for name, times in found.items():
        assert np.array_equal(times, trace.times[name]), name


@torch.no_grad()
def check_graph(snn: SpikingNetwork, images: np.ndarray, path: Path) -> None:
    network, trace = snn.network, snn.trace(images)
    fs.to_nir(snn, path, neurons="if")
    graph = nir.read(path)  # nodes that NIR's own reader knows
    sequence = stepped.input_sequence(network, snn.encode(images), snn.latency_steps)
    spikes, logits = stepped.integrate_and_fire(graph, sequence)
    assert np.array_equal(np.ldexp(logits.flatten(1).numpy(), snn.logit_exponent), trace.logits)
    depth = {node: int(told["gain"].argmax()) for node, told in graph.metadata["schedule"].items()}
    for node, told in graph.metadata["schedule"].items():
        name = told["name"]
        if trace.layers[name].times is None:
            continue
        window = spikes[node][depth[node] : depth[node] + network.code.T]
        assert float(spikes[node].sum()) == float(window.sum()), f"{name} fires outside its window"
        assert np.array_equal(stepped.times_of(window), trace.layers[name].times), name


def test_integrate_and_fire_neurons_with_the_schedule(
    digits: tuple[SpikingNetwork, np.ndarray], tmp_path: Path
) -> None:
    snn, images = digits
    check_graph(snn, images[:16], tmp_path / "net.nir")


@pytest.mark.parametrize("coding", ["planes", "spike"])
def test_shortcuts_a_projection_and_input_planes(coding: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 2, 8, 8)
    cat = fs.prepare(Residual().eval(), example=images, code=fs.Code(input=coding))
    fs.calibrate(cat, images)
    check_graph(fs.convert(cat, example=images), images.numpy(), tmp_path / "net.nir")
