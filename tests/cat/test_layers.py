"""Layers of a prepared network: folding, codes and bias against fractions, averages, activations by stage."""

from copy import deepcopy
from fractions import Fraction

import numpy as np
import pytest
import torch
from oracles import tables
from torch import nn
from torch.nn import functional

from firstspike.arith import Code, LogWeights, decode_weights, encode_weights
from firstspike.cat.activation import clip, kernel_levels, ttfs
from firstspike.cat.layers import STAGES, AveragePool, Fire, Synapses, nearest_level, stage_rank

PARAMS = tables.Params()


def randomised(norm: nn.BatchNorm1d | nn.BatchNorm2d, seed: int = 0) -> None:
    """Statistics and parameters as after some training, a channel switched off and one inverted among them."""
    generator = torch.Generator().manual_seed(seed)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator) * 0.3)
    norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) * 2 + 0.05)
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(torch.randn(norm.num_features, generator=generator))
            norm.weight[0] = 0
            norm.bias.copy_(torch.randn(norm.num_features, generator=generator) * 0.2)


def synapses(linear: nn.Module, norm: nn.Module | None, *, bits: int = 32) -> Synapses:
    assert isinstance(linear, nn.Conv2d | nn.Linear)
    assert norm is None or isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    if norm is not None:
        randomised(norm)
    return Synapses(linear, norm, code=Code(), weights=LogWeights(), accumulator_bits=bits)


def layers() -> dict[str, tuple[Synapses, torch.Tensor]]:
    torch.manual_seed(2)
    image, vector = torch.rand(3, 4, 6, 5), torch.rand(7, 6)
    return {
        "convolution": (synapses(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), None), image),
        "convolution, norm": (synapses(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)), image),
        "convolution, bias, norm": (
            synapses(nn.Conv2d(4, 6, 3, padding=(0, 2)), nn.BatchNorm2d(6, affine=False)),
            image,
        ),
        "linear": (synapses(nn.Linear(6, 5), None), vector),
        "linear, norm": (synapses(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, eps=1e-3)), vector),
    }


