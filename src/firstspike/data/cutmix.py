"""CutMix: a rectangle of each image of a batch from another one, and their labels in proportion to the areas."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A batch after CutMix.

    Attributes:
        images: ``[n, C, H, W]``.
        labels: int64 ``[n]``, of what is outside the rectangle.
        pasted: int64 ``[n]``, of what is inside it.
        share: of the area that is outside it, 1 for a batch that is as it was.
    """

    images: Tensor
    labels: Tensor
    pasted: Tensor
    share: float

    def loss(self, logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of ``logits`` ``[n, classes]`` to both labels in proportion to their areas."""
        loss = functional.cross_entropy(logits.float(), self.labels, label_smoothing=label_smoothing)
        if self.share == 1:
            return loss
        other = functional.cross_entropy(logits.float(), self.pasted, label_smoothing=label_smoothing)
        return self.share * loss + (1 - self.share) * other


def cutmix(images: Tensor, labels: Tensor, *, probability: float, generator: torch.Generator) -> Mixed:
    """Paste a rectangle of each image's neighbour over it (Yun et al. 2019, arXiv 1905.04899).

    The rectangle, one for the whole batch, has the images' proportions, a share of their area that is uniform in [0, 1)
    and a centre that is uniform over the image; it is clipped at the border. Neighbours are the images 0 and 1, 2 and 3
    and so on, which is at random where the batch is shuffled, so any part of a batch that consists of whole pairs is
    mixed as in the whole batch. The last image of an odd batch stays as it is.

    Args:
        images: ``[n, C, H, W]``.
        labels: int64 ``[n]``.
        probability: that the batch is mixed at all.
        generator: what is drawn depends on it and on the images' size only.
    """
    chance, area, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    if chance >= probability:
        return Mixed(images=images, labels=labels, pasted=labels, share=1.0)
    n, (height, width) = len(images), images.shape[2:]
    rows, columns = _span(height, math.sqrt(area), down), _span(width, math.sqrt(area), right)
    neighbour = (torch.arange(n, device=images.device) ^ 1).clamp(max=n - 1)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[neighbour][:, :, rows, columns]
    share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return Mixed(images=mixed, labels=labels, pasted=labels[neighbour], share=share)


def _span(size: int, part: float, centre: float) -> slice:
    """``part`` of ``size`` pixels around ``centre`` (0..1), clipped."""
    length = round(size * part)
    start = int(size * centre) - length // 2
    return slice(max(start, 0), min(start + length, size))
