"""The official archives of the named data sets: where they are fetched from, their checksums, how they are read."""

import gzip
import hashlib
import sys
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch

from firstspike.data.sources import Split, may_write

MAX_MEMBER_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file on the web: its address and the MD5 that its makers publish."""

    url: str
    md5: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """A data set known by name: number of classes, (C, H, W) of its images, and the archives that hold each split."""

    classes: int
    shape: tuple[int, int, int]
    train: tuple[Archive, ...]
    test: tuple[Archive, ...]


_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_CIFAR10 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", md5="c32a1d4ab5d03f1284b67883e8d87530"
)
_CIFAR100 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", md5="03b5dce01913d631647c71ecec9e9cb8"
)
_TINY = Archive(url="http://cs231n.stanford.edu/tiny-imagenet-200.zip", md5="90528d7ca1a48142e341f4ef8d21d0de")

NAMED: dict[str, NamedSet] = {
    "fashion-mnist": NamedSet(
        classes=10,
        shape=(1, 28, 28),
        train=(
            Archive(url=f"{_FASHION}/train-images-idx3-ubyte.gz", md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            Archive(url=f"{_FASHION}/train-labels-idx1-ubyte.gz", md5="25c81989df183df01b3e8a0aad5dffbe"),
        ),
        test=(
            Archive(url=f"{_FASHION}/t10k-images-idx3-ubyte.gz", md5="bef4ecab320f06d8554ea6380940ec79"),
            Archive(url=f"{_FASHION}/t10k-labels-idx1-ubyte.gz", md5="bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "cifar10": NamedSet(classes=10, shape=(3, 32, 32), train=(_CIFAR10,), test=(_CIFAR10,)),
    "cifar100": NamedSet(classes=100, shape=(3, 32, 32), train=(_CIFAR100,), test=(_CIFAR100,)),
    "tiny-imagenet": NamedSet(classes=200, shape=(3, 64, 64), train=(_TINY,), test=(_TINY,)),
}

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

Arrays = tuple[np.ndarray, np.ndarray, tuple[str, ...]]  # images uint8 [N, C, H, W], labels int64 [N], classes


def obtain(archive: Archive, *, name: str, root: Path, download: bool) -> Path:
    """Path of a whole archive: ``root/FILE`` or ``root/NAME/FILE`` if its MD5 is right, else downloaded to the latter.

    FileNotFoundError says what to put where, when it is not there (or damaged) and cannot or may not be downloaded.
    """
    damaged = ""
    for place in (root / archive.file, root / name / archive.file):
        if place.is_file():
            if (found := _md5(place)) == archive.md5:
                return place
            damaged = f" ({place} is there, but damaged: its MD5 must be {archive.md5}, not {found!r})"
    problem = "downloading is switched off"
    if download and not may_write(root / name):
        problem = f"{root} is read-only"
    elif download:
        folder = root / name
        fresh = [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty())
            pooch.retrieve(archive.url, f"md5:{archive.md5}", fname=archive.file, path=folder, downloader=downloader)
            return folder / archive.file
        except (OSError, ValueError) as error:  # no network, no room, no permission; wrong checksum
            problem = f"the download failed: {error}"
            with suppress(OSError):
                for place in fresh:
                    place.rmdir()  # leave no empty folder behind
    raise FileNotFoundError(
        f"data set {name!r} must lie in {root}{damaged}, and {problem}. Put {archive.url} (MD5 {archive.md5}) at "
        f"{root / name / archive.file}, or its images at {root / name}/train/CLASS/*.png and "
        f"{root / name}/test/CLASS/*.png, or zips of class folders at {root / name}-train.zip and "
        f"{root / name}-test.zip; another folder than {root} is chosen by --data-root or FIRSTSPIKE_DATA"
    )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_cifar(path: Path, *, name: str, split: Split) -> Arrays:
    """Read CIFAR-10 or CIFAR-100 in their binary form (Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html).

    A record is one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 bytes, channel by channel. Classes are
    renumbered in alphabetical order, which is the order they have.
    """
    if name == "cifar10":
        labels_file, label_bytes = "batches.meta.txt", 1
        files = [f"data_batch_{part}.bin" for part in range(1, 6)] if split == "train" else ["test_batch.bin"]
    else:
        labels_file, label_bytes = "fine_label_names.txt", 2
        files = [f"{split}.bin"]
    members = _tar_members(path, {labels_file, *files})
    names = members[labels_file].decode("ascii").split()
    record = label_bytes + 3 * 32 * 32
    for file in files:
        if not members[file] or len(members[file]) % record:
            raise ValueError(f"{file} in {path} must be records of {record} bytes, not {len(members[file])!r} bytes")
    records = np.frombuffer(b"".join(members[file] for file in files), dtype=np.uint8).reshape(-1, record)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= len(names):
        raise ValueError(f"labels in {path} must lie in 0..{len(names) - 1}, not {labels.max().item()!r}")
    position = np.argsort(np.argsort(names))
    return records[:, label_bytes:].reshape(-1, 3, 32, 32).copy(), position[labels], tuple(sorted(names))


def _tar_members(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """Read these members, known by their last name, of a .tar.gz without unpacking anything to disk."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                own = member.name.rsplit("/", 1)[-1]
                if own not in wanted or not member.isfile():
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise ValueError(f"{own} in {path} must have at most {MAX_MEMBER_BYTES} bytes, not {member.size!r}")
                file = archive.extractfile(member)
                assert file is not None
                found[own] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{path} must be a whole .tar.gz archive, not damaged: {error}") from error
    if missing := sorted(wanted - found.keys()):
        raise ValueError(f"{path} must hold {missing[0]!r}, not only {sorted(found)!r}")
    return found


def read_fashion(images: Path, labels: Path) -> Arrays:
    """Read Fashion-MNIST's pair of IDX files (Xiao et al., 2017); classes keep their official numbers 0 to 9."""
    pixels, numbers = _idx(images, ndim=3), _idx(labels, ndim=1)
    if len(pixels) != len(numbers):
        raise ValueError(f"{labels} must hold a label for each of the {len(pixels)} images, not {len(numbers)!r}")
    return pixels[:, None].copy(), numbers.astype(np.int64), FASHION_CLASSES


def _idx(path: Path, *, ndim: int) -> np.ndarray:
    """IDX: two zero bytes, 8 for uint8, the number of dimensions, each dimension as 4 bytes big-endian, the values."""
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_MEMBER_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a whole .gz file, not damaged: {error}") from error
    shape = np.frombuffer(data[4 : 4 + 4 * ndim], dtype=">u4").astype(np.int64) if len(data) >= 4 + 4 * ndim else None
    if shape is None or data[:4] != bytes([0, 0, 8, ndim]) or len(data) != 4 + 4 * ndim + shape.prod():
        raise ValueError(
            f"{path} must be IDX data of {ndim} dimensions, not {data[:16]!r} and {len(data)} bytes in all"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape)
