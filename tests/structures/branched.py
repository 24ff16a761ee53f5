"""Concatenations: SqueezeNet, GoogLeNet, Inception, DenseNet, PNASNet, Xception, a U-Net."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Fire(nn.Module):
    def __init__(self, in_channel: int, out_channel: int, squeeze: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(in_channel, squeeze, 1), nn.BatchNorm2d(squeeze), nn.ReLU(inplace=True))
        half = out_channel // 2
        self.expand_1x1 = nn.Sequential(nn.Conv2d(squeeze, half, 1), nn.BatchNorm2d(half), nn.ReLU(inplace=True))
        self.expand_3x3 = nn.Sequential(
            nn.Conv2d(squeeze, half, 3, padding=1), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand_1x1(x), self.expand_3x3(x)], 1)


class SqueezeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)
        )
        self.fire2 = Fire(8, 16, 4)
        self.fire3 = Fire(16, 16, 4)
        self.conv10 = nn.Conv2d(16, 10, 1)
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.maxpool = nn.MaxPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        f2 = self.fire2(x)
        f3 = self.fire3(f2) + f2
        f3 = self.maxpool(f3)
        c10 = self.conv10(f3)
        x = self.avg(c10)
        return x.view(x.size(0), -1)


def conv_bn_relu(inputs: int, outputs: int, **options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, bias=False, **options),  # type: ignore[arg-type]
        nn.BatchNorm2d(outputs),
        nn.ReLU(True),
    )


class Inception(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.b1 = conv_bn_relu(inputs, 8, kernel_size=1)
        self.b2 = nn.Sequential(conv_bn_relu(inputs, 4, kernel_size=1), conv_bn_relu(4, 8, kernel_size=3, padding=1))
        self.b3 = nn.Sequential(
            conv_bn_relu(inputs, 4, kernel_size=1),
            conv_bn_relu(4, 4, kernel_size=3, padding=1),
            conv_bn_relu(4, 4, kernel_size=3, padding=1),
        )
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv_bn_relu(inputs, 4, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        y1 = self.b1(x)
        y2 = self.b2(x)
        y3 = self.b3(x)
        y4 = self.b4(x)
        return torch.cat([y1, y2, y3, y4], 1)


class GoogLeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pre_layers = conv_bn_relu(3, 8, kernel_size=3, padding=1)
        self.a3 = Inception(8)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.a4 = Inception(24)
        self.avgpool = nn.AvgPool2d(16, stride=1)
        self.linear = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.pre_layers(x)
        out = self.a3(out)
        out = self.maxpool(out)
        out = self.a4(out)
        out = self.avgpool(out)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class InceptionB(nn.Module):
    """A reduction of Inception v3, and a factorised 1x7 and 7x1 branch."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = conv_bn_relu(inputs, 8, kernel_size=3, stride=2, padding=1)
        self.branch7x7 = nn.Sequential(
            conv_bn_relu(inputs, 4, kernel_size=1),
            conv_bn_relu(4, 4, kernel_size=(7, 1), padding=(3, 0)),
            conv_bn_relu(4, 4, kernel_size=(1, 7), padding=(0, 3)),
            conv_bn_relu(4, 8, kernel_size=3, stride=2, padding=1),
        )
        self.branchpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.branch3x3(x), self.branch7x7(x), self.branchpool(x)]
        return torch.cat(outputs, 1)


class InceptionNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 8, kernel_size=3, padding=1, stride=2)
        self.mixed = InceptionB(8)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout2d()
        self.linear = nn.Linear(24, 10)
        self.auxiliary = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.mixed(self.stem(x))
        x = self.dropout(self.avgpool(x))
        x = x.view(x.size(0), -1)
        if self.training:
            return self.linear(x), self.auxiliary(x)
        return self.linear(x)


