"""Files of a folder or a zip archive, and which of them are the images of each class."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from firstspike import files

Split = Literal["train", "test"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".pbm", ".pgm", ".ppm", ".gif", ".tif", ".tiff", ".webp"})
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "dev"),
}
"""Folders of a split in any case of letters, the first that is there before the others."""

UNUSED_FOLDERS = ("unlabeled", "unlabelled", "extra")
"""Folders beside those of splits that are left out."""

ANNOTATIONS = "val_annotations.txt"
MAX_FILE_BYTES = 64 * 2**20
MAX_DEPTH = 64
"""Most folders within one another."""

_BROKEN_ZIP = (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, zlib.error, struct.error)
"""What reading a damaged archive raises: `zipfile` has no error for all of it."""


class Source(Protocol):
    """Named files that can be read whole; names are relative and use ``/``; names of folders end in ``/``."""

    path: Path

    def names(self) -> list[str]:
        """All names, in any order."""
        ...

    def stamp(self, name: str) -> str:
        """A text that changes when the file does."""
        ...

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            ValueError: it is too large, or damaged.
            OSError: it cannot be read.
        """
        ...


class FolderSource:
    """Files below a folder; symbolic links are followed, hidden names left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All names, in any order."""
        names: list[str] = []
        visited: set[str] = set()
        for folder, subfolders, own in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:  # a link back to a parent would never end
                subfolders.clear()
                continue
            visited.add(real)
            relative = Path(folder).relative_to(self.path)
            if len(relative.parts) > MAX_DEPTH:
                raise ValueError(f"{self.path} must hold at most {MAX_DEPTH} folders within one another, not more")
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            prefix = "" if folder == str(self.path) else relative.as_posix() + "/"
            names.extend(f"{prefix}{name}/" for name in subfolders)
            names.extend(f"{prefix}{name}" for name in own if not name.startswith("."))
        return names

    def stamp(self, name: str) -> str:
        """Size and time of the last change."""
        status = (self.path / name).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            ValueError: it is too large.
            OSError: it cannot be read.
        """
        return files.read(self.path / name, most=MAX_FILE_BYTES)


class ZipSource:
    """Files in a zip archive; hidden names and what macOS adds are left out."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self._entries: dict[str, zipfile.ZipInfo] = {}
        entries = archive.infolist()
        backslashes = not any("/" in entry.filename for entry in entries)  # as some programs for Windows write them
        for entry in entries:
            name = (entry.filename.replace("\\", "/") if backslashes else entry.filename).removeprefix("./")
            if name.count("/") > MAX_DEPTH:
                raise ValueError(f"{path} must hold at most {MAX_DEPTH} folders within one another, not more")
            if name and not any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
                self._entries[name] = entry

    def names(self) -> list[str]:
        """All names, in the order of the archive."""
        return list(self._entries)

    def stamp(self, name: str) -> str:
        """Size and checksum."""
        entry = self._entries[name]
        return f"{entry.file_size} {entry.CRC}"

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            ValueError: it is too large, packed in another way than by deflation, or damaged.
        """
        entry = self._entries[name]
        if entry.file_size > MAX_FILE_BYTES:
            raise ValueError(f"{name} in {self.path} must hold at most {MAX_FILE_BYTES} bytes, not {entry.file_size!r}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others inflate without a bound
            raise ValueError(f"{name} in {self.path} must be stored or deflated, not by method {entry.compress_type!r}")
        try:
            with self._archive.open(entry) as stream:
                # As much as the entry declares, checked against its CRC: `read` without a number would inflate all.
                return stream.read(entry.file_size)
        except _BROKEN_ZIP as error:
            raise ValueError(f"{name} in {self.path} must be readable, not corrupted: {error}") from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip archive. FileNotFoundError, or ValueError for anything else."""
    with ExitStack() as opened:
        yield _opened(path, opened)


def _opened(path: Path, opened: ExitStack) -> Source:
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise FileNotFoundError(f"data must be a folder or a zip archive that exists, not {str(path)!r}")
    stream = opened.enter_context(files.reading(path))
    try:
        archive = opened.enter_context(zipfile.ZipFile(stream))
    except _BROKEN_ZIP as error:
        one = "; put images into a folder for each class" if path.suffix.lower() in IMAGE_SUFFIXES else ""
        raise ValueError(f"data must be a folder or a whole zip archive, not {str(path)!r}: {error}{one}") from error
    return ZipSource(path, archive)


