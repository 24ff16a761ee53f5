"""Processors by name or from a file: TOML with the parameters of `firstspike.spec.ProcessorSpec` that are not the default."""

from importlib.resources import files
from pathlib import Path

from firstspike import config
from firstspike.names import designs, meant
from firstspike.processor.run import Processor

FORMAT = 1
"""Version of the file format."""


def names() -> tuple[str, ...]:
    """Designs of the package, by name."""
    return designs()


def load(design: str | Path) -> Processor:
    """A design of the package by its name, or one from a file.

    Raises:
        ValueError: there is no such design.
        firstspike.config.ConfigError: the file breaks a rule; the text names it, the key, the rule and the value.
        OSError: the file cannot be read.

    >>> load("default") == Processor()
    True
    """
    if str(design) in names():
        text, name = files("firstspike.processor").joinpath("designs", f"{design}.toml").read_text("utf-8"), str(design)
    elif Path(design).suffix == ".toml":
        text, name = config.read_text(design), Path(design).name
    else:
        raise ValueError(
            f"processor must be a file ending in .toml or one of {', '.join(names())}, not {str(design)!r}"
            f"{meant(str(design), names())}"
        )
    return parse(text, name)


def parse(text: str, name: str) -> Processor:
    """Check the text of a design called ``name``.

    Raises:
        firstspike.config.ConfigError: as `load`.
    """
    table = config.parse(text, name)
    table.version(FORMAT)
    return table.build(Processor)
