"""Every supported layer and function: the prepared network is the plain one. Everything else: an error, never a loss."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from firstspike.arith import Code, LogWeights
from firstspike.train.layers import STAGES, Synapses
from firstspike.train.prepare import UnsupportedError, prepare

Forward = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """Layers on images of 2 x 6 x 6, and any forward function."""

    def __init__(self, forward: Forward, **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.down = nn.Conv2d(2, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * 36, 5)
        self.small = nn.Linear(4 * 9, 5)
        self.tiny = nn.Linear(4, 5)
        for name, module in modules.items():
            setattr(self, name, module)
        generator = torch.Generator().manual_seed(7)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
                if module.running_mean is not None and module.running_var is not None:
                    module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
                    module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.3)
        for parameter in self.parameters():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def block(n: Any, x: Tensor) -> Tensor:
    return F.relu(n.conv(x))


def readout(n: Any, x: Tensor) -> Tensor:
    return n.fc(n.flatten(x))


def batch(seed: int = 0) -> Tensor:
    return torch.rand(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- what is supported --------------------------------------------------------------------------------------------


def residual(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    out = n.norm(n.again(y))
    out += y
    return readout(n, n.relu(out))


def in_place_methods(n: Any, x: Tensor) -> Tensor:
    y = n.conv(x).relu_()
    return readout(n, n.again(y).add_(y).relu_())


SUPPORTED: dict[str, tuple[Forward, dict[str, nn.Module]]] = {
    "module relu": (lambda n, x: readout(n, n.relu(n.conv(x))), {}),
    "F.relu": (lambda n, x: readout(n, F.relu(n.conv(x))), {}),
    "torch.relu": (lambda n, x: readout(n, torch.relu(n.conv(x))), {}),
    "x.relu()": (lambda n, x: readout(n, n.conv(x).relu()), {}),
    "relu in place": (lambda n, x: readout(n, n.relu(n.conv(x))), {"relu": nn.ReLU(inplace=True)}),
    "F.relu in place": (lambda n, x: readout(n, F.relu(n.conv(x), inplace=True)), {}),
    "methods in place": (in_place_methods, {}),
    "relu twice": (lambda n, x: readout(n, n.relu(F.relu(block(n, x)))), {}),
    "relu of the input": (lambda n, x: readout(n, block(n, n.relu(x))), {}),
    "norm": (lambda n, x: readout(n, n.relu(n.norm(n.conv(x)))), {}),
    "norm, no affine": (lambda n, x: readout(n, n.relu(n.norm(n.conv(x)))), {"norm": nn.BatchNorm2d(4, affine=False)}),
    "norm of the read-out": (lambda n, x: n.bn(readout(n, block(n, x))), {"bn": nn.BatchNorm1d(5)}),
    "norm of a linear layer": (
        lambda n, x: n.out(n.relu(n.bn(n.fc(n.flatten(x[:]) if False else n.flatten(block(n, x)))))),
        {"bn": nn.BatchNorm1d(5), "out": nn.Linear(5, 3, bias=False)},
    ),
    "no bias": (lambda n, x: readout(n, block(n, x)), {"conv": nn.Conv2d(2, 4, 3, padding=1, bias=False)}),
    "stride, groups": (
        lambda n, x: n.small(n.flatten(n.relu(n.two(n.relu(n.conv(x)))))),
        {"two": nn.Conv2d(4, 4, (3, 1), stride=2, padding=(1, 0), groups=2)},
    ),
    "depthwise": (lambda n, x: readout(n, n.relu(n.two(block(n, x)))), {"two": nn.Conv2d(4, 4, 3, padding=1, groups=4)}),
    "maxpool": (lambda n, x: n.small(n.flatten(n.pool(block(n, x)))), {"pool": nn.MaxPool2d(2)}),
    "maxpool before relu": (lambda n, x: n.small(n.flatten(n.relu(n.pool(n.conv(x))))), {"pool": nn.MaxPool2d(2)}),
    "maxpool, norm before": (
        lambda n, x: n.small(n.flatten(n.relu(n.pool(n.norm(n.conv(x)))))),
        {"pool": nn.MaxPool2d(3, 2, 1)},
    ),
    "maxpool of the input": (
        lambda n, x: n.small(n.flatten(block(n, n.pool(x)))),
        {"pool": nn.MaxPool2d((2, 3), (2, 2), (0, 1))},
    ),
    "F.max_pool2d": (lambda n, x: n.small(F.max_pool2d(block(n, x), 2).flatten(1)), {}),
    "F.max_pool2d, options": (
        lambda n, x: n.small(torch.flatten(F.max_pool2d(block(n, x), (3, 3), stride=2, padding=1), 1)), {},
    ),
    "torch.max_pool2d": (lambda n, x: n.small(torch.max_pool2d(block(n, x), 2).flatten(1)), {}),
    "avgpool": (lambda n, x: n.small(n.flatten(n.pool(block(n, x)))), {"pool": nn.AvgPool2d(2)}),
    "avgpool, then conv": (
        lambda n, x: n.small(n.flatten(n.relu(n.again(n.pool(block(n, x)))))), {"pool": nn.AvgPool2d(2)},
    ),
    "avgpool, padded and overlapping": (
        lambda n, x: n.fc(n.flatten(n.pool(block(n, x)))), {"pool": nn.AvgPool2d((2, 1), (1, 1), (1, 0)),
                                                             "fc": nn.Linear(4 * 42, 5)},
    ),
    "avgpool, then relu": (lambda n, x: n.small(n.flatten(n.relu(n.pool(block(n, x))))), {"pool": nn.AvgPool2d(2)}),
    "avgpool, then maxpool": (
        lambda n, x: n.small(n.flatten(n.top(n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d((2, 1)), "top": nn.MaxPool2d((1, 2))},
    ),
    "avgpool, dropout, flatten": (
        lambda n, x: n.small(n.flatten(n.drop(n.pool(block(n, x))))), {"pool": nn.AvgPool2d(2), "drop": nn.Dropout(0.2)},
    ),
    "avgpool of avgpool": (
        lambda n, x: n.small(n.flatten(n.pool(n.one(block(n, x))))),
        {"pool": nn.AvgPool2d((1, 2)), "one": nn.AvgPool2d((2, 1))},
    ),
    "avgpool read twice": (
        lambda n, x: n.small(n.flatten((lambda p: n.relu(n.again(p) + p))(n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d(2)},
    ),
    "F.avg_pool2d": (lambda n, x: n.small(F.avg_pool2d(block(n, x), 2).flatten(1)), {}),
    "F.avg_pool2d, options": (
        lambda n, x: n.small(F.avg_pool2d(block(n, x), kernel_size=(2, 4), stride=(2, 2), padding=(0, 1)).flatten(1)), {},
    ),
    "global average as read-out": (lambda n, x: n.gap(block(n, x)).flatten(1), {"gap": nn.AvgPool2d(4, 4, 1)}),
    "sum": (lambda n, x: readout(n, block(n, x) + n.relu(n.down(x))), {}),
    "torch.add": (lambda n, x: readout(n, torch.add(block(n, x), n.relu(n.down(x)))), {}),
    "torch.add by name": (lambda n, x: readout(n, torch.add(block(n, x), other=n.relu(n.down(x)))), {}),
    "x.add": (lambda n, x: readout(n, block(n, x).add(n.relu(n.down(x)))), {}),
    "sum of three": (lambda n, x: readout(n, block(n, x) + n.relu(n.down(x)) + n.relu(n.again(block(n, x)))), {}),
    "sum with itself": (lambda n, x: readout(n, (lambda y: y + y)(block(n, x))), {}),
    "residual with norm": (residual, {}),
    "residual from the left": (lambda n, x: readout(n, (lambda y: n.relu(y + n.again(y)))(block(n, x))), {}),
    "residual of the input": (
        lambda n, x: n.fc(n.flatten(n.relu(n.two(x) + x))), {"two": nn.Conv2d(2, 2, 1), "fc": nn.Linear(72, 5)},
    ),
    "two residuals": (
        lambda n, x: readout(n, (lambda y: n.relu(n.again(y) + y + n.relu(n.down(x))))(block(n, x))), {},
    ),
    "residual of the read-out": (
        lambda n, x: (lambda y: n.out(y) + y)(n.relu(readout(n, block(n, x)))), {"out": nn.Linear(5, 5)},
    ),
    "residual, then maxpool": (
        lambda n, x: n.small(n.flatten(n.relu(n.pool(n.again(block(n, x)) + n.relu(n.down(x)))))), {"pool": nn.MaxPool2d(2)},
    ),
    "sum, then maxpool": (
        lambda n, x: n.small(n.flatten(n.pool(block(n, x) + n.relu(n.down(x))))), {"pool": nn.MaxPool2d(2)},
    ),
    "average as a residual": (
        lambda n, x: n.small(n.flatten(n.relu(n.two(x) + n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d(2), "two": nn.Conv2d(2, 4, 1, stride=2)},
    ),
    "sum of averages": (
        lambda n, x: n.small(n.flatten(n.pool(block(n, x)) + n.pool(n.relu(n.down(x))))), {"pool": nn.AvgPool2d(2)},
    ),
    "average plus itself": (
        lambda n, x: n.small(n.flatten((lambda p: p + p)(n.pool(block(n, x))))), {"pool": nn.AvgPool2d(2)},
    ),
    "flat sum": (lambda n, x: n.out(n.relu(readout(n, block(n, x))) + n.relu(n.fc(n.flatten(n.relu(n.down(x)))))),
                 {"out": nn.Linear(5, 4)}),
    "x.flatten": (lambda n, x: n.fc(block(n, x).flatten(1)), {}),
    "x.flatten by name": (lambda n, x: n.fc(block(n, x).flatten(start_dim=1)), {}),
    "torch.flatten by name": (lambda n, x: n.fc(torch.flatten(block(n, x), end_dim=-1, start_dim=1)), {}),
    "flatten before relu": (lambda n, x: n.fc(n.relu(n.flatten(n.conv(x)))), {}),
    "x.view": (lambda n, x: n.fc(block(n, x).view(x.size(0), -1)), {}),
    "x.view of shape": (lambda n, x: n.fc((lambda y: y.view(y.shape[0], -1))(block(n, x))), {}),
    "x.view to a number": (lambda n, x: n.fc((lambda y: y.view(y.size()[0], 144))(block(n, x))), {}),
    "x.reshape": (lambda n, x: n.fc(block(n, x).contiguous().reshape((x.size(0), -1))), {}),
    "torch.reshape": (lambda n, x: n.fc(torch.reshape(block(n, x), (x.shape[0], -1))), {}),
    "flatten of the logits": (lambda n, x: n.flatten(n.again(block(n, x))), {}),
    "logits are an image": (lambda n, x: n.again(block(n, x)), {}),
    "dropout": (lambda n, x: readout(n, n.drop(block(n, x))), {"drop": nn.Dropout(0.5)}),
    "dropout2d before relu": (lambda n, x: readout(n, n.relu(n.drop(n.conv(x)))), {"drop": nn.Dropout2d(0.5)}),
    "dropout of the logits": (lambda n, x: n.drop(readout(n, block(n, x))), {"drop": nn.Dropout(0.5)}),
    "F.dropout": (lambda n, x: readout(n, F.dropout(block(n, x), 0.3, training=n.training)), {}),
    "F.dropout2d": (lambda n, x: readout(n, F.dropout2d(block(n, x), 0.3, n.training)), {}),
    "F.dropout, off": (lambda n, x: readout(n, F.dropout(block(n, x), 0.3, training=False)), {}),
    "identity": (lambda n, x: readout(n, n.relu(n.same(n.conv(n.same(x))))), {"same": nn.Identity()}),
    "linear alone": (lambda n, x: n.out(n.flatten(x)), {"out": nn.Linear(72, 3)}),
    "what is not used": (lambda n, x: (n.unused(x), readout(n, block(n, x)))[1], {"unused": nn.GELU()}),
}  # fmt: skip
CLOSE = {
    "mean": (lambda n, x: n.tiny(block(n, x).mean((2, 3))), {}),
    "mean, from the end": (lambda n, x: n.tiny(block(n, x).mean(dim=[-1, -2])), {}),
    "torch.mean, kept axes": (lambda n, x: n.tiny(n.flatten(torch.mean(block(n, x), (2, 3), True))), {}),
    "adaptive": (lambda n, x: n.tiny(n.flatten(n.gap(block(n, x)))), {"gap": nn.AdaptiveAvgPool2d(1)}),
    "adaptive, pair": (lambda n, x: n.tiny(n.gap(block(n, x)).flatten(1)), {"gap": nn.AdaptiveAvgPool2d((1, 1))}),
    "F.adaptive": (lambda n, x: n.tiny(F.adaptive_avg_pool2d(block(n, x), (1, 1)).flatten(1)), {}),
    "global average as read-out": (lambda n, x: block(n, x).mean((2, 3)), {}),
}
"""Averages over the whole image, whose sums torch takes in another order."""


def plain_and_prepared(forward: Forward, modules: dict[str, nn.Module], size: int = 6) -> tuple[Tensor, Tensor]:
    net = Net(forward, **deepcopy(modules)).double()
    before = deepcopy(net.state_dict())
    flags = [module.training for module in net.modules()]
    prepared = prepare(net)
    assert prepared.stage == "relu"
    assert prepared.training
    assert [module.training for module in net.modules()] == flags
    x = batch()[:, :, :size, :size]
    with torch.no_grad():
        found = prepared.eval()(x)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    own = {id(parameter) for parameter in net.parameters()}
    assert own.isdisjoint(id(parameter) for parameter in prepared.parameters())
    with torch.no_grad():
        return net.eval()(x), found


@pytest.mark.parametrize("label", SUPPORTED)
def test_prepared_is_the_plain_network(label: str) -> None:
    expected, found = plain_and_prepared(*SUPPORTED[label])
    assert expected.abs().sum() > 0
    assert torch.equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("label", CLOSE)
def test_prepared_is_the_plain_network_up_to_the_order_of_sums(label: str) -> None:
    forward, modules = CLOSE[label]
    modules = {**modules, "conv": nn.Conv2d(2, 4, 3)}  # an image of 4 x 4: 16 pixels, a power of two
    expected, found = plain_and_prepared(forward, modules)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_average_that_is_no_power_of_two_takes_the_nearest_level() -> None:
    """1/9 becomes W(6) = 1/8; everything else stays."""

    def scaled(n: Any, x: Tensor) -> Tensor:
        return n.tiny(F.avg_pool2d(block(n, x), 3, 3).flatten(1) * (9 / 8))

    expected, found = (
        plain_and_prepared(
            lambda n, x: n.tiny(F.avg_pool2d(block(n, x), 3, 3).flatten(1)), {"conv": nn.Conv2d(2, 1, 3, padding=1)}
        ),
        Net(scaled, conv=nn.Conv2d(2, 1, 3, padding=1)).double().eval(),
    )
    with torch.no_grad():
        torch.testing.assert_close(expected[1], found(batch()), rtol=1e-13, atol=1e-13)
    assert not torch.allclose(expected[0], expected[1])


def test_a_bare_layer_is_a_network() -> None:
    net = nn.Linear(6, 3)
    x = torch.rand(2, 6)
    assert torch.equal(prepare(net)(x), net(x))


def test_mode_of_the_network_is_kept() -> None:
    net = Net(lambda n, x: readout(n, n.drop(n.relu(n.norm(n.conv(x))))), drop=nn.Dropout(0.5))
    assert prepare(net).training
    prepared = prepare(net.eval())
    assert not any(module.training for module in prepared.modules())


def test_prepared_network_trains_as_the_plain_one() -> None:
    """The same losses, gradients and running statistics in stage relu, dropout included."""
    net = Net(lambda n, x: readout(n, n.drop(n.relu(n.norm(n.conv(x))))), drop=nn.Dropout(0.5)).double()
    prepared = prepare(net)
    outputs = []
    for module in (net, prepared):
        torch.manual_seed(3)
        logits = module(batch())
        logits.square().sum().backward()
        outputs.append(logits)
    assert torch.equal(*outputs)
    layer = prepared.layers["conv"]
    assert isinstance(layer, Synapses)
    assert layer.norm is not None
    assert torch.equal(layer.linear.weight.grad, net.conv.weight.grad)  # type: ignore[arg-type]
    assert torch.equal(layer.norm.weight.grad, net.norm.weight.grad)  # type: ignore[arg-type]
    assert torch.equal(layer.norm.running_mean, net.norm.running_mean)  # type: ignore[arg-type]


def test_dropout_drops_in_training_only() -> None:
    net = Net(lambda n, x: readout(n, F.dropout(block(n, x), 0.9, training=n.training)))
    for mode in (True, False):  # whatever the mode in which it was prepared
        prepared = prepare(net.train(mode)).double()
        assert torch.equal(prepared.eval()(batch()), prepared(batch()))
        prepared.train()
        assert not torch.equal(prepared(batch()), prepared(batch()))


def test_dropout_that_is_switched_off_stays_off() -> None:
    net = Net(lambda n, x: readout(n, F.dropout(block(n, x), 0.9, training=False)))
    prepared = prepare(net).double().train()
    assert torch.equal(prepared(batch()), prepared.eval()(batch()))


def test_names_follow_module_paths() -> None:
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)))
    net.add_module("input", nn.Flatten())
    net.add_module("head", nn.Linear(16, 3))
    prepared = prepare(net)
    assert [(step.name, step.kind, step.source) for step in prepared.steps] == [
        ("features_0", "synapses", "input"),
        ("features_2", "maxpool", "features_0"),
        ("input_layer", "flatten", "features_2"),
        ("head", "synapses", "input_layer"),
    ]


def test_a_module_called_twice_is_two_layers_with_one_weight() -> None:
    def twice(n: Any, x: Tensor) -> Tensor:
        y = n.relu(n.norm(n.again(block(n, x))))
        return readout(n, n.relu(n.norm(n.again(y))))

    net = Net(twice).double()
    prepared = prepare(net)
    assert [step.name for step in prepared.steps] == ["conv", "again", "again_2", "flatten", "fc"]
    first, second = prepared.layers["again"], prepared.layers["again_2"]
    assert isinstance(first, Synapses)
    assert isinstance(second, Synapses)
    assert first.linear is second.linear
    assert first.norm is second.norm
    used = [net.conv, net.again, net.norm, net.fc]
    assert len(list(prepared.parameters())) == sum(len(list(module.parameters())) for module in used)
    assert torch.equal(prepared.eval()(batch()), net.eval()(batch()))
    with torch.no_grad():
        first.linear.weight.mul_(2)
        net.again.weight.mul_(2)
    for _ in range(2):
        assert torch.equal(prepared(batch()), net(batch()))
        prepared.load_state_dict(deepcopy(prepared.state_dict()))


def test_parameters_tied_between_modules_stay_tied() -> None:
    net = Net(lambda n, x: readout(n, n.relu(n.other(block(n, x)))), other=nn.Conv2d(2, 4, 3, padding=1))
    net.function = lambda n, x: readout(n, block(n, x) + F.relu(n.other(x)))
    net.other.weight = net.conv.weight  # type: ignore[assignment]
    prepared = prepare(net)
    first, second = prepared.layers["conv"], prepared.layers["other"]
    assert isinstance(first, Synapses)
    assert isinstance(second, Synapses)
    assert first.linear.weight is second.linear.weight


# ---- what is refused ----------------------------------------------------------------------------------------------


class Subclassed(nn.Conv2d):
    """A convolution of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def control_flow(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    return readout(n, y if y.sum() > 0 else -y)


def modes_differ(n: Any, x: Tensor) -> Tensor:
    y = n.conv(x)
    return readout(n, F.relu(n.norm(y) if n.training else y))


def add_discarded(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    u = n.again(y)
    u.add_(y)
    return readout(n, F.relu(u))


def relu_discarded(n: Any, x: Tensor) -> Tensor:
    logits = readout(n, block(n, x))
    F.relu(logits, inplace=True)
    return logits


def module_discarded(n: Any, x: Tensor) -> Tensor:
    logits = readout(n, block(n, x))
    n.relu(logits)
    return logits


def clamp_discarded(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    y.clamp_(max=0.5)
    return readout(n, y)


def view_discarded(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    y.flatten(1).mul_(0.5)
    return readout(n, y)


def stale(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    before = y
    y += F.relu(n.down(x))
    return readout(n, F.relu(n.again(before)) + y)


def other_name(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    z = y.relu_()  # harmless, but another name
    z.add_(n.relu(n.down(x)))
    return readout(n, y + z)


def indexed(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    y[:, 0] = 0
    return readout(n, y)


def two_readers(n: Any, x: Tensor) -> Tensor:
    u = n.conv(x)
    return readout(n, F.relu(u) + F.relu(n.pool(u)))


REFUSED: dict[str, tuple[Forward, dict[str, nn.Module], str]] = {
    "GELU": (lambda n, x: readout(n, n.act(n.conv(x))), {"act": nn.GELU()},
        "act: GELU cannot be converted; replace it by nn.ReLU"),
    "nested": (
        lambda n, x: readout(n, n.blocks(x)),
        {"blocks": nn.Sequential(nn.Conv2d(2, 4, 1), nn.Sequential(nn.LeakyReLU()))},
        "blocks.1.0: LeakyReLU cannot be converted; replace it by nn.ReLU",
    ),
    "ReLU6": (lambda n, x: readout(n, n.act(n.conv(x))), {"act": nn.ReLU6()}, "act: ReLU6 cannot"),
    "sigmoid": (lambda n, x: readout(n, torch.sigmoid(n.conv(x))), {},
        "sigmoid: the function 'sigmoid' cannot be converted; replace it by nn.ReLU"),
    "clamp": (lambda n, x: readout(n, n.conv(x).clamp(0, 1)), {},
        "clamp: the function 'clamp' cannot be converted; replace it by nn.ReLU"),
    "softmax": (lambda n, x: readout(n, block(n, x)).softmax(1), {}, "softmax: .* the largest logit is the class"),
    "ConvTranspose2d": (
        lambda n, x: readout(n, n.relu(n.up(x))), {"up": nn.ConvTranspose2d(2, 4, 1)},
        "up: ConvTranspose2d cannot be converted; replace it by nn.Conv2d",
    ),
    "LayerNorm": (
        lambda n, x: readout(n, n.relu(n.ln(n.conv(x)))), {"ln": nn.LayerNorm([4, 6, 6])},
        "ln: LayerNorm cannot be converted; replace it by nn.BatchNorm2d after a Conv2d",
    ),
    "subclass": (lambda n, x: readout(n, n.relu(n.own(x))), {"own": Subclassed(2, 4, 3, padding=1)},
        "own.*weight: a bare parameter"),
    "dilation": (lambda n, x: readout(n, n.relu(n.c(x))), {"c": nn.Conv2d(2, 4, 3, padding=2, dilation=2)},
                 r"c: Conv2d must have dilation 1, not \(2, 2\)"),
    "padding mode": (lambda n, x: readout(n, n.relu(n.c(x))), {"c": nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")},
                     "c: Conv2d must pad with silence, padding_mode='zeros', not 'reflect'"),
    "padding by name": (lambda n, x: readout(n, n.relu(n.c(x))), {"c": nn.Conv2d(2, 4, 3, padding="same")},
                        "c: Conv2d must give its padding as numbers, not 'same'"),
    "maxpool, ceil": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)), {"pool": nn.MaxPool2d(2, ceil_mode=True)},
                      "pool: max pooling must have dilation 1, ceil_mode=False and return_indices=False"),
    "maxpool, dilation": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.MaxPool2d(2, dilation=2), "small": nn.Linear(16, 5)},
        "pool: max pooling must have dilation 1"),
    "maxpool, indices": (lambda n, x: n.small(n.pool(block(n, x))[0].flatten(1)),
        {"pool": nn.MaxPool2d(2, return_indices=True)}, "pool: max pooling must"),
    "F.max_pool2d, ceil": (lambda n, x: n.small(F.max_pool2d(block(n, x), 2, ceil_mode=True).flatten(1)), {},
        "max_pool2d: max pooling must"),
    "avgpool, ceil": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)), {"pool": nn.AvgPool2d(2, ceil_mode=True)},
                      "pool: average pooling must have ceil_mode=False, divisor_override=None and count_include_pad=True"),
    "avgpool, divisor": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.AvgPool2d(2, divisor_override=3)}, "pool: average pooling must"),
    "avgpool, pad not counted": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
                                 {"pool": nn.AvgPool2d(2, padding=1, count_include_pad=False), "small": nn.Linear(64, 5)},
        "pool: average pooling must"),
    "F.avg_pool2d by size": (lambda n, x: n.tiny((lambda y: F.avg_pool2d(y, y.size(2)))(block(n, x)).flatten(1)), {},
                             r"avg_pool2d: windows must be given as numbers, not .*; nn.AdaptiveAvgPool2d\(1\) averages"),
    "adaptive, larger": (lambda n, x: n.small(n.pool(block(n, x)).flatten(1)), {"pool": nn.AdaptiveAvgPool2d(3)},
                         "pool: adaptive average pooling must have output size 1, not 3; use AvgPool2d"),
    "mean of channels": (lambda n, x: n.small(block(n, x).mean(1).flatten(1)), {},
        r"mean: mean must be over the image, dim=\(2, 3\), not 1"),
    "mean of all": (lambda n, x: block(n, x).mean(), {}, "mean: mean must be over the image"),
    "two convolutions": (lambda n, x: readout(n, n.again(n.conv(x)).relu()), {},
        "again: it reads 'conv' before that has fired; put an nn.ReLU after 'conv'"),
    "conv, avgpool": (lambda n, x: n.small(n.relu(F.avg_pool2d(n.conv(x), 2)).flatten(1)), {},
        "avg_pool2d: it reads 'conv' before that has fired"),
    "norm after relu": (lambda n, x: readout(n, n.norm(block(n, x))), {},
        "norm: batch norm must directly follow a Conv2d or Linear"),
    "norm after maxpool": (lambda n, x: n.small(n.relu(n.norm(F.max_pool2d(n.conv(x), 2))).flatten(1)), {},
        "norm: batch norm must directly follow"),
    "norm after add": (lambda n, x: readout(n, n.relu(n.norm(n.conv(x) + n.relu(n.down(x))))), {},
        "norm: batch norm must directly follow"),
    "norm twice": (lambda n, x: readout(n, n.relu(n.norm(n.norm(n.conv(x))))), {},
        "norm: batch norm must directly follow"),
    "norm of the input": (lambda n, x: readout(n, block(n, n.first(x))), {"first": nn.BatchNorm2d(2)},
        "first: batch norm must directly follow"),
    "norm without statistics": (lambda n, x: readout(n, n.relu(n.norm(n.conv(x)))),
        {"norm": nn.BatchNorm2d(4, track_running_stats=False)},
                                "norm: batch norm must have running statistics"),
    "sum of membranes": (lambda n, x: readout(n, n.relu(n.conv(x) + n.down(x))), {},
        "add: one of 'conv' and 'down' must have fired before they are added; put an nn.ReLU after the shortcut"),
    "membrane plus itself": (lambda n, x: readout(n, n.relu((lambda u: u + u)(n.conv(x)))), {},
        "add: one of 'conv' and 'conv' must have fired"),
    "sum after flatten": (lambda n, x: n.fc(n.relu(n.flatten(n.conv(x)) + n.flatten(block(n, x)))), {},
        "add: .*must be added before flatten of 'conv'|add: it reads 'conv'"),
    "sum with alpha": (lambda n, x: readout(n, torch.add(block(n, x), n.relu(n.down(x)), alpha=2)), {},
        "add: add cannot be converted with alpha=2"),
    "sum with a number": (lambda n, x: readout(n, block(n, x) + 1), {}, "add: only two images can be added, not 1"),
    "number plus image": (lambda n, x: readout(n, 1 + block(n, x)), {},
        "add: its first argument must be an image, not 1"),
    "sum with a size": (lambda n, x: readout(n, block(n, x) + x.size(0)), {}, "add: only two images can be added"),
    "product": (lambda n, x: readout(n, block(n, x) * 0.5), {}, "mul: the function 'mul' cannot be converted"),
    "cat": (lambda n, x: n.out(torch.cat([block(n, x), n.relu(n.down(x))], 1).flatten(1)), {"out": nn.Linear(288, 5)},
            "cat: the function 'cat' cannot be converted; replace it by a sum of two spiking branches"),
    "normalised input": (lambda n, x: readout(n, block(n, (x - 0.5) / 0.2)), {},
        "sub: the function 'sub' cannot be converted"),
    "part of an image": (lambda n, x: n.out(block(n, x)[:, :2].flatten(1)), {"out": nn.Linear(72, 5)},
        "getitem: a part of an image cannot be taken"),
    "attribute": (lambda n, x: readout(n, block(n, x).mT), {},
        "getattr_1: the attribute 'mT' of an image cannot be converted"),
    "transposed": (lambda n, x: readout(n, block(n, x).transpose(2, 3)), {},
        "transpose: the function 'transpose' cannot be converted"),
    "flatten of the batch": (lambda n, x: readout(n, block(n, x)).flatten(), {},
        r"flatten_1: flatten must be from axis 1 to the last, not \(0, -1\)"),
    "Flatten(2)": (lambda n, x: n.out(n.flat(block(n, x))), {"flat": nn.Flatten(2), "out": nn.Linear(36, 5)},
        r"flat: flatten must be from axis 1"),
    "view to a fixed batch": (lambda n, x: n.fc(block(n, x).view(3, -1)), {},
        r"view: view can only flatten, as x.view\(x.size\(0\), -1\), not to \[3, -1\]"),
    "view to features": (lambda n, x: n.fc(block(n, x).view(-1, 144)), {}, "view: view can only flatten"),
    "view by channels": (lambda n, x: n.out((lambda y: y.reshape(y.size(1), -1))(block(n, x))),
        {"out": nn.Linear(108, 5)}, "reshape: reshape can only flatten"),
    "functional conv": (lambda n, x: readout(n, F.relu(F.conv2d(x, n.conv.weight, padding=1))), {},
        "conv.weight: a bare parameter or tensor cannot"),
    "parameter": (lambda n, x: readout(n, block(n, x) + n.fc.bias[0]), {}, "fc.bias: a bare parameter"),
    "new tensor": (lambda n, x: readout(n, block(n, x) + torch.ones(1, dtype=torch.float64)), {},
        "a bare parameter or tensor cannot be converted"),
    "fires last": (lambda n, x: F.relu(readout(n, block(n, x))), {},
        "fc: the last layer must be linear .* not one that fires"),
    "pools last": (lambda n, x: F.max_pool2d(n.conv(x), 2), {},
        "max_pool2d: the last layer must be linear .* or pools"),
    "two outputs": (lambda n, x: (n.conv(x), n.down(x)), {}, "output: a network must return one tensor"),
    "a dict": (lambda n, x: {"logits": n.conv(x)}, {}, "output: a network must return one tensor"),
    "a size": (lambda n, x: block(n, x).size(), {}, "output: a network must return an image or logits, not a size"),
    "control flow": (control_flow, {}, "network Net: torch.fx cannot trace it: .*must be a fixed sequence of layers"),
    "modes differ": (modes_differ, {},
        "network Net: its forward must compute the same in training and in evaluation"),
    "dropout in evaluation": (lambda n, x: readout(n, F.dropout(block(n, x), 0.3)), {},
        "dropout: dropout must be given training=self.training"),
    "other dropout": (lambda n, x: readout(n, n.drop(block(n, x))), {"drop": nn.AlphaDropout()},
        "drop: AlphaDropout cannot be converted; replace it by nn.Dropout"),
    "membrane read twice": (two_readers, {"pool": nn.MaxPool2d(3, 1, 1)},
        "relu: it reads 'conv', which has not fired and which 'pool' reads too; put one nn.ReLU"),
    "membrane and its spikes": (lambda n, x: readout(n, (lambda u: F.relu(u + F.relu(u)))(n.conv(x))), {},
        "it reads 'conv', which has not fired"),
    "add in place, discarded": (add_discarded, {},
        "add_: it changes 'again' in place, which 'relu_1' reads afterwards; use its result instead"),
    "relu in place, discarded": (relu_discarded, {},
        "relu_1: it changes 'fc' in place, which 'output' reads afterwards"),
    "module in place, discarded": (module_discarded, {"relu": nn.ReLU(inplace=True)},
        "relu: it changes 'fc' in place"),
    "clamp in place, discarded": (clamp_discarded, {},
        "clamp_: it changes 'relu' in place, which 'flatten' reads afterwards"),
    "view in place, discarded": (view_discarded, {}, "mul_: it changes 'relu' in place"),
    "old name after +=": (stale, {}, "iadd: it changes 'relu' in place, which 'again' reads afterwards"),
    "result of an operation in place, changed": (other_name, {}, "add_: it changes 'relu' in place"),
    "view by channels, of shape": (
        lambda n, x: n.out((lambda y: y.view(y.shape[1], -1))(block(n, x))),
        {"out": nn.Linear(108, 5)},
        "view: view can only flatten",
    ),
    "item set": (indexed, {}, "network Net: torch.fx cannot trace it"),
}  # fmt: skip


