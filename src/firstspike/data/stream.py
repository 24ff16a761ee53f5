"""Labelled images that are still being decoded: what comes first can be worked on while the rest is on its way."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from firstspike.data.decode import Decoding
from firstspike.data.images import ImageSet, to_pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Demand:
    """The (C, H, W) that images must have, and of what the message about others speaks."""

    shape: tuple[int, int, int]
    where: str

    def meet(self, images: np.ndarray) -> np.ndarray:
        """The images, uint8 [n, C, H, W]; grey ones are repeated where C is 3.

        Raises:
            ValueError: they have another shape.
        """
        if images.shape[1] == 1 and self.shape[0] == 3:
            images = images.repeat(3, axis=1)
        if images.shape[1:] != tuple(self.shape):
            raise ValueError(
                f"images of {self.where} must have the shape {tuple(self.shape)}, not {images.shape[1:]!r}"
            )
        return images


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStream:
    """Images of one shape as an `ImageSet` has them, read from a `Decoding`.

    decoding: of the images; labels, classes, name and whole: as of an `ImageSet`; demands: what the images must meet.
    """

    decoding: Decoding
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    demands: tuple[Demand, ...] = ()
    whole: bool = False
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """As `ImageSet.pixels`, as soon as these images are there.

        Raises:
            ValueError: one of the images up to there cannot be used.
        """
        images, coloured = self.decoding.part(start, len(self) if stop is None else stop)
        return to_pixels(self._met(images if coloured else images[:, :1]))

    def limit(self, n: int) -> ImageSet:
        """As `ImageSet.limit`, once all images are there."""
        return self.decoded().limit(n)

    def decoded(self) -> ImageSet:
        """All images, once they are there.

        Raises:
            ValueError: one of the images cannot be used.
        """
        return ImageSet(
            images=self._met(self.decoding.result()),
            labels=self.labels,
            classes=self.classes,
            name=self.name,
            whole=self.whole,
        )

    def _met(self, images: np.ndarray) -> np.ndarray:
        return reduce(lambda met, demand: demand.meet(met), self.demands, images)
