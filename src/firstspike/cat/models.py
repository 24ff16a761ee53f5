"""VGG networks with plain ReLU, to be prepared for conversion-aware training."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from firstspike.arith import checks

Plan = Sequence[int | Literal["M"]]

VGG16: Plan = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Convolutions and poolings of VGG-16 (Simonyan and Zisserman, arXiv 1409.1556, configuration D)."""

VGG16_SLIM: Plan = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 256, 256, 256, "M", 256, 256, 256, "M")
"""VGG-16 with half the channels in its last six convolutions: a third of the weights. It is no VGG-16."""

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
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        # with 1, a sixth of all neurons saturate: it does not train
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)
    return nn.Sequential(OrderedDict(layers))


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