def may_write(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, is meant to be written to.

    The mode counts even for root, who could write to a folder that was marked read-only on purpose.
    """
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which files of a source are the images: class names in alphabetical order, (file name, label) class by class.

    whole: the source has no splits, so these are all its images.
    """

    classes: tuple[str, ...]
    files: tuple[tuple[str, int], ...]
    whole: bool = False


@dataclass
class _Folder:
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # own name -> name in the source

    def images(self) -> list[str]:
        return [name for own, name in self.files.items() if Path(own).suffix.lower() in IMAGE_SUFFIXES]

    def all_images(self) -> list[str]:
        return self.images() + [name for folder in self.folders.values() for name in folder.all_images()]


def _tree(names: list[str]) -> _Folder:
    root = _Folder()
    for name in names:
        *parents, own = name.split("/")  # own is empty for a folder
        level = root
        for parent in parents:
            level = level.folders.setdefault(parent, _Folder())
        if own:
            level.files[own] = name
    return root


def list_images(source: Source, split: Split) -> Listing:
    """Find the class folders of one split.

    A folder that holds a single folder is a wrapper and is entered. A level whose folders are all named as splits are
    (``train``, ``training``; ``test``, ``testing``, ``val``, ``valid``, ``validation``, ``dev``, in any case of letters;
    ``unlabeled`` and ``extra`` beside them are left out) holds splits: ``test`` is taken from ``test``, else from the next
    of these names. One that holds folders of both splits and others is refused. Otherwise its folders are classes,
    numbered in alphabetical order, and every image below a class folder belongs to it. A ``val`` folder with a
    file ``val_annotations.txt`` (Tiny-ImageNet: file name, class, box) takes its classes from there. Files that are no
    images by their suffix are left out.

    ValueError for a split that is not there, for no class, for a class without images, for an image outside the
    class folders, and for splits whose classes differ.
    """
    level = _tree(source.names())
    known = {name for names in SPLIT_FOLDERS.values() for name in names}
    while len(level.folders) == 1 and not level.images() and not {*map(str.lower, level.folders)} & known:
        (inner,) = level.folders.values()
        if not inner.folders:
            break
        level = inner
    folders = _splits(level, source.path)
    if not folders:
        return replace(_listing(_classes(level, source.path)), whole=True)
    splits: dict[Split, dict[str, list[str]]] = {}
    for candidate, present in folders.items():
        annotated = [folder for folder in present if ANNOTATIONS in folder.files]
        if annotated:
            splits[candidate] = _annotated(annotated[0], source)
        elif present:
            splits[candidate] = _classes(present[0], source.path)
    if split not in splits:
        raise ValueError(f"{source.path} must have a folder for split {split!r}, not only {sorted(level.folders)!r}")
    first, *rest = splits.values()
    for other in rest:
        if differing := sorted(first.keys() ^ other.keys()):
            raise ValueError(f"{source.path} must have the same classes in train and test, not {differing[0]!r} in one")
    return _listing(splits[split])


def _splits(level: _Folder, where: Path) -> dict[Split, list[_Folder]]:
    """The folders of each split, in order of preference; none where the level's folders are classes."""
    names = {name.lower(): name for name in level.folders}
    known = {
        split: [level.folders[names[own]] for own in owns if own in names] for split, owns in SPLIT_FOLDERS.items()
    }
    spelled = [own for owns in SPLIT_FOLDERS.values() for own in owns if own in names]
    others = sorted(name for own, name in names.items() if own not in (*spelled, *UNUSED_FOLDERS))
    if len(names) < len(level.folders) and spelled:
        raise ValueError(
            f"{where} must have one folder for each split, not {sorted(level.folders)!r}; rename or remove one"
        )
    if spelled and not others:
        return known
    if known["train"] and known["test"]:
        raise ValueError(
            f"{where} must hold either folders of splits or of classes, not {others[0]!r} beside "
            f"{names[spelled[0]]!r} and {names[spelled[-1]]!r}; move it away, or rename it to one of "
            f"{', '.join((*SPLIT_FOLDERS['train'], *SPLIT_FOLDERS['test']))} if it is a split"
        )
    return {}


def _listing(files: dict[str, list[str]]) -> Listing:
    classes = tuple(sorted(files))
    return Listing(
        classes=classes,
        files=tuple((name, label) for label, own in enumerate(classes) for name in sorted(files[own])),
    )


def _classes(level: _Folder, where: Path) -> dict[str, list[str]]:
    if stray := sorted(level.images()):
        raise ValueError(f"{where} must hold its images in one folder per class, not {stray[0]!r} beside them")
    if not level.folders:
        raise ValueError(f"{where} must hold one folder of images per class, not {sorted(level.files)[:5]!r}")
    files = {own: folder.all_images() for own, folder in level.folders.items()}
    for own in sorted(files):
        if not files[own]:
            raise ValueError(f"{where} must hold images in every class folder, not none in {own!r}")
    return files


def _annotated(level: _Folder, source: Source) -> dict[str, list[str]]:
    images = {name.rsplit("/", 1)[-1]: name for name in level.all_images()}
    files: dict[str, list[str]] = {}
    for line in source.read(level.files[ANNOTATIONS]).decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        own, _, tail = line.partition("\t")
        label = tail.partition("\t")[0]
        if own not in images or not label:
            rule = f"must have an image and a class for each line of {ANNOTATIONS}"
            raise ValueError(f"{source.path} {rule}, not {line!r}")
        files.setdefault(label, []).append(images.pop(own))
    if images or not files:
        rest = sorted(images)[:1]
        raise ValueError(f"{source.path} must name every image in {ANNOTATIONS}, not leave out {rest!r}")
    return files
