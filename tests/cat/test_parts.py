"""Several sources in training: projection shortcuts, sums before firing, concatenation; scales that leave room for each other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import firstspike as fs
from firstspike.arith import Code, LogWeights
from firstspike.cat.layers import Synapses
from firstspike.cat.prepare import prepare
from firstspike.cat.rebuild import rebuild, reformat
from firstspike.conversion.recode import recode
from firstspike.spec import Channels, Network
from firstspike.train.warm_start import warm_start

CODE, WEIGHTS = Code(T=16, mantissa_bits=3), LogWeights(mantissa_bits=2)
IMAGES = torch.rand(12, 2, 6, 6, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Modules that a function puts together."""

    def __init__(self, body: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body
        self.first, self.conv = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1, bias=False)
        self.norm, self.down, self.down_norm = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, 2, bias=False), nn.BatchNorm2d(4)
        self.wide, self.last, self.last8 = nn.Conv2d(8, 4, 3, padding=1), nn.Linear(36, 3), nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def projected(n: Net, x: Tensor) -> Tensor:
    a = torch.relu(n.first(x))
    return n.last(torch.relu(n.norm(n.conv(a)) + n.down_norm(n.down(a))).flatten(1))


def inception(n: Net, x: Tensor) -> Tensor:
    a, b = n.first(x), torch.relu(n.first(x))
    joined = functional.max_pool2d(torch.relu(torch.cat([a, b], 1)), 2)
    return n.last(torch.relu(n.wide(joined)).flatten(1))


def flattened(n: Net, x: Tensor) -> Tensor:
    a = functional.avg_pool2d(torch.relu(n.first(x)), 2)
    return n.last8(torch.flatten(torch.cat([a, torch.relu(n.down(torch.relu(n.first(x))))], 1), 1))


def dense(n: Net, x: Tensor) -> Tensor:
    a = torch.relu(n.first(x))
    joined = torch.cat([a, torch.relu(n.first(x) + n.first(x))], 1)
    return n.last(functional.max_pool2d(torch.relu(n.wide(joined) + a), 2).flatten(1))


def unparametrised(n: Net, x: Tensor) -> Tensor:
    """The shortcut of ResNets for CIFAR-10: every other pixel, channels filled up with zeros."""
    a = torch.relu(n.first(x))
    shortcut = functional.pad(a[:, 1:3, ::2, ::2], (0, 0, 0, 0, 1, 1), "constant", 0)
    return n.last(torch.relu(n.norm(n.conv(a)) + shortcut).flatten(1))


BODIES = {
    "projected": projected,
    "inception": inception,
    "flattened": flattened,
    "dense": dense,
    "unparametrised": unparametrised,
}


def plain(body: Callable[[Net, Tensor], Tensor]) -> Net:
    torch.manual_seed(0)
    net = Net(body)
    for norm in (net.norm, net.down_norm):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.1, 1.5)
    return net.eval()


def trained(body: Callable[[Net, Tensor], Tensor], code: Code = CODE) -> fs.Prepared:
    return prepare(plain(body), code=code, weights=WEIGHTS)


@pytest.mark.parametrize("name", BODIES)
def test_relu_stage_is_the_network(name: str) -> None:
    with torch.no_grad():
        assert torch.allclose(trained(BODIES[name])(IMAGES), plain(BODIES[name])(IMAGES), atol=1e-6)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_converted_and_rebuilt(name: str, planes: bool) -> None:
    """`fs.convert` itself compares every neuron with ``==``."""
    code = Code(T=16, mantissa_bits=3, input="planes" if planes else "spike")
    prepared = trained(BODIES[name], code)
    prepared.stage = "quantised"
    snn = fs.convert(prepared, example=IMAGES)
    network: Network = snn.network
    kinds = {"projected": (1, 0), "inception": (0, 1), "flattened": (0, 1), "dense": (1, 1), "unparametrised": (0, 2)}[
        name
    ]
    parts = sum(len(layer.parts) for layer in network.synaptic)
    assert (parts, sum(isinstance(layer, Channels) for layer in network.layers)) == kinds
    again = rebuild(network)
    assert torch.equal(again(IMAGES.double()), prepared.double()(IMAGES.double()))
    assert fs.convert(again, example=IMAGES).network.layers[-1].name == network.layers[-1].name
    assert recode(network, code=code, weights=WEIGHTS) is network
    finer = recode(network, code=code, weights=LogWeights(bits=6, levels_per_octave=4, mantissa_bits=3))
    assert torch.equal(
        torch.from_numpy(fs.SpikingNetwork(finer)(IMAGES.numpy())).argmax(1), rebuild(finer)(IMAGES.double()).argmax(1)
    )


def test_connections_leave_room_for_each_other() -> None:
    prepared = trained(projected)
    with torch.no_grad():
        for name in ("conv", "down"):
            layer = prepared.layers[name]
            assert isinstance(layer, Synapses)
            layer.linear.weight.mul_(2000)
    narrow = reformat(prepared, accumulator_bits=24)
    network = fs.convert(narrow, example=IMAGES).network
    (layer,) = [layer for layer in network.synaptic if layer.parts]
    low, high = network.membrane_bounds(layer)
    assert max(high, -low) < 1 << 23 < 64 * max(high, -low)


def test_training_starts_from_a_network_with_parts() -> None:
    source = trained(projected)
    source.stage = "quantised"
    network = fs.convert(source, example=IMAGES).network
    torch.manual_seed(9)
    fresh = prepare(Net(projected), code=CODE, weights=WEIGHTS)
    assert set(warm_start(fresh, network, IMAGES)) == {"first", "conv", "down", "last"}
    with torch.no_grad():
        error = (fresh.eval()(IMAGES) - rebuild(network).float()(IMAGES)).abs().max()
    assert float(error) < 1e-3


def test_gradients_reach_all_connections() -> None:
    prepared = trained(projected).train()
    prepared(IMAGES).sum().backward()
    assert all(
        p.grad is not None and bool(p.grad.abs().sum() > 0)
        for n, p in prepared.named_parameters()
        if "norm.bias" not in n
    )


@pytest.mark.parametrize("name", BODIES)
def test_converted_without_training(name: str) -> None:
    """Calibration sees sums of connections and concatenations: in a fine format little more than rounding down is left."""
    fine, levels = Code(T=96, tau=8, mantissa_bits=6), LogWeights(bits=7, levels_per_octave=8, mantissa_bits=6)
    images = torch.rand(64, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    calibrated = prepare(plain(BODIES[name]), code=fine, weights=levels, accumulator_bits=48)
    with torch.no_grad():
        wanted = plain(BODIES[name])(images)
        fs.calibrate(calibrated, images, percentile=100.0)
        rest = calibrated.eval()(images) - wanted
        error = float((rest - rest.mean(dim=0)).square().mean() / (wanted - wanted.mean(dim=0)).square().mean())
    assert error < 0.1
    fs.convert(calibrated, example=images)
