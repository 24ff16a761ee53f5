"""A plain network that begins with a spiking one's weights computes its clipped function."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from firstspike import zoo
from firstspike.cat.calibrate import gain
from firstspike.cat.rebuild import real_weights
from firstspike.data import load
from studies.clipped_start import begin


def _plain(widths: tuple[int, int, int, int] = (32, 32, 64, 64)) -> nn.Sequential:
    """The zoo's digits with norms and clips."""
    layers: list[nn.Module] = []
    inputs = 1
    for index, outputs in enumerate(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardtanh(0, 1)]
        layers += [nn.MaxPool2d(2)] if index % 2 else []
        inputs = outputs
    hidden = nn.Linear(4 * inputs, 64, bias=False), nn.BatchNorm1d(64), nn.Hardtanh(0, 1)
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(64, 10))


@torch.no_grad()
def test_it_computes_the_clipped_function_of_the_spiking_network() -> None:
    trained, digits = zoo.load("digits").network, load("digits", split="test")
    images, plain = torch.from_numpy(digits.pixels()).float(), _plain()
    usual = [float(layer.weight.square().mean().sqrt()) for layer in plain if isinstance(layer, nn.Conv2d)]
    begin(plain, trained, images[:200])
    x = images
    for index, layer in enumerate(trained.synaptic):
        weight, bias = (one.float() for one in real_weights(layer, layer, trained))
        weight = weight / gain(trained.code)
        x = (
            functional.conv2d(x, weight, bias, padding=1)
            if index < 4
            else functional.linear(x.flatten(1), weight, bias)
        )
        x = x if index == 5 else x.clamp(0, 1)
        x = functional.max_pool2d(x, 2) if index in (1, 3) else x
    torch.testing.assert_close(plain(images), x, rtol=1e-4, atol=1e-4)
    assert np.mean(x.argmax(1).numpy() == digits.labels) > 0.9
    roots = [layer.weight.square().mean(dim=(1, 2, 3)).sqrt() for layer in plain if isinstance(layer, nn.Conv2d)]
    for root, size in zip(roots, usual, strict=True):
        torch.testing.assert_close(root[root > 0], torch.full_like(root[root > 0], size))


def test_networks_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="the same weights, not"):
        begin(_plain((32, 32, 64, 32)), zoo.load("digits").network, torch.rand(4, 1, 8, 8))
