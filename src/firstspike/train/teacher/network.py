"""The network: a whitening layer, three groups of convolutions with batch norm and GELU, a linear read-out."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.arith import checks
from firstspike.cat.convolution import convolve

WHITENING_FILTERS = 24
"""Twelve directions of 2x2 RGB patches, each with both signs."""

WHITENING_FLOOR = 5e-4
"""Added to the variance of a direction before it is divided by."""

READ_OUT = 1 / 9
"""Factor on the logits."""


class TeacherNetwork(nn.Module):
    """A float network of the kind that trains fastest on CIFAR-10 (Jordan 2024, arXiv 2404.00498).

    A 2x2 convolution with fixed weights whitens patches of the image, and a group of convolutions, the first one with
    pooling behind it, halves the map three times. Convolutions begin as the identity on their first channels; batch
    norm has a bias and no factor.

    Args:
        classes: number of logits.
        widths: channels of the three groups.
        depth: convolutions a group, 2 or 3; with 3 the last has a residual connection.
        side: height and width of the images in pixels, at least 16.

    Attributes:
        shape: the arguments, by which a file builds the network again.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, classes: int, widths: Sequence[int], depth: int = 2, side: int = 32) -> None:
        super().__init__()
        checks.integer("classes", classes, low=1, high=1 << 20)
        checks.integer("network.depth", depth, low=2, high=3)
        checks.integer("side", side, low=16, high=1 << 12)
        if len(widths) != 3:
            raise ValueError(f"network.widths must be three numbers of channels, not {list(widths)!r}")
        for width in widths:
            checks.integer("network.widths", width, low=WHITENING_FILTERS, high=1 << 14)
        self.whiten = nn.Conv2d(3, WHITENING_FILTERS, 2)
        self.whiten.weight.requires_grad_(False)
        self.shape = {"classes": classes, "widths": list(widths), "depth": depth, "side": side}
        inputs = (WHITENING_FILTERS, *widths[:2])
        self.groups = nn.Sequential(*(ConvolutionGroup(i, o, depth) for i, o in zip(inputs, widths, strict=True)))
        self.head = nn.Linear(widths[2], classes, bias=False)
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("deviation", torch.ones(1, 3, 1, 1))

    def measure(self, images: Tensor) -> None:
        """Take mean and deviation of ``images`` ``[n, 3, H, W]`` in [0, 1], and whiten their 2x2 patches from now on."""
        self.mean.copy_(images.mean((0, 2, 3), keepdim=True))
        self.deviation.copy_(images.std((0, 2, 3), keepdim=True))
        patches = functional.unfold((images - self.mean) / self.deviation, 2)
        patches = patches.transpose(1, 2).flatten(0, 1).double()
        variance, directions = torch.linalg.eigh(patches.t() @ patches / len(patches))
        filters = (directions / (variance + WHITENING_FLOOR).sqrt()).t().flip(0).view(-1, 3, 2, 2)
        with torch.no_grad():
            self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, classes]`` of images ``[n, 3, H, W]`` in [0, 1]."""
        x = (x - self.mean) / self.deviation
        x = functional.gelu(self.whiten(x.contiguous(memory_format=torch.channels_last)))
        x = self.groups(x).amax((2, 3))
        logits: Tensor = self.head(x) * READ_OUT
        return logits


class ConvolutionGroup(nn.Module):
    """Convolutions with batch norm and GELU; a 2x2 pooling behind the first, a residual connection over the third."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        channels = [inputs, *[outputs] * depth]
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs, momentum=0.4) for _ in range(depth))
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.dirac_(convolution.weight.data[: convolution.in_channels])
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[n, outputs, H / 2, W / 2]`` of maps ``[n, inputs, H, W]``."""
        first = x
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            assert isinstance(convolution, nn.Conv2d)
            y = convolve(convolution, x, convolution.weight, None)
            y = norm(functional.max_pool2d(y, 2) if index == 0 else y)
            x = functional.gelu(y + first if index == 2 else y)
            first = x if index == 0 else first
        return x
