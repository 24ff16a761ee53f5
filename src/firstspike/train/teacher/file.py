"""A teacher's file: safetensors with the network's weights, and in its header what builds the network."""

import json
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save

from firstspike.files import write
from firstspike.train.teacher.network import TeacherNetwork

FORMAT = "firstspike-teacher-1"


def save_teacher(network: TeacherNetwork, path: str | Path, *, classes: tuple[str, ...], recipe: str) -> None:
    """Write a teacher with the names of its classes and the text of its recipe.

    Raises:
        OSError: the file cannot be written.
    """
    header = {"format": FORMAT, "shape": json.dumps(network.shape), "classes": json.dumps(classes), "recipe": recipe}
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    write(path, save(state, metadata=header))


def is_teacher(path: str | Path) -> bool:
    """Whether a file is one that `save_teacher` wrote."""
    try:
        with safetensors.safe_open(path, "pt") as opened:
            return (opened.metadata() or {}).get("format") == FORMAT
    except (OSError, safetensors.SafetensorError):
        return False


def load_teacher(path: str | Path) -> TeacherNetwork:
    """The teacher of a file, in evaluation mode. The file is read as data only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no teacher's file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"teacher {str(path)!r}: there is no such file")
    if not is_teacher(path):
        raise ValueError(f"teacher {str(path)!r}: it must be a file that `firstspike teacher` wrote, not another one")
    try:
        with safetensors.safe_open(path, "pt") as opened:
            shape = json.loads(opened.metadata()["shape"])
        network = TeacherNetwork(**shape)
        network.load_state_dict(load_file(path))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"teacher {str(path)!r}: its weights and its header must agree ({reason})") from error
    return network.eval()
