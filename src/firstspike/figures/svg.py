"""Elements of inline SVG: colours come from the page's style sheet, so they follow light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How a full-width chart stands, in SVG units: names left of it and values right of it, or both above it.

    Attributes:
        width: of the chart.
        label, value: of the names and of the values; 0 puts them above.
        row, bar: heights of a row and of its bar.
    """

    width: float
    label: float
    value: float
    row: float
    bar: float

    @property
    def above(self) -> bool:
        """Whether texts stand above the bars."""
        return self.label == 0

    @property
    def room(self) -> float:
        """Width that is left for bars."""
        return self.width - self.label - self.value

    def top(self, row: int) -> float:
        """Where a row's bar begins."""
        return row * self.row + (20 if self.above else (self.row - self.bar) / 2)

    def texts(self, row: int, name: str, value: str) -> str:
        """Name and value of a row."""
        y = row * self.row + (14 if self.above else self.row / 2 + 4.5)
        at, anchor = (0.0, "start") if self.above else (self.label - 12, "end")
        return text(at, y, name, anchor=anchor) + text(self.width, y, value, anchor="end", style="value")


WIDE = Frame(width=920, label=240, value=150, row=26, bar=16)
"""On a screen, and on paper."""

NARROW = Frame(width=360, label=0, value=0, row=46, bar=14)
"""On a phone."""

WIDTH = WIDE.width
"""Width of full-width charts in SVG units."""


def element(tag: str, content: str = "", **attributes: float | str) -> str:
    """One SVG element; underscores in attribute names become hyphens.

    >>> element("rect", x=1, fill_opacity=0.5)
    '<rect x="1" fill-opacity="0.5"/>'
    >>> element("text", "a", y=2.123456)
    '<text y="2.12">a</text>'
    """
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"' for name, value in attributes.items())
    return f"<{tag}{given}>{content}</{tag}>" if content else f"<{tag}{given}/>"


def drawing(width: float, height: float, parts: Sequence[str], title: str, *, fill: bool = True) -> str:
    """An SVG image that scales with the page, with a title for screen readers."""
    head = f'<svg viewBox="0 0 {_text(width)} {_text(height)}" role="img" aria-label="{escape(title)}"'
    size = ' class="chart fill"' if fill else f' class="chart" width="{_text(width)}" height="{_text(height)}"'
    return f"{head}{size}>" + "".join(parts) + "</svg>"


def text(x: float, y: float, content: str, *, anchor: str = "start", style: str = "") -> str:
    """A text, escaped."""
    kind = {"class_": style} if style else {}
    return element("text", escape(content), x=x, y=y, text_anchor=anchor, **kind)


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    return str(value) if isinstance(value, int) else f"{float(value):.2f}".rstrip("0").rstrip(".")
