"""The scale of a wide layer leaves room for its membrane."""

import pytest
import torch
from torch import nn

import firstspike as fs
from firstspike.train import layers


def wide() -> fs.Prepared:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16384, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[1].weight.normal_(std=0.05)  # type: ignore[union-attr]
    return fs.prepare(net)


def test_a_wide_layer_fits() -> None:
    cat = wide()
    cat.stage = "quantised"
    network = fs.convert(cat, example=torch.rand(2, 16, 32, 32)).network
    low, high = network.membrane_bounds(network.synaptic[0])
    assert max(-low, high) * layers.MARGIN < 1 << 31


def test_it_would_not_fit_by_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MARGIN", 0.0)
    cat = wide()
    cat.stage = "quantised"
    with pytest.raises(fs.ConversionError, match=r"layer '1': the membrane must fit 32 bits"):
        fs.convert(cat, example=torch.rand(2, 16, 32, 32))
