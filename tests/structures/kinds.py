"""Small networks on images of 2 x 6 x 6, one for each kind of layer beyond the plain ones."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structures.plain_nets import Forward, Net, block, readout


def conv(*arguments: Any, **options: Any) -> dict[str, nn.Module]:
    return {"c": nn.Conv2d(2, 4, *arguments, **options)}


def shuffled(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    count, channels, height, width = y.size()
    y = y.view(count, 2, channels // 2, height, width).permute(0, 2, 1, 3, 4).reshape(count, channels, height, width)
    return readout(n, n.relu(n.grouped(y)))


def upsampled(n: Any, x: Tensor) -> Tensor:
    y = F.max_pool2d(block(n, x), 2)
    return readout(n, n.relu(n.again(F.interpolate(y, scale_factor=2, mode="nearest"))))


def unshuffled(n: Any, x: Tensor) -> Tensor:
    return n.out(F.pixel_unshuffle(n.relu(n.conv(x)), 2).flatten(1))


def tokens(n: Any, x: Tensor) -> Tensor:
    y = block(n, x).flatten(2).transpose(1, 2)
    return n.tiny(F.relu(n.mix(y)).mean(1))


def normalised(n: Any, x: Tensor) -> Tensor:
    return n.valid(n.relu(n.no((x - 0.4) / 0.25 - n.mean.view(1, -1, 1, 1))).flatten(1))


def padded(n: Any, x: Tensor) -> Tensor:
    y = (x - 0.4) / 0.25 - n.mean.view(1, -1, 1, 1)
    return readout(n, F.relu(n.norm(n.no(y)) + n.same(y)))


def scaled(n: Any, x: Tensor) -> Tensor:
    return readout(n, n.relu(n.norm(n.conv(x)) * n.gamma.view(-1, 1, 1) + 0.1))


def inverted(n: Any, x: Tensor) -> Tensor:
    y = F.relu6(3 * n.conv(x))
    y = F.relu6(n.again(y) + y)
    return readout(n, torch.cat([y[:, :2], F.max_pool2d(y, 3, 1, 1)[:, 2:]], 1))


KINDS: dict[str, tuple[Forward, dict[str, Any]]] = {
    "dilation": (lambda n, x: readout(n, n.relu(n.c(x))), conv(3, padding=2, dilation=2)),
    "dilation, stride, groups": (
        lambda n, x: n.small(n.relu(n.c(x)).flatten(1)),
        conv(3, 2, padding=(2, 3), dilation=(2, 3), groups=2),
    ),
    "same": (lambda n, x: readout(n, n.relu(n.c(x))), conv(3, padding="same")),
    "same, even": (lambda n, x: readout(n, n.relu(n.c(x))), conv((2, 4), padding="same")),
    "valid": (lambda n, x: n.valid(n.relu(n.c(x)).flatten(1)), {**conv(3, padding="valid"), "valid": nn.Linear(64, 5)}),
    "ZeroPad2d": (
        lambda n, x: n.small(n.relu(n.c(n.p(x))).flatten(1)),
        {**conv(3, 2), "p": nn.ZeroPad2d((0, 1, 1, 0))},
    ),
    "F.pad": (lambda n, x: readout(n, n.relu(n.c(F.pad(n.relu(n.down(x)), (1, 1, 1, 1))))), {"c": nn.Conv2d(4, 4, 3)}),
    "F.pad, max pool": (lambda n, x: readout(n, F.max_pool2d(F.pad(block(n, x), (1, 1, 1, 1)), 3, 1)), {}),
    "AdaptiveAvgPool2d": (lambda n, x: n.small(n.p(block(n, x)).flatten(1)), {"p": nn.AdaptiveAvgPool2d(3)}),
    "AdaptiveMaxPool2d": (lambda n, x: n.small(n.p(block(n, x)).flatten(1)), {"p": nn.AdaptiveMaxPool2d((3, 3))}),
    "global max pool": (lambda n, x: n.tiny(F.adaptive_max_pool2d(n.conv(x), 1).relu().flatten(1)), {}),
    "Upsample": (
        lambda n, x: n.out(n.u(block(n, x)).flatten(1)),
        {"u": nn.Upsample(scale_factor=(1, 2)), "out": nn.Linear(288, 5)},
    ),
    "interpolate": (upsampled, {}),
    "PixelShuffle": (
        lambda n, x: n.out(n.relu(n.one(n.u(block(n, x)))).flatten(1)),
        {"u": nn.PixelShuffle(2), "one": nn.Conv2d(1, 2, 3, 2, 1), "out": nn.Linear(72, 5)},
    ),
    "PixelUnshuffle": (unshuffled, {"out": nn.Linear(144, 5)}),
    "channel shuffle": (shuffled, {"grouped": nn.Conv2d(4, 4, 1, groups=2)}),
    "ChannelShuffle": (lambda n, x: readout(n, n.s(block(n, x))), {"s": nn.ChannelShuffle(2)}),
    "channels last": (lambda n, x: n.fc(block(n, x).permute(0, 2, 3, 1).flatten(1)), {}),
    "some rows": (lambda n, x: n.out(block(n, x)[:, :, 2:].flatten(1)), {"out": nn.Linear(96, 5)}),
    "one channel": (lambda n, x: n.out(block(n, x)[:, 1].flatten(1)), {"out": nn.Linear(36, 5)}),
    "flipped": (lambda n, x: readout(n, torch.flip(block(n, x), [1])), {}),
    "Linear on pixels": (tokens, {"mix": nn.Linear(4, 4)}),
    "ReLU6": (inverted, {}),
    "Hardtanh": (lambda n, x: readout(n, n.h(4 * n.conv(x))), {"h": nn.Hardtanh(0, 0.5)}),
    "clamp": (lambda n, x: readout(n, (4 * n.conv(x)).clamp(0, 1.5) + block(n, x).clamp(min=0)), {}),
    "normalised input, padding": (
        padded,
        {
            "no": nn.Conv2d(2, 4, 3, padding=1, bias=False),
            "norm": nn.BatchNorm2d(4),
            "same": nn.Conv2d(2, 4, (2, 3), padding="same", groups=2),
            "mean": nn.Parameter(torch.tensor([0.1, -0.2])),
        },
    ),
    "norm of the input": (lambda n, x: readout(n, block(n, n.first(x))), {"first": nn.BatchNorm2d(2)}),
    "normalised input": (
        normalised,
        {"no": nn.Conv2d(2, 4, 3), "valid": nn.Linear(64, 5), "mean": nn.Parameter(torch.zeros(2))},
    ),
    "input times two": (lambda n, x: readout(n, block(n, x * 2)), {}),
    "factors of channels": (scaled, {"gamma": nn.Parameter(torch.zeros(4))}),
}


def network(label: str) -> nn.Module:
    forward, modules = KINDS[label]
    torch.manual_seed(3)
    own = deepcopy(modules)  # what a test does to a network, another does not see
    return Net(forward, **{name: torch.nn.Parameter(m) if isinstance(m, Tensor) else m for name, m in own.items()})
