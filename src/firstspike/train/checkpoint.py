"""Checkpoints: written whole or not at all, read as numbers and text only."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from firstspike import files


class CheckpointError(ValueError):
    """A file is no whole checkpoint; the text says no more, so that it repeats nothing of the file's."""


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that there is always a whole one.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()  # into a file PyTorch would raise errors of its own
    torch.save(checkpoint, buffer)
    files.write(path, buffer.getbuffer())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds. Nothing in the file is executed.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it is damaged, or holds anything but numbers, text and what groups them.
    """
    try:
        with files.reading(path) as stream:
            size = stream.seek(0, io.SEEK_END)
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
            # PyTorch stores: what is compressed, or lies in several entries at once, could fill any memory.
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if stored and sum(entry.file_size for entry in entries) <= size:
                stream.seek(0)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # PyTorch's, of what only a damaged file holds
                    state = torch.load(stream, map_location="cpu", weights_only=True)
                if isinstance(state, dict) and all(isinstance(part, str) for part in state):
                    return state
    except (OSError, MemoryError):
        raise
    except Exception:  # PyTorch raises nearly every kind there is, and advises to execute what is in the file
        pass
    raise CheckpointError("it is damaged or no checkpoint")
