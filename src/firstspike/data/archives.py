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

from firstspike.data.sources import Split, may_write
from firstspike.extras import needed

MAX_MEMBER_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file on the web: its address and its SHA-256."""

    url: str
    sha256: str

    @property
    def file(self) -> str:
        """Name of the file: the last part of its address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """A data set known by name: number of classes, (C, H, W) of its images, and the archives that hold each split."""

    classes: int
    shape: tuple[int, int, int]
    train: tuple[Archive, ...]
    test: tuple[Archive, ...]


# The SHA-256 are of the files whose MD5 the makers publish; several projects state the same ones.
_FASHION = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"


def _fashion(file: str, sha256: str) -> Archive:
    return Archive(url=f"{_FASHION}/{file}", sha256=sha256)


_CIFAR10 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
_CIFAR100 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
_TINY = Archive(
    url="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
    sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
)

NAMED: dict[str, NamedSet] = {
    "fashion-mnist": NamedSet(
        classes=10,
        shape=(1, 28, 28),
        train=(
            Archive(
                url=f"{_FASHION}/train-images-idx3-ubyte.gz",
                sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            Archive(
                url=f"{_FASHION}/train-labels-idx1-ubyte.gz",
                sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
        ),
        test=(
            Archive(
                url=f"{_FASHION}/t10k-images-idx3-ubyte.gz",
                sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            Archive(
                url=f"{_FASHION}/t10k-labels-idx1-ubyte.gz",
                sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
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
    """Path of a whole archive: ``root/FILE`` or ``root/NAME/FILE`` if its SHA-256 is right, else downloaded to the latter.

    FileNotFoundError says what to put where, when it is not there (or damaged) and cannot or may not be downloaded.
    """
    damaged = ""
    for place in (root / archive.file, root / name / archive.file):
        if place.is_file():
            if (found := _sha256(place)) == archive.sha256:
                return place
            damaged = f" ({place} is there, but damaged: its SHA-256 must be {archive.sha256}, not {found!r})"
    problem = "downloading is switched off"
    if download and not may_write(root / name):
        problem = f"{root} is read-only"
    elif download:
        with needed(f"fetching data set {name!r}"):
            import pooch
        folder = root / name
        fresh = [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty())
            pooch.retrieve(
                archive.url, f"sha256:{archive.sha256}", fname=archive.file, path=folder, downloader=downloader
            )
            return folder / archive.file
        except (OSError, ValueError) as error:  # no network, no room, no permission; wrong checksum
            problem = f"the download failed: {_cause(error)}"
            with suppress(OSError):
                for place in fresh:
                    place.rmdir()  # leave no empty folder behind
    raise FileNotFoundError(
        f"data set {name!r} must lie in {root}{damaged}, and {problem}. Put {archive.url} (SHA-256 {archive.sha256}) at "
        f"{root / name / archive.file}, or its images at {root / name}/train/CLASS/*.png and "
        f"{root / name}/test/CLASS/*.png, or zips of class folders at {root / name}-train.zip and "
        f"{root / name}-test.zip; another folder than {root} is chosen by --data-root or FIRSTSPIKE_DATA"
    )


def _cause(error: BaseException) -> str:
    """What stopped a download, without what each layer of the network's libraries wraps around it."""
    while isinstance(error, Exception) and error.__context__ is not None:
        error = error.__context__
    return str(error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
