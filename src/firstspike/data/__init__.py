"""Data sets by name or path, and their augmentation."""

from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.data.images import ImageSet, split_validation, stratified, to_pixels
from firstspike.data.sets import data_folder, load, names

__all__ = [
    "Augment",
    "Batches",
    "ImageSet",
    "data_folder",
    "load",
    "names",
    "split_validation",
    "stratified",
    "to_pixels",
]