@pytest.mark.parametrize("label", layers())
def test_folded_is_the_layer_with_its_norm(label: str) -> None:
    layer, x = layers()[label]
    layer.double().eval()
    plain = layer.linear(x.double())
    expected = plain if layer.norm is None else layer.norm(plain)
    assert torch.equal(layer(x.double(), stage="ttfs"), expected)
    weight, bias = layer.folded()
    folded = deepcopy(layer.linear)
    folded.weight, folded.bias = nn.Parameter(weight), nn.Parameter(bias)
    torch.testing.assert_close(folded(x.double()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("label", layers())
@torch.no_grad()
def test_last_stage_is_the_oracles_quantiser(label: str) -> None:
    layer, x = layers()[label]
    layer.eval()
    layer.scale.fill_(layer.fitting_scale())
    scale = int(layer.scale)
    exponent = tables.exponent_g(scale, PARAMS)
    assert layer.exponent == exponent
    weight, bias = layer.folded(torch.float64)
    levels = {tables.weight(q, sign, scale, PARAMS): tables.pack(q, sign, PARAMS) for q in range(15) for sign in (0, 1)}
    levels[Fraction(0)] = tables.pack(15, 0, PARAMS)
    codes = []
    for value in weight.flatten().tolist():
        best = min(levels, key=lambda level: (abs(level - Fraction(value)), -abs(level)))
        codes.append(levels[best])
    rounded = [tables.integer_bias(value, exponent) for value in bias.tolist()]
    index, negative, exact_bias = layer.level_indices()
    found = encode_weights(15 - index.numpy().astype(np.int64), negative.numpy(), LogWeights())
    assert found.flatten().tolist() == codes
    assert [Fraction(value) * tables.power_of_two(exponent) for value in exact_bias.tolist()] == rounded
    values = torch.from_numpy(decode_weights(found, LogWeights(), scale))
    for typed in (layer, deepcopy(layer).double()):  # the same numbers in every type
        w, b = typed.quantised()
        assert w.dtype == typed.linear.weight.dtype
        assert torch.equal(w.double(), values)
        assert torch.equal(b.double(), exact_bias.to(b.dtype).double())
    double, x = deepcopy(layer).double(), x.double()
    if isinstance(layer.linear, nn.Conv2d):
        c = layer.linear
        expected = functional.conv2d(x, values, exact_bias, c.stride, c.padding, 1, c.groups)
    else:
        expected = functional.linear(x, values, exact_bias)
    assert torch.equal(double(x, stage="quantised"), expected)
    residual = torch.rand(expected.shape, dtype=torch.float64)
    assert torch.equal(double(x, residual, residual, stage="quantised"), expected + residual + residual)


def test_cached_weights_follow_every_change() -> None:
    layer, x = layers()["convolution, norm"]
    layer.eval()
    layer.scale.fill_(layer.fitting_scale())

    def agrees() -> bool:
        fresh = deepcopy(layer)
        fresh.eval()
        return torch.equal(layer(x, stage="quantised"), fresh(x, stage="quantised"))

    before = layer(x, stage="quantised")
    assert torch.equal(layer(x, stage="quantised"), before)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3)
    assert layer(x, stage="quantised").requires_grad  # the values are kept; gradients pass straight through
    with torch.no_grad():
        assert torch.equal(layer(x, stage="quantised"), before)
    layer.train()
    layer(x, stage="quantised").square().sum().backward()
    layer.eval()
    optimiser.step()
    assert agrees()
    assert not torch.equal(layer(x, stage="quantised"), before)
    for change in (layer.linear.weight, layer.norm.running_mean, layer.norm.weight):  # type: ignore[union-attr]
        before = layer(x, stage="quantised")
        with torch.no_grad():
            change[1:].mul_(0.3)
        assert agrees()
        assert not torch.equal(layer(x, stage="quantised"), before)
    before = layer(x, stage="quantised")
    layer.scale.add_(3)
    assert not torch.equal(layer(x, stage="quantised"), before)
    layer.load_state_dict(layers()["convolution, norm"][0].state_dict())
    assert agrees()
    for label in ("convolution, norm", "linear"):  # in another type
        layer, x = layers()[label]
        layer.eval()
        single = layer(x, stage="quantised")
        layer.double()
        torch.testing.assert_close(layer(x.double(), stage="quantised"), single.double(), rtol=1e-4, atol=1e-4)


def test_training_reaches_all_parameters_in_the_last_stage() -> None:
    layer, x = layers()["convolution, bias, norm"]
    layer.norm = nn.BatchNorm2d(6)
    layer.scale.fill_(layer.fitting_scale())
    layer.train()
    assert layer.norm.training  # its mode is its own, but its statistics are frozen
    before = deepcopy(layer.norm.state_dict())
    layer(x, stage="quantised").square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert all(torch.equal(before[key], value) for key, value in layer.norm.state_dict().items())


def test_straight_through_gradient_of_weight_is_that_of_the_quantised_layer() -> None:
    layer, x = layers()["linear"]
    layer.scale.fill_(layer.fitting_scale())
    layer.train()
    x.requires_grad_()
    gradient = torch.randn(7, 5)
    layer(x, stage="quantised").backward(gradient)
    weight, _ = layer.quantised()
    assert layer.linear.weight.grad is not None
    assert x.grad is not None
    torch.testing.assert_close(layer.linear.weight.grad, gradient.T @ x.detach())
    torch.testing.assert_close(x.grad, gradient @ weight.detach())


# ---- averages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights", [LogWeights(), LogWeights(mantissa_bits=0), LogWeights(levels_per_octave=16, mantissa_bits=9)], ids=str
)
def test_nearest_level_is_the_oracles(weights: LogWeights) -> None:
    p = tables.Params(bits=weights.bits, rho=weights.levels_per_octave, M_w=weights.mantissa_bits)
    for count in range(1, 200):
        assert nearest_level(count, weights) == tables.nearest_level(Fraction(1, count), p)[1], count


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 2), (1, 2), (1, 1)),
        (None, None, (0, 0)),
        ((1, 1), (1, 1), (0, 0)),
        ((1, 1), (2, 2), (0, 0)),
    ],
)
def test_average_is_a_sum_times_a_level(
    kernel: tuple[int, int] | None, stride: tuple[int, int] | None, padding: tuple[int, int]
) -> None:
    x = torch.randint(0, 1 << 10, (2, 3, 5, 4)).double()
    pool = AveragePool(kernel, stride, padding, weights=LogWeights())
    window = kernel or (5, 4)
    assert pool.window((5, 4)) == window
    p = tables.Params()
    _, k = tables.nearest_level(Fraction(1, window[0] * window[1]), p)
    padded = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    steps = stride or window
    sums = padded.unfold(2, window[0], steps[0]).unfold(3, window[1], steps[1]).sum(dim=(-2, -1))
    expected = sums * float(tables.level(k, p))
    assert torch.equal(pool(x), expected)
    assert torch.equal(pool(x, expected, expected), 3 * expected)


# ---- activations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["input", "ttfs"])
def test_activation_of_each_stage(first: str) -> None:
    fire = Fire(Code(), first)
    u = torch.linspace(-0.5, 1.5, 201)
    expected = {"relu": u.relu(), "clip": clip(u), "spikes": ttfs(u, kernel_levels(Code()).float())}
    kinds = {stage: "spikes" if STAGES.index(stage) >= STAGES.index(first) else "clip" for stage in STAGES[1:]}
    for stage, kind in {"relu": "relu", **kinds}.items():
        assert torch.equal(fire(u, stage), expected[kind]), stage


def test_activity_and_spikes_are_counted_when_observed() -> None:
    fire = Fire(Code(), "ttfs")
    u = torch.tensor([[0.5, 0.01, 2.0], [0.0, 0.3, 0.0]], requires_grad=True)
    x = fire(u, "ttfs")
    assert fire.activity is None
    fire.observe = fire.count_spikes = True
    fire(u, "ttfs")
    assert fire.neurons == 3
    assert fire.activity is not None
    assert fire.spikes is not None
    assert fire.activity.item() == pytest.approx(x.sum().item() / 2)
    assert fire.spikes.item() == 3 / 2
    fire.activity.backward()
    assert u.grad is not None
    assert u.grad.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.0]]


def test_codes_that_a_type_does_not_hold_are_refused() -> None:
    fire = Fire(Code(T=255, tau=128, mantissa_bits=12), "ttfs")
    assert fire(torch.rand(3), "ttfs").dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float16):
        with pytest.raises(
            ValueError, match=rf"Code\(T=255.* must have kernel values that are exact in {dtype}; use float32"
        ):
            fire(torch.rand(3).to(dtype), "ttfs")


def test_stages_have_an_order() -> None:
    assert [stage_rank(stage) for stage in STAGES] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="stage must be one of relu, clip, input, ttfs, quantised, not 'spikes'"):
        stage_rank("spikes")
