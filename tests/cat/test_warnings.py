"""What a user is told unasked: values that saturate, images that no spikes stand for."""

import warnings

import pytest
import torch
from torch import nn

import firstspike as fs

IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def net(size: float) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    with torch.no_grad():
        made[0].weight.mul_(size)  # type: ignore[operator, union-attr]
    return made


def quantised(size: float) -> fs.Prepared:
    cat = fs.prepare(net(size), example=IMAGES)
    cat.stage = "quantised"
    return cat


def test_convert_tells_which_layers_saturate() -> None:
    with pytest.warns(UserWarning, match=r"convert: values of layers 0 \(\d+ %\) stand at 1, .*firstspike.calibrate"):
        fs.convert(quantised(20), example=IMAGES)
    (_, layer) = quantised(20).health(IMAGES)
    assert layer.saturated > 0.05
    assert "firstspike.calibrate" in layer.advice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fs.convert(quantised(0.1), example=IMAGES)
        cat = fs.prepare(net(20), example=IMAGES)
        fs.calibrate(cat, IMAGES)
        fs.convert(cat, example=IMAGES)


def test_health_changes_no_mode() -> None:
    cat = quantised(1)
    cat.train()
    cat.layers["0"].eval()
    modes = [module.training for module in cat.modules()]
    cat.health(IMAGES)
    assert [module.training for module in cat.modules()] == modes


def test_layers_that_share_weights_are_calibrated_each_by_itself() -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(4, 4, 3, padding=1)
    made = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), conv, nn.ReLU(), conv, nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
    ).eval()
    cat = fs.prepare(made)
    fs.calibrate(cat, IMAGES)
    snn = fs.convert(cat, example=IMAGES)
    found = snn(IMAGES).double() * 2.0**-snn.logit_exponent
    with torch.no_grad():
        wanted = made(IMAGES).double()
    assert float((found - wanted).square().sum() / wanted.square().sum()) < 0.05
    assert cat.stage == "quantised"


def test_images_that_no_spikes_stand_for_are_told_once() -> None:
    cat = fs.prepare(net(1)).eval()
    cat(IMAGES / IMAGES.max() * (1 + 2.0**-22))  # a few units in the last place, as resizing gives
    with pytest.warns(UserWarning, match=r"images should hold values in \[0, 1\], not -1..1: .*images.clamp\(0, 1\)"):
        cat((IMAGES > 0.5) * 2.0 - 1.0)
    cat(IMAGES * 2 - 1)  # once
