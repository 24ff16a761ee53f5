"""A page that was made: a notebook shows it, ``save`` writes it."""

import os
from dataclasses import dataclass
from html import escape

from firstspike import files


@dataclass(frozen=True, kw_only=True)
class Page:
    """One HTML page that holds all it shows.

    Attributes:
        html: the page.
    """

    html: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}(save(path) writes {len(self.html) / 1e6:.1f} MB of HTML)"

    def _repr_html_(self) -> str:
        return f'<iframe style="width:100%;height:720px;border:0" srcdoc="{escape(self.html)}"></iframe>'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        files.write(path, self.html)
