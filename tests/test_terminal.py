"""Progress: nothing in a file, a bar below the cell of a notebook."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from firstspike import terminal


def test_a_file_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(terminal.track(range(3), "run", 3)) == [0, 1, 2]
    assert capsys.readouterr().out.strip() == ""


def test_a_notebook_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    ipython, inner = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    inner.HTML = str  # type: ignore[attr-defined]

    def display(page: str, display_id: bool) -> SimpleNamespace:
        shown.append(page)
        return SimpleNamespace(update=shown.append)

    inner.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    assert list(terminal.track("ab", "<run>", 2)) == ["a", "b"]
    assert shown == [
        f'<label>&lt;run&gt; {done}/2 <progress value="{done}" max="2"></progress></label>' for done in (0, 1, 2)
    ]
