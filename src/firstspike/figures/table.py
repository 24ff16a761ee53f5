"""A table for terminal and notebook at once, with the records behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from firstspike.extras import needed
from firstspike.messages import visible

if TYPE_CHECKING:
    from pandas import DataFrame

STYLE = (
    ".firstspike table { border-collapse: collapse; font-variant-numeric: tabular-nums; } "
    ".firstspike th, .firstspike td { padding: 3px 10px; text-align: right; } "
    ".firstspike .word { text-align: left; } "
    ".firstspike caption { text-align: left; padding: 3px 10px; }"
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows as readers want them, and the same as records whose keys carry units.

    Attributes:
        title: a line above.
        heads: names of the columns.
        rows: cells as they are shown.
        words: how many columns hold words, from the left; the others hold figures.
        records: a flat dictionary a row.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    records: Sequence[Mapping[str, Any]]

    def __repr__(self) -> str:
        lines = [[visible(cell, 40) for cell in row] for row in (self.heads, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(
                cell.ljust(width) if place < self.words else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([visible(self.title), *texts])

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            kinds = [' class="word"' if place < self.words else "" for place in range(len(cells))]
            return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return (
            f'<div class="firstspike"><style>{STYLE}</style><table><caption>{escape(self.title)}</caption>'
            f"<thead><tr>{line(self.heads, 'th')}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def to_frame(self) -> "DataFrame":
        """The records as a pandas table.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame(self.records)


def frame(records: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """Records as a pandas table.

    Raises:
        ImportError: pandas is not installed.
    """
    with needed("to_frame"):
        from pandas import DataFrame  # takes half a second to import
    return DataFrame(list(records))
