"""Checkpoints: written whole or not at all, read as numbers and text only, refused in one line where they do not fit."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firstspike import files
from firstspike.messages import brief, line
from firstspike.train.module import ConversionAwareTraining, TrainingError
from firstspike.train.recipe import Recipe

REMEDY = "remove it, or begin anew (--restart)"
_PARTS = {"state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict, "callbacks": dict, "recipe": dict}


class CheckpointError(ValueError):
    """A file is no whole checkpoint of `firstspike train`."""


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that there is always a whole one.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()  # into a file PyTorch would raise errors of its own
    torch.save(checkpoint, buffer)
    files.write(path, buffer.getbuffer())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint with its parts, whose content is not looked at. Nothing in the file is executed.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it is damaged, or holds anything but numbers, text and what groups them.
    """
    subject = f"checkpoint {str(path)!r}"
    broken = CheckpointError(line(f"{subject}: it is damaged or no checkpoint of `firstspike train`"))
    try:
        with files.reading(path) as stream:
            size = stream.seek(0, 2)
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
            # PyTorch stores; what is compressed or read twice could fill any memory.
            if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
                raise broken
            stream.seek(0)
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except (OSError, MemoryError, CheckpointError):
        raise
    except Exception:  # its text would advise to execute what is in the file
        raise broken from None
    if not isinstance(state, dict):
        raise broken
    for part, kind in _PARTS.items():
        if not isinstance(state.get(part), kind) or (kind is dict and not all(isinstance(k, str) for k in state[part])):
            raise CheckpointError(line(f"{subject}: it must be of a training run, with the part {part!r} whole"))
    if not all(isinstance(value, Tensor) for value in state["state_dict"].values()):
        raise CheckpointError(line(f"{subject}: its state_dict must hold tensors only"))
    return state


def check_resumable(
    path: Path, state: Mapping[str, Any], recipe: Recipe, teachers: Sequence[str], module: ConversionAwareTraining
) -> None:
    """Refuse a checkpoint of another recipe, other teachers or another network, before anything is overwritten.

    Args:
        path: of the checkpoint, for errors.
        state: what `read_checkpoint` gave.
        recipe: of the run that would go on.
        teachers: their fingerprints.
        module: the run's module, which takes over the checkpoint's parameters.

    Raises:
        TrainingError: it does not fit; the text says what to do.
    """
    subject, ours = f"checkpoint {str(path)!r}", recipe.values()
    for key, value in state["recipe"].items():
        if type(value) is not type(ours.get(key)) or value != ours.get(key):
            raise TrainingError(line(
                f"{subject}: it must be of this recipe, with {brief(key)[1:-1]} {ours.get(key)!r}, not {brief(value)}; use "
                f"another folder (--out), or begin anew (--restart)"
            ))  # fmt: skip
    learned_from = state.get("teachers", [])
    if learned_from != list(teachers):
        raise TrainingError(line(
            f"{subject}: it must be of these teachers in this order (--teacher), {_short(teachers)}, not of "
            f"{_short(learned_from)}; use another folder (--out), or begin anew (--restart)"
        ))  # fmt: skip
    if (reason := _misfit(state, module, recipe)) is not None:
        raise TrainingError(line(f"{subject}: {reason}; {REMEDY}"))


def _misfit(state: Mapping[str, Any], module: ConversionAwareTraining, recipe: Recipe) -> str | None:
    """Why training cannot go on from a state, or None."""
    for name, value in state["state_dict"].items():
        if not bool(torch.isfinite(value).all()):
            return f"{brief(name)} must be finite, not NaN or infinite"
    try:
        module.load_state_dict(state["state_dict"])
    except Exception as error:  # names, shapes, kinds of tensors, a stage that there is none of
        return f"it must hold a network of this recipe ({line(str(error))[:200]})"
    if len(state["optimizer_states"]) != 1 or len(state["lr_schedulers"]) != 1 or not state["loops"]:
        return "it must hold the state of one optimiser, one schedule and the loops"
    epoch = state.get("epoch")
    if type(epoch) is not int or not 0 <= epoch < recipe.training.epochs:
        return f"its epoch must be in 0..{recipe.training.epochs - 1}, not {brief(epoch)}"
    return _momentum_misfit(state["optimizer_states"][0], module)


def _momentum_misfit(optimiser: Any, module: ConversionAwareTraining) -> str | None:
    shapes = [p.shape for group in module.configure_optimizers()["optimizer"].param_groups for p in group["params"]]
    momenta = optimiser.get("state") if isinstance(optimiser, dict) else None
    if not isinstance(momenta, dict):
        return "its optimiser must have a state"
    for index, entry in momenta.items():
        momentum = entry.get("momentum_buffer") if isinstance(entry, dict) else entry
        if momentum is None:
            continue
        fits = type(index) is int and 0 <= index < len(shapes) and isinstance(momentum, Tensor)
        if not fits or momentum.shape != shapes[index]:
            return f"momentum {brief(index)} must have the shape of its parameter"
    return None


def _short(fingerprints: Any) -> str:
    if not isinstance(fingerprints, list | tuple) or not all(isinstance(entry, str) for entry in fingerprints):
        return brief(fingerprints)
    return ", ".join(fingerprint[:12] for fingerprint in fingerprints) or "none"
