"""A scale for each output channel: what is chosen, by an oracle of the rule; what is computed, stored and refused."""

from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from engine.networks import shifted
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from oracles import tables
from torch import Tensor, nn

import firstspike as fs
from firstspike.arith import Code, LogWeights, decode
from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import rebuild
from firstspike.engine import ReferenceEngine
from firstspike.spec import INPUT, Conv2d, Linear, Network
from firstspike.train.warm_start import warm_start

pytestmark = pytest.mark.usefixtures("single_thread")

ROOM = Fraction(3, 2)
"""Numerics, "Training's last stage": the bound fits one and a half times."""

FORMATS = [
    (Code(), LogWeights()),
    (Code(T=16, tau=4, mantissa_bits=3), LogWeights(bits=4, levels_per_octave=4, mantissa_bits=2)),
    (Code(T=24, tau=4, mantissa_bits=5), LogWeights(bits=3, levels_per_octave=1, mantissa_bits=0)),
]


def synapses(weight: np.ndarray, bias: np.ndarray, formats: tuple[Code, LogWeights], bits: int) -> Synapses:
    layer = Synapses(
        nn.Linear(weight.shape[1], len(weight)).double(),
        None,
        code=formats[0],
        weights=formats[1],
        accumulator_bits=bits,
    )
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(weight))
        assert layer.linear.bias is not None
        layer.linear.bias.copy_(torch.from_numpy(bias))
    layer.take_shifts()
    return layer


class Errors:
    """Squared error of each channel at each scale, without end where membranes have no room, by the words of the page."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, params: tables.Params, octaves: int) -> None:
        self.weight, self.bias, self.params, self.octaves = weight, bias, params, octaves
        self.known: dict[int, list[float]] = {}
        self.close = False

    def rounded(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights at a scale, and which of them take the largest level."""
        levels = np.array([float(tables.level(k + q, self.params)) for q in range(self.params.zero_level)] + [0.0])
        nearest = np.abs(np.abs(self.weight)[..., None] - levels).argmin(axis=-1)
        return np.sign(self.weight) * levels[nearest], nearest == 0

    def __call__(self, k: int) -> list[float]:
        if k not in self.known:
            found = []
            for row, wanted, b in zip(self.rounded(k)[0], self.weight, self.bias, strict=True):
                high, low = sum(v for v in row if v > 0) + b, sum(v for v in row if v < 0) + b
                unit = tables.exponent_g(k, self.params) + self.octaves
                bound = float(ROOM) * max(high, -low, 1.0) * 2.0 ** (unit - (self.params.A - 1))
                self.close |= abs(bound - 1) < 1e-9
                found.append(float(((row - wanted) ** 2).sum()) if bound < 1 else np.inf)
            self.known[k] = found
        return self.known[k]


def oracle(errors: Errors) -> tuple[int, list[int]] | None:
    """The scale and shifts with the least error of all: every scale, every shift of every channel."""
    params, best, least = errors.params, None, np.inf
    exact = params.M + (params.T - 1) // params.tau
    leaves_bits = [k for k in range(-60, 60) if tables.exponent_g(k, params) + errors.octaves <= params.A - 5]
    for k in [k for k in leaves_bits if errors.rounded(k)[1].any()] or leaves_bits[-1:]:
        if tables.exponent_g(k, params) + errors.octaves < exact:
            continue
        every = np.array([errors(k + params.rho * s) for s in range(8)])
        total = float(every.min(axis=0).sum())
        errors.close |= total != least and abs(total - least) < 1e-12 * total < np.inf
        if total <= least and total < np.inf:
            best, least = (k, [int(s) for s in every.argmin(axis=0)]), total
    return best


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 30),
    spread=st.sampled_from([0, 3, 9]),
    size=st.integers(-6, 4),
    biases=st.sampled_from([0.0, 1.0, 40.0]),
    octaves=st.sampled_from([0, 2]),
    bits=st.sampled_from([24, 32]),
    formats=st.sampled_from(FORMATS),
)
def test_scale_and_shifts_are_the_best_of_all(
    seed: int,
    inputs: int,
    spread: int,
    size: int,
    biases: float,
    octaves: int,
    bits: int,
    formats: tuple[Code, LogWeights],
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(4, inputs)) * 2.0 ** (size - rng.integers(0, spread + 1, (4, 1)))
    bias = biases * rng.uniform(-1, 1, 4)
    params = tables.Params(
        T=formats[0].T,
        tau=formats[0].tau,
        M=formats[0].mantissa_bits,
        bits=formats[1].bits,
        rho=formats[1].levels_per_octave,
        M_w=formats[1].mantissa_bits,
        A=bits,
    )
    errors = Errors(weight, bias, params, octaves)
    expected = oracle(errors)
    assume(not errors.close)
    found = synapses(weight, bias, formats, bits).fitting_shifts(octaves=octaves)
    assert (found if found is None else (found[0], found[1].tolist())) == expected
    event("none" if expected is None else f"largest shift {max(expected[1])}")


