"""Pages from templates: every text is escaped, every name must be known."""

from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from firstspike.figures import palette
from firstspike.figures.figure import chart_style
from firstspike.figures.svg import NARROW, WIDE, Frame

SHARED = "firstspike.pages"
"""Package of the page's frame and style."""


def render(package: str, template: str, **values: Any) -> str:
    """A page of ``package``'s folder ``templates`` with its values; strings are escaped, `Markup` is not.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def style(*more: Markup) -> Markup:
    """The style sheet of every page: colours, charts, layout, and ``more`` of a page's own."""
    return Markup(palette.style() + chart_style()) + asset(SHARED, "style.css") + Markup("").join(more)


def both(draw: Callable[[Frame], str]) -> Markup:
    """A full-width chart for screens and paper, and the same for phones; the style sheet shows one."""
    return Markup(f'<div class="broad">{draw(WIDE)}</div><div class="slim">{draw(NARROW)}</div>')


def asset(package: str, name: str) -> Markup:
    """A style sheet or script of a package, which is put into a page as it is."""
    return Markup(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
