"""What others wrote, in messages: short whatever the value, on one line, nothing that a terminal obeys."""

import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.cli.main import describe
from firstspike.messages import LINE, brief, line, visible
from firstspike.terminal import Terminal

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(plain)
def test_a_short_value_is_its_repr_and_a_long_one_its_beginning(value: Any) -> None:
    whole, shown = repr(value), brief(value, 60)
    assert len(shown) <= 60
    assert shown == whole if len(whole) <= 60 else shown.endswith(" ...") or "..." in shown
    assert shown[:40] == whole[:40] or "..." in shown


def test_lists_that_share_parts_cost_no_memory() -> None:
    value: list[Any] = ["x"] * 9
    for _ in range(200):
        value = [value] * 9
    tracemalloc.start()
    try:
        assert len(brief(value)) <= 200
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    endless: list[Any] = []
    endless.append(endless)
    assert brief(endless) == "[[[[[[[[...]]]]]]]]"


def test_integers_of_any_length_are_shown() -> None:
    assert brief(10**100) == repr(10**100)
    assert brief(-(1 << 100_000)) == "an integer of 100001 bits"


@given(st.text())
def test_a_message_is_one_printable_line(text: str) -> None:
    shown = line(text)
    assert shown.isprintable()
    assert len(shown) <= LINE
    assert visible(text, 30).replace("\n", "").isprintable()
    assert len(visible(text, 30)) <= 30


def test_a_long_message_keeps_its_end_where_the_remedy_stands() -> None:
    shown = line("subject " + "y" * 10_000 + " use --out")
    assert shown.startswith("subject yy")
    assert shown.endswith("yy use --out")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("\x1b[31mred\x07"),
        FileNotFoundError(2, "No such file", "a\x1b]0;title\x07"),
        MemoryError("\x1b" * 5),
        ValueError("\udcff\u202e"),
    ],
)
def test_errors_send_nothing_to_the_terminal(error: BaseException) -> None:
    assert describe(error).isprintable()


@given(st.text())
def test_a_string_is_only_text_on_the_terminal(text: str) -> None:
    terminal = Terminal(file=io.StringIO(), width=10_000)
    terminal.print(f"[bold]{text}[/bold]:warning:", soft_wrap=True)
    shown = terminal.file.getvalue()
    assert shown.startswith("[bold]")
    assert "[/bold]:warning:" in shown
    assert shown.replace("\n", "").isprintable()


def test_a_full_disk_that_names_no_file_is_standard_output_or_a_log() -> None:
    assert describe(OSError(28, "No space left on device")) == "standard output or a log: No space left on device"
    assert describe(OSError(28, "No space left on device", "a.json")) == "a.json: No space left on device"
