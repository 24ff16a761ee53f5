"""Networks that come with the package: shapes, products, and exact conversion."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import firstspike as fs
from firstspike.cat.models import mobilenet, resnet20


def products(network: nn.Module) -> int:
    """Multiplications of one 32x32 image by convolutions and linear layers, counted while it runs."""
    total = 0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        total += module.weight[0].numel() * out[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.rand(1, 3, 32, 32))
    return total


def test_resnet20_has_the_published_size() -> None:
    """0.27 million weights and 41 million products (He et al. 2016, table 6; projections add a little)."""
    network = resnet20()
    assert sum(isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) for module in network.modules()) == 19
    assert sum(parameter.numel() for parameter in network.parameters()) == 272_474
    assert round(products(network) / 1e6) == 41


def test_mobilenet_is_small() -> None:
    """Seven pairs of a depthwise and a pointwise convolution behind one convolution."""
    network = mobilenet(classes=100)
    assert sum(isinstance(module, nn.Conv2d) and module.groups == module.in_channels for module in network) == 7
    assert network[-1].out_features == 100
    assert round(products(network) / 1e6) == 23


@pytest.mark.parametrize("factory", [resnet20, mobilenet])
def test_they_convert_exactly(factory: Callable[[], nn.Module]) -> None:
    """Calibrated on noise, spikes and logits are those of the integer network, which conversion proves."""
    torch.manual_seed(0)
    images = torch.randint(256, (8, 3, 32, 32)) / 255
    cat = fs.prepare(factory().eval(), example=images, code=fs.Code(T=16, mantissa_bits=3, input="planes"))
    fs.calibrate(cat, images)
    snn = fs.convert(cat.eval(), example=images)
    assert torch.equal(torch.as_tensor(snn(images)).argmax(1), cat(images).argmax(1))
