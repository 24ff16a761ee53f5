"""Planes pass through an average that merges, and end at one that fires, whichever the size of the images decides."""

import pytest
import torch
from torch import nn

import firstspike as fs


@pytest.mark.parametrize("size", [(2, 3), (2, 2)])
def test_two_global_averages(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    x = torch.rand(4, 2, *size)
    cat = fs.prepare(net, code=fs.Code(input="planes"), example=x)
    cat.stage = "quantised"
    snn = fs.convert(cat.eval(), example=x)  # proves every spike and logit
    assert snn(x).shape == (4, 3)
