"""Data sets by name or path: ``load`` and what works on its result."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs

from firstspike.data.archives import NAMED, Arrays, obtain, read_cifar, read_fashion
from firstspike.data.arrays import is_array, load_arrays
from firstspike.data.decode import decode_cached, resize_all
from firstspike.data.images import ImageSet, stratified
from firstspike.data.sources import SPLIT_FOLDERS, Split, list_images, open_source
from firstspike.data.stream import Demand, ImageStream
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
    with ExitStack() as opened:
        found = _found(str(spec), split, data_root, opened, download=download, size=size, shape=expect_shape)
        return found if isinstance(found, ImageSet) else found.decoded()


@contextmanager
def stream(
    spec: str | Path, *, split: Split, data_root: str | Path | None = None, shape: tuple[int, int, int] | None = None
) -> Iterator[ImageSet | ImageStream]:
    """What `load` gives or, where images must be decoded first, those images while they are being decoded.

    Args:
        spec: as of `load`.
        split: as of `load`.
        data_root: as of `load`.
        shape: the (C, H, W) that the images must have, ``expect_shape`` of `load`.

    Raises:
        FileNotFoundError, ValueError: as `load`; of an image that cannot be used, when it is asked for.
    """
    with ExitStack() as opened:
        found = _found(str(spec), split, data_root, opened, shape=shape)
        if isinstance(found, ImageSet) or shape is None:
            yield found if isinstance(found, ImageSet) else found.decoded()
            return
        found.pixels(0, 1)  # another shape is refused before anything else happens
        yield found
        found.decoding.result()  # which keeps them for the next time


def _found(
    spec: str,
    split: Split,
    data_root: str | Path | None,
    opened: ExitStack,
    *,
    download: bool = True,
    size: int | None = None,
    shape: tuple[int, int, int] | None = None,
) -> ImageSet | ImageStream:
    """The images of `load`; where they are not decoded yet, ``opened`` ends that."""
    if split not in SPLIT_FOLDERS:
        raise ValueError(f"split must be one of {sorted(SPLIT_FOLDERS)}, not {split!r}")
    if size is not None and not 1 <= size <= 4096:
        raise ValueError(f"size must lie in 1..4096, not {size!r}")
    root = data_folder(data_root)
    if spec == "digits":
        found: ImageSet | ImageStream = _image_set(_digits(split), spec, size)
    elif spec in NAMED:
        found = _named(spec, split, root, opened, download=download, size=size)
    else:
        if not Path(spec).exists():
            known = f"{', '.join(names())}, a folder, a zip archive or a NumPy file"
            raise FileNotFoundError(f"data must be one of {known}, not {spec!r}{meant(spec, names())}")
        if is_array(spec):
            found = load_arrays(Path(spec), split, shape=shape)
            if size is not None:
                found = replace(found, images=resize_all(found.images, size))
        else:
            keep = data_root is not None or bool(os.environ.get("FIRSTSPIKE_DATA"))
            found = _class_folders(Path(spec), split, root / ".cache" if keep else None, opened, name=spec, size=size)
    return found if shape is None else _demanding(found, Demand(shape=shape, where=spec))


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


def _class_folders(
    path: Path, split: Split, cache: Path | None, opened: ExitStack, *, name: str, size: int | None
) -> ImageSet | ImageStream:
    """The images of one split; ``opened`` keeps their source open."""
    source = opened.enter_context(open_source(path))
    listing = list_images(source, split)
    labels = np.array([label for _, label in listing.files], dtype=np.int64)
    images = decode_cached(source, listing, split=split, cache=cache, size=size)
    if isinstance(images, np.ndarray):
        return ImageSet(images=images, labels=labels, classes=listing.classes, name=name, whole=listing.whole)
    decoding = opened.enter_context(images)
    return ImageStream(decoding=decoding, labels=labels, classes=listing.classes, name=name, whole=listing.whole)


def _named(
    name: str, split: Split, root: Path, opened: ExitStack, *, download: bool, size: int | None
) -> ImageSet | ImageStream:
    """A named set from class folders, zips or its official archive, whichever is found first."""
    known, parts = NAMED[name], SPLIT_FOLDERS[split]
    folders = [root / name] + ([root / "tiny-imagenet-200"] if name == "tiny-imagenet" else [])
    places = [folder for folder in folders if any((folder / part).is_dir() for part in parts)]
    places += [zipped for part in parts if (zipped := root / f"{name}-{part}.zip").is_file()]
    if places or name == "tiny-imagenet":
        path = places[0] if places else obtain(known.train[0], name=name, root=root, download=download)
        found = _class_folders(path, split, root / ".cache", opened, name=name, size=size)
        if name == "fashion-mnist" and found.classes != tuple("0123456789"):
            # in alphabetical order the names would number the classes otherwise than the official labels do
            raise ValueError(f"class folders of fashion-mnist in {path} must be named 0 to 9, not {found.classes!r}")
        found = replace(found, whole=False)
    else:
        paths = [obtain(archive, name=name, root=root, download=download) for archive in getattr(known, split)]
        path = paths[0]
        arrays = read_fashion(*paths) if name == "fashion-mnist" else read_cifar(path, name=name, split=split)
        found = _image_set(arrays, name, size)
    if len(found.classes) != known.classes:
        raise ValueError(f"{path} must hold the {known.classes} classes of {name}, not {len(found.classes)!r}")
    expected = known.shape if size is None else (known.shape[0], size, size)
    return _demanding(found, Demand(shape=expected, where=str(path)))


def _image_set(arrays: Arrays, name: str, size: int | None) -> ImageSet:
    images, labels, classes = arrays
    images = images if size is None else resize_all(images, size)
    return ImageSet(images=images, labels=labels, classes=classes, name=name)


def _demanding(found: ImageSet | ImageStream, demand: Demand) -> ImageSet | ImageStream:
    """The images, which must meet this too."""
    if isinstance(found, ImageSet):
        return replace(found, images=demand.meet(found.images))
    return replace(found, demands=(*found.demands, demand))
