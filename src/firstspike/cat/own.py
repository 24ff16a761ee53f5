"""A network of one's own by name: a function of an importable module, and a file of weights, read as data only."""

import importlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network")
"""Keys under which training scripts keep the state dict beside other things."""


class Normalised(nn.Module):
    """A network behind the normalisation of images that it was trained with: ``network((x - mean) / std)``.

    `firstspike.prepare` takes the normalisation into the first layers, so that pixels stay in [0, 1].

    Args:
        network: reads normalised images ``[n, C, ...]``.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, above 0.

    Raises:
        ValueError: they differ in number, are not finite, or a standard deviation is not above 0.

    >>> Normalised(nn.Flatten(), mean=[0.5], std=[0.25])(torch.ones(1, 1, 1, 2)).tolist()
    [[2.0, 2.0]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ValueError(f"mean and std must be as many numbers as channels, not {len(mean)} and {len(std)}")
        if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
            raise ValueError(f"mean must be finite and std above 0, not {list(mean)!r} and {list(std)!r}")
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        """What the network computes of images ``[n, C, H, W]`` in [0, 1]."""
        result: Tensor = self.network((x - self.mean) / self.std)
        return result


def normalised(
    network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None, *, subject: str = "mean and std"
) -> nn.Module:
    """The network behind a normalisation, if there is one.

    Raises:
        ValueError: only one of mean and standard deviation is given, or `Normalised` refuses them.
    """
    if not mean and not std:
        return network
    if not mean or not std:
        raise ValueError(f"{subject} must be given together: the network was trained on (pixel - mean) / std")
    return Normalised(network, mean=mean, std=std)


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
