"""The terminal that everything is printed on: it shows text that others wrote, and never obeys it."""

import sys
from collections.abc import Iterable, Iterator
from html import escape
from importlib import import_module
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from firstspike.messages import visible

Item = TypeVar("Item")

LONGEST = 10_000
"""Most characters of a string that is shown."""


class Terminal(Console):
    """A console on which a string is only text: no markup, no emoji, and an escape for what does not print.

    Names of layers, classes and files come from outside. Style is given by `rich.text.Text` or ``style=``, never in a string.

    >>> import io
    >>> terminal = Terminal(file=io.StringIO())
    >>> terminal.print("conv[bold]\\x1b[2J")
    >>> terminal.file.getvalue()
    'conv[bold]\\\\x1b[2J\\n'
    >>> terminal.print("word " * 40)
    >>> terminal.file.getvalue().count("\\n")
    2
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)
        if not self.is_terminal and "width" not in options:  # a file or a pipe has no width to keep to
            self.width = 120

    def print(self, *objects: Any, **options: Any) -> None:
        """What is only text is not broken into lines where there is no terminal: a reader of a pipe takes whole ones."""
        if not self.is_terminal and all(isinstance(part, str) for part in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What every string goes through: printed, title or cell."""
        return super().render_str(visible(text, LONGEST), **options)


console = Terminal()
"""Standard output."""


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """The items with a progress bar on the terminal, or below a notebook's cell."""
    if in_notebook():
        yield from _track_in_notebook(items, label, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(task)


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this; IPython is not loaded to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookBar:
    """A bar that a notebook draws below the running cell, with the browser's own element."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._shown: Any = None

    def show(self, label: str, done: int, note: str = "") -> None:
        """Draw it, or draw it anew: a name, how many are done, and a note behind."""
        ipython: Any = import_module("IPython.display")  # a notebook has it
        text = f"{visible(label)} {done}/{self.total}" + (f" {visible(note)}" if note else "")
        page = ipython.HTML(f'<label>{escape(text)} <progress value="{done}" max="{self.total}"></progress></label>')
        if self._shown is None:
            self._shown = ipython.display(page, display_id=True)
        else:
            self._shown.update(page)


def _track_in_notebook(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    bar = NotebookBar(total)
    bar.show(label, 0)
    for done, item in enumerate(items, 1):
        yield item
        bar.show(label, done)
