"""Whether training can go on from a checkpoint: of the same recipe, teachers and network, and whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firstspike.messages import brief, line
from firstspike.train.checkpoint import CheckpointError, read_checkpoint
from firstspike.train.errors import TrainingError
from firstspike.train.module import ConversionAwareTraining

REMEDY = "remove it, or begin anew (--restart)"
_OTHER = "use another folder (--out), or begin anew (--restart)"
_PARTS: Mapping[str, type] = {
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "recipe": dict,
}


def check_resumable(path: Path, module: ConversionAwareTraining) -> None:
    """Refuse a checkpoint that a run cannot go on from, before anything is overwritten.

    Args:
        path: the checkpoint.
        module: the run's module; it is left with the checkpoint's parameters.

    Raises:
        OSError: the file cannot be read.
        TrainingError: it does not fit; the text says what to do.
    """
    subject = f"checkpoint {str(path)!r}"
    try:
        state = read_checkpoint(path)
    except CheckpointError as error:
        raise TrainingError(line(f"{subject}: {error}; {REMEDY}")) from error
    for part, kind in _PARTS.items():
        if not isinstance(state.get(part), kind):
            raise TrainingError(line(f"{subject}: it must be of a training run, with {part}; {REMEDY}"))
    ours = module.recipe.values()
    for key, value in state["recipe"].items():
        if type(value) is not type(ours.get(key)) or value != ours.get(key):
            key = brief(key).strip("'")
            rule = f"it must be of this recipe, with {key} {brief(ours.get(key))}, not {brief(value)}"
            raise TrainingError(line(f"{subject}: {rule}; {_OTHER}"))
    teachers = module.teachers.fingerprints if module.teachers is not None else []
    if state.get("teachers", []) != list(teachers):
        rule = f"it must be of these teachers in this order (--teacher), {_short(teachers)}"
        raise TrainingError(line(f"{subject}: {rule}, not of {_short(state.get('teachers'))}; {_OTHER}"))
    if (reason := _misfit(state, module)) is not None:
        raise TrainingError(line(f"{subject}: {reason}; {REMEDY}"))


def _misfit(state: Mapping[str, Any], module: ConversionAwareTraining) -> str | None:
    """Why training cannot go on from a state, or None."""
    for name, value in state["state_dict"].items():
        if not isinstance(value, Tensor) or not bool(torch.isfinite(value).all()):
            return f"{brief(name)} must be a tensor of finite numbers"
    try:
        module.load_state_dict(state["state_dict"])
    except Exception as error:  # names, shapes, kinds of tensors, a stage that there is none of
        return f"it must hold a network of this recipe ({line(str(error))[:200]})"
    if len(state["optimizer_states"]) != 1 or len(state["lr_schedulers"]) != 1 or not state["loops"]:
        return "it must hold the state of one optimiser, one schedule and the loops"
    epoch, epochs = state.get("epoch"), module.recipe.training.epochs
    if type(epoch) is not int or not 0 <= epoch < epochs:
        return f"its epoch must be in 0..{epochs - 1}, not {brief(epoch)}"
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
