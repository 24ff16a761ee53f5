"""Conversion without training: what rescaling keeps, what the gain undoes, what a trained network loses."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import firstspike as fs
from firstspike.arith import Code, decode, encode
from firstspike.cat import calibrate as module
from firstspike.cat.calibrate import calibrate, gain
from firstspike.cat.health import health
from firstspike.cat.layers import Synapses
from firstspike.cat.ties import Scaling
from firstspike.cat.walking import channel_means
from firstspike.data import load

pytestmark = pytest.mark.usefixtures("single_thread")


class Residual(nn.Module):
    """Two residual blocks, an average in front of a convolution, a global one at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.b, self.nb = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.c, self.nc = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16, affine=False)
        self.d = nn.Conv2d(16, 16, 3, padding=1)
        self.f = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.na(self.a(x)))
        x = torch.relu(x + self.nc(self.c(torch.relu(self.nb(self.b(x))))))
        x = functional.avg_pool2d(x, 2)
        x = torch.relu(x + self.d(x))
        return self.f(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def chain(*, norm: bool) -> nn.Sequential:
    def after(n: int) -> nn.Module:
        return nn.BatchNorm2d(n) if norm else nn.Identity()

    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), after(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), after(16), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(256, 32, bias=False), nn.ReLU(), nn.Linear(32, 10)),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: chain(norm=False),
    "norm": lambda: chain(norm=True),
    "residual": Residual,
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network with batch norm that is not the identity, and images."""
    torch.manual_seed(1)
    network = NETWORKS[name]()
    x = torch.rand(40, 1, 8, 8)
    with torch.no_grad():
        for _ in range(20):
            network.train()(x * 3)
    return network.eval().double(), x.double()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("least", [1.0, 0.01])
def test_without_the_gain_rescaling_changes_no_logit(
    name: str, least: float, planes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "gain", lambda code: 1.0)
    network, x = made(name)
    cat = fs.prepare(network, code=Code(input="planes" if planes else "spike")).double().eval()
    with torch.no_grad():
        before = cat(x)
        values = cat.spike_values(x)
        scales = module._rescale(cat, values, Scaling(percentile=99.0, least=least))
        after = cat(x * (255 / 256) if planes else x)  # planes stand for p / 256 where a pixel is p / 255
    largest = {step.name: float(values[step.name].max()) for step in cat.steps if step.fires}
    assert any(float(scales[name].min()) < top for name, top in largest.items()), "some must lie above the percentile"
    assert all(bool((scale > 0).all()) for scale in scales.values())
    alike = [bool((scales[name] == scales[name][0]).all()) for name in largest]
    assert all(alike) if least == 1 else not any(alike)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tau", [1, 2, 4, 8])
def test_the_gain_undoes_rounding_down_in_the_mean(tau: int) -> None:
    code = Code(T=6 * tau, tau=tau, mantissa_bits=12)
    values = np.exp2(-np.linspace(0, 5, 200_001)[1:-1])  # log-uniform over whole octaves
    share = np.mean(decode(encode(values, code), code) / values)
    assert share * gain(code) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_channels_membrane_gets_the_right_mean(name: str) -> None:
    network, x = made(name)
    cat = fs.prepare(network).double().eval()
    reference = fs.prepare(network).double().eval()
    calibrate(cat, x, least=1.0)
    assert cat.stage == "quantised"
    ours, theirs = {}, {}
    for seen, net in ((ours, cat), (theirs, reference)):
        for key, layer in net.layers.items():
            if isinstance(layer, Synapses):
                layer.register_forward_hook(lambda m, i, o, key=key, seen=seen: seen.__setitem__(key, o))
        with torch.no_grad():
            net(x)
    last = cat.steps[-1].name
    means = {key: channel_means(value) for key, value in ours.items()}
    wanted = {key: channel_means(value) for key, value in theirs.items()}
    torch.testing.assert_close(means[last], wanted[last], rtol=0, atol=1e-6)
    for key in means:  # the same up to one factor a layer
        assert float(np.corrcoef(means[key].numpy(), wanted[key].numpy())[0, 1]) > 1 - 1e-6, key


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sets = [load("digits", split=split) for split in ("train", "test")]
    x, y, xe, ye = (torch.from_numpy(a) for s in sets for a in (s.images, s.labels))
    return x.float() / 255, y, xe.float() / 255, ye


def trained(network: nn.Module, x: Tensor, y: Tensor, epochs: int = 10) -> nn.Module:
    optimiser = torch.optim.Adam(network.parameters())
    steps = epochs * len(torch.arange(len(x)).split(64))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(network(x[index]), y[index]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_relu_network_keeps_its_accuracy(name: str, digits: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, y, xe, ye = digits
    torch.manual_seed(0)
    network = trained(NETWORKS[name](), x, y)

    def accuracy(logits: Tensor) -> float:
        return 100 * float((logits.argmax(1) == ye).float().mean())

    with torch.no_grad():
        before = accuracy(network(xe))
    assert before > 96
    cat = fs.prepare(network, code=Code(input="planes")).eval()
    calibrate(cat, x[:300])
    snn = fs.convert(cat, example=xe[:8])  # proves every spike
    after = accuracy(torch.as_tensor(np.asarray(snn(xe))))
    assert after > before - 1.5
    plain = fs.prepare(network).eval()
    with torch.no_grad():
        plain(x[:8])
        plain.stage = "quantised"
        assert accuracy(plain(xe)) < before - 10  # what happens without


def test_two_calibrations_agree(digits: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    network, x = made("residual")
    cats = [fs.prepare(network).eval() for _ in range(2)]
    reports = [calibrate(cat, x) for cat in cats]
    assert reports[0] == reports[1]
    for one, other in zip(cats[0].state_dict().values(), cats[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("left_out", ["correct", "search", "compensate"])
def test_every_means_is_used_unless_left_out(left_out: str) -> None:
    network, x = made("plain")
    cats = [fs.prepare(network).eval() for _ in range(3)]
    calibrate(cats[0], x)
    calibrate(cats[1], x, **dict.fromkeys(("correct", "search", "compensate"), True))
    calibrate(cats[2], x, **{left_out: False})
    default, explicit, without = (list(cat.state_dict().values()) for cat in cats)
    assert all(torch.equal(one, other) for one, other in zip(default, explicit, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(default, without, strict=True))


def test_what_it_refuses() -> None:
    network, x = made("plain")
    cat = fs.prepare(network).eval()
    with pytest.raises(ValueError, match="percentile"):
        calibrate(cat, x, percentile=0)
    with pytest.raises(ValueError, match=r"least must be in \(0, 1\], not 2"):
        calibrate(cat, x, least=2)
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(cat, x[:0])
    cat.stage = "clip"
    with pytest.raises(ValueError, match="stage 'relu', not 'clip'"):
        calibrate(cat, x)


def test_health_counts_saturated_and_silent_neurons() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 0.5], [-1.0, -1.0], [1e-3, 1e-3]]))
    cat = fs.prepare(network)
    cat.stage = "ttfs"
    x = torch.tensor([[[[1.0, 1.0]]], [[[0.0, 1.0]]]])
    first, layer = health(cat, x)
    assert (first.name, first.saturated, first.silent, first.advice) == ("input", 0.0, 0.0, "")
    assert (layer.saturated, layer.silent) == (1 / 8, 0.5)  # one neuron above 1 in one image of two; two never fire
    assert "calibrate" in layer.advice
    assert cat.training
    with pytest.warns(UserWarning, match="images should hold values in"):
        over, _ = health(cat, 2 * x)
    assert over.advice == "scale the images to [0, 1]"
    assert math.isclose(over.saturated, 0.75)


def test_sequences_are_images_of_one_row() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).eval()
    signals = torch.rand(20, 1, 8)
    cat = fs.prepare(net, example=signals)
    fs.calibrate(cat, signals)
    assert fs.convert(cat, example=signals)(signals).shape == (20, 3)
