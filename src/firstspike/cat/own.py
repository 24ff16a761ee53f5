"""A network of one's own by name: a function of an importable module, and a file of weights, read as data only."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network")
"""Keys under which training scripts keep the state dict beside other things."""


def build(place: str) -> nn.Module:
    """The network that ``module:factory`` returns; modules of the current folder are found too.

    Raises:
        ValueError: there is no such function or class, it needs arguments, or it returns no network.
    """
    module, colon, factory = place.partition(":")
    if not colon or not module or not factory:
        raise ValueError(f"model must be MODULE:FACTORY, as in mynets.resnet:resnet20, not {place!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), factory)
        network = made() if not isinstance(made, nn.Module) else made
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"model {place!r} must be a function or class without arguments ({error})") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"model {place!r} must return a torch.nn.Module, not {type(network).__name__}")
    return network


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Give a network the weights of a state dict: ``.safetensors``, or a file of ``torch.save``, read as data only.

    A prefix ``module.`` (DataParallel) and a state dict inside a checkpoint (`WRAPPERS`) are understood.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no state dict of this network; the text says what is missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {os.fspath(path)!r}")
    try:
        state = _state(Path(path))
        network.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"weights {os.fspath(path)!r} must be a state dict of the network ({reason})") from error
    return network


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: Any = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds no tensors by name")
    prefix = "module."
    wrapped = bool(state) and all(name.startswith(prefix) for name in state)
    return {name.removeprefix(prefix) if wrapped else name: value for name, value in state.items()}
