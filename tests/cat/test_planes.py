"""Input planes in training: what the network sees, its statistics, its grid, what is refused, and other codes of the input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import tables
from torch import nn

import firstspike as fs
from firstspike.arith import Code, LogWeights, encode_planes, pixel_boundaries
from firstspike.cat.layers import STAGES, Planes, Synapses
from firstspike.cat.prepare import UnsupportedError, prepare
from firstspike.cat.rebuild import rebuild, reformat
from firstspike.conversion import lower
from firstspike.conversion.recode import recode
from firstspike.train.warm_start import warm_start

PLANAR = Code(T=16, mantissa_bits=3, input="planes")
WEIGHTS = LogWeights(mantissa_bits=2)


def encoded(x: torch.Tensor, stage: str = "input") -> torch.Tensor:
    module = Planes(PLANAR, "input")
    return module(x, stage)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_on_both_sides_of_every_boundary(dtype: torch.dtype) -> None:
    boundaries = np.array(pixel_boundaries(np.float32 if dtype == torch.float32 else np.float64))
    below = np.nextafter(boundaries, boundaries.dtype.type(0))
    values = np.concatenate([below, boundaries])
    found = encoded(torch.from_numpy(values))
    assert found.dtype == dtype
    assert found.tolist() == ((255 - encode_planes(values)) / 256).tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_widened_first(dtype: torch.dtype) -> None:
    values = torch.rand(500, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = encoded(values)
    assert found.dtype == dtype  # p / 256 has 8 bits
    assert found.tolist() == encoded(values.double()).tolist()


def test_stages_before_the_input_pass_on() -> None:
    x = torch.tensor([0.3, 0.5001])
    assert encoded(x, "relu").tolist() == encoded(x, "clip").tolist() == x.tolist()
    assert encoded(x, "quantised").tolist() == [77 / 256, 128 / 256]  # 0.3 in float32 is above 76.5 / 255


def network(code: Code = PLANAR, seed: int = 3) -> fs.Prepared:
    torch.manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
    )
    return prepare(body.eval(), code=code, weights=WEIGHTS)


IMAGES = torch.rand(40, 2, 6, 6, generator=torch.Generator().manual_seed(5))


def test_spikes_are_set_bits() -> None:
    net = network()
    net.observe(True, spikes=True)
    for stage in STAGES:
        net.stage = stage
        net(IMAGES)
        ones = sum(bin(tables.round_half_even(255 * tables.Fraction(v))).count("1") for v in IMAGES.flatten().tolist())
        assert net.encode.neurons == 8 * 72
        assert float(net.encode.spikes) == pytest.approx(ones / 40)
    net.stage = "quantised"
    snn = fs.convert(net, example=IMAGES)
    trace = snn.trace(IMAGES)
    assert trace.neurons == 8 * 72 + 4 * 36
    assert net.spikes_per_neuron() == pytest.approx(trace.spikes_per_neuron, rel=1e-6)


def test_only_layers_of_the_input_have_its_grid() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.conv, self.flat = nn.AvgPool2d(2), nn.Conv2d(2, 3, 1), nn.Linear(72, 27)
            self.last = nn.Linear(27, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = torch.relu(self.conv(self.pool(x)))
            b = torch.relu(self.flat(torch.flatten(x, 1)) + torch.flatten(a, 1))
            return self.last(b)

    net = prepare(Net().double().eval(), example=torch.zeros(1, 2, 6, 6), code=PLANAR, weights=WEIGHTS)
    net.stage = "quantised"
    layers = {name: layer.planes for name, layer in net.layers.items() if isinstance(layer, Synapses)}
    assert layers == {"conv": True, "flat": True, "last": False}
    snn = fs.convert(net, example=IMAGES)
    assert snn.network.exponent(snn.network.synaptic[0]) == 3 + 2 + 7 + 8 + snn.network.synaptic[0].scale // 2
    again = rebuild(snn.network)
    assert torch.equal(again(IMAGES.double()), net(IMAGES.double()))
    assert torch.equal(torch.from_numpy(snn(IMAGES.numpy())).double(), again(IMAGES.double()) * 2.0**snn.logit_exponent)


def test_bytes_are_pixels() -> None:
    net = network()
    net.stage = "quantised"
    pixels = np.random.default_rng(2).integers(0, 256, (3, 2, 6, 6), dtype=np.uint8)
    snn = fs.convert(net, example=pixels)
    assert np.array_equal(snn.encode(pixels), 255 - pixels)
    floats = pixels.astype(np.float32) / np.float32(255)
    assert np.array_equal(snn.encode(floats), 255 - pixels)
    assert np.array_equal(snn(pixels), snn(floats.astype(np.float64)))
    assert np.array_equal(snn(torch.from_numpy(pixels)).numpy(), snn(pixels))
    with pytest.raises(ValueError, match=r"images must have shape \[n, 2, 6, 6\]"):
        snn(pixels[:, :1])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 2, 1)),
            "0: input planes must be read by a Conv2d or Linear, not pooled",
        ),
        (nn.Sequential(nn.Flatten(), nn.Flatten(), nn.Linear(72, 2)), ""),
    ],
)
def test_bits_are_not_pooled(body: nn.Module, text: str) -> None:
    if not text:
        assert prepare(body, code=PLANAR).encode.code.planes
        return
    with pytest.raises(UnsupportedError, match=text):
        prepare(body, code=PLANAR)
    prepare(body, code=Code())


def test_bits_are_not_added_but_may_be_weighted_by_one() -> None:
    class Sum(nn.Module):
        def __init__(self, twice: bool) -> None:
            super().__init__()
            self.twice, self.conv, self.last = twice, nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = torch.relu(self.conv(x))
            both = (self.conv(x) if self.twice else first) + x
            return self.last(torch.relu(both))

    with pytest.raises(UnsupportedError, match="not pooled or added"):
        prepare(Sum(twice=True), code=PLANAR)
    net = prepare(Sum(twice=False).double().eval(), code=PLANAR, weights=WEIGHTS)
    net.stage = "quantised"
    fs.convert(net, example=IMAGES)  # compares with ==


def test_another_code_of_the_input() -> None:
    net = network(replace(PLANAR, input="spike"))
    net.stage = "quantised"
    snn = fs.convert(net, example=IMAGES)
    other = reformat(net, code=PLANAR)
    assert other.encode.code.planes and isinstance(other.encode, Planes)
    assert lower(other, (2, 6, 6)).code == PLANAR
    assert not isinstance(reformat(other, code=net.code).encode, Planes)
    recoded = recode(snn.network, code=PLANAR, weights=WEIGHTS)
    assert np.array_equal(recoded.synaptic[0].codes, snn.network.synaptic[0].codes)
    back = recode(recoded, code=snn.network.code, weights=WEIGHTS)
    assert [layer.bias.tolist() for layer in back.synaptic] == [layer.bias.tolist() for layer in snn.network.synaptic]


def test_training_starts_from_a_network_of_another_input() -> None:
    source = network(replace(PLANAR, input="spike"))
    source.stage = "quantised"
    trained = fs.convert(source, example=IMAGES).network
    fresh = network(seed=4)
    assert warm_start(fresh, trained, IMAGES) == ("0", "4")
    with torch.no_grad():
        wanted = rebuild(trained).float().spike_values(IMAGES)["0"]
        error = float((fresh.eval().spike_values(IMAGES)["0"] - wanted).abs().mean())
        other = float((network(seed=4).eval().spike_values(IMAGES)["0"] - wanted).abs().mean())
    assert error < 0.08  # the rounding of the input is all that differs
    assert error < 0.5 * other
