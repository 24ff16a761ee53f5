"""Every supported layer and function: the prepared network is the plain one."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from structures.plain_nets import Forward, Net, batch, block, readout, residual
from torch import Tensor, nn
from torch.nn import functional as F

from firstspike.arith import Code, LogWeights
from firstspike.cat.layers import STAGES, Synapses
from firstspike.cat.prepare import prepare

# ---- what is supported --------------------------------------------------------------------------------------------


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
        lambda n, x: n.out(n.relu(n.bn(n.fc(n.flatten(block(n, x)))))),
        {"bn": nn.BatchNorm1d(5), "out": nn.Linear(5, 3, bias=False)},
    ),
    "no bias": (lambda n, x: readout(n, block(n, x)), {"conv": nn.Conv2d(2, 4, 3, padding=1, bias=False)}),
    "stride, groups": (
        lambda n, x: n.small(n.flatten(n.relu(n.two(n.relu(n.conv(x)))))),
        {"two": nn.Conv2d(4, 4, (3, 1), stride=2, padding=(1, 0), groups=2)},
    ),
    "depthwise": (
        lambda n, x: readout(n, n.relu(n.two(block(n, x)))),
        {"two": nn.Conv2d(4, 4, 3, padding=1, groups=4)},
    ),
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
        lambda n, x: n.small(torch.flatten(F.max_pool2d(block(n, x), (3, 3), stride=2, padding=1), 1)),
        {},
    ),
    "torch.max_pool2d": (lambda n, x: n.small(torch.max_pool2d(block(n, x), 2).flatten(1)), {}),
    "avgpool": (lambda n, x: n.small(n.flatten(n.pool(block(n, x)))), {"pool": nn.AvgPool2d(2)}),
    "avgpool, then conv": (
        lambda n, x: n.small(n.flatten(n.relu(n.again(n.pool(block(n, x)))))),
        {"pool": nn.AvgPool2d(2)},
    ),
    "avgpool, padded and overlapping": (
        lambda n, x: n.fc(n.flatten(n.pool(block(n, x)))),
        {"pool": nn.AvgPool2d((2, 1), (1, 1), (1, 0)), "fc": nn.Linear(4 * 42, 5)},
    ),
    "avgpool, then relu": (lambda n, x: n.small(n.flatten(n.relu(n.pool(block(n, x))))), {"pool": nn.AvgPool2d(2)}),
    "avgpool, then maxpool": (
        lambda n, x: n.small(n.flatten(n.top(n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d((2, 1)), "top": nn.MaxPool2d((1, 2))},
    ),
    "avgpool, dropout, flatten": (
        lambda n, x: n.small(n.flatten(n.drop(n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d(2), "drop": nn.Dropout(0.2)},
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
        lambda n, x: n.small(F.avg_pool2d(block(n, x), kernel_size=(2, 4), stride=(2, 2), padding=(0, 1)).flatten(1)),
        {},
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
        lambda n, x: n.fc(n.flatten(n.relu(n.two(x) + x))),
        {"two": nn.Conv2d(2, 2, 1), "fc": nn.Linear(72, 5)},
    ),
    "two residuals": (
        lambda n, x: readout(n, (lambda y: n.relu(n.again(y) + y + n.relu(n.down(x))))(block(n, x))),
        {},
    ),
    "residual of the read-out": (
        lambda n, x: (lambda y: n.out(y) + y)(n.relu(readout(n, block(n, x)))),
        {"out": nn.Linear(5, 5)},
    ),
    "residual, then maxpool": (
        lambda n, x: n.small(n.flatten(n.relu(n.pool(n.again(block(n, x)) + n.relu(n.down(x)))))),
        {"pool": nn.MaxPool2d(2)},
    ),
    "sum, then maxpool": (
        lambda n, x: n.small(n.flatten(n.pool(block(n, x) + n.relu(n.down(x))))),
        {"pool": nn.MaxPool2d(2)},
    ),
    "average as a residual": (
        lambda n, x: n.small(n.flatten(n.relu(n.two(x) + n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d(2), "two": nn.Conv2d(2, 4, 1, stride=2)},
    ),
    "sum of averages": (
        lambda n, x: n.small(n.flatten(n.pool(block(n, x)) + n.pool(n.relu(n.down(x))))),
        {"pool": nn.AvgPool2d(2)},
    ),
    "average plus itself": (
        lambda n, x: n.small(n.flatten((lambda p: p + p)(n.pool(block(n, x))))),
        {"pool": nn.AvgPool2d(2)},
    ),
    "flat sum": (
        lambda n, x: n.out(n.relu(readout(n, block(n, x))) + n.relu(n.fc(n.flatten(n.relu(n.down(x)))))),
        {"out": nn.Linear(5, 4)},
    ),
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
}
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


# ---- the prepared network -----------------------------------------------------------------------------------------


def test_stage_is_kept_in_the_state() -> None:
    prepared = prepare(Net(residual), code=Code(T=16), weights=LogWeights(bits=6))
    for stage in STAGES:
        prepared.stage = stage
        assert prepared.stage == stage
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


def test_arrays_are_refused_with_the_cure() -> None:
    """Data sets are arrays, networks of PyTorch take tensors."""
    prepared = prepare(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(
        TypeError, match=r"^images must be a tensor here, not an array; use torch.from_numpy\(images\)$"
    ):
        prepared(np.zeros((1, 4), np.float32))
