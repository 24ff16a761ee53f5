"""Convolutions by matrix products equal PyTorch's; small integers, so that sums are exact in bfloat16 and ``==`` holds."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from firstspike.cat import convolution
from firstspike.cat.convolution import convolve


def integers(*shape: int, seed: int) -> torch.Tensor:
    """-1, 0 and 1: a sum of 9 * 16 products is at most 144, and every integer up to 256 is exact in bfloat16."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What went through the matrix product."""
    seen: list[object] = []
    unfold = convolution._unfold
    monkeypatch.setattr(convolution, "_unfold", lambda x: (seen.append(x.shape), unfold(x))[1])
    return seen


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 4), (3, 4), (4, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_equal_the_plain_convolution(
    size: tuple[int, int], channels_last: bool, with_bias: bool, calls: list[object]
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    conv = nn.Conv2d(16, 8, 3, padding=1)
    x = integers(2, 16, *size, seed=0).contiguous(memory_format=layout).requires_grad_()
    weight = integers(8, 16, 3, 3, seed=1).contiguous(memory_format=layout).requires_grad_()
    bias = integers(8, seed=2).requires_grad_() if with_bias else None
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    expected = functional.conv2d(x, weight, bias, padding=1)
    gradient = integers(*expected.shape, seed=3)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(conv, x, weight, bias)
    assert calls
    assert y.dtype == torch.bfloat16
    assert torch.equal(y.float(), expected)
    ours = torch.autograd.grad(y, inputs, gradient.bfloat16())
    for got, wanted in zip(ours, torch.autograd.grad(expected, inputs, gradient), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=0),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ],
)
def test_other_convolutions_go_the_usual_way(conv: nn.Conv2d, calls: list[object]) -> None:
    x = integers(2, 4, 4, 4, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        convolve(conv, x, conv.weight, conv.bias)
    assert not calls


@pytest.mark.parametrize("size", [5, 8])
def test_large_maps_go_the_usual_way(size: int, calls: list[object]) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        convolve(conv, integers(1, 4, size, size, seed=0), conv.weight, conv.bias)
    assert not calls


@pytest.mark.parametrize(("size", "unfolds"), [(4, True), (5, True), (8, True), (9, False)])
@pytest.mark.parametrize(("inputs", "outputs"), [(512, 512), (512, 511), (511, 512)])
def test_wide_layers_unfold_larger_maps(
    inputs: int, outputs: int, size: int, unfolds: bool, calls: list[object]
) -> None:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        convolve(conv, integers(1, inputs, size, 3, seed=0), conv.weight, conv.bias)
    assert bool(calls) == (unfolds and (size <= 4 or inputs == outputs))


def test_float32_goes_the_usual_way(calls: list[object]) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    x = integers(1, 4, 4, 4, seed=0)
    assert torch.equal(convolve(conv, x, conv.weight, conv.bias), conv(x))
    assert not calls
