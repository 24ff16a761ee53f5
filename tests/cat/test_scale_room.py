"""The scale of a layer: the least squared error among those that leave room for its membranes, by an oracle of the rule."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from oracles import tables
from torch import nn

import firstspike as fs
from firstspike.arith import Code, LogWeights
from firstspike.cat.layers import Synapses

PARAMS = tables.Params()
ROOM = 1.5
"""Numerics, "Training's last stage": the bound fits one and a half times."""


def oracle(weight: np.ndarray, bias: np.ndarray, *, bits: int, residuals: int, octaves: int) -> tuple[int, bool, bool]:
    """The scale by the words of the numerics page, whether room decided, and whether sums in another order might.

    Every scale, every level of every weight.
    """
    close = False
    best, least, error_alone, alone, coarse = None, np.inf, np.inf, 0, -256
    for k in range(-80, 60):
        if tables.exponent_g(k, PARAMS) + octaves > bits - 5:
            break
        levels = np.array([float(tables.level(k + q, PARAMS)) for q in range(15)] + [0.0])
        distance = np.abs(np.abs(weight)[..., None] - levels)
        nearest = distance.argmin(axis=-1)
        error = float((distance.min(axis=-1) ** 2).sum())
        used = bool((nearest == 0).any())
        if used and error < error_alone:
            error_alone, alone = error, k
        rounded = np.sign(weight) * levels[nearest]
        high = float((np.maximum(rounded, 0).sum(axis=1) + bias).max()) + residuals
        low = float((np.minimum(rounded, 0).sum(axis=1) + bias).min())
        bound = ROOM * max(high, -low, 1.0) * 2.0 ** (tables.exponent_g(k, PARAMS) + octaves - (bits - 1))
        close |= abs(bound - 1) < 1e-9
        if bound < 1:
            if not used and best is None:
                coarse = k
            if used and error < least * (1 - 1e-12):
                best, least = k, error
    return (coarse if best is None else best), best != alone, close


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 400),
    spread=st.floats(0.0, 2.0),
    shift=st.sampled_from([0.0, 1.0, -1.0]),
    size=st.integers(-8, 3),
    biases=st.sampled_from([0.0, 1.0, 300.0]),
    residuals=st.sampled_from([0, 1, 6, 500]),
    octaves=st.sampled_from([0, 2, 6]),
    bits=st.sampled_from([24, 32]),
)
def test_scale_is_the_best_that_leaves_room(
    seed: int,
    inputs: int,
    spread: float,
    shift: float,
    size: int,
    biases: float,
    residuals: int,
    octaves: int,
    bits: int,
) -> None:
    rng = np.random.default_rng(seed)
    weight = (np.exp(spread * rng.normal(size=(3, inputs))) * rng.choice([-1, 1], (3, inputs))) * 2.0**size
    weight = np.abs(weight) * shift if shift else weight
    bias = biases * rng.uniform(-1, 1, 3)
    expected, decided, close = oracle(weight, bias, bits=bits, residuals=residuals, octaves=octaves)
    assume(not close)
    event(f"room decides: {decided}")
    layer = Synapses(nn.Linear(inputs, 3).double(), None, code=Code(), weights=LogWeights(), accumulator_bits=bits)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(weight))
        layer.linear.bias.copy_(torch.from_numpy(bias))  # type: ignore[union-attr]
    layer.scale.fill_(layer.fitting_scale(residuals=residuals, octaves=octaves))
    assert int(layer.scale) == expected


@pytest.mark.parametrize(
    ("rows", "bias", "residuals", "octaves", "scale"),
    [
        (+1.0, 0.0, 0, 0, 10),
        (-1.0, 0.0, 0, 0, 10),  # the negative bound counts
        (+1.0, 8.0, 0, 0, 9),  # so does the bias
        (+1.0, 0.0, 8, 0, 9),  # residual inputs
        (+1.0, 0.0, 0, 2, 7),  # and an average that merges
    ],
)
def test_what_takes_room(rows: float, bias: float, residuals: int, octaves: int, scale: int) -> None:
    """320 weights of 1/32 make membranes of 10, and 15 with the room; G grows by one with every two scales."""
    weight, b = np.full((1, 320), rows / 32), np.array([bias])
    layer = Synapses(nn.Linear(320, 1), None, code=Code(), weights=LogWeights(), accumulator_bits=32)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(weight))
        layer.linear.bias.copy_(torch.from_numpy(b))  # type: ignore[union-attr]
    layer.scale.fill_(layer.fitting_scale(residuals=residuals, octaves=octaves))
    assert int(layer.scale) == oracle(weight, b, bits=32, residuals=residuals, octaves=octaves)[0] == scale


def test_a_finer_scale_than_the_best_may_fit_where_that_does_not() -> None:
    level = [float(tables.level(q, PARAMS)) for q in range(26)]
    weight = np.array([[level[11]] * 440 + [level[10]] + [level[25]] * 4000])
    layer = Synapses(nn.Linear(4441, 1, bias=False), None, code=Code(), weights=LogWeights(), accumulator_bits=32)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(weight))
    layer.scale.fill_(layer.fitting_scale())
    assert int(layer.scale) == oracle(weight, np.zeros(1), bits=32, residuals=0, octaves=0)[0] == 11


@pytest.mark.parametrize("seed", range(4))
def test_a_merged_global_average_leaves_room(seed: int) -> None:
    """What most convolutional networks end in: it converts with membranes of 32 bits, once a run has shown the window."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(32, 10),
    )
    images = torch.rand(4, 3, 16, 16)
    cat = fs.prepare(net)
    cat(images)
    cat.stage = "quantised"
    network = fs.convert(cat, example=images).network
    low, high = network.membrane_bounds(network.synaptic[-1])
    assert ROOM * max(-low, high) < 1 << 31


def test_room_is_for_the_first_image_size_whatever_runs_later() -> None:
    """15 x 15 pixels do not merge, so nothing more is needed than without an average."""

    def scale(*sizes: int, example: int | None = None) -> int:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        with torch.no_grad():
            net[-1].weight.fill_(2.0**-14)  # type: ignore[union-attr, operator]
        cat = fs.prepare(net, example=None if example is None else torch.zeros(1, 3, example, example))
        for size in sizes:
            cat(torch.rand(1, 3, size, size))
        cat.stage = "quantised"
        return int(cat.layers["4"].scale)  # type: ignore[arg-type]

    assert scale(16) == scale(16, 15) == scale(16, 64) == scale(example=16) == scale(15, example=16)
    assert scale(16) < scale(15) == scale(15, 16) == scale(example=15)


def test_a_size_that_is_needed_and_not_known_is_asked_for() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    cat = fs.prepare(net)
    text = r"stage 'quantised' needs the size of an image, .* average '2' .*; run one batch before it, or give prepare"
    with pytest.raises(ValueError, match=text):
        cat.stage = "quantised"
    assert cat.stage == "relu"


def test_a_wide_layer_fits() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16384, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[1].weight.normal_(std=0.05)  # type: ignore[union-attr]
    cat = fs.prepare(net)
    cat.stage = "quantised"
    network = fs.convert(cat, example=torch.rand(2, 16, 32, 32)).network
    low, high = network.membrane_bounds(network.synaptic[0])
    assert Fraction(3, 2) * max(-low, high) < 1 << 31


def test_it_would_not_fit_by_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstspike.cat.layers.MARGIN", 0.0)
    with pytest.raises(fs.ConversionError, match=r"layer '1': the membrane must fit 32 bits"):
        test_a_wide_layer_fits()
