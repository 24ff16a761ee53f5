"""Sets of labelled images in memory: uint8 pixels, int64 labels, named classes.

Pixels reach a network as ``value / 255`` in float32 and nothing else is done to them: no mean is subtracted and nothing
is divided by a standard deviation, because a pixel in [0, 1] is turned into a spike time as it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Indices = Sequence[int] | np.ndarray


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Turn uint8 images of any shape into float32 in [0, 1], each the float32 nearest to ``value / 255``.

    >>> to_pixels(np.array([0, 51, 255], dtype=np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if images.dtype != np.uint8:
        raise TypeError(f"images must be a uint8 array, not {images.dtype!r}")
    return images.astype(np.float32) / np.float32(255)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images of one shape.

    images: uint8 [N, C, H, W], C = 1 (grey) or 3 (RGB); labels: int64 [N], each below ``len(classes)``;
    classes: names, position = label; name: what messages and records call this set; whole: its source has no splits, so
    these are all its images, whichever split was asked for; labelled: the labels say something.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    whole: bool = False
    labelled: bool = True

    def __post_init__(self) -> None:
        rules = (("images", self.images, np.uint8, 4), ("labels", self.labels, np.int64, 1))
        for field, value, dtype, ndim in rules:
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{field} must be a NumPy array, not {type(value).__name__!r}")
            if value.dtype != dtype:
                raise TypeError(f"{field} must be of dtype {dtype.__name__}, not {str(value.dtype)!r}")
            if value.ndim != ndim:
                raise ValueError(f"{field} must have {ndim} dimensions, not {value.ndim!r}")
        if len(self.images) != len(self.labels):
            raise ValueError(f"labels must be as many as images ({len(self.images)}), not {len(self.labels)!r}")
        if len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                wrong = low if low < 0 else high
                raise ValueError(f"labels must lie in 0..{len(self.classes) - 1}, not {wrong!r}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, indices: Indices) -> "ImageSet":
        """The images at these positions, in this order."""
        index = np.asarray(indices, dtype=np.int64)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def limit(self, n: int) -> "ImageSet":
        """At most ``n`` images, spread evenly over the set: position ``i * N // n`` for ``i < n``.

        Folders are read class by class, so the first ``n`` would hold few classes; a spread holds nearly all.
        """
        if n < 1:
            raise ValueError(f"limit must be at least 1, not {n!r}")
        return self if n >= len(self) else self.subset([i * len(self) // n for i in range(n)])

    def pixels(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Pixels from position ``start`` up to ``stop``: float32 [n, C, H, W] in [0, 1]."""
        return to_pixels(self.images[start:stop])


def stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose ``count`` positions so that every class keeps its share: bool [N].

    Each class gets ``count * share`` rounded down; what is left goes to the largest remainders, smaller labels first.
    Positions are ordered by raw 64-bit words of PCG64(seed), whose stream NumPy never changes, so a split is the same
    everywhere and forever.
    """
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    classes, sizes = np.unique(labels, return_counts=True)
    quota, remainder = np.divmod(count * sizes.astype(np.int64), len(labels))
    quota[np.argsort(-remainder, kind="stable")[: count - quota.sum()]] += 1
    chosen = np.zeros(len(labels), dtype=bool)
    for label, n in zip(classes, quota, strict=True):
        chosen[order[labels[order] == label][:n]] = True
    return chosen


def split_validation(data: ImageSet, *, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split off a validation set: ``(rest, validation)``, stratified by class, the same for the same seed.

    Both sets keep the order of ``data`` and have at least one image. ValueError for a ``count`` of the validation set
    that leaves one of them empty.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed!r}")
    if not 0 < count < len(data):
        raise ValueError(f"count must lie between 1 and {len(data) - 1} for {len(data)} images, not {count!r}")
    chosen = stratified(data.labels, count, seed)
    rest, validation = data.subset(np.flatnonzero(~chosen)), data.subset(np.flatnonzero(chosen))
    return rest, replace(validation, name=f"{data.name}-validation")
