"""Trained networks in the integer format, a card beside each; the project's folder ``zoo`` is this one."""

import os
from pathlib import Path

from firstspike import names as catalogue
from firstspike.spec import Network
from firstspike.spec import load as load_network
from firstspike.spiking import SpikingNetwork
from firstspike.spiking import load as load_file

FOLDER = catalogue.ZOO
"""Where the networks lie."""


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Networks that `load` knows."""
    return catalogue.networks(folder)


def path(name: str, folder: Path = FOLDER) -> Path:
    """The model file of a network.

    Raises:
        ValueError: there is no network of that name.
    """
    known = names(folder)
    if name not in known:
        listed = ", ".join(known) or f"(none in {folder})"
        raise ValueError(f"zoo: the network must be one of {listed}, not {name!r}{catalogue.meant(name, known)}")
    return folder / f"{name}.safetensors"


def load(name: str, *, engine: str | None = None, folder: Path = FOLDER) -> SpikingNetwork:
    """A trained network by name, for example ``load("vgg16-cifar10")``.

    Raises:
        ValueError: there is no network of that name.
        firstspike.FormatError: its file is damaged.
    """
    return load_file(path(name, folder), engine=engine)


def file(name: str) -> Path:
    """The model file that a path or a name of the zoo stands for. A file of that name goes first.

    Raises:
        ValueError: it looks like a name, and there is no network of that name.
    """
    given = Path(name)
    if given.exists() or given.suffix or os.sep in name:
        return given
    known = names()
    if name not in known:
        raise ValueError(
            f"network must be a model file or one of {', '.join(known)}, not {name!r}{catalogue.meant(name, known)}"
        )
    known = names()
    if name not in known:
        raise ValueError(
            f"network must be a model file or one of {', '.join(known)}, not {name!r}{catalogue.meant(name, known)}"
        )
    return path(name)


def find(name: str) -> Network:
    """The integer network of a model file, or of the zoo by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no network of that name.
        firstspike.FormatError: the file is damaged.
    """
    return load_network(file(name))
