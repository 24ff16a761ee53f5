"""Trained networks in the integer format, a card beside each; the project's folder ``zoo`` is this one."""

from pathlib import Path

from firstspike.spec import Network
from firstspike.spec import load as load_network
from firstspike.spiking import SpikingNetwork
from firstspike.spiking import load as load_file

FOLDER = Path(__file__).resolve().parent
"""Where the networks lie."""


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Networks that `load` knows."""
    return tuple(sorted(path.stem for path in folder.glob("*.safetensors")))


def path(name: str, folder: Path = FOLDER) -> Path:
    """The model file of a network.

    Raises:
        ValueError: there is no network of that name.
    """
    if name not in names(folder):
        known = ", ".join(names(folder)) or f"(none in {folder})"
        raise ValueError(f"zoo: the network must be one of {known}, not {name!r}")
    return folder / f"{name}.safetensors"


def load(name: str, *, engine: str | None = None, folder: Path = FOLDER) -> SpikingNetwork:
    """A trained network by name, for example ``load("vgg16-cifar10")``.

    Raises:
        ValueError: there is no network of that name.
        firstspike.FormatError: its file is damaged.
    """
    return load_file(path(name, folder), engine=engine)


def find(name: str) -> Network:
    """The integer network of a model file, or of the zoo by name.

    Raises:
        FileNotFoundError: there is neither such a file nor such a network.
        firstspike.FormatError: the file is damaged.
    """
    return load_network(name if Path(name).is_file() or name not in names() else path(name))
