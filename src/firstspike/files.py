"""Files are written whole or not at all: under another name first, then renamed. Only regular files are read."""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

Path = str | os.PathLike[str]
Content = bytes | bytearray | memoryview | str


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream for the contents of ``path``, which is replaced when the block ends without an error.

    The stream is a new file in the same folder, under a name that nobody can guess, brought to the disk before it is
    renamed. A link stays a link. After an error, or an interrupt, an older file of that name is as it was.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    target = os.path.realpath(path)
    folder, base = os.path.split(target)
    temporary = os.path.join(folder, f".{base[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error  # the name that the caller knows
        raise
    with suppress(OSError):  # the file is whole under its name; not every file system can sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write(path: Path, *contents: Content) -> None:
    """Write ``contents`` one after another, texts in UTF-8, as `replacing` does.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    with replacing(path) as stream:
        stream.writelines(_encoded(contents))


def clear(path: Path) -> None:
    """Remove what killed processes left of writing ``path``; nobody may be writing it now (see `locked`)."""
    folder, base = os.path.split(os.path.realpath(path))
    name = re.compile(rf"\.{re.escape(base[:100])}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError):
        for entry in os.listdir(folder):
            if name.fullmatch(entry):
                os.unlink(os.path.join(folder, entry))


def _encoded(contents: Iterable[Content]) -> Iterator[bytes | bytearray | memoryview]:
    for content in contents:
        yield content.encode("utf-8") if isinstance(content, str) else content


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A stream of a regular file: a pipe would wait for ever, a device would never end.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is a folder, a pipe or a device.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened, which waits on a pipe
        raise ValueError(f"{os.fspath(path)}: it must be a regular file, not a folder, pipe or device")
    with open(path, "rb") as stream:
        yield stream


def read(path: Path, *, most: int) -> bytes:
    """All bytes of a regular file of at most ``most`` bytes, whatever size it says that it has.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no regular file, or longer.
    """
    with reading(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        content = b"" if size > most else stream.read(most + 1)  # a file may grow, or be of a kind that states no size
    if (size := max(size, len(content))) > most:
        raise ValueError(f"{os.fspath(path)}: it must hold at most {most} bytes, not {size!r}")
    return content


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """For the time of the block, no other process holds this lock of a file or folder; it ends with the process.

    Where the file system has no locks, nothing is locked.

    Raises:
        OSError: the file or folder cannot be opened, or another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = "another process works with it; wait until it has ended, or choose another"
            raise BlockingIOError(error.errno, text, os.fspath(path)) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
