"""What others wrote, as it may stand in a message: short, on one line, nothing that a terminal would obey.

Model files, configurations, checkpoints and folders hold names and values that anybody may have made. Here is the one place
where they are shortened and escaped; the work and the memory it takes do not grow with the value.
"""

from collections.abc import Iterator
from typing import Any

SHORT = 200
"""Most characters of a value."""

LINE = 600
"""Most characters of a message."""

_DEPTH = 8
_BITS = 400


def brief(value: object, limit: int = SHORT) -> str:
    """``repr`` in at most ``limit`` characters; of a long value only the beginning is looked at.

    >>> brief([1, "a", {"b": None}])
    "[1, 'a', {'b': None}]"
    >>> brief("x" * 1000, limit=10)
    "'xxxxx ..."
    >>> brief(1 << 4000)
    'an integer of 4001 bits'
    """
    parts, length = [], 0
    for part in _parts(value, limit, 0):
        parts.append(part)
        length += len(part)
        if length > limit:
            break
    text = "".join(parts)
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def _parts(value: Any, limit: int, depth: int) -> Iterator[str]:
    """The text of a value piece by piece, so that whoever reads may stop: lists that share parts may be endless."""
    kind = type(value)
    if kind in (str, bytes):
        yield repr(value[: limit + 1])
    elif kind is int and value.bit_length() > _BITS:
        yield f"an integer of {value.bit_length()} bits"
    elif kind in (list, tuple, set, frozenset, dict):
        if depth == _DEPTH or not value:
            yield "..." if value else repr(value)
            return
        opening, closing = "[]" if kind is list else "()" if kind is tuple else "{}"
        yield opening
        for index, entry in enumerate(value):
            if index:
                yield ", "
            yield from _parts(entry, limit, depth + 1)
            if kind is dict:
                yield ": "
                yield from _parts(value[entry], limit, depth + 1)
        yield ("," if kind is tuple and len(value) == 1 else "") + closing
    else:
        yield repr(value)


def visible(text: str, limit: int = SHORT) -> str:
    """A text with what does not print as an escape, in at most ``limit`` characters: the beginning and the end of a long one.

    >>> visible("conv1\\x1b[2J\\udcff")
    'conv1\\\\x1b[2J\\\\udcff'
    >>> visible("0123456789" * 10, limit=20)
    '0123456789 ... 56789'
    """
    if len(text) > limit:
        tail = (limit - 5) // 3
        text = f"{text[: limit - 5 - tail]} ... {text[len(text) - tail :]}"
    escaped = printable(text)
    return escaped if len(escaped) <= limit else f"{escaped[: limit - 4]} ..."


def printable(text: str) -> str:
    """A text with what does not print as an escape; its lines stay lines.

    >>> printable("conv1\\x1b[2J\\n")
    'conv1\\\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def line(text: str) -> str:
    """A message as one line of at most `LINE` characters that a terminal shows as it is.

    >>> line("it must be\\n  a file")
    'it must be a file'
    """
    return visible(" ".join(text[: 100 * LINE].split()), LINE)
