"""Residual networks: both shortcuts, before and after activation, wide, grouped, recalibrated, aggregated."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LambdaLayer(nn.Module):
    def __init__(self, lambd: object) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return self.lambd(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; shortcut "A" pads channels with zeros, "B" projects."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, option: str = "B") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or in_planes != planes:
            if option == "A":
                self.shortcut = LambdaLayer(
                    lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)
                )
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(planes)
                )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, option: str, widths: tuple[int, ...] = (8, 16, 32)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        blocks: list[nn.Module] = []
        before = widths[0]
        for index, width in enumerate(widths):
            blocks.append(BasicBlock(before, width, 1 if index == 0 else 2, option))
            before = width
        self.layers = nn.Sequential(*blocks)
        self.linear = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layers(out)
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


def resnet_padded() -> ResNet:
    return ResNet("A")


def resnet_projected() -> ResNet:
    return ResNet("B")


class Bottleneck(nn.Module):
    def __init__(self, in_planes: int, planes: int, stride: int = 1, *, groups: int = 1, expansion: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, expansion * planes, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(expansion * planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != expansion * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, expansion * planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(expansion * planes),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return F.relu(out)


class Stack(nn.Module):
    """A stem, blocks, a global average and a read-out."""

    def __init__(self, blocks: nn.Module, before: int, after: int, side: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, before, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.blocks = blocks
        self.side = side
        self.linear = nn.Linear(after, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.blocks(out)
        out = F.avg_pool2d(out, self.side)
        out = out.view(out.size(0), -1)
        return self.linear(out)


def resnet_bottleneck() -> Stack:
    return Stack(nn.Sequential(Bottleneck(8, 4), Bottleneck(16, 8, 2)), 8, 32)


def resnext() -> Stack:
    return Stack(
        nn.Sequential(Bottleneck(8, 8, groups=4, expansion=2), Bottleneck(16, 16, 2, groups=4, expansion=2)), 8, 32
    )


class PreActBlock(nn.Module):
    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        out += shortcut
        return out


class PreActResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.layer1 = PreActBlock(8, 8)
        self.layer2 = PreActBlock(8, 16, 2)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x)
        out = self.layer1(out)
        out = self.layer2(out)
        out = F.avg_pool2d(out, 16)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class WideBlock(nn.Module):
    """A block of Wide ResNets (arXiv 1605.07146): before activation, with dropout."""

    def __init__(self, in_planes: int, out_planes: int, stride: int, drop_rate: float = 0.3) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_planes)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_planes, out_planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.drop_rate = drop_rate
        self.equal = in_planes == out_planes
        self.shortcut = (
            None if self.equal else nn.Conv2d(in_planes, out_planes, kernel_size=1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.equal:
            x = self.relu1(self.bn1(x))
        else:
            out = self.relu1(self.bn1(x))
        out = self.relu2(self.bn2(self.conv1(out if self.equal else x)))
        if self.drop_rate > 0:
            out = F.dropout(out, p=self.drop_rate, training=self.training)
        out = self.conv2(out)
        return torch.add(x if self.shortcut is None else self.shortcut(x), out)


class WideResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.block1 = WideBlock(8, 16, 1)
        self.block2 = WideBlock(16, 32, 2)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x)
        out = self.block1(out)
        out = self.block2(out)
        out = self.relu(self.bn1(out))
        out = F.avg_pool2d(out, 16)
        out = out.view(-1, 32)
        return self.fc(out)


class StochasticDepthBlock(nn.Module):
    """A residual block that training skips at random (arXiv 1603.09382); evaluation scales it."""

    def __init__(self, planes: int, keep: float) -> None:
        super().__init__()
        self.keep = keep
        self.conv1 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(1).item() > self.keep:
            return x
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if not self.training:
            out = out * self.keep
        return F.relu(out + x)


def stochastic_depth() -> Stack:
    return Stack(nn.Sequential(StochasticDepthBlock(8, 0.5)), 8, 8, side=32)


class SqueezeExcitation(nn.Module):
    """A block of SENet: channels are multiplied by a gate."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.fc1 = nn.Conv2d(planes, planes // 4, kernel_size=1)
        self.fc2 = nn.Conv2d(planes // 4, planes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        w = F.avg_pool2d(out, out.size(2))
        w = F.relu(self.fc1(w))
        w = torch.sigmoid(self.fc2(w))
        out = out * w
        out += x
        return F.relu(out)


def senet() -> Stack:
    return Stack(nn.Sequential(SqueezeExcitation(8)), 8, 8, side=32)


class RegNetBlock(nn.Module):
    """A block of RegNetX."""

    def __init__(self, w_in: int, w_out: int, stride: int, group_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(w_in, w_out, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w_out)
        self.conv2 = nn.Conv2d(
            w_out, w_out, kernel_size=3, stride=stride, padding=1, groups=w_out // group_width, bias=False
        )
        self.bn2 = nn.BatchNorm2d(w_out)
        self.conv3 = nn.Conv2d(w_out, w_out, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(w_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or w_in != w_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(w_in, w_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(w_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return F.relu(out)


def regnet() -> Stack:
    return Stack(nn.Sequential(RegNetBlock(8, 8, 1, 4), RegNetBlock(8, 16, 2, 4)), 8, 16)


class RepVGGBlock(nn.Module):
    """A 3x3 and a 1x1 convolution and an identity, each with batch norm, in one sum (arXiv 2101.03697)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.point = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, 0, bias=False), nn.BatchNorm2d(outputs))
        self.identity = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.nonlinearity = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        identity = 0 if self.identity is None else self.identity(x)
        return self.nonlinearity(self.dense(x) + self.point(x) + identity)


def repvgg() -> Stack:
    return Stack(nn.Sequential(RepVGGBlock(8, 8), RepVGGBlock(8, 16, 2)), 8, 16)


class Root(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, xs: list[Tensor]) -> Tensor:
        return F.relu(self.bn(self.conv(torch.cat(xs, 1))))


class Tree(nn.Module):
    """Deep layer aggregation (arXiv 1707.06484), one level."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.left = BasicBlock(inputs, outputs, stride)
        self.right = BasicBlock(outputs, outputs)
        self.root = Root(2 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out1 = self.left(x)
        out2 = self.right(out1)
        return self.root([out1, out2])


def simple_dla() -> Stack:
    return Stack(nn.Sequential(Tree(8, 8), Tree(8, 16, 2)), 8, 16)


class DualPath(nn.Module):
    """A block of DPN: the first channels are summed, the rest are concatenated."""

    def __init__(self, inputs: int, planes: int, out_planes: int, dense: int, stride: int, first: bool) -> None:
        super().__init__()
        self.out_planes = out_planes
        self.conv1 = nn.Conv2d(inputs, planes, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_planes + dense, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_planes + dense)
        self.shortcut = nn.Sequential()
        if first:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, out_planes + dense, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_planes + dense),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        x = self.shortcut(x)
        d = self.out_planes
        out = torch.cat([x[:, :d, :, :] + out[:, :d, :, :], x[:, d:, :, :], out[:, d:, :, :]], 1)
        return F.relu(out)


def dpn() -> Stack:
    return Stack(nn.Sequential(DualPath(8, 8, 8, 4, 1, True), DualPath(16, 8, 8, 4, 1, False)), 8, 20, side=32)
