"""What convert refuses, and what its proof finds: the layer is named, with rule and value."""

import re
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import firstspike as fs
from firstspike import converter
from firstspike.cat import layers
from firstspike.cat.layers import Synapses
from firstspike.conversion import ConversionError, first_difference, lower
from firstspike.engine import ReferenceEngine
from firstspike.engine.images import encode_images
from firstspike.spec import INPUT, Conv2d, Linear, Network


def plain_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 5),
    )
    for module in net:
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            nn.init.uniform_(module.bias, 0, 0.3)
    return net


def quantised(net: nn.Module | None = None, **options: Any) -> fs.Prepared:
    prepared = fs.prepare(net or plain_net(), **options)
    prepared.stage = "quantised"
    return prepared


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))


# ---- what is not ready --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["relu", "clip", "input", "ttfs"])
def test_earlier_stages(stage: str) -> None:
    prepared = fs.prepare(plain_net())
    prepared.stage = stage
    with pytest.raises(ConversionError, match=rf"convert needs stage 'quantised' \(set network.stage\), not '{stage}'"):
        fs.convert(prepared, example=images())


@pytest.mark.parametrize("net", [plain_net(), None, "net.ckpt"], ids=["plain", "None", "text"])
def test_networks_that_are_not_prepared(net: Any) -> None:
    with pytest.raises(
        TypeError, match=f"convert needs a network made by firstspike.prepare, not {type(net).__name__}"
    ):
        fs.convert(net, example=images())


