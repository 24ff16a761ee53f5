"""Networks as the public CIFAR collections write them: how many are taken, and that what is converts exactly."""

import warnings

import numpy as np
import pytest
import torch
from engine.networks import plain
from oracles import network as oracle
from structures.catalogue import NETWORKS
from torch import Tensor, nn

import firstspike as fs
from firstspike.engine import ReferenceEngine

AS_THEY_ARE = (
    "lenet",
    "tutorial",
    "alexnet",
    "vgg11",
    "vgg11-without-norm",
    "network-in-network",
    "all-convolutional",
    "perceptron",
    "audio",
    "resnet-padded",
    "resnet-projected",
    "resnet-bottleneck",
    "resnext",
    "regnet",
    "dla",
    "googlenet",
    "inception",
    "pnasnet",
    "unet",
    "dilated",
    "sub-pixel",
    "two-heads",
    "mobilenet",
    "shufflenet",
)
ADAPTED = (
    "preact-resnet",
    "wide-resnet",
    "stochastic-depth",
    "repvgg",
    "dpn",
    "squeezenet",
    "densenet",
    "xception",
    "mobilenet-v2",
    "mobilenet-v3-without-gates",
    "shufflenet-v2",
)
REFUSED = {
    "senet": "blocks.0.mul: the function 'mul' of two images cannot be converted; .*a gate",
    "mobilenet-v3": "block.gate.hardsigmoid: the function 'hardsigmoid' cannot be converted; .*a gate",
    "efficientnet": "mul: the function 'mul' of two images cannot be converted; .*a gate",
    "mixer": "block.norm1: LayerNorm cannot be adapted; replace it by nn.BatchNorm2d after a Conv2d",
}
QUICK = ("lenet", "resnet-projected", "unet", "sub-pixel", "two-heads", "shufflenet", "mobilenet-v2", "densenet")
ORACLE = ("sub-pixel", "two-heads", "audio")
"""Those whose oracle takes a second or two."""


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    return network, torch.rand(1, *getattr(network, "shape", (3, 32, 32)))


def taken(name: str) -> fs.SpikingNetwork:
    """The network as integers, proved equal to float64 on an image by `convert`."""
    network, x = made(name)
    if name in ADAPTED:
        with pytest.raises(fs.UnsupportedError):
            fs.prepare(network, example=x)
        network, changes = fs.adapt(network, example=x)
        assert changes
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*it is left out, since the largest logit")
        warnings.filterwarnings("ignore", ".*saturat")
        cat = fs.prepare(network, example=x).eval()
        with torch.no_grad():
            wanted, found = network(x), cat(x)
        if isinstance(wanted, dict):
            wanted = torch.cat(list(wanted.values()), dim=1)
        if name in ("perceptron", "audio"):  # a softmax less
            found = torch.log_softmax(found.flatten(1), 1)
        near = 0.1 if name in ("shufflenet", "audio") else 1e-4  # averages of 9 and 14, of which 1/n is no level
        torch.testing.assert_close(found.flatten(1), wanted.flatten(1), atol=near, rtol=near)
        cat.stage = "quantised"
        return fs.convert(cat, example=x)


def test_how_many_are_taken() -> None:
    assert len(NETWORKS) == 39
    assert sorted([*AS_THEY_ARE, *ADAPTED, *REFUSED]) == sorted(NETWORKS)
    assert len(AS_THEY_ARE) + len(ADAPTED) == 35


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in (*AS_THEY_ARE, *ADAPTED)],
)
def test_it_converts_exactly(name: str) -> None:
    snn = taken(name)
    logits = snn(made(name)[1])
    assert np.prod(logits.shape) > 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ORACLE else pytest.mark.slow, id=name)
        for name in (*AS_THEY_ARE, *ADAPTED)
    ],
)
def test_the_oracle_computes_the_same(name: str) -> None:
    snn = taken(name)
    times = snn.encode(made(name)[1])
    layers = ReferenceEngine(snn.network).layers(times)
    found = oracle.run_times(plain(snn.network), times[0].reshape(-1).tolist())
    for layer in snn.network.layers[:-1]:
        assert found.times[layer.name] == layers[layer.name][0].reshape(-1).tolist(), layer.name
    assert found.logits == layers[snn.network.layers[-1].name][0].reshape(-1).tolist()


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_what_could_stand_there(name: str) -> None:
    network, x = made(name)
    with pytest.raises(fs.UnsupportedError):
        fs.prepare(network, example=x)
    with pytest.raises(fs.UnsupportedError, match=REFUSED[name]):
        fs.adapt(network, example=x)
