"""Folders and archives made to harm: little memory, no waiting, one clear error."""

import os
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from firstspike.data import load
from firstspike.data.sources import MAX_DEPTH


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    return path


def liar(path: Path, *, declared: int, real: int) -> Path:
    """A zip whose one image is of ``declared`` bytes by both headers, and inflates to ``real`` bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(real))
    data = path.read_bytes()
    assert data.count(struct.pack("<I", real)) == 2
    path.write_bytes(data.replace(struct.pack("<I", real), struct.pack("<I", declared)))
    return path


def test_an_entry_is_inflated_to_its_declared_size_only(tmp_path: Path) -> None:
    path = liar(tmp_path / "set.zip", declared=1000, real=20_000_000)
    assert path.stat().st_size < 30_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^cat/1.png in .*set.zip must be readable, not corrupted: Bad CRC-32"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_an_entry_that_lies_with_the_right_checksum_is_cut(tmp_path: Path) -> None:
    path = liar(tmp_path / "set.zip", declared=1000, real=20_000_000)
    data = path.read_bytes()
    whole, cut = (struct.pack("<I", zlib.crc32(bytes(size))) for size in (20_000_000, 1000))
    assert data.count(whole) == 2
    path.write_bytes(data.replace(whole, cut))
    with pytest.raises(ValueError, match=r"^image 'cat/1.png' in .* must be readable, not broken: it is none of PNG"):
        load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive:
        archive.writestr("cat/1.png", bytes(1000))
    with pytest.raises(ValueError, match=rf"^cat/1.png in .* must be stored or deflated, not by method {method}$"):
        load(tmp_path / "set.zip")


@pytest.mark.parametrize("name", ["pipe", "zero"])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, name: str) -> None:
    special = tmp_path / "special"
    if name == "pipe":
        os.mkfifo(special)
    else:
        special.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"special: it must be a regular file, not a folder, pipe or device$"):
        load(special)
    picture(tmp_path / "set/cat/1.png")
    special.rename(tmp_path / "set/cat/2.png")
    with pytest.raises(ValueError, match=r"cat/2.png: it must be a regular file, not a folder, pipe or device$"):
        load(tmp_path / "set")


def test_a_file_that_states_no_size_is_read_to_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of /proc say that they hold 0 bytes."""
    monkeypatch.setattr("firstspike.data.sources.MAX_FILE_BYTES", 10)
    picture(tmp_path / "cat/1.png").unlink()
    (tmp_path / "cat/1.png").symlink_to("/proc/self/maps")
    with pytest.raises(ValueError, match=r"1.png: it must hold at most 10 bytes, not 11$"):
        load(tmp_path)


def test_folders_within_folders_without_end_are_refused(tmp_path: Path) -> None:
    rule = rf"must hold at most {MAX_DEPTH} folders within one another, not more$"
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a/" * 5000 + "1.png", b"")
    with pytest.raises(ValueError, match=rule):
        load(tmp_path / "set.zip")
    before = os.getcwd()
    (tmp_path / "set").mkdir()
    os.chdir(tmp_path / "set")
    try:
        for _ in range(200):
            os.mkdir("a")
            os.chdir("a")
    finally:
        os.chdir(before)
    with pytest.raises(ValueError, match=rule):
        load(tmp_path / "set")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zip") / "set.zip"


@pytest.fixture(scope="module")
def good(place: Path) -> bytes:
    """A zip of two images."""
    image = picture(place.parent / "1.png").read_bytes()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/1.png", "dog/2.png"):
            archive.writestr(name, image)
    return place.read_bytes()


@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_zip_is_read_or_refused(place: Path, good: bytes, changes: list[tuple[int, int]]) -> None:
    """Bytes anywhere in a zip changed: images, or one of our errors."""
    content = bytearray(good)
    for where, value in changes:
        content[where % len(good)] = value
    place.write_bytes(content)
    with suppress(ValueError, FileNotFoundError):
        assert load(place).images.shape[1:] == (1, 4, 4)
