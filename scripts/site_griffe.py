"""How the site reads docstrings: doctests become code, and a name is shown where it is defined, not where it is passed on."""

import re
from typing import Any

from griffe import Alias, Extension, Object

DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1(?! *$).+)*", re.MULTILINE)
"""A doctest: from its prompt to the next empty line."""


def fenced(text: str) -> str:
    """The text with every doctest as a block of code."""
    return DOCTEST.sub(lambda block: f"{block[1]}```pycon\n{block[0]}\n{block[1]}```", text)


class FirstspikeExtension(Extension):
    """Loaded by mkdocstrings when it reads the package."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Doctests of a docstring become blocks."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)

    def on_alias(self, *, alias: Alias, **_: Any) -> None:
        """A name that is passed on is documented where it is defined."""
        alias.public = False