@pytest.mark.parametrize("label", REFUSED)
def test_everything_else_is_refused_by_path_with_a_replacement(label: str) -> None:
    forward, modules, text = REFUSED[label]
    net = Net(forward, **deepcopy(modules)).double()
    if label not in ("item set", "control flow"):
        net.eval()(batch())  # it is a network all the same
    with pytest.raises(UnsupportedError) as raised:
        prepare(net)
    assert re.search(text, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_several_inputs_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="input 'y': a network must have one input, not several"):
        prepare(TwoInputs())


def test_functions_of_the_same_name_are_other_functions() -> None:
    with pytest.raises(UnsupportedError, match="relu: the function 'relu' cannot be converted"):
        prepare(Net(lambda n, x: readout(n, relu(n.conv(x)))))


@torch.fx.wrap
def relu(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def test_hooks_are_refused() -> None:
    net = Net(lambda n, x: readout(n, block(n, x)))
    handle = net.conv.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(UnsupportedError, match="conv: forward hooks cannot be converted; remove them"):
        prepare(net)
    handle.remove()
    prepare(net)
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    with pytest.raises(UnsupportedError, match="Net: forward hooks cannot be converted"):
        prepare(net)


def test_parametrized_layers_are_refused() -> None:
    net = Net(lambda n, x: readout(n, block(n, x)))
    torch.nn.utils.parametrizations.weight_norm(net.conv)
    with pytest.raises(UnsupportedError, match=r"conv.*parametrize"):
        prepare(net)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"net": "vgg"}, TypeError, "net must be a torch.nn.Module, not 'vgg'"),
        ({"code": 24}, TypeError, "code must be a firstspike.Code, not 24"),
        ({"weights": Code()}, TypeError, r"weights must be firstspike.LogWeights, not Code\("),
        ({"accumulator_bits": 64}, ValueError, r"accumulator_bits must be in 8..48, not 64"),
        ({"accumulator_bits": 32.0}, TypeError, r"accumulator_bits must be an int, not 32.0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        prepare(**{"net": nn.Linear(2, 2), **arguments})


def test_prepared_networks_are_not_prepared_again() -> None:
    with pytest.raises(TypeError, match="net must be a plain network, not one that is prepared already"):
        prepare(prepare(nn.Linear(2, 2)))


# ---- nothing is lost ----------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[Any, Tensor, Tensor], Tensor | None]] = {
    "conv": lambda n, a, b: n.conv(a),
    "conv, relu": lambda n, a, b: F.relu(n.conv(a)),
    "again, norm, relu": lambda n, a, b: n.relu(n.norm(n.again(a))),
    "relu": lambda n, a, b: F.relu(a),
    "relu_": lambda n, a, b: a.relu_(),
    "relu_ discarded": lambda n, a, b: discard(a.relu_()),
    "relu module in place": lambda n, a, b: n.inplace(a),
    "relu module in place, discarded": lambda n, a, b: discard(n.inplace(a)),
    "add": lambda n, a, b: a + b,
    "iadd": lambda n, a, b: plus(a, b),
    "iadd discarded": lambda n, a, b: discard(plus(a, b)),
    "add_": lambda n, a, b: a.add_(b),
    "add_ discarded": lambda n, a, b: discard(a.add_(b)),
    "maxpool": lambda n, a, b: n.pool(a),
    "average": lambda n, a, b: F.avg_pool2d(a, 1, 1),
    "identity": lambda n, a, b: n.same(a),
    "dropout": lambda n, a, b: F.dropout(a, 0.5, n.training),
    "contiguous": lambda n, a, b: a.contiguous(),
    "zero_ discarded": lambda n, a, b: discard(a.zero_()),
    "residual": lambda n, a, b: n.relu(n.norm(n.conv(a)) + b),
}


