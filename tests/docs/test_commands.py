"""Every `firstspike` command that a page shows is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from firstspike.cli.arguments import parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """Commands of a page, in blocks and within lines; those with ``...`` are no whole commands."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"`(firstspike [^`]+)`", text)  # may go over two lines
    shown += re.findall(r"^(?: {4})?(?:\w+=\S+ )*(?:torchrun .*--no-python )?(firstspike .+?)(?: +#.*)?$", text, re.M)
    return [shlex.split(command)[1:] for command in shown if "..." not in command and "|" not in command]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_are_taken(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for command in commands(page):
        if len(command) == 1:  # a command's name in a sentence
            command = [*command, "--help"]
        try:
            parser().parse_args(command)
        except SystemExit as stop:
            if stop.code:
                wrong.append(f"firstspike {shlex.join(command)}: {capsys.readouterr().err.splitlines()[-1]}")
    assert wrong == []
