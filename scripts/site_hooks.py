"""What the site's pages take from the code when they are built: the help of every command, and the playground.

The line ``<!-- help of every command -->`` on a page becomes what ``firstspike --help`` and the ``--help`` of each subcommand
print, under headings.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

MARK = "<!-- help of every command -->"
COMMAND = re.compile(r"^    ([a-z][\w-]*)(?:  |$)", re.MULTILINE)
"""A subcommand in a help text: its name stands four columns in."""


def help_text(*command: str) -> str:
    """What ``firstspike COMMAND --help`` prints on a terminal of 84 columns.

    Raises:
        ValueError: there is no such command.
    """
    from firstspike.cli import main

    printed, complaint = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "84"}),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(complaint),
    ):
        try:
            status = main([*command, "--help"])
        except SystemExit as stop:
            status = int(stop.code or 0)
    if status:
        raise ValueError(f"help: the command must be one of firstspike's, not {command!r} ({complaint.getvalue()})")
    return printed.getvalue().rstrip()


def commands(*above: str) -> Iterator[tuple[str, ...]]:
    """The commands below a command, each before its own."""
    listed = help_text(*above).partition("positional arguments:")[2].partition("\n\n")[0]
    for name in COMMAND.findall(listed):
        yield (*above, name)
        yield from commands(*above, name)


def playground() -> str:
    """The playground of the digits network, with a digit of each class."""
    import numpy as np

    import firstspike as fs
    from firstspike.data import load

    digits = load("digits", split="test")
    first = [int(np.flatnonzero(digits.labels == label)[0]) for label in range(10)]
    return fs.playground(fs.zoo.load("digits"), name="digits", samples=list(digits.images[first])).html


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Called by MkDocs with the site's files; adds the page that the code makes."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "playground/digits.html", content=playground()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the text of every page; returns it with the help filled in."""
    if MARK not in markdown:
        return markdown
    parts = [f"```text\n{help_text()}\n```"]
    for command in commands():
        parts.append(f"{'#' * (1 + len(command))} {' '.join(command)}\n\n```text\n{help_text(*command)}\n```")
    return markdown.replace(MARK, "\n\n".join(parts))
