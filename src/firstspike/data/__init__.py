"""Data sets by name or path, as NumPy arrays.

The mini-batches of training and their augmentation need PyTorch and stand apart: `firstspike.data.batches`,
`firstspike.data.augment`, `firstspike.data.cutmix`.
"""

from firstspike.data.images import ImageSet, split_validation, stratified, to_pixels
from firstspike.data.sets import data_folder, load, names, stream
from firstspike.data.stream import ImageStream

__all__ = [
    "ImageSet",
    "ImageStream",
    "data_folder",
    "load",
    "names",
    "split_validation",
    "stratified",
    "stream",
    "to_pixels",
]
