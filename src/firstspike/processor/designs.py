"""Processors by name or from a file: TOML with the parameters of `firstspike.spec.Processor` that are not the default."""

import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

from firstspike.processor.run import Processor

FORMAT = 1
"""Version of the file format."""


def names() -> tuple[str, ...]:
    """Designs of the package, by name."""
    folder = files("firstspike.processor").joinpath("designs")
    return tuple(sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml")))


def load(design: str | Path) -> Processor:
    """A design of the package by its name, or one from a file.

    Raises:
        ValueError: there is no such design; or the file breaks a rule: the text names it, the key, the rule and the value.
        TypeError: a parameter has the wrong type.
        OSError: the file cannot be read.

    >>> load("default") == Processor()
    True
    """
    if str(design) in names():
        text, name = files("firstspike.processor").joinpath("designs", f"{design}.toml").read_text("utf-8"), str(design)
    elif Path(design).suffix == ".toml":
        name = Path(design).name
        try:
            text = Path(design).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: it must be text in UTF-8 ({error})") from error
    else:
        raise ValueError(
            f"processor must be a file ending in .toml or one of {', '.join(names())}, not {str(design)!r}"
        )
    return parse(text, name)


def parse(text: str, name: str) -> Processor:
    """Check the text of a design called ``name``.

    Raises:
        ValueError, TypeError: as `load`.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: must be TOML, not this: {error}") from None
    version = values.pop("format", None)
    if version != FORMAT or isinstance(version, bool):
        raise ValueError(f"{name}: key format must be {FORMAT}, not {version!r}")
    known = [field.name for field in fields(Processor)]
    for key in values:
        if key not in known:
            raise ValueError(f"{name}: keys must be format or one of {', '.join(known)}, not {key!r}")
    try:
        return Processor(**values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
