"""`adapt`: what is changed is told, what is told exact is exact, and the result is what `prepare` takes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import firstspike as fs


class Inverted(nn.Module):
    """MobileNetV2's block: its narrow end has no activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * 2
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Mobile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.a, self.b, self.c = Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.c(self.b(self.a(self.stem(x)))), 1)
        logits: Tensor = self.fc(F.dropout(x.view(x.size(0), -1), 0.2, training=self.training))
        return logits


class PreActivation(nn.Module):
    """Batch norm before the activation, after a sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(x))
        shortcut = x if self.short is None else self.short(y)
        y = self.conv(y)
        y += shortcut
        return y


class PreActivationNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 8, 3, 1, 1), PreActivation(8, 8, 1), PreActivation(8, 16, 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.b(self.a(self.conv(x))))
        logits: Tensor = self.fc(F.avg_pool2d(x, x.shape[2:]).flatten(1))
        return logits


class Residual(nn.Module):
    """A projection shortcut; activations other than ReLU, as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.short = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.stem(x))
        x = F.leaky_relu(self.norm(self.conv(x)) + self.short(x), 0.1)
        logits: Tensor = self.fc(F.avg_pool2d(x, 4).view(x.size(0), -1))
        return logits


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )


CASES: dict[str, tuple[Any, list[str]]] = {
    "MobileNetV2": (
        Mobile,
        [
            "stem.2: SiLU -> ReLU",
            "a.add: no activation -> ReLU, before 'b.body.0' reads it",
            "b.body.7: no activation -> ReLU, since 'c.body.0' and 'c.add_1' read it",
            "c.add_1: no activation -> ReLU, before 'adaptive_avg_pool2d' reads it",
        ],
    ),
    "pre-activation": (
        PreActivationNet,
        [
            "conv: no activation -> ReLU, since 'a.norm' and 'a.iadd' read it",
            "a.norm: BatchNorm of spikes -> a depthwise 1x1 convolution of weight 1 before it (exact)",
            "a.iadd: no activation -> ReLU, before 'b.norm' reads it",
            "b.norm: BatchNorm of spikes -> a depthwise 1x1 convolution of weight 1 before it (exact)",
        ],
    ),
    "residual": (
        Residual,
        [
            "gelu: gelu -> ReLU",
            "leaky_relu: leaky_relu -> ReLU",
        ],
    ),
    "norm after pooling": (pooled, ["2: BatchNorm after max pooling -> before '1' (exact)"]),
    "nothing": (lambda: nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)), []),
}

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def trained(make: Any) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = make().double()
    for _ in range(3):
        net(torch.rand(8, 3, 8, 8).double())
    return net


@pytest.mark.parametrize("label", CASES)
def test_changes_are_told_and_the_result_converts(label: str) -> None:
    make, expected = CASES[label]
    net = trained(make)
    state, before = net.state_dict(), net.eval()(IMAGES).detach()
    adapted, changes = fs.adapt(net, example=IMAGES)
    assert [str(change) for change in changes] == expected
    assert str(changes) == ("\n".join(expected) or "nothing was changed")
    assert torch.equal(net(IMAGES), before)  # it is left as it is
    assert not {id(p) for p in net.parameters()} & {id(p) for p in adapted.parameters()}
    after = adapted.eval()(IMAGES)
    if all(change.exact for change in changes):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    else:
        assert not torch.allclose(after, before)
    assert state.keys() <= adapted.state_dict().keys()
    cat = fs.prepare(adapted, example=IMAGES).eval()
    torch.testing.assert_close(cat(IMAGES), after, rtol=1e-12, atol=1e-12)
    cat.stage = "quantised"
    fs.convert(cat, example=IMAGES)


def test_the_result_trains_and_takes_other_batches() -> None:
    net = trained(Mobile).train()
    net.get_submodule("a.body.1").eval()
    adapted, _ = fs.adapt(net)
    assert adapted.training
    assert not adapted.get_submodule("a.body.1").training
    for count in (2, 5):
        adapted(torch.rand(count, 3, 16, 16).double()).sum().backward()
    assert not torch.equal(adapted(IMAGES), adapted(IMAGES))  # the dropout of a function is there


@pytest.mark.parametrize("norm", [nn.LayerNorm([4, 8, 8]), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)])
def test_norms_that_look_at_single_images_are_refused(norm: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    with pytest.raises(fs.UnsupportedError, match=r"1: \w+Norm\w* cannot be adapted; replace it by nn.BatchNorm2d"):
        fs.adapt(net)
