"""Data sets by name or path: ``load`` and what works on its result."""

import os
from pathlib import Path

import numpy as np
import pooch
import torch

from firstspike.train.augment import Augment
from firstspike.train.batches import Batches
from firstspike.train.decode import decode_cached
from firstspike.train.images import ImageSet, split_validation, stratified, to_pixels
from firstspike.train.sources import Split, list_images, open_source

__all__ = ["Augment", "Batches", "ImageSet", "load", "split_validation", "stratified", "to_pixels"]


def data_folder(data_root: str | Path | None = None) -> Path:
    """Where data sets lie: the argument, else FIRSTSPIKE_DATA, else the user's cache folder of this platform."""
    return Path(data_root or os.environ.get("FIRSTSPIKE_DATA") or pooch.os_cache("firstspike")).expanduser()


def load(
    spec: str,
    *,
    split: Split = "train",
    data_root: str | Path | None = None,
    download: bool = True,
    size: int | None = None,
    expect_shape: tuple[int, int, int] | None = None,
) -> ImageSet:
    root = data_folder(data_root)
    path = root / spec
    with open_source(path) as source:
        listing = list_images(source, split)
        channels = None if expect_shape is None else expect_shape[0]
        images = decode_cached(source, listing, cache=root / ".cache", size=size, channels=channels)
    labels = np.fromiter((label for _, label in listing.files), dtype=np.int64)
    return ImageSet(
        images=torch.from_numpy(images), labels=torch.from_numpy(labels), classes=listing.classes, name=spec
    )