@pytest.mark.parametrize(
    ("example", "error", "text"),
    [
        (None, TypeError, "example must be a tensor or an array, not NoneType"),
        ([[0.5]], TypeError, "example must be a tensor or an array, not list"),
        (torch.rand(0, 1, 6, 6), ValueError, r"example must hold at least one image, not shape \(0, 1, 6, 6\)"),
        (torch.rand(6), ValueError, r"example must hold at least one image, not shape \(6,\)"),
        (torch.tensor(0.5), ValueError, r"example must hold at least one image, not shape \(\)"),
        (
            torch.rand(2, 3, 6, 6),
            ConversionError,
            r"layer '0': input shape must be \(1, height, width\), not \(3, 6, 6\)",
        ),
        (torch.rand(2, 1, 9, 6), ConversionError, r"layer '7': input shape must be \(36,\), not \(48,\)"),
        (torch.rand(2, 1, 1, 6), ConversionError, r"layer '3': window \(2, 2\) must fit its padded input"),
        (torch.rand(2, 36), ConversionError, r"layer '0': input shape must be \(1, height, width\), not \(36,\)"),
        (torch.rand(2, 6, 6), ConversionError, r"layer '0': input shape must be"),
        (torch.full((1, 1, 6, 6), torch.nan), ValueError, r"images must hold values in \[0, 1\], not nan"),
        (torch.full((1, 1, 6, 6), 1.5), ValueError, r"images must hold values in \[0, 1\], not 1.5"),
        (torch.ones(1, 1, 6, 6, dtype=torch.int64), TypeError, "images must hold floats .* or uint8, not int64"),
    ],
)
def test_bad_examples(example: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fs.convert(quantised(), example=example)


# ---- what does not fit --------------------------------------------------------------------------------------------


def heavy(bits: int) -> fs.Prepared:
    """36 weights of 1 in the read-out, for which 4 bits above the firing level are not enough."""
    net = plain_net()
    nn.init.constant_(net[-1].weight, 1.0)  # type: ignore[arg-type]
    return quantised(net, accumulator_bits=bits)


@pytest.mark.parametrize("bits", [20, 24, 26])
def test_membranes_that_do_not_fit_the_accumulator(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MARGIN", 0.0)  # scales by error alone, which leave no room
    with pytest.raises(ConversionError) as raised:
        fs.convert(heavy(bits), example=images())
    found = re.search(
        r"layer '7': the membrane must fit (\d+) bits \((-\d+)..(\d+)\), not (-?\d+)..(-?\d+); set accumulator_bits",
        str(raised.value),
    )
    assert found, raised.value
    told, low, high, least, most = map(int, found.groups())
    assert (told, low, high) == (bits, -(1 << bits - 1), (1 << bits - 1) - 1)
    wide = heavy(bits)
    wide.accumulator_bits = 48
    network = lower(wide, (1, 6, 6))
    assert network.membrane_bounds(network.synaptic[-1]) == (least, most)
    assert most > high
    assert fs.convert(heavy(32), example=images()).network.accumulator_bits == 32


def test_a_firing_level_that_does_not_fit() -> None:
    prepared = quantised(accumulator_bits=22)
    prepared.accumulator_bits = 16
    with pytest.raises(
        ConversionError, match=r"layer '\d': the firing level 2\^G must fit 16 bits, not G = \d+ \(scale -?\d+\)"
    ):
        fs.convert(prepared, example=images())


@pytest.mark.parametrize(("bits", "error"), [(49, ValueError), (7, ValueError), (32.0, TypeError), (True, TypeError)])
def test_bits_that_no_membrane_has(bits: int, error: type[Exception]) -> None:
    prepared = quantised(accumulator_bits=22)
    with pytest.raises(error, match="accumulator_bits must be"):
        prepared.accumulator_bits = bits
    assert prepared.accumulator_bits == 22


def test_a_residual_that_would_not_be_exact() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x).relu()
            return self.out((self.second(y) + y).relu())  # type: ignore[no-any-return]

    net = Residual()
    nn.init.constant_(net.second.weight, 1e5)
    prepared = quantised(net, weights=fs.LogWeights(bits=3, mantissa_bits=0))
    with pytest.raises(ConversionError, match=r"layer 'second': a residual input needs G >= 10 to be exact, not -?\d+"):
        fs.convert(prepared, example=images())


def test_shapes_that_only_broadcast() -> None:
    class Broadcast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x).relu()
            return self.out(y + y.mean((2, 3), keepdim=True))  # type: ignore[no-any-return]

    with pytest.raises(
        ConversionError, match=r"layer 'mean': residual 'conv' must have shape \(1, 1, 1\), not \(1, 6, 6\)"
    ):
        fs.convert(quantised(Broadcast()), example=images())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_and_biases_that_are_not_finite(value: float) -> None:
    for name, text in (
        ("linear.weight", "its weights must be finite, not NaN or infinite"),
        ("linear.bias", "its bias must be finite"),
    ):
        prepared = quantised()
        with torch.no_grad():
            prepared.layers["4"].get_parameter(name)[0] = value
        with pytest.raises(ConversionError, match=f"layer '4': {text}"):
            fs.convert(prepared, example=images())


def test_averages_of_vectors() -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.AvgPool2d(1), nn.Linear(4, 2))
    with pytest.raises(fs.UnsupportedError, match=r"2: it does not take what it reads, shape \(4,\)"):
        fs.prepare(net)


# ---- the proof ----------------------------------------------------------------------------------------------------


def tampered(network: Network, name: str, change: str) -> Network:
    """The same network with one number of one layer changed."""
    layers = list(network.layers)
    index = next(i for i, layer in enumerate(layers) if layer.name == name)
    layer = layers[index]
    assert isinstance(layer, Conv2d | Linear)
    if change == "sign":
        codes = layer.codes.copy()
        codes[0].flat[4] ^= 1 << (network.weights.bits - 1)
        layers[index] = replace(layer, codes=codes)
    elif change == "level":
        codes = layer.codes.copy()
        codes[0].flat[4] ^= 1
        layers[index] = replace(layer, codes=codes)
    elif change == "bias":
        layers[index] = replace(layer, bias=layer.bias + (1 << (network.exponent(layer) - 3)))
    elif change == "scale":
        layers[index] = replace(layer, scale=layer.scale + 1)
    return replace(network, layers=tuple(layers))


