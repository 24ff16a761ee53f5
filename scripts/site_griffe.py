"""How the site reads docstrings: doctests become code, pages become links, a name stands where it is defined."""

import re
from typing import Any

from griffe import Alias, Extension, Object

DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1(?! *$).+)*", re.MULTILINE)
"""A doctest: from its prompt to the next empty line."""

PAGE = re.compile(r"\bdocs/([\w/-]+)\.md\b")
"""A page of the documentation, as docstrings name it."""


def fenced(text: str) -> str:
    """The text with every doctest as a block of code."""
    return DOCTEST.sub(lambda block: f"{block[1]}```pycon\n{block[0]}\n{block[1]}```", text)


def linked(text: str) -> str:
    """The text with every page as a link, as it is written on a page of reference/api.

    >>> linked("Integers (docs/reference/numerics.md).")
    'Integers ([docs/reference/numerics.md](../../reference/numerics.md)).'
    """
    return PAGE.sub(r"[\g<0>](../../\1.md)", text)


class FirstspikeExtension(Extension):
    """Loaded by mkdocstrings when it reads the package."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Doctests of a docstring become blocks, pages that it names become links."""
        if obj.docstring:
            obj.docstring.value = linked(fenced(obj.docstring.value))

    def on_alias(self, *, alias: Alias, **_: Any) -> None:
        """A name that is passed on is documented where it is defined."""
        alias.public = False
