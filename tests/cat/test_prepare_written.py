"""Code as people write it: sizes asked for, axes given up one by one, wrappers, options, heads of training."""

import copy
import warnings
from typing import Any

import pytest
import torch
from structures.plain_nets import Forward, Net, batch, block, readout
from torch import Tensor, nn
from torch.nn import functional as F

from firstspike.cat.prepare import UnsupportedError, prepare


def by_sizes(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    count, channels, height, width = y.size()
    return n.fc(y.view(count, channels * height * width))


def asserts(n: Any, x: Tensor) -> Tensor:
    assert x.dim() == 4 and x.shape[1] == 2, f"not {x.shape}"
    torch._assert(x.size(-1) > 2, "too small")
    y = block(n, x)
    if y.shape[2] > 3 and y.numel() > 4 and len(y) > 0:
        y = F.max_pool2d(y, 2)
    while y.shape[-1] > 3:
        y = F.max_pool2d(y, 2)
    return n.small(y.flatten(1))


def loop(n: Any, x: Tensor) -> Tensor:
    for layer in (n.conv, n.relu, n.again, n.relu):
        x = layer(x)
    return readout(n, x)


SAME: dict[str, tuple[Forward, dict[str, nn.Module]]] = {
    "view(-1, N)": (lambda n, x: n.fc(block(n, x).view(-1, 144)), {}),
    "view(-1, N) by arithmetic": (lambda n, x: n.fc(block(n, x).view(-1, 4 * x.shape[2] * x.shape[3])), {}),
    "reshape((-1, N))": (lambda n, x: n.fc(block(n, x).reshape((-1, 144))), {}),
    "view by sizes": (by_sizes, {}),
    "view(len(x), -1)": (lambda n, x: n.fc(block(n, x).view(len(x), -1)), {}),
    "flatten(1, 3)": (lambda n, x: n.fc(block(n, x).flatten(1, 3)), {}),
    "flatten(-3)": (lambda n, x: n.fc(torch.flatten(block(n, x), -3)), {}),
    "Flatten(-3)": (lambda n, x: n.fc(n.flat(block(n, x))), {"flat": nn.Flatten(-3)}),
    "flatten in two": (lambda n, x: n.fc(block(n, x).flatten(2).flatten(1)), {}),
    "shape and back": (lambda n, x: n.fc(block(n, x).view(len(x), 4, 36).view(len(x), 4, 6, 6).flatten(1)), {}),
    "clone": (lambda n, x: readout(n, block(n, x.clone()).clone()), {}),
    "torch.clone, detach": (lambda n, x: readout(n, torch.clone(block(n, x)).detach()), {}),
    "data": (lambda n, x: readout(n, block(n, x).data), {}),
    "double": (lambda n, x: readout(n, block(n, x.double()).to(torch.float64)), {}),
    "device": (lambda n, x: readout(n, block(n, x.to(x.device)).cpu()), {}),
    "type_as": (lambda n, x: readout(n, block(n, x).type_as(x)), {}),
    "sum": (lambda n, x: readout(n, sum([block(n, x), n.relu(n.down(x))])), {}),
    "relu made in forward": (lambda n, x: readout(n, nn.ReLU()(n.conv(x))), {}),
    "two made in forward": (lambda n, x: n.fc(nn.Flatten()(nn.ReLU()(n.again(nn.ReLU(inplace=True)(n.conv(x)))))), {}),
    "forward called": (lambda n, x: n.fc.forward(n.flatten(n.relu.forward(n.norm.forward(n.conv.forward(x))))), {}),
    "asserts and branches on sizes": (asserts, {}),
    "a loop": (loop, {}),
    "chunk": (
        lambda n, x: n.halved((lambda a, b: n.relu(n.two(a)) + b)(*block(n, x).chunk(2, 1)).flatten(1)),
        {"two": nn.Conv2d(2, 2, 1), "halved": nn.Linear(72, 5)},
    ),
    "torch.split": (
        lambda n, x: n.fc((lambda a, b: torch.cat([b, a], 1))(*torch.split(block(n, x), [3, 1], dim=1)).flatten(1)),
        {},
    ),
    "split, by size": (lambda n, x: n.few(block(n, x).split(3, 1)[1].flatten(1)), {"few": nn.Linear(36, 5)}),
    "avg_pool2d of the size": (
        lambda n, x: n.tiny((lambda y: F.avg_pool2d(y, y.size()[2:]))(block(n, x)).flatten(1)),
        {},
    ),
    "avg_pool2d of one size": (lambda n, x: n.tiny((lambda y: F.avg_pool2d(y, y.size(3)))(block(n, x)).flatten(1)), {}),
}

GLOBAL: dict[str, tuple[Forward, dict[str, nn.Module]]] = {
    "squeeze": (lambda n, x: n.tiny(F.adaptive_avg_pool2d(block(n, x), 1).squeeze()), {}),
    "squeeze twice": (
        lambda n, x: n.tiny(n.gap(block(n, x)).squeeze(-1).squeeze(-1)),
        {"gap": nn.AdaptiveAvgPool2d(1)},
    ),
    "torch.squeeze": (
        lambda n, x: n.tiny(torch.squeeze(torch.squeeze(n.gap(block(n, x)), 3), 2)),
        {"gap": nn.AdaptiveAvgPool2d(1)},
    ),
    "mean(3).mean(2)": (lambda n, x: n.tiny(block(n, x).mean(3).mean(2)), {}),
    "mean(2).mean(-1)": (lambda n, x: n.tiny(block(n, x).mean([2]).mean(-1)), {}),
    "mean, kept, one by one": (lambda n, x: n.tiny(block(n, x).mean(2, keepdim=True).mean(3, True).flatten(1)), {}),
    "mean, kept, squeezed": (lambda n, x: n.tiny(block(n, x).mean((2, 3), keepdim=True).squeeze(3).squeeze(2)), {}),
    "flatten(2).mean(2)": (lambda n, x: n.tiny(block(n, x).flatten(2).mean(2)), {}),
    "view, mean": (lambda n, x: n.tiny(block(n, x).view(x.size(0), 4, -1).mean(dim=-1)), {}),
    "mean of the last, read out": (lambda n, x: block(n, x).mean(3).mean(2), {}),
}
"""Averages over the whole image."""


def check(net: nn.Module, x: Tensor, expected: Tensor, *, exact: bool, example: Tensor | None = None) -> None:
    prepared = prepare(net, example=example)
    with torch.no_grad():
        found = prepared.eval()(x).reshape(expected.shape)
    assert torch.equal(found, expected) if exact else torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("example", [False, True])
@pytest.mark.parametrize("label", SAME)
def test_prepared_is_the_plain_network(label: str, example: bool) -> None:
    if "branches" in label and not example:
        pytest.skip("what it computes depends on the size")
    forward, modules = SAME[label]
    modules = copy.deepcopy(modules)
    if label.startswith("avg_pool2d"):
        modules["conv"] = nn.Conv2d(2, 4, 3)  # 4 x 4 pixels, a power of two
    net = Net(forward, **modules).double().eval()
    with torch.no_grad():
        expected = net(batch())
    assert expected.abs().sum() > 0
    exact = not label.startswith("avg_pool2d")
    check(net, batch(), expected, exact=exact, example=batch() if example else None)


@pytest.mark.parametrize("label", GLOBAL)
def test_averages_over_the_image(label: str) -> None:
    forward, modules = GLOBAL[label]
    net = Net(forward, **{**copy.deepcopy(modules), "conv": nn.Conv2d(2, 4, 3)}).double().eval()
    prepared = prepare(net).eval()
    for size in (6, 10):  # 16 and 64 pixels: what was found holds for every size
        x = torch.rand(3, 2, size, size, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(prepared(x).flatten(1), net(x).flatten(1), rtol=1e-12, atol=1e-12)


def test_adaptive_pooling_to_a_size_that_divides() -> None:
    net = Net(lambda n, x: n.small(n.pool(block(n, x)).flatten(1)), pool=nn.AdaptiveAvgPool2d((3, 3))).double().eval()
    with torch.no_grad():
        expected = net(batch())
    check(net, batch(), expected, exact=False, example=batch())
    with pytest.raises(UnsupportedError, match="depends on the size of an image; give prepare"):
        prepare(net)
    with pytest.raises(UnsupportedError, match=r"an output size that divides the image, 7 x 7 pixels, not \(3, 3\)"):
        prepare(net, example=torch.zeros(1, 2, 7, 7))


def test_images_that_are_not_square_need_an_example() -> None:
    net = Net(lambda n, x: n.fc(block(n, x).flatten(1)), fc=nn.Linear(4 * 2 * 7, 5)).double().eval()
    with pytest.raises(
        UnsupportedError, match=r"fc: it takes 56 features, .*\(no size of a square image fits; give prepare"
    ):
        prepare(net)
    x = torch.rand(3, 2, 2, 7, dtype=torch.float64)
    check(net, x, net(x).detach(), exact=True, example=x)
    with pytest.raises(UnsupportedError, match=r"fc: it takes 56 features, not shape \(36,\)$"):
        prepare(net, example=torch.zeros(1, 2, 3, 3))


class Optional(nn.Module):
    """Arguments with defaults, and a flag that returns more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(144, 5)

    def forward(self, x: Tensor, mask: Any = None, return_features: bool = False, *args: Any, **kwargs: Any) -> Any:
        if mask is not None:
            x = x * mask
        features = F.relu(self.conv(x)).flatten(1)
        return (self.fc(features), features) if return_features else self.fc(features)


def test_arguments_with_defaults_take_them() -> None:
    net = Optional().double().eval()
    check(net, batch(), net(batch()).detach(), exact=True)


class Auxiliary(nn.Module):
    """A head that only training uses, in each of the usual forms of a result."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.conv, self.norm, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(144, 5)
        self.aux = nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Any:
        y = F.relu(self.norm(self.conv(x)))
        aux = F.relu(self.aux(y.flatten(1)), inplace=True) if self.training else None
        y = F.dropout(y.flatten(1), 0.5, training=self.training)
        if not self.training:
            return self.fc(y)
        return {"tuple": (self.fc(y), aux), "dict": {"out": self.fc(y), "aux": aux}, "list": [aux, self.fc(y)]}[
            self.form
        ]


@pytest.mark.parametrize("form", ["tuple", "dict", "list"])
def test_heads_of_training_alone_are_left(form: str) -> None:
    net = Auxiliary(form).double().eval()
    check(net, batch(), net(batch()).detach(), exact=True)
    assert "aux" not in prepare(net).layers


def test_wrappers_are_looked_through() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.DataParallel(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()))
            self.fc = nn.Linear(144, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(self.features(x).flatten(1))
            return logits

    net = Outer().double().eval()
    expected = net(batch()).detach()
    for wrapper in (net, nn.DataParallel(net), nn.DataParallel(nn.DataParallel(net))):
        check(wrapper, batch(), expected, exact=True)
    assert list(prepare(nn.DataParallel(net)).layers) == ["features_module_0", "flatten", "fc"]
    traced = torch.fx.symbolic_trace(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    )
    check(traced.double().eval(), batch(), traced(batch()).detach(), exact=True)


@pytest.mark.slow
def test_compiled_networks_are_looked_through() -> None:
    net = Optional().double().eval()
    check(torch.compile(net), batch(), net(batch()).detach(), exact=True)  # type: ignore[arg-type]


def test_what_holds_no_layers_or_no_values_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(net, torch.rand(1, 2, 6, 6))
        lazy = nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    for module, text in (
        (script, "TorchScript module holds no layers; give the nn.Module it was made of"),
        (lazy, r"0\.weight: it has no shape yet \(a lazy module\); run one batch"),
        (copy.deepcopy(net).to("meta"), r"0\.weight: it has no values \(device 'meta'\)"),
    ):
        with pytest.raises(UnsupportedError, match=text):
            prepare(module)


@pytest.mark.slow
def test_exported_networks_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    program = torch.export.export(net, (torch.rand(1, 2, 6, 6),))
    with pytest.raises(UnsupportedError, match=r"an exported module holds operations, not layers; give the nn\.Module"):
        prepare(program.module())
    with pytest.raises(TypeError, match="give the module that was exported"):
        prepare(program)


def test_a_layer_made_in_forward_has_no_weights_to_convert() -> None:
    def made(n: Any, x: Tensor) -> Tensor:
        return readout(n, n.relu(nn.Conv2d(2, 4, 3, padding=1)(x)))

    with pytest.raises(
        UnsupportedError, match="a Conv2d is no part of its network, since forward makes it or a plain list"
    ):
        prepare(Net(made))


@pytest.mark.parametrize(
    ("forward", "text"),
    [
        (lambda n, x: n.few(block(n, x).mean(3).flatten(1)), "mean: mean must be over the image"),
        (lambda n, x: readout(n, block(n, x).half().float()), "half: the function 'half' cannot be converted"),
        (lambda n, x: readout(n, block(n, x).to(torch.float16)), "to: to must keep single or double precision"),
        (
            lambda n, x: (lambda y: n.fc(y.flatten(1)) + n.one(y))(block(n, x).flatten(2)),
            "flatten: flatten must be from",
        ),
        (lambda n, x: n.tiny(block(n, x).view(len(x), -1, 4).mean(1)), "mean: mean must be over the image"),
        (
            lambda n, x: n.again(block(n, x).reshape(len(x), 9, 16)[:, :, :4].reshape(len(x), 4, 3, 3)),
            "reshape_1: reshape can only flatten",
        ),
        (
            lambda n, x: readout(n, n.relu(n.conv(x) * torch.arange(36.0).view(6, 6))),
            "mul: a factor or shift must be one",
        ),
    ],
)
def test_what_only_looks_like_it_is_refused(forward: Forward, text: str) -> None:
    with pytest.raises(UnsupportedError, match=text):
        prepare(Net(forward, few=nn.Linear(24, 5), one=nn.Linear(36, 5)).double(), example=batch())


def test_a_network_that_flattens_first_takes_images_without_an_example() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    images = torch.rand(3, 1, 2, 2)
    assert torch.equal(prepare(net)(images), net(images))
