"""Data sets by name or path: ``load`` and what works on its result."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs

from firstspike.data.archives import NAMED, Arrays, obtain, read_cifar, read_fashion
from firstspike.data.arrays import is_array, load_arrays
from firstspike.data.decode import decode_cached, resize_all
from firstspike.data.images import ImageSet, stratified
from firstspike.data.sources import SPLIT_FOLDERS, Split, list_images, open_source
from firstspike.extras import needed
from firstspike.names import DATA_SETS, meant

DIGITS_TEST_IMAGES = 360
DIGITS_SPLIT_SEED = 0


def names() -> tuple[str, ...]:
    """Names that ``load`` knows."""
    return DATA_SETS


def data_folder(data_root: str | Path | None = None) -> Path:
    """Where data sets lie: the argument, else FIRSTSPIKE_DATA, else the user's cache folder of this platform."""
    return Path(
        data_root or os.environ.get("FIRSTSPIKE_DATA") or platformdirs.user_cache_dir("firstspike")
    ).expanduser()


def load(
    spec: str | Path,
    *,
    split: Split = "train",
    data_root: str | Path | None = None,
    download: bool = True,
    size: int | None = None,
    expect_shape: tuple[int, int, int] | None = None,
) -> ImageSet:
    """Load one split of a data set into memory.

    spec: ``digits``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``tiny-imagenet`` (its validation images are the
        test split), or the path of a folder or zip archive with one sub-folder per class, or of an ``.npy`` or
        ``.npz`` file (`firstspike.data.arrays.load_arrays`).
    split: ``train`` or ``test``. What has no folders ``train``, ``test`` or ``val`` is taken whole for either.
    data_root: where named sets lie, see ``data_folder``: ``NAME/train/CLASS/*`` and ``NAME/test/CLASS/*`` (``val``),
        else ``NAME-train.zip`` and ``NAME-test.zip`` (or ``-val``), else the official archive, which is downloaded to
        ``NAME/`` unless ``download`` is false. Decoded images are kept in its folder ``.cache``, those of a path too
        if data_root or FIRSTSPIKE_DATA is given.
    size: resize all images to ``size`` x ``size`` pixels (centre square, bilinear with antialiasing).
    expect_shape: the (C, H, W) that the images must have; grey images become RGB where C is 3.

    Classes are numbered in alphabetical order (Fashion-MNIST: by its official numbers). Errors: FileNotFoundError for
    what is not there, with what to put where; ValueError for what is there and cannot be used.

    >>> digits = load("digits", split="test")
    >>> len(digits), digits.shape, digits.classes[3]
    (360, (1, 8, 8), '3')
    """
    if split not in SPLIT_FOLDERS:
        raise ValueError(f"split must be one of {sorted(SPLIT_FOLDERS)}, not {split!r}")
    if size is not None and not 1 <= size <= 4096:
        raise ValueError(f"size must lie in 1..4096, not {size!r}")
    spec, root, whole = str(spec), data_folder(data_root), False
    if spec == "digits":
        images, labels, classes = _resized(_digits(split), size)
    elif spec in NAMED:
        images, labels, classes = _named(spec, split, root, download, size)
    else:
        if not Path(spec).exists():
            known = f"{', '.join(names())}, a folder, a zip archive or a NumPy file"
            raise FileNotFoundError(f"data must be one of {known}, not {spec!r}{meant(spec, names())}")
        if is_array(spec):
            found = load_arrays(Path(spec), split, shape=expect_shape)
            pixels = found.images if size is None else resize_all(found.images, size)
            return replace(found, images=pixels if expect_shape is None else _in_shape(pixels, expect_shape, spec))
        keep = data_root is not None or bool(os.environ.get("FIRSTSPIKE_DATA"))
        (images, labels, classes), whole = _class_folders(Path(spec), split, root / ".cache" if keep else None, size)
    if expect_shape is not None:
        images = _in_shape(images, expect_shape, spec)
    return ImageSet(images=images, labels=labels, classes=classes, name=spec, whole=whole)


def _digits(split: Split) -> Arrays:
    """scikit-learn's 1,797 digits, 8 x 8 with values 0..16, of which a fixed stratified 360 are the test split.

    A value v is stored as ``v * 255 / 16`` rounded half up, so that 16 is the full scale of uint8.
    """
    with needed("data set 'digits'"):
        from sklearn.datasets import load_digits  # takes a second to import, and only the digits need it

    bunch = load_digits()
    values, labels = bunch.images.astype(np.int64), bunch.target.astype(np.int64)
    test = stratified(labels, DIGITS_TEST_IMAGES, DIGITS_SPLIT_SEED)
    chosen = test if split == "test" else ~test
    images = ((values[chosen] * 255 + 8) // 16).astype(np.uint8)
    return images[:, None], labels[chosen], tuple(str(name) for name in bunch.target_names)


def _class_folders(path: Path, split: Split, cache: Path | None, size: int | None) -> tuple[Arrays, bool]:
    """The images, and whether they are all of a source without splits."""
    with open_source(path) as source:
        listing = list_images(source, split)
        images = decode_cached(source, listing, split=split, cache=cache, size=size)
    return (images, np.array([label for _, label in listing.files], dtype=np.int64), listing.classes), listing.whole


def _named(name: str, split: Split, root: Path, download: bool, size: int | None) -> Arrays:
    """A named set from class folders, zips or its official archive, whichever is found first."""
    known, parts = NAMED[name], SPLIT_FOLDERS[split]
    folders = [root / name] + ([root / "tiny-imagenet-200"] if name == "tiny-imagenet" else [])
    places = [folder for folder in folders if any((folder / part).is_dir() for part in parts)]
    places += [zipped for part in parts if (zipped := root / f"{name}-{part}.zip").is_file()]
    if places or name == "tiny-imagenet":
        path = places[0] if places else obtain(known.train[0], name=name, root=root, download=download)
        (images, labels, classes), _ = _class_folders(path, split, root / ".cache", size)
        if name == "fashion-mnist" and classes != tuple("0123456789"):
            # in alphabetical order the names would number the classes otherwise than the official labels do
            raise ValueError(f"class folders of fashion-mnist in {path} must be named 0 to 9, not {classes!r}")
    else:
        paths = [obtain(archive, name=name, root=root, download=download) for archive in getattr(known, split)]
        path = paths[0]
        arrays = read_fashion(*paths) if name == "fashion-mnist" else read_cifar(path, name=name, split=split)
        images, labels, classes = _resized(arrays, size)
    if len(classes) != known.classes:
        raise ValueError(f"{path} must hold the {known.classes} classes of {name}, not {len(classes)!r}")
    expected = known.shape if size is None else (known.shape[0], size, size)
    return _in_shape(images, expected, str(path)), labels, classes


def _resized(arrays: Arrays, size: int | None) -> Arrays:
    images, labels, classes = arrays
    return (images if size is None else resize_all(images, size)), labels, classes


def _in_shape(images: np.ndarray, shape: tuple[int, int, int], where: str) -> np.ndarray:
    if images.shape[1] == 1 and shape[0] == 3:
        images = images.repeat(3, axis=1)
    if images.shape[1:] != tuple(shape):
        raise ValueError(f"images of {where} must have the shape {tuple(shape)}, not {images.shape[1:]!r}")
    return images