def test_a_channel_nine_octaves_below_keeps_its_weights() -> None:
    """At one scale, 5 bits end at ``2^-7``, and the second channel is zero; a shift of 3 is the least that reaches it."""
    weight = np.array([[1.0, 0.71875], [2.0**-9, -(2.0**-10)]])
    layer = synapses(weight, np.zeros(2), FORMATS[0], 48)
    layer.scale.fill_(layer.fitting_scale())
    assert layer.eval().quantised()[0].tolist() == [[1.0, 0.71875], [0.0, 0.0]]
    found = layer.fitting_shifts()
    assert found is not None
    assert (found[0], found[1].tolist()) == (0, [0, 3])
    layer.scale.fill_(found[0])
    layer.shifts.copy_(found[1])  # type: ignore[union-attr]
    assert torch.equal(layer.quantised()[0], torch.from_numpy(weight))


def test_gradients_pass_and_biases_lie_on_their_channels_grid() -> None:
    torch.manual_seed(0)
    layer = synapses(np.random.default_rng(0).normal(size=(3, 5)), np.array([0.3, 0.3, 0.3]), FORMATS[0], 32)
    layer.shifts.copy_(torch.tensor([0, 2, 5]))  # type: ignore[union-attr]
    for mode in (True, False):
        layer.train(mode).zero_grad()
        weight, bias = layer.quantised()
        (weight.sum() + 2 * bias.sum()).backward()
        assert torch.equal(layer.linear.weight.grad, torch.ones(3, 5).double())  # type: ignore[arg-type]
        assert layer.linear.bias.grad.tolist() == [2.0] * 3  # type: ignore[union-attr]
        b = Fraction(0.3)
        expected = [Fraction(round(b * 2 ** (22 + s)), 2 ** (22 + s)) for s in (0, 2, 5)]
        assert [Fraction(v) for v in bias.tolist()] == expected


# ---- a network ----------------------------------------------------------------------------------------------------