@pytest.mark.parametrize("change", ["sign", "level", "bias", "scale"])
@pytest.mark.parametrize("name", ["0", "4", "7"])
def test_a_change_anywhere_is_found_and_its_layer_named(
    name: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "lower", lambda *a, **k: tampered(lower(*a, **k), name, change))
    text = (
        rf"convert: the integer network differs on the example: layer '{name}': \d+ of \d+ values differ, first in image "
        rf"\d+: the trained network in float64 has -?\d\S*, the integer network -?\d\S*"
    )
    with pytest.raises(ConversionError, match=text):
        fs.convert(quantised(), example=images(8))


def test_a_difference_in_one_logit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in the last place of one logit of the last image."""
    prepared, x = quantised(), images(5)
    network = lower(prepared, (1, 6, 6))
    engine = ReferenceEngine(network)
    times = encode_images(network, x)
    outputs = {INPUT: times, **engine.layers(times)}
    assert first_difference(prepared, network, x, outputs) is None
    changed = {**outputs, "7": outputs["7"].copy()}
    changed["7"][4, 3] += 1
    found = first_difference(prepared, network, x, changed)
    assert found is not None
    assert (found.layer, found.count, found.total, found.image) == ("7", 1, 25, 4)
    assert found.found - found.expected == 2.0 ** -network.exponent(network.synaptic[-1])
    for name in (INPUT, "0", "3", "4"):
        changed = {**outputs, name: outputs[name].copy()}
        spot = tuple(np.argwhere(changed[name] != 255)[-1])
        changed[name][spot] += 1
        found = first_difference(prepared, network, x, changed)
        assert found is not None
        assert (found.layer, found.count, found.image) == (name, 1, spot[0])


def test_an_engine_that_computes_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    membranes = ReferenceEngine.membranes
    monkeypatch.setattr(ReferenceEngine, "membranes", lambda *arguments: membranes(*arguments) + 1)
    with pytest.raises(ConversionError, match="convert: the integer network differs on the example: layer '7'"):
        fs.convert(quantised(), example=images(), engine="reference")


# ---- what it leaves alone -----------------------------------------------------------------------------------------


def test_the_trained_network_stays_as_it_is() -> None:
    prepared = quantised()
    prepared.train()
    prepared.layers["0"].eval()  # a part that its owner froze
    state, flags = deepcopy(prepared.state_dict()), [module.training for module in prepared.modules()]
    fs.convert(prepared, example=images())
    assert [module.training for module in prepared.modules()] == flags
    assert all(torch.equal(value, prepared.state_dict()[name]) for name, value in state.items())
    assert prepared.stage == "quantised"
    assert next(prepared.parameters()).dtype == torch.float32
    layer = prepared.layers["4"]
    assert isinstance(layer, Synapses)
    assert all(parameter.grad is None for parameter in prepared.parameters())


def test_names_never_collide() -> None:
    """Layers that conversion adds give way to modules of that name."""
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(1, 2, 3))
    net.add_module("relu", nn.ReLU())
    net.add_module("pool", nn.AvgPool2d(4))
    net.add_module("fc_flatten", nn.Flatten())
    net.add_module("fc", nn.Linear(2, 3))
    snn = fs.convert(quantised(net, example=images()), example=images())
    assert [layer.name for layer in snn.network.layers] == ["conv", "fc_flatten_", "fc"]


def test_sums_of_vectors_have_a_layer_of_their_own() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.a(x).relu() + self.b(x).relu())  # type: ignore[no-any-return]

    torch.manual_seed(1)
    snn = fs.convert(quantised(Sum()), example=torch.rand(20, 6))
    layer = snn.network.layer("add")
    assert isinstance(layer, Linear)
    assert layer.residuals == ("b",)
    assert layer.codes.tolist() == np.where(np.eye(4, dtype=bool), 0, 15).tolist()
    trace = snn.trace(torch.rand(5, 6))
    assert trace.layers["add"].sops_nonzero.tolist() == trace.layers["a"].spikes.tolist()
