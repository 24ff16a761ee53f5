"""Images as NumPy files: ``.npy``, or ``.npz`` with labels; and random ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from firstspike import files
from firstspike.data.images import ImageSet
from firstspike.data.sources import Split

IMAGES = ("images", "x", "data")
LABELS = ("labels", "y", "targets")
"""Names of arrays in a ``.npz``, also with ``_train`` or ``_test`` behind them."""

SEED = 0


def is_array(spec: str | Path) -> bool:
    """Whether a name is that of a NumPy file."""
    return Path(spec).suffix in (".npy", ".npz")


def load_arrays(path: Path, split: Split, *, shape: Sequence[int] | None = None) -> ImageSet:
    """Images ``[n, c, h, w]``, ``[n, h, w, c]`` with c of 1 or 3, or ``[n, h, w]`` of a file, uint8 or floats in [0, 1].

    Floats are rounded to 8 bits, ``round_half_even(255 x)``. The axes are told apart by ``shape`` where it is given, else by
    which has 1 or 3 channels. Without labels the set is not `ImageSet.labelled`; classes are named by their numbers.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no such array.
    """
    with files.reading(path) as stream:
        try:
            content = np.load(stream, allow_pickle=False)
            arrays = (
                {"images": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content}
            )
        except (ValueError, OSError, EOFError, KeyError) as error:
            raise ValueError(f"data {str(path)!r} must be an .npy or .npz file of numbers: {error}") from error
    images = _find(arrays, IMAGES, split)
    if images is None:
        raise ValueError(f"data {str(path)!r} must hold an array named {IMAGES[0]!r}, not only {sorted(arrays)!r}")
    pixels = _pixels(_axes(images, shape, path), path)
    labels = _find(arrays, LABELS, split)
    if labels is None:
        return unlabelled(pixels, str(path))
    numbers = np.asarray(labels).reshape(-1)
    if not np.issubdtype(numbers.dtype, np.integer) or len(numbers) != len(pixels) or numbers.min(initial=0) < 0:
        raise ValueError(
            f"data {str(path)!r}: labels must be {len(pixels)} integers from 0, not {numbers.dtype} {labels.shape}"
        )
    classes = tuple(map(str, range(int(numbers.max(initial=0)) + 1)))
    return ImageSet(images=pixels, labels=numbers.astype(np.int64), classes=classes, name=str(path))


def random_images(count: int, shape: Sequence[int]) -> ImageSet:
    """Images ``[c, h, w]`` of uniform random pixels, the same for the same arguments; they have no labels.

    Raises:
        ValueError: ``shape`` is none of an image.
    """
    if len(shape) != 3:
        raise ValueError(
            f"random images need a network of images (channels, height, width), not of inputs {tuple(shape)!r}"
        )
    pixels = np.random.Generator(np.random.PCG64(SEED)).integers(0, 256, (count, *shape), dtype=np.uint8)
    return unlabelled(pixels, "random pixels")


def unlabelled(pixels: np.ndarray, name: str) -> ImageSet:
    """A set of images ``[n, c, h, w]`` of which nothing is known."""
    labels = np.zeros(len(pixels), dtype=np.int64)
    return ImageSet(images=pixels, labels=labels, classes=("",), name=name, whole=True, labelled=False)


def _find(arrays: Mapping[str, np.ndarray], names: Sequence[str], split: Split) -> np.ndarray | None:
    for name in (*(f"{name}_{split}" for name in names), *names):
        if name in arrays:
            return arrays[name]
    return None


def _axes(images: np.ndarray, shape: Sequence[int] | None, path: Path) -> np.ndarray:
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4:
        first, last = images.shape[1], images.shape[3]
        wanted = None if shape is None else shape[0]
        if first == wanted or (wanted is None and first in (1, 3)) or last not in (1, 3):
            return images
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise ValueError(f"data {str(path)!r} must hold images [n, channels, height, width], not shape {images.shape!r}")


def _pixels(images: np.ndarray, path: Path) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"data {str(path)!r} must hold uint8 or floats in [0, 1], not {images.dtype}")
    low, high = float(images.min(initial=0)), float(images.max(initial=0))
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"data {str(path)!r} must hold values in [0, 1], not {low:g}..{high:g}; clip them or divide by 255"
        )
    return np.rint(images * 255.0).astype(np.uint8)
