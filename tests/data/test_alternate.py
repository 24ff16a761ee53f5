"""Alternating flips: every image is mirrored in one of two epochs that follow each other."""

import numpy as np
import pytest
import torch

from firstspike.data import ImageSet
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches


def images(n: int = 40) -> ImageSet:
    """Image ``i`` holds ``i`` on the left and 255 on the right."""
    pixels = np.full((n, 1, 2, 2), 255, dtype=np.uint8)
    pixels[:, 0, :, 0] = np.arange(n, dtype=np.uint8)[:, None]
    return ImageSet(images=pixels, labels=np.arange(n) % 2, classes=("a", "b"), name="made")


def mirrored(batches: Batches, epoch: int) -> dict[int, bool]:
    batches.set_epoch(epoch)
    seen = torch.cat([pixels for pixels, _ in batches]) * 255
    return {int(image.min().round()): bool(image[0, 0, 0] == 255) for image in seen}


def test_every_image_is_mirrored_in_one_of_two_epochs() -> None:
    batches = Batches(images(), batch_size=8, alternate=True)
    first, second, third = (mirrored(batches, epoch) for epoch in (0, 1, 2))
    assert len(first) == 40
    assert all(first[i] != second[i] for i in first)
    assert first == third
    assert 8 < sum(first.values()) < 32


def test_it_stands_in_place_of_random_flips() -> None:
    with pytest.raises(ValueError, match="in place of the augmentation's flip"):
        Batches(images(), batch_size=8, alternate=True, augment=Augment(flip=True))
