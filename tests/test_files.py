"""Files appear whole under their name or not at all, and an older file of that name stays until then."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from firstspike import files


def test_contents_follow_one_another_and_no_other_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    files.write(path, "µ", b"b", memoryview(b"c"))
    assert path.read_bytes() == b"\xc2\xb5bc"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.write("a", "text")
    assert (tmp_path / "a").read_text() == "text"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"


def test_temporary_names_cannot_be_guessed_and_are_never_taken_over(tmp_path: Path) -> None:
    names = set()
    for _ in range(5):
        with files.replacing(tmp_path / "a") as stream:
            (name,) = (entry.name for entry in tmp_path.iterdir() if entry.name != "a")
            names.add(name)
            stream.write(b"x")
    assert len(names) == 5


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_names_it(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=r"No space left on device: '.*/a'$"):
            files.write(path, "new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_ends_the_block_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), files.replacing(tmp_path / "a") as stream:
        stream.write(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named_by_the_caller_s_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        files.write(tmp_path / "none" / "a", "")
    assert raised.value.filename == str(tmp_path / "none" / "a")


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    left = tmp_path / f".last.ckpt.{'0123456789abcdef'}.tmp"
    others = [tmp_path / ".last.ckpt.mine.tmp", tmp_path / f".other.{'0' * 16}.tmp", path]
    for file in (left, *others):
        file.write_bytes(b"x")
    files.clear(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_lock_is_for_one_process_and_ends_with_it(tmp_path: Path) -> None:
    hold = "import sys, time; from firstspike import files\nwith files.locked(sys.argv[1]): print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OSError, match="another process works with it") as caught, files.locked(tmp_path):
            pass
        assert caught.value.filename == str(tmp_path)
        process.kill()
        process.wait()
    with files.locked(tmp_path):
        pass


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(ValueError, match=r"a: it must hold at most 4 bytes, not 5$"):
        files.read(tmp_path / "a", most=4)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=r": it must be a regular file, not a folder, pipe or device$"):
            files.read(path, most=4)
