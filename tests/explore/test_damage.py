"""What a kill, a full disk or a damaged file leaves behind: a search goes on, and gives the same bytes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("optuna", reason="the extra 'explore' is not installed")

import numpy as np

from explore.spaces import TEXT, Pure, small
from firstspike.explore import evaluate, journal
from firstspike.explore.page import table
from firstspike.explore.search import search

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SMALL = TEXT.replace("trials: 30", "trials: 6").replace("population: 8", "population: 3")
CUT = pytest.mark.filterwarnings("ignore:storage .* its last line was cut:UserWarning")


def run(folder: Path, storage: Path, executor: Pure) -> str:
    space = small(folder, SMALL)
    return table(space, search(space, executor, storage=storage, digest="d"))


@CUT
def test_a_search_goes_on_from_a_journal_cut_anywhere(tmp_path: Path) -> None:
    whole = run(tmp_path, tmp_path / "a", Pure())
    content = (tmp_path / "a").read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]
    rng = np.random.default_rng(0)
    for cut in [*ends[:4], *ends[4::5], *(int(n) for n in rng.integers(1, len(content), 12))]:
        (tmp_path / "b").write_bytes(content[:cut])
        assert run(tmp_path, tmp_path / "b", Pure()) == whole


def test_the_cut_line_is_told_of(tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "a", Pure())
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:-5])
    with pytest.warns(UserWarning, match=r"^storage .*a: its last line was cut, and is dropped$"):
        run(tmp_path, tmp_path / "a", Pure())


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda lines: [b"x" * 50], "it must be a journal of Optuna, not b'xxx"),
        (lambda lines: [lines[0], b"{\n", *lines[1:]], "line 2 must be a change of Optuna's journal"),
        (lambda lines: [b'{"op_code":5}\n'], "it must be a journal of Optuna"),
    ],
)
def test_what_is_no_journal_is_refused_and_kept(damage: Any, text: str, tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "a", Pure())
    content = b"".join(damage((tmp_path / "a").read_bytes().splitlines(keepends=True)))
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        run(tmp_path, tmp_path / "a", Pure())
    assert (tmp_path / "a").read_bytes() == content


def test_a_journal_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    with journal.opened(tmp_path / "a"), pytest.raises(OSError, match="another process works with it"):
        run(tmp_path, tmp_path / "a", Pure())
    run(tmp_path, tmp_path / "a", Pure())


def test_a_full_disk_names_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path, tmp_path / "a", Pure())
    real, left = json.dumps, [5]

    def full(value: Any, **options: Any) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(value, **options)

    theirs = SimpleNamespace(dumps=full, loads=json.loads, JSONDecodeError=json.JSONDecodeError)
    monkeypatch.setattr("optuna.storages.journal._file.json", theirs)
    with pytest.raises(OSError, match="No space left on device") as caught:
        run(tmp_path, tmp_path / "b", Pure())
    assert caught.value.filename == str(tmp_path / "b")
    monkeypatch.undo()
    assert run(tmp_path, tmp_path / "b", Pure()) == whole


@pytest.mark.parametrize("cut", ["nothing", "half", "flipped", "folder"])
def test_a_damaged_trace_is_no_trace(tmp_path: Path, cut: str) -> None:
    path, times = tmp_path / "x.trace", {"input": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    evaluate._store(path, 0.5, times)
    stored = evaluate._stored(path)
    assert stored is not None
    assert stored[0] == 0.5
    assert np.array_equal(stored[1]["input"], times["input"])
    content = bytearray(path.read_bytes())
    if cut == "folder":
        path.unlink()
        path.mkdir()
    else:
        content[len(content) // 2] ^= cut == "flipped"
        path.write_bytes(content[: {"nothing": 0, "half": len(content) // 2}.get(cut, len(content))])
    assert evaluate._stored(path) is None
