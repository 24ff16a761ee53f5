"""What `prepare` refuses: named by its path, with a replacement; never skipped."""

import re
from copy import deepcopy
from typing import Any

import pytest
import torch
from structures.plain_nets import Forward, Net, batch, block, readout
from torch import Tensor, nn
from torch.nn import functional as F

from firstspike.arith import Code
from firstspike.cat.prepare import UnsupportedError, prepare


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
    "GELU": (
        lambda n, x: readout(n, n.act(n.conv(x))),
        {"act": nn.GELU()},
        "act: GELU cannot be converted; replace it by nn.ReLU",
    ),
    "nested": (
        lambda n, x: readout(n, n.blocks(x)),
        {"blocks": nn.Sequential(nn.Conv2d(2, 4, 1), nn.Sequential(nn.LeakyReLU()))},
        "blocks.1.0: LeakyReLU cannot be converted; replace it by nn.ReLU",
    ),
    "sigmoid": (
        lambda n, x: readout(n, torch.sigmoid(n.conv(x))),
        {},
        "sigmoid: it can only be the last, where it is left out, not before 'fc'; replace it by nn.ReLU",
    ),
    "clamp": (
        lambda n, x: readout(n, n.conv(x).clamp(-1, 1)),
        {},
        "clamp: values can be cut to 0 and above, or between 0 and a number, not between -1 and 1; replace it by nn.ReLU",
    ),
    "Hardtanh": (lambda n, x: readout(n, n.act(n.conv(x))), {"act": nn.Hardtanh()}, "act: values can be cut to 0"),
    "two levels in a sum": (
        lambda n, x: readout(n, F.relu6(n.again(block(n, x).clamp(0, 2)) + F.relu6(n.down(x))) + n.conv(x).clamp(0, 2)),
        {},
        "what meets in a sum must end at one level, not at",
    ),
    "softmax over the batch": (
        lambda n, x: readout(n, block(n, x)).softmax(0),
        {},
        "softmax: it must be over the classes",
    ),
    "ConvTranspose2d": (
        lambda n, x: readout(n, n.relu(n.up(x))),
        {"up": nn.ConvTranspose2d(2, 4, 1)},
        "up: ConvTranspose2d cannot be converted; replace it by nn.Conv2d",
    ),
    "LayerNorm": (
        lambda n, x: readout(n, n.relu(n.ln(n.conv(x)))),
        {"ln": nn.LayerNorm([4, 6, 6])},
        "ln: LayerNorm cannot be converted; replace it by nn.BatchNorm2d after a Conv2d",
    ),
    "subclass": (
        lambda n, x: readout(n, n.relu(n.own(x))),
        {"own": Subclassed(2, 4, 3, padding=1)},
        "own.*weight: a bare parameter",
    ),
    "padding mode": (
        lambda n, x: readout(n, n.relu(n.c(x))),
        {"c": nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")},
        "c: Conv2d must pad with silence, padding_mode='zeros', not 'reflect'",
    ),
    "maxpool, ceil": (
        lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.MaxPool2d(2, ceil_mode=True)},
        "pool: max pooling must have dilation 1, ceil_mode=False and return_indices=False",
    ),
    "maxpool, dilation": (
        lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.MaxPool2d(2, dilation=2), "small": nn.Linear(16, 5)},
        "pool: max pooling must have dilation 1",
    ),
    "maxpool, indices": (
        lambda n, x: n.small(n.pool(block(n, x))[0].flatten(1)),
        {"pool": nn.MaxPool2d(2, return_indices=True)},
        "pool: max pooling must",
    ),
    "F.max_pool2d, ceil": (
        lambda n, x: n.small(F.max_pool2d(block(n, x), 2, ceil_mode=True).flatten(1)),
        {},
        "max_pool2d: max pooling must",
    ),
    "avgpool, ceil": (
        lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.AvgPool2d(2, ceil_mode=True)},
        "pool: average pooling must have ceil_mode=False, divisor_override=None and count_include_pad=True",
    ),
    "avgpool, divisor": (
        lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.AvgPool2d(2, divisor_override=3)},
        "pool: average pooling must",
    ),
    "avgpool, pad not counted": (
        lambda n, x: n.small(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.AvgPool2d(2, padding=1, count_include_pad=False), "small": nn.Linear(64, 5)},
        "pool: average pooling must",
    ),
    "adaptive, to a size of its own": (
        lambda n, x: n.out(n.pool(block(n, x)).flatten(1)),
        {"pool": nn.AdaptiveAvgPool2d(3), "out": nn.Linear(36, 5)},
        "network Net: what it computes depends on the size of an image; give prepare",
    ),
    "mean of channels": (
        lambda n, x: n.small(block(n, x).mean(1).flatten(1)),
        {},
        r"mean: mean must be over the image, dim=\(2, 3\), not 1",
    ),
    "mean of all": (lambda n, x: block(n, x).mean(), {}, "mean: mean must be over the image"),
    "two convolutions": (
        lambda n, x: readout(n, n.again(n.conv(x)).relu()),
        {},
        "again: it reads 'conv' before that has fired; put an nn.ReLU after 'conv'",
    ),
    "conv, avgpool": (
        lambda n, x: n.small(n.relu(F.avg_pool2d(n.conv(x), 2)).flatten(1)),
        {},
        "avg_pool2d: it reads 'conv' before that has fired",
    ),
    "norm after relu": (
        lambda n, x: readout(n, n.norm(block(n, x))),
        {},
        "norm: batch norm must directly follow a Conv2d or Linear",
    ),
    "norm after maxpool": (
        lambda n, x: n.small(n.relu(n.norm(F.max_pool2d(n.conv(x), 2))).flatten(1)),
        {},
        "norm: batch norm must directly follow",
    ),
    "norm after add": (
        lambda n, x: readout(n, n.relu(n.norm(n.conv(x) + n.relu(n.down(x))))),
        {},
        "norm: batch norm must directly follow",
    ),
    "norm twice": (
        lambda n, x: readout(n, n.relu(n.norm(n.norm(n.conv(x))))),
        {},
        "norm: batch norm must directly follow",
    ),
    "norm without statistics": (
        lambda n, x: readout(n, n.relu(n.norm(n.conv(x)))),
        {"norm": nn.BatchNorm2d(4, track_running_stats=False)},
        "norm: batch norm must have running statistics",
    ),
    "sum of a membrane that another reads": (
        lambda n, x: (lambda u: readout(n, n.relu(u + n.down(x)) + n.relu(u)))(n.conv(x)),
        {},
        "it reads 'conv', which has not fired and which",
    ),
    "sum after flatten": (
        lambda n, x: n.fc(n.relu(n.flatten(n.conv(x)) + n.flatten(block(n, x)))),
        {},
        "add: .*must be added before flatten of 'conv'|add: it reads 'conv'",
    ),
    "sum with alpha": (
        lambda n, x: readout(n, torch.add(block(n, x), n.relu(n.down(x)), alpha=2)),
        {},
        "add: add cannot be converted with alpha=2",
    ),
    "sum with a number": (lambda n, x: readout(n, block(n, x) + 1), {}, "add: a factor or shift must directly follow"),
    "number plus image": (lambda n, x: readout(n, 1 + block(n, x)), {}, "add: a factor or shift must directly follow"),
    "sum with a size": (lambda n, x: readout(n, block(n, x) + x.size(0)), {}, "add: a number read off a shape cannot"),
    "product": (lambda n, x: readout(n, block(n, x) * 0.5), {}, "mul: a factor or shift must directly follow"),
    "gate": (
        lambda n, x: readout(n, block(n, x) * n.relu(n.down(x))),
        {},
        "mul: the function 'mul' of two images cannot be converted; replace it by nothing: a gate multiplies",
    ),
    "no factor": (lambda n, x: readout(n, n.relu(1 / n.conv(x))), {}, "truediv: it must be a factor or a shift"),
    "cat of rows": (
        lambda n, x: n.out(torch.cat([block(n, x), n.relu(n.down(x))], 2).flatten(1)),
        {"out": nn.Linear(288, 5)},
        "cat: cat must be along the channels, dim=1, not 2",
    ),
    "cat before it fires": (
        lambda n, x: n.out(torch.cat([n.conv(x), n.relu(n.down(x))], 1).flatten(1)),
        {"out": nn.Linear(288, 5)},
        "it reads 'conv' before that has fired; put an nn.ReLU after 'conv'",
    ),
    "cat as the last": (
        lambda n, x: torch.cat([block(n, x), n.relu(n.down(x))], 1),
        {},
        "cat: the last layer must be linear or an average",
    ),
    "norm after cat": (
        lambda n, x: n.out(n.relu(n.norm(torch.cat([n.conv(x), n.conv(x)], 1))).flatten(1)),
        {"norm": nn.BatchNorm2d(8), "out": nn.Linear(288, 5)},
        "norm: batch norm must directly follow",
    ),
    "normalised input, zeros around it": (
        lambda n, x: n.out(n.relu(n.no(F.pad((x - 0.5) / 0.2, (1, 1, 1, 1)))).flatten(1)),
        {"no": nn.Conv2d(2, 4, 3), "out": nn.Linear(144, 5)},
        "images that 'truediv' scales or shifts must be read by a Conv2d",
    ),
    "normalised input, pooled": (
        lambda n, x: n.out(n.relu(n.no(F.max_pool2d(x * 2, 2))).flatten(1)),
        {"no": nn.Conv2d(2, 4, 1), "out": nn.Linear(36, 5)},
        "images that 'mul' scales or shifts must be read by a Conv2d",
    ),
    "some rows of an image": (
        lambda n, x: readout(n, block(n, n.relu(n.down(x))[:, :2, 2:])),
        {"fc": nn.Linear(96, 5)},
        "getitem: of an image only channels and every so many rows and columns can be taken",
    ),
    "pixels around a sum": (
        lambda n, x: n.out((F.pad(block(n, x), (1, 1, 1, 1)) + n.relu(n.wide(x))).flatten(1)),
        {"wide": nn.Conv2d(2, 4, 1, padding=1), "out": nn.Linear(256, 5)},
        "pad: pad must give a map again",
    ),
    "channels of ones": (
        lambda n, x: n.out(F.pad(block(n, x), (0, 0, 0, 0, 1, 1), value=1.0).flatten(1)),
        {"out": nn.Linear(216, 5)},
        "pad: pad can only put zeros around",
    ),
    "attribute": (
        lambda n, x: readout(n, block(n, x).mT),
        {},
        "getattr_1: the attribute 'mT' of an image cannot be converted",
    ),
    "transposed": (
        lambda n, x: readout(n, n.relu(n.again(block(n, x).transpose(2, 3)))),
        {},
        "transpose: transpose must give a map again",
    ),
    "upsampled smoothly": (
        lambda n, x: n.out(n.up(block(n, x)).flatten(1)),
        {"up": nn.Upsample(scale_factor=2, mode="bilinear"), "out": nn.Linear(576, 5)},
        "up: upsampling must repeat pixels, mode='nearest', not 'bilinear'",
    ),
    "flatten of the batch": (
        lambda n, x: readout(n, block(n, x)).flatten(),
        {},
        r"flatten: flatten must be from axis 1 to the last, not \(0, -1\)",
    ),
    "Flatten(2)": (
        lambda n, x: n.out(n.flat(block(n, x))),
        {"flat": nn.Flatten(2), "out": nn.Linear(36, 5)},
        r"flat: flatten must be from axis 1",
    ),
    "view to a fixed batch": (
        lambda n, x: n.fc(block(n, x).view(3, -1)),
        {},
        r"view: view can only flatten, as x.view\(x.size\(0\), -1\), not to \[3, -1\]",
    ),
    "view across images": (
        lambda n, x: n.fc(block(n, x).view(-1, 2, 72).flatten(0, 1).view(-1, 144)),
        {},
        r"view: view can only flatten, .*no size of a square image fits; give prepare\(net, example=images\)",
    ),
    "view by channels": (
        lambda n, x: n.out((lambda y: y.reshape(y.size(1), -1))(block(n, x))),
        {"out": nn.Linear(108, 5)},
        "reshape: reshape can only flatten",
    ),
    "functional conv": (
        lambda n, x: readout(n, F.relu(F.conv2d(x, n.conv.weight, padding=1))),
        {},
        "conv.weight: a bare parameter or tensor cannot",
    ),
    "parameter": (
        lambda n, x: readout(n, block(n, x) + n.fc.bias[0]),
        {},
        "add: a factor or shift must directly follow",
    ),
    "parameter as weights": (
        lambda n, x: readout(n, n.relu(F.conv2d(x, n.conv.weight, padding=1))),
        {},
        "conv.weight: a bare parameter",
    ),
    "new tensor": (
        lambda n, x: readout(n, block(n, x) + torch.ones(1, dtype=torch.float64)),
        {},
        "add: a factor or shift must directly follow",
    ),
    "fires last": (
        lambda n, x: F.relu(readout(n, block(n, x))),
        {},
        "fc: the last layer must be linear .* not one that fires",
    ),
    "pools last": (
        lambda n, x: F.max_pool2d(n.conv(x), 2),
        {},
        "max_pool2d: the last layer must be linear .* or pools",
    ),
    "two sizes of output": (
        lambda n, x: (n.conv(x), n.few(x)),
        {"few": nn.Conv2d(2, 4, 3, 2)},
        "output: several outputs must have the same rows and columns",
    ),
    "an output that fires": (
        lambda n, x: (lambda y: (readout(n, y), y))(block(n, x)),
        {},
        "conv: the last layer must be linear",
    ),
    "a size": (lambda n, x: block(n, x).size(), {}, "output: a network must return a tensor, or several"),
    "control flow": (control_flow, {}, "network Net: torch.fx cannot trace it: .*must be a fixed sequence of layers"),
    "modes differ": (modes_differ, {}, "network Net: its forward must compute the same in training and in evaluation"),
    "dropout in evaluation": (
        lambda n, x: readout(n, F.dropout(block(n, x), 0.3)),
        {},
        "dropout: dropout must be given training=self.training",
    ),
    "other dropout": (
        lambda n, x: readout(n, n.drop(block(n, x))),
        {"drop": nn.AlphaDropout()},
        "drop: AlphaDropout cannot be converted; replace it by nn.Dropout",
    ),
    "membrane read twice": (
        two_readers,
        {"pool": nn.MaxPool2d(3, 1, 1)},
        "relu: it reads 'conv', which has not fired and which 'pool' reads too; put one nn.ReLU",
    ),
    "membrane and its spikes": (
        lambda n, x: readout(n, (lambda u: F.relu(u + F.relu(u)))(n.conv(x))),
        {},
        "it reads 'conv', which has not fired",
    ),
    "add in place, discarded": (
        add_discarded,
        {},
        "add_: it changes 'again' in place, which 'relu_1' reads afterwards; use its result instead",
    ),
    "relu in place, discarded": (
        relu_discarded,
        {},
        "relu_1: it changes 'fc' in place, which 'output' reads afterwards",
    ),
    "module in place, discarded": (module_discarded, {"relu": nn.ReLU(inplace=True)}, "relu: it changes 'fc' in place"),
    "clamp in place, discarded": (
        clamp_discarded,
        {},
        "clamp_: it changes 'relu' in place, which 'flatten' reads afterwards",
    ),
    "view in place, discarded": (view_discarded, {}, "mul_: it changes 'relu' in place"),
    "old name after +=": (stale, {}, "iadd: it changes 'relu' in place, which 'again' reads afterwards"),
    "result of an operation in place, changed": (other_name, {}, "add_: it changes 'relu' in place"),
    "view by channels, of shape": (
        lambda n, x: n.out((lambda y: y.view(y.shape[1], -1))(block(n, x))),
        {"out": nn.Linear(108, 5)},
        "view: view can only flatten",
    ),
    "item set": (indexed, {}, "network Net: torch.fx cannot trace it"),
}


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


