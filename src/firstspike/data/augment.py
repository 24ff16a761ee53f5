"""Random crop, flip and cutout of a batch of uint8 images in a few tensor operations."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch


def generator(*seed: int) -> torch.Generator:
    """A generator for what is drawn of a batch or an epoch, by several numbers of at least 0."""
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What was drawn for each image of a batch, all int64 [n]: crop offset, flip, corner of the cutout.

    ``top`` and ``left`` are the offsets of the crop in the padded image (0..2*pad), ``flip`` is 0 or 1, and
    ``cut_top`` and ``cut_left`` are the upper left corner of the cutout in the cropped image (may lie outside).
    """

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor
    cut_top: torch.Tensor
    cut_left: torch.Tensor

    def part(self, start: int, stop: int) -> "Draw":
        """The draws of images ``start`` up to ``stop``."""
        fields = (self.top, self.left, self.flip, self.cut_top, self.cut_left)
        top, left, flip, cut_top, cut_left = (field[start:stop] for field in fields)
        return Draw(top=top, left=left, flip=flip, cut_top=cut_top, cut_left=cut_left)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Pad by ``pad`` pixels on every side, crop back at random, mirror half of the images, blank one square.

    pad: pixels added on each side before the random crop, 0 for no crop.
    padding: what is added, ``"reflect"`` (edge pixel not repeated) or ``"constant"`` (the value ``fill``).
    flip: mirror left to right with probability 1/2.
    cutout: side of a square set to ``fill``, centred on a random pixel and clipped at the border, 0 for none
        (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017).
    fill: uint8 value of constant padding and of the cutout.
    """

    pad: int = 0
    padding: Literal["reflect", "constant"] = "reflect"
    flip: bool = False
    cutout: int = 0
    fill: int = 0

    def __post_init__(self) -> None:
        for field in ("pad", "cutout", "fill"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field} must be an int, not {type(value).__name__!r}")
            if value < 0:
                raise ValueError(f"{field} must be at least 0, not {value!r}")
        if not isinstance(self.flip, bool):
            raise TypeError(f"flip must be a bool, not {type(self.flip).__name__!r}")
        if self.fill > 255:
            raise ValueError(f"fill must be at most 255, not {self.fill!r}")
        if self.padding not in ("reflect", "constant"):
            raise ValueError(f"padding must be 'reflect' or 'constant', not {self.padding!r}")

    def draw(self, n: int, height: int, width: int, generator: torch.Generator) -> Draw:
        """Draw for ``n`` images; the draws depend on the generator, ``n`` and the size only."""

        def below(limit: int) -> torch.Tensor:
            return torch.randint(limit, (n,), generator=generator)

        shift = self.cutout // 2
        return Draw(
            top=below(2 * self.pad + 1),
            left=below(2 * self.pad + 1),
            flip=below(2),
            cut_top=below(height) - shift,
            cut_left=below(width) - shift,
        )

    def apply(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Augment uint8 [n, C, H, W] as drawn; returns a new tensor of the same shape on the same device."""
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be a uint8 tensor, not {images.dtype!r}")
        n, channels, height, width = images.shape
        if self.padding == "reflect" and self.pad >= min(height, width):
            raise ValueError(f"pad must be below the image's sides {height} and {width} to reflect, not {self.pad!r}")
        device = images.device
        y = torch.arange(height, device=device).expand(n, height)
        x = torch.arange(width, device=device).expand(n, width)
        rows, columns = y, x
        if self.pad:
            rows = y + (draw.top - self.pad).to(device)[:, None]
            columns = x + (draw.left - self.pad).to(device)[:, None]
        if self.flip:
            columns = torch.where(draw.flip.to(device)[:, None] == 1, columns.flip(1), columns)
        blank: torch.Tensor | None = None
        if self.pad and self.padding == "constant":
            outside_y, outside_x = (rows < 0) | (rows >= height), (columns < 0) | (columns >= width)
            blank = outside_y[:, :, None] | outside_x[:, None, :]
            rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        elif self.pad:
            rows, columns = _reflect(rows, height), _reflect(columns, width)
        if self.pad or self.flip:
            source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
            out = images.reshape(n, channels, height * width).gather(2, source.expand(n, channels, height * width))
            out = out.view(n, channels, height, width)
        else:
            out = images.clone()
        if self.cutout:
            below, right = y - draw.cut_top.to(device)[:, None], x - draw.cut_left.to(device)[:, None]
            in_y, in_x = (below >= 0) & (below < self.cutout), (right >= 0) & (right < self.cutout)
            square = in_y[:, :, None] & in_x[:, None, :]
            blank = square if blank is None else blank | square
        return out if blank is None else out.masked_fill_(blank[:, None], self.fill)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw and apply: uint8 [n, C, H, W] to the same."""
        n, _, height, width = images.shape
        return self.apply(images, self.draw(n, height, width, generator))


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror positions at the first and last pixel: -1 becomes 1, ``size`` becomes ``size - 2``."""
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
