"""A trained network in SpikingJelly, stepping through time: every spike time, logit and class as our engines have them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine.networks import networks, pixels
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import firstspike as fs
from firstspike.data import load
from firstspike.spec import MaxPool2d, Network, PixelShuffle
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
    steps = len(next(iter(graph.metadata["schedule"].values()))["current"])
    assert steps >= snn.latency_steps  # more for a branch that nobody reads
    sequence = stepped.input_sequence(network, snn.encode(images), steps)
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


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), network=networks(max_layers=4, size=5))
def test_random_networks(tmp_path: Path, data: st.DataObject, network: Network) -> None:
    images = data.draw(pixels(network, max_images=2))
    half = [all(2 * p <= k for p, k in zip(pool.padding, pool.kernel, strict=True)) for pool in pools(network)]
    assume(len(images) and all(half))  # PyTorch pads at most half a window
    assume(not any(isinstance(layer, PixelShuffle) for layer in network.layers))
    check_graph(SpikingNetwork(network, engine="reference"), images, tmp_path / "net.nir")


def pools(network: Network) -> list[MaxPool2d]:
    return [layer for layer in network.layers if isinstance(layer, MaxPool2d)]


def test_a_pixel_shuffle_is_refused(tmp_path: Path) -> None:
    cat = fs.prepare(
        torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 1), torch.nn.ReLU(), torch.nn.PixelShuffle(2), torch.nn.Conv2d(1, 2, 2)
        )
    )
    cat.set_input_shape((1, 4, 4))
    cat.stage = "quantised"
    snn = fs.convert(cat.eval(), example=torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="a pixel shuffle has no node in NIR"):
        fs.to_nir(snn, tmp_path / "net.nir", neurons="if")
