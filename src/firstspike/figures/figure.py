"""A chart that is returned, not shown: a notebook draws it, ``save`` writes it as SVG."""

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources

from firstspike import files
from firstspike.figures.palette import LIGHT, NOTEBOOK, variables


@cache
def chart_style() -> str:
    """The style sheet of charts; their colours are custom properties that somebody else sets."""
    return resources.files("firstspike.figures").joinpath("chart.css").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart.

    Attributes:
        title: what it shows, in a line.
        svg: the drawing, whose colours come from the page that it stands on.
    """

    title: str
    svg: str

    def __repr__(self) -> str:
        return f"Figure({self.title!r}; save(path) writes it as SVG)"

    def _repr_html_(self) -> str:
        style = f".firstspike {{ {variables(NOTEBOOK)} }}\n{chart_style()}"
        return f'<div class="firstspike"><style>{style}</style>{self.svg}</div>'

    def standalone(self) -> str:
        """The drawing by itself, with its colours, on light ground."""
        head, _, rest = self.svg.partition(">")
        head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        style = f"svg.chart {{ {variables(LIGHT)} background: var(--card); }}\n{chart_style()}"
        return f"{head}><style>{style}</style>{rest}\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing as an SVG file, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        files.write(path, self.standalone())