def discard(_: Tensor) -> None:
    return None


def plus(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


class Program(nn.Module):
    """Operations on any two earlier values, all of one shape; reading what was overwritten included."""

    def __init__(self, steps: list[tuple[str, int, int]], last: int) -> None:
        super().__init__()
        self.steps, self.last = steps, last
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.again = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.same = nn.Identity()
        self.fc = nn.Linear(2 * 16, 3)
        assert self.norm.running_mean is not None
        self.norm.running_mean.add_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for name, first, second in self.steps:
            result = OPERATIONS[name](self, values[first % len(values)], values[second % len(values)])
            if result is not None:
                values.append(result)
        return self.fc(values[self.last % len(values)].flatten(1))


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(-3, -1), st.integers(-4, -1)), min_size=1, max_size=7
    ),
    st.integers(-2, -1),
)
def test_any_program_is_converted_whole_or_refused(steps: list[tuple[str, int, int]], last: int) -> None:
    net = Program(steps, last).double()
    x = torch.rand(2, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net.eval()(x.clone())
        assume(bool(torch.isfinite(expected).all()))
        try:
            prepared = prepare(net)
        except UnsupportedError:
            event("refused")
            return
        event(f"converted, {min(4, len(prepared.steps))} or more steps")
        assert torch.equal(prepared.eval()(x), expected)


# ---- the prepared network -----------------------------------------------------------------------------------------


def test_stage_is_followed_by_all_layers_and_kept_in_the_state() -> None:
    prepared = prepare(Net(residual), code=Code(T=16), weights=LogWeights(bits=6))
    for stage in STAGES:
        prepared.stage = stage
        assert prepared.stage == stage
        assert {m.stage for m in prepared.modules() if hasattr(m, "from_stage") or isinstance(m, Synapses)} == {stage}
    other = prepare(Net(residual), code=Code(T=16), weights=LogWeights(bits=6))
    other.load_state_dict(prepared.state_dict())
    assert other.stage == "quantised"
    x = batch().float()
    assert torch.equal(other.eval()(x), prepared.eval()(x))
    with pytest.raises(ValueError, match="stage must be one of relu, clip, input, ttfs, quantised, not 'log'"):
        prepared.stage = "log"
    assert prepared.stage == "quantised"


def test_weights_that_are_not_finite_are_named_when_quantised() -> None:
    prepared = prepare(Net(residual))
    layer = prepared.layers["again"]
    assert isinstance(layer, Synapses)
    with torch.no_grad():
        layer.linear.weight[0] = float("nan")
    with pytest.raises(ValueError, match="layer 'again': weights must be finite, not NaN or infinite"):
        prepared.stage = "quantised"


def test_scales_are_chosen_when_the_last_stage_begins_and_kept_after() -> None:
    prepared = prepare(Net(residual))
    prepared.stage = "quantised"
    layer = prepared.layers["conv"]
    assert isinstance(layer, Synapses)
    before = int(layer.scale)
    with torch.no_grad():
        layer.linear.weight.mul_(16)
    prepared.stage = "quantised"
    assert int(layer.scale) == before
    prepared.stage = "ttfs"
    prepared.stage = "quantised"
    assert int(layer.scale) == before - 4 * LogWeights().levels_per_octave


def test_values_of_every_step_and_observation() -> None:
    prepared = prepare(Net(residual)).double().eval()
    prepared.stage = "ttfs"
    x = batch()
    values = prepared.spike_values(x)
    assert list(values) == ["input", "conv", "again", "flatten", "fc"]
    assert torch.equal(values["fc"], prepared(x))
    with pytest.raises(ValueError, match=r"activity needs a run after observe\(True\)"):
        prepared.activity()
    with pytest.raises(ValueError, match="spikes_per_neuron needs a run"):
        prepared.spikes_per_neuron()
    prepared.observe(True, spikes=True)
    prepared(x)
    neurons = {name: values[name][0].numel() for name in ("input", "conv", "again")}
    spikes = sum(int((values[name] > 0).sum()) for name in neurons) / len(x)
    assert prepared.spikes_per_neuron() == pytest.approx(spikes / sum(neurons.values()))
    hidden = sum(values[name].sum().item() for name in ("conv", "again")) / len(x)
    assert prepared.activity().item() == pytest.approx(hidden / (neurons["conv"] + neurons["again"]), rel=1e-6)
    prepared.observe(False)
    with pytest.raises(ValueError, match="activity needs a run"):
        prepared.activity()