PATCHED: dict[str, tuple[Any, str, Any, str]] = {
    "class": (nn.ReLU, "forward", lambda self, x: x.clamp(0, 0.25), "relu: forward of ReLU was replaced"),
    "convolution": (nn.Conv2d, "_conv_forward", lambda self, x, w, b: x, "_conv_forward of Conv2d was replaced"),
    "call": (nn.Conv2d, "__call__", lambda self, x: x, "__call__ of Conv2d was replaced"),
    "function": (F, "relu", lambda x, inplace=False: x, "torch.nn.functional.relu was replaced"),
}


@pytest.mark.parametrize("label", PATCHED)
def test_replaced_forwards_of_torch_are_refused(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, function, text = PATCHED[label]
    net = Net(lambda n, x: readout(n, n.relu(n.conv(x))))
    prepare(net)
    monkeypatch.setattr(owner, name, function, raising=False)
    with pytest.raises(UnsupportedError, match=text):
        prepare(net)
    monkeypatch.undo()
    prepare(net)


@pytest.mark.parametrize("path", ["conv", "relu", "flatten", "fc", ""])
def test_forwards_replaced_on_an_instance_are_refused(path: str) -> None:
    net = Net(lambda n, x: readout(n, n.relu(n.conv(x))))
    module = net.get_submodule(path)
    forward = module.forward
    module.forward = lambda x: forward(x) * 0.5
    with pytest.raises(UnsupportedError, match=f"{path or 'Net'}: its forward was replaced on the instance"):
        prepare(net)
    del module.forward
    prepare(net)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_global_hooks_are_refused(kind: str) -> None:
    net = Net(lambda n, x: readout(n, n.relu(n.conv(x))))
    handle = getattr(nn.modules.module, f"register_module_{kind}")(lambda module, *rest: None)
    try:
        with pytest.raises(UnsupportedError, match=r"global module hooks .* cannot be converted; remove them"):
            prepare(net)
    finally:
        handle.remove()
    prepare(net)


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