def deep(seed: int = 0) -> nn.Sequential:
    """Depthwise and pointwise convolutions with batch norm whose channels differ by octaves."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)),
    )
    with torch.no_grad():
        for norm in (net[1], net[4], net[7]):
            norm.weight.mul_(2.0 ** -torch.randint(0, 6, norm.weight.shape))  # type: ignore[union-attr, operator]
            norm.bias.add_(0.2)  # type: ignore[union-attr, operator]
        for _ in range(10):
            net.train()(torch.rand(16, 1, 6, 6))
    return net.eval()


def quantised(network: nn.Module, **options: Any) -> Prepared:
    """Prepared, in its last stage, evaluation mode."""
    cat = fs.prepare(network, example=IMAGES, **options).eval()
    cat.set_stage("quantised")
    return cat


IMAGES = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def test_depthwise_layers_lose_less() -> None:
    network = deep()
    errors, lost = {}, {}
    for way in ("layer", "channel"):
        cat = fs.prepare(network, example=IMAGES, weights=LogWeights(bits=4), weight_scale=way).eval()  # type: ignore[arg-type]
        cat.set_stage("quantised")
        snn = fs.convert(cat, example=IMAGES)  # proves every spike
        assert any(any(layer.shifts) for layer in snn.network.synaptic) == (way == "channel")
        assert not any(snn.network.synaptic[-1].shifts)
        reference = fs.prepare(network, example=IMAGES).eval()
        reference.set_stage("ttfs")
        with torch.no_grad():
            errors[way] = float((cat(IMAGES) - reference(IMAGES)).square().mean())
            layer = cat.layers["3"]
            assert isinstance(layer, Synapses)
            real, rounded = layer.folded()[0].flatten(1), layer.quantised()[0].flatten(1)
            lost[way] = float(((real - rounded).norm(dim=1) / real.norm(dim=1)).max())
    assert errors["channel"] < errors["layer"]
    assert lost["channel"] < 0.2 < 0.9 < lost["layer"]  # of the channel that loses most


@pytest.mark.parametrize("way", ["layer", "channel"])
def test_calibration_chooses_shifts_where_it_may(way: str) -> None:
    network = deep(1)
    cat = fs.prepare(network, example=IMAGES, code=Code(input="planes"), weight_scale=way)  # type: ignore[arg-type]
    fs.calibrate(cat.eval(), IMAGES)
    snn = fs.convert(cat, example=IMAGES[:2])
    assert [any(layer.shifts) for layer in snn.network.synaptic[1:3]] == [way == "channel"] * 2
    with torch.no_grad():
        logits = cat.double()(IMAGES.double())
    assert np.array_equal(np.ldexp(snn(IMAGES.numpy()).astype(float), -snn.logit_exponent), logits.numpy())


def test_residuals_sums_and_logits_keep_one_scale() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Conv2d(2, 2, 1) for _ in range(4))
            self.e, self.f = nn.Conv2d(2, 2, 1), nn.Linear(2 * 9, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.a(x))
            x = torch.relu(x + self.b(x))
            x = torch.relu(self.c(x) + self.d(x))
            return self.f(torch.relu(self.e(x)).flatten(1))

    cat = fs.prepare(Net(), example=torch.rand(1, 2, 3, 3), weight_scale="channel")
    assert {name: layer.shifts is not None for name, layer in cat.synapses()} == {
        "a": True,
        "b": False,
        "c": False,
        "d": False,
        "e": True,
        "f": False,
    }
    cat.set_stage("quantised")
    fs.convert(cat, example=torch.rand(3, 2, 3, 3))
    with pytest.raises(ValueError, match="weight_scale must be 'layer' or 'channel', not 'channels'"):
        fs.prepare(Net(), weight_scale="channels")  # type: ignore[arg-type]


def test_shifts_are_part_of_the_state() -> None:
    cat = fs.prepare(deep(), example=IMAGES, weight_scale="channel").eval()
    plain = fs.prepare(deep(), example=IMAGES)
    assert not any("shifts" in key for key in plain.state_dict())
    cat.set_stage("quantised")
    other = fs.prepare(deep(3), example=IMAGES, weight_scale="channel").eval()
    other.load_state_dict(cat.state_dict())
    with torch.no_grad():
        assert torch.equal(other(IMAGES), cat(IMAGES))
        assert torch.equal(deepcopy(cat)(IMAGES), cat(IMAGES))
    state = deepcopy(cat.state_dict())
    state["layers.3.shifts"] += 1
    with pytest.raises(RuntimeError, match="stage and scales"):
        other.load_state_dict(state)
    cat.layers["3"].shifts.add_(1)  # type: ignore[union-attr, operator]
    with pytest.raises(RuntimeError, match="stage and scales"):
        cat(IMAGES)


@pytest.mark.parametrize("part", [False, True])
def test_an_integer_network_rebuilt_is_the_same(part: bool) -> None:
    """Of a layer with a part, whose channels share the shift, too."""
    network = fs.convert(quantised(deep()), example=IMAGES).network
    if part:
        first, second = network.synaptic[:2]
        more = replace(first, name="p", bias=np.zeros(8, np.int64), fires=False, scale=second.scale)
        layers = [replace(second, parts=(more,)) if layer is second else layer for layer in network.layers]
        network = replace(network, layers=tuple(layers), accumulator_bits=40)
    network = shifted(network)
    again = rebuild(network)
    times = np.random.default_rng(0).integers(0, 24, (5, 1, 6, 6), dtype=np.uint8)
    with torch.no_grad():
        found = again.spike_values(torch.from_numpy(decode(times, network.code)))
    for name, value in ReferenceEngine(network).layers(times).items():
        last = name == network.layers[-1].name
        wanted = (
            np.ldexp(value.astype(float), -network.exponent(network.synaptic[-1]))
            if last
            else decode(value, network.code)
        )
        assert np.array_equal(found[name].numpy().reshape(value.shape), wanted), name
    again.set_stage("ttfs")
    again.set_stage("quantised")  # anew: a layer with a part has one scale now
    made = fs.convert(again, example=decode(times, network.code)).network
    assert [any(layer.shifts) for layer in made.synaptic[:3]] == [True, not part, True]


def test_a_trained_network_starts_another() -> None:
    """`--initial` takes the weights as they are, shifts and all."""
    rng = np.random.default_rng(0)
    first = Conv2d(
        name="0",
        source=INPUT,
        codes=rng.integers(0, 32, (3, 1, 2, 2), dtype=np.uint8),
        scale=0,
        bias=rng.integers(-9, 9, 3),
    )
    last = Linear(
        name="3",
        source="2",
        codes=rng.integers(0, 32, (2, 12), dtype=np.uint8),
        scale=2,
        bias=np.zeros(2, np.int64),
        fires=False,
    )
    flat = fs.spec.Flatten(name="2", source="0")
    network = shifted(
        Network(
            code=Code(), weights=LogWeights(), input_shape=(1, 3, 3), layers=(first, flat, last), accumulator_bits=48
        )
    )
    cat = fs.prepare(
        nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), weight_scale="channel"
    )
    assert warm_start(cat, network, torch.rand(4, 1, 3, 3)) == ("0", "3")
    layer = network.synaptic[0]
    assert torch.equal(cat.layers["0"].linear.weight.double(), torch.from_numpy(network.real_weights(layer, layer)))  # type: ignore[union-attr, operator]