class DenseLayer(nn.Module):
    def __init__(self, in_planes: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, 4 * growth, kernel_size=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return torch.cat([out, x], 1)


class Transition(nn.Module):
    def __init__(self, in_planes: int, out_planes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_planes)
        self.conv = nn.Conv2d(in_planes, out_planes, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(F.relu(self.bn(x)))
        return F.avg_pool2d(out, 2)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        self.dense1 = nn.Sequential(DenseLayer(8, 4), DenseLayer(12, 4))
        self.trans1 = Transition(16, 8)
        self.dense2 = nn.Sequential(DenseLayer(8, 4))
        self.bn = nn.BatchNorm2d(12)
        self.linear = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x)
        out = self.trans1(self.dense1(out))
        out = self.dense2(out)
        out = F.avg_pool2d(F.relu(self.bn(out)), 16)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class SeparableConvolution(nn.Module):
    """A depthwise convolution with batch norm, without activation."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            inputs, outputs, kernel_size, stride, padding=(kernel_size - 1) // 2, bias=False, groups=inputs
        )
        self.bn1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x))


class PNASCell(nn.Module):
    def __init__(self, in_planes: int, out_planes: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.sep_conv1 = SeparableConvolution(in_planes, out_planes, kernel_size=7, stride=stride)
        if stride == 2:
            self.conv1 = nn.Conv2d(in_planes, out_planes, kernel_size=1, bias=False)
            self.bn1 = nn.BatchNorm2d(out_planes)

    def forward(self, x: Tensor) -> Tensor:
        y1 = self.sep_conv1(x)
        y2 = F.max_pool2d(x, kernel_size=3, stride=self.stride, padding=1)
        if self.stride == 2:
            y2 = self.bn1(self.conv1(y2))
        return F.relu(y1 + y2)


class PNASNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = PNASCell(8, 8)
        self.layer2 = PNASCell(8, 16, 2)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        out = F.avg_pool2d(out, 16)
        return self.linear(out.view(out.size(0), -1))


class XceptionBlock(nn.Module):
    """Depthwise and pointwise convolution in a row, the depthwise one without activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        residual = F.max_pool2d(F.relu(self.norm(self.pointwise(self.depthwise(x)))), 3, stride=2, padding=1)
        return F.relu(residual + self.shortcut(x))


class Xception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry = conv_bn_relu(3, 8, kernel_size=3, padding=1)
        self.block = XceptionBlock(8, 16)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.block(self.entry(x)))
        return self.fc(x.flatten(1))


class UNet(nn.Module):
    """Two levels; logits for every pixel."""

    shape = (1, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.down = conv_bn_relu(1, 8, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.bottom = conv_bn_relu(8, 16, kernel_size=3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge = conv_bn_relu(24, 8, kernel_size=3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        x = self.up(self.bottom(self.pool(skip)))
        return self.out(self.merge(torch.cat([x, skip], dim=1)))


class DilatedNet(nn.Module):
    """A context network: dilated convolutions in a row, and branches of several dilations (atrous pyramid)."""

    shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 8, kernel_size=3, padding=1)
        self.context = nn.Sequential(
            conv_bn_relu(8, 8, kernel_size=3, padding=2, dilation=2),
            conv_bn_relu(8, 8, kernel_size=3, padding=4, dilation=4),
        )
        self.branches = nn.ModuleList(conv_bn_relu(8, 4, kernel_size=3, padding=d, dilation=d) for d in (1, 2, 3))
        self.project = conv_bn_relu(12, 8, kernel_size=1)
        self.classifier = nn.Conv2d(8, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.context(self.stem(x))
        x = self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
        return self.classifier(F.adaptive_avg_pool2d(x, 1)).flatten(1)


class SubPixelNet(nn.Module):
    """Efficient sub-pixel convolution (arXiv 1609.05158): an image of twice the size, and a ReLU6 on the way."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, padding="same")
        self.conv2 = nn.Conv2d(8, 8, 3, padding="same")
        self.conv3 = nn.Conv2d(8, 16, 3, padding="same")
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.conv1(x))
        x = F.relu6(self.conv2(x))
        return self.last(self.pixel_shuffle(F.relu(self.conv3(x))))


class TwoHeads(nn.Module):
    """A trunk with a class and a box, as detectors of one object have."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_bn_relu(3, 8, kernel_size=3, padding=1, stride=2),
            conv_bn_relu(8, 16, kernel_size=3, padding=1, stride=2),
        )
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.classes = nn.Linear(16, 10)
        self.hidden = nn.Linear(16, 12)
        self.box = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.pool(self.trunk(x)).flatten(1)
        return {"classes": self.classes(x), "box": self.box(F.relu(self.hidden(x)))}
