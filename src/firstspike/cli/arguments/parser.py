"""The parser: it names what it does not know in the voice of the command, with what may have been meant."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from firstspike.names import meant

CHOICE = re.compile(r"invalid choice: '(?P<given>.*?)' \(choose from (?P<known>.*)\)")
"""How argparse names a choice that there is not."""


class Parser(argparse.ArgumentParser):
    """argparse's, but a subcommand itself names options it does not know; its subcommands are such parsers, too."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """As argparse's, without leaving anything over."""
        options, rest = super().parse_known_args(args, namespace)
        if rest:
            known = re.findall(r"(?<=\[)--[\w-]+|(?<= )--[\w-]+", self.format_usage())
            self.error(f"unrecognized arguments: {' '.join(rest)}{meant(rest[0].partition('=')[0], known)}")
        return options, rest

    def error(self, message: str) -> NoReturn:
        """As argparse's; of a choice that there is not, what may have been meant."""
        choice = CHOICE.search(message)
        if choice:
            known = [name.strip("' ") for name in choice["known"].split(",")]
            message += meant(choice["given"], known)
        super().error(message)
