"""Trained networks of the project's folder ``zoo/``, in the integer format, a card beside each."""

from pathlib import Path

from firstspike.spiking import SpikingNetwork
from firstspike.spiking import load as load_file

FOLDER = Path(__file__).resolve().parents[2] / "zoo"
"""Where the networks lie in a checkout of the project."""


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Networks that `load` knows."""
    return tuple(sorted(path.stem for path in folder.glob("*.safetensors")))


def path(name: str, folder: Path = FOLDER) -> Path:
    """The model file of a network.

    Raises:
        ValueError: there is no network of that name.
    """
    if name not in names(folder):
        known = ", ".join(names(folder)) or f"(none in {folder}; the networks come with a checkout of the project)"
        raise ValueError(f"zoo: the network must be one of {known}, not {name!r}")
    return folder / f"{name}.safetensors"


def load(name: str, *, engine: str | None = None, folder: Path = FOLDER) -> SpikingNetwork:
    """A trained network by name, for example ``load("vgg16-cifar10")``.

    Raises:
        ValueError: there is no network of that name.
        firstspike.FormatError: its file is damaged.
    """
    return load_file(path(name, folder), engine=engine)
