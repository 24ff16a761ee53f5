"""Networks as the public CIFAR collections write them: what `prepare` takes as it is converts exactly."""

import pytest
import torch
from structures.catalogue import NETWORKS

import firstspike as fs

AS_THEY_ARE = (
    "lenet",
    "tutorial",
    "alexnet",
    "vgg11",
    "vgg11-without-norm",
    "network-in-network",
    "mobilenet",
)


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_it_converts_exactly(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    shape = getattr(network, "shape", (3, 32, 32))
    x = torch.rand(2, *shape)
    cat = fs.prepare(network)
    with torch.no_grad():
        assert torch.allclose(cat(x), network(x), atol=1e-4)  # stage "relu": the network itself
    cat.stage = "quantised"
    snn = fs.convert(cat.eval(), example=x)  # proves that every spike and logit is equal
    assert snn(x).shape == (2, 10)
