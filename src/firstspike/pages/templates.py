"""Pages from templates: every text is escaped, every name must be known."""

from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

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


def asset(package: str, name: str) -> Markup:
    """A style sheet or script of a package, which is put into a page as it is."""
    return Markup(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
