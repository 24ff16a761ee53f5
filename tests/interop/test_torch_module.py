"""`to_torch`: the module computes the integer network, and NeuroBench's harness counts in it what our traces count."""

import numpy as np
import pytest
import torch
from engine.networks import networks, pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from interop.shortcuts import Residual

import firstspike as fs
from firstspike.arith import decode
from firstspike.data import load
from firstspike.spec import Network
from firstspike.spec.network import Synaptic
from firstspike.spiking import SpikingNetwork


@settings(max_examples=30, deadline=None)
@given(data=st.data(), network=networks())
def test_the_module_is_the_integer_network(data: st.DataObject, network: Network) -> None:
    images = data.draw(pixels(network)).astype(np.float64)
    snn, module = SpikingNetwork(network, engine="reference"), fs.to_torch(network)
    trace = snn.trace(images)
    with torch.no_grad():
        values = module.layers(torch.from_numpy(images))
        assert np.array_equal(np.ldexp(module(torch.from_numpy(images)).numpy(), snn.logit_exponent), snn(images))
    for name, times in trace.times.items():
        if network.planes(name) == 1:
            assert np.array_equal(values[name].numpy(), decode(times, network.code))


def benchmark(snn: SpikingNetwork, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    pytest.importorskip("neurobench")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, SynapticOperations
    from neurobench.models import TorchModel
    from torch.utils.data import DataLoader, TensorDataset

    from firstspike.interop.module import FirstSpike

    model = TorchModel(fs.to_torch(snn))
    model.add_activation_module(FirstSpike)
    loader = DataLoader(TensorDataset(torch.from_numpy(images), torch.from_numpy(labels)), batch_size=len(images))
    metrics = [ConnectionSparsity], [ActivationSparsity, ClassificationAccuracy, SynapticOperations]
    with torch.no_grad():
        return Benchmark(model, loader, [], [lambda logits: logits.argmax(dim=1)], metrics).run(quiet=True)


def compare(snn: SpikingNetwork, images: np.ndarray, labels: np.ndarray) -> None:
    found, trace = benchmark(snn, images, labels), snn.trace(images)
    counted = found["SynapticOperations"]
    assert counted["Effective_MACs"] + counted["Effective_ACs"] == trace.sops_nonzero_per_image
    assert found["ActivationSparsity"] == pytest.approx(1 - trace.spikes_per_neuron, abs=1e-12)
    assert found["ClassificationAccuracy"] == pytest.approx(float((trace.predictions == labels).mean()))
    network = snn.network  # where the input is planes the module has a weight for each of the eight
    weights = np.concatenate(
        [np.tile(one.codes.reshape(-1), network.planes(one.source)) for one in network.connections]
    )
    zero = network.weights.zero_level
    assert found["ConnectionSparsity"] == pytest.approx(float(((weights & zero) == zero).mean()), abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_neurobench_counts_the_same() -> None:
    snn, test = fs.zoo.load("digits"), load("digits", split="test")
    compare(snn, test.pixels(0, 64), np.asarray(test.labels[:64]))


@pytest.mark.filterwarnings("ignore")
def test_neurobench_counts_planes_shortcuts_and_a_projection() -> None:
    torch.manual_seed(0)
    net = Residual().eval()
    images, labels = torch.rand(16, 2, 8, 8), np.zeros(16, dtype=np.int64)
    cat = fs.prepare(net, example=images, code=fs.Code(input="planes"))
    fs.calibrate(cat, images)
    snn = fs.convert(cat, example=images)
    assert any(isinstance(layer, Synaptic) and layer.parts for layer in snn.network.layers)
    compare(snn, images.numpy(), labels)
