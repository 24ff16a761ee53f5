"""Networks with plain ReLU, to be prepared for conversion-aware training: VGG, ResNet-20, a MobileNet."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from firstspike.arith import checks

Plan = Sequence[int | Literal["M"]]

VGG16: Plan = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Convolutions and poolings of VGG-16 (Simonyan and Zisserman, arXiv 1409.1556, configuration D)."""

SMALL: Plan = (32, 32, "M", 64, 64, "M")
"""Four convolutions, for images of 8x8."""


def vgg(
    plan: Plan = VGG16,
    *,
    classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    hidden: Sequence[int] = (512, 512),
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A VGG: 3x3 convolutions with batch norm and ReLU, 2x2 max pooling (``"M"``), then fully connected layers.

    Args:
        plan: output channels of each convolution, ``"M"`` for a pooling.
        classes: number of logits.
        in_channels: channels of the image.
        image_size: height and width of the image in pixels; halved by every pooling.
        hidden: widths of the hidden fully connected layers.
        width: factor on every channel count and hidden width.
        dropout: probability before each fully connected layer.

    Raises:
        TypeError, ValueError: an argument breaks its rule, or the image is too small for the poolings; the text names it.
    """
    for name, count in (("classes", classes), ("in_channels", in_channels), ("image_size", image_size)):
        checks.integer(name, count, low=1, high=1 << 20)
    for entry in plan:
        if entry != "M":
            checks.integer("plan", entry, low=1, high=1 << 20)
    if not 0 < width <= 16:
        raise ValueError(f"width must be in (0, 16], not {width!r}")
    poolings = sum(entry == "M" for entry in plan)
    if image_size >> poolings < 1:
        raise ValueError(f"image_size must be at least {1 << poolings} for {poolings} poolings, not {image_size!r}")
    layers, channels = _convolutions(plan, in_channels, width)
    layers["flatten"] = nn.Flatten()
    features = channels * (image_size >> poolings) ** 2
    for number, entry in enumerate(hidden, 1):
        outputs = max(1, round(entry * width))
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers[f"linear{number}"] = nn.Linear(features, outputs, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm1d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
        features = outputs
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(features, classes)
    return _begun(nn.Sequential(OrderedDict(layers)))


def _begun(network: nn.Sequential) -> nn.Sequential:
    """The network with weights to begin a training with activations in [0, 1]."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        # with 1, a sixth of all neurons saturate: it does not train
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)
    return network


def _convolutions(plan: Plan, channels: int, width: float) -> tuple[dict[str, nn.Module], int]:
    """The layers of a plan by name, and the channels of the last one."""
    layers: dict[str, nn.Module] = {}
    block, index = 1, 0
    for entry in plan:
        if entry == "M":
            layers[f"pool{block}"] = nn.MaxPool2d(2)
            block, index = block + 1, 0
            continue
        outputs = max(1, round(entry * width))
        index += 1
        name = f"{block}_{index}"
        layers[f"conv{name}"] = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        layers[f"norm{name}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{name}"] = nn.ReLU()
        channels = outputs
    return layers, channels


def vgg16(
    *, classes: int, in_channels: int = 3, image_size: int = 32, width: float = 1.0, dropout: float = 0.0
) -> nn.Sequential:
    """VGG-16 for images of 32x32 or 64x64: 13 convolutions, two hidden layers of 512 and the read-out."""
    return vgg(VGG16, classes=classes, in_channels=in_channels, image_size=image_size, width=width, dropout=dropout)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected by a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[n, outputs, H / stride, W / stride]`` of maps ``[n, inputs, H, W]``."""
        y = self.relu1(self.norm1(self.conv1(x)))
        result: Tensor = self.relu2(self.norm2(self.conv2(y)) + self.shortcut(x))
        return result


def resnet20(classes: int = 10) -> nn.Sequential:
    """ResNet-20 for images of 32x32 (He et al. 2016, arXiv 1512.03385, section 4.2), with projection shortcuts."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            layers.append(Block(inputs, outputs, stride if index == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


MOBILENET: Plan = (64, "M", 128, 128, "M", 256, 256, "M", 512, 512)
"""Pairs of a depthwise and a pointwise convolution by the channels of the latter, and poolings."""


def mobilenet(classes: int = 10) -> nn.Sequential:
    """A small MobileNet for images of 32x32: depthwise 3x3 and pointwise convolutions (Howard et al. 2017, arXiv 1704.04861).

    Unlike theirs it is no deeper than 15 convolutions and shrinks maps by 2x2 max pooling instead of strides.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    inputs = 32
    for outputs in MOBILENET:
        if outputs == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        depthwise = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        layers += [depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), pointwise, nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return _begun(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)))
