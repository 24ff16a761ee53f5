"""Mini-batches of an image set: shuffled, augmented and sharded, the same for the same seed and epoch."""

from collections.abc import Iterator

import torch

from firstspike.data.augment import Augment, generator
from firstspike.data.images import ImageSet


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """As `firstspike.data.to_pixels`, of a tensor.

    >>> to_pixels(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    # The divisor is a tensor: a Python number would be turned into a multiplication by 1/255 on a GPU, which rounds twice.
    return images.to(torch.float32).div_(torch.full((), 255.0, device=images.device))


class Batches:
    """Iterate over ``(pixels float32 [n, C, H, W] in [0, 1], labels int64 [n])``.

    Order and augmentation are drawn anew at the start of each pass from a generator seeded with ``(seed, epoch)``, so
    an epoch can be repeated or resumed at; call ``set_epoch`` before each pass.

    batch_size: images per step over all processes together. Each draws for the whole batch and takes its own consecutive
        part of it, so several processes see exactly the images, crops and flips that one would.
    alternate: mirror each image left to right in every other epoch, a random half of them in the even ones (Jordan 2024,
        arXiv 2404.00498); in place of the augmentation's ``flip``.
    drop_last: leave out the last batch when it is smaller than the others.
    share: this process's number, from 0, and how many there are.
    """

    def __init__(
        self,
        data: ImageSet,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        alternate: bool = False,
        drop_last: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        rank, world = share
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size!r}")
        if not 0 <= rank < world:
            raise ValueError(f"share must be a process's number and how many there are, as (0, 1), not {share!r}")
        if batch_size % world:
            raise ValueError(f"batch_size must be a multiple of the {world} processes, not {batch_size!r}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, not {seed!r}")
        tail = 0 if drop_last else len(data) % batch_size
        if shuffle and tail % world:
            raise ValueError(f"the last batch must be a multiple of the {world} processes or dropped, not {tail!r}")
        if drop_last and len(data) < batch_size:
            raise ValueError(f"batch_size must be at most the {len(data)} images with drop_last, not {batch_size!r}")
        if alternate and augment is not None and augment.flip:
            raise ValueError("alternate must stand in place of the augmentation's flip, not beside it")
        self.images, self.labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augment = augment
        self.alternate = alternate
        self.drop_last = drop_last
        self.share = share
        self.epoch = 0

    batch_sampler = None
    """Lightning looks for it beside ``sampler``."""

    @property
    def sampler(self) -> "Batches":
        """Itself: Lightning calls ``loader.sampler.set_epoch(epoch)`` before each epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and augmentation of the next pass."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, not {epoch!r}")
        self.epoch = epoch

    def _bounds(self) -> list[tuple[int, int, int, int]]:
        """Of each step: start and stop of the whole batch, then of this process's part; empty parts are left out."""
        bounds = []
        rank, world = self.share
        end = len(self.labels) // self.batch_size * self.batch_size if self.drop_last else len(self.labels)
        for start in range(0, end, self.batch_size):
            stop = min(start + self.batch_size, end)
            first = start + (stop - start) * rank // world
            last = start + (stop - start) * (rank + 1) // world
            if first < last:
                bounds.append((start, stop, first, last))
        return bounds

    def __len__(self) -> int:
        """Number of steps of this process in one pass."""
        return len(self._bounds())

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        drawn = generator(self.seed, self.epoch)
        n, (height, width) = len(self.labels), self.images.shape[2:]
        order = torch.randperm(n, generator=drawn) if self.shuffle else torch.arange(n)
        mirrored = self._mirrored(n)
        for start, stop, first, last in self._bounds():
            index = order[first:last]
            images = self.images[index]
            if self.augment is not None:
                draw = self.augment.draw(stop - start, height, width, drawn)
                images = self.augment.apply(images, draw.part(first - start, last - start))
            if self.alternate:
                images = torch.where(mirrored[index, None, None, None], images.flip(3), images)
            yield to_pixels(images), self.labels[index]

    def _mirrored(self, n: int) -> torch.Tensor:
        """Which of ``n`` images are mirrored in this epoch: bool ``[n]``."""
        if not self.alternate:
            return torch.zeros(n, dtype=torch.bool)
        even = torch.randint(2, (n,), generator=generator(self.seed, 1 << 31)) == 1  # no epoch's stream
        return even if self.epoch % 2 == 0 else ~even
