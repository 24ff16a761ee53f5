"""Knowledge distillation: soft labels and relations of trained networks, integer or float, as part of the loss."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.cat.own import build, load_weights
from firstspike.cat.rebuild import rebuild
from firstspike.spec import Network, fingerprint
from firstspike.train.teacher.file import is_teacher, load_teacher

Teacher = Network | nn.Module
"""A trained integer network, or a float one whose ``forward`` takes images in [0, 1] and returns logits."""


class Teachers:
    """Networks that say how likely they hold each class (Hinton et al. 2015, arXiv 1503.02531).

    They take turns, one a step: in expectation the loss, which is linear in their probabilities, is that of their mean,
    an ensemble's, at the cost of one.

    Args:
        networks: at least one.
        shape: of the images ``[channels, height, width]``.
        classes: how many there are.

    Attributes:
        fingerprints: of the networks, in order.

    Raises:
        ValueError: there is no network, or one is for other images or another number of classes.
    """

    def __init__(self, networks: Sequence[Teacher], *, shape: tuple[int, int, int], classes: int) -> None:
        if not networks:
            raise ValueError("teachers: there must be at least one network")
        self.fingerprints = [_fingerprint(network) for network in networks]
        self._networks = [_module(network, shape, classes).requires_grad_(False) for network in networks]

    def to(self, **options: Any) -> "Teachers":
        """Move the networks, as `torch.nn.Module.to` does."""
        for network in self._networks:
            network.to(**options)
        return self

    def loss(self, images: Tensor, logits: Tensor, *, step: int, temperature: float, relations: float = 0.0) -> Tensor:
        """What ``logits`` lack of a teacher's probabilities, both at ``temperature``, times its square.

        Args:
            images: ``[n, *shape]`` in [0, 1].
            logits: ``[n, classes]``, the student's.
            step: optimiser steps so far; says whose turn it is.
            temperature: divides the logits of both.
            relations: share of `relational` in the loss, the rest being the cross entropy to the probabilities.
        """
        with torch.no_grad():
            taught = self._networks[step % len(self._networks)](images)
        target = torch.softmax(taught.float() / temperature, dim=1)
        given = logits.float() / temperature
        loss = functional.cross_entropy(given, target)
        if relations > 0:
            loss = (1 - relations) * loss + relations * relational(torch.softmax(given, dim=1), target)
        return loss * temperature**2


def relational(student: Tensor, teacher: Tensor) -> Tensor:
    """How far two ``[n, classes]`` of probabilities are from being correlated, in rows and in columns (DIST).

    The sum of ``1 - r`` over the mean of rows (relations of the classes in an image) and the mean of columns (of the images
    in a class), ``r`` Pearson's coefficient (Huang et al. 2022, arXiv 2205.10536, equations 5 to 8).

    >>> p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    >>> abs(round(float(relational(p, p)), 6)), float(relational(p, p.flip(1))) > 1
    (0.0, True)
    """
    return _uncorrelated(student, teacher) + _uncorrelated(student.t(), teacher.t())


def _uncorrelated(one: Tensor, other: Tensor) -> Tensor:
    centred = (one - one.mean(dim=1, keepdim=True), other - other.mean(dim=1, keepdim=True))
    return (1 - functional.cosine_similarity(*centred, dim=1)).mean()


def find_teacher(name: str) -> nn.Module | None:
    """A float teacher by its name on the command line, or None if the name is of another kind.

    Either a file that `firstspike teacher` wrote, or ``module:factory@weights``: a function without arguments of an
    importable module, and its state dict in a safetensors or ``.pt`` file, which is read as data only.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: there is no such function, or the weights do not fit what it returns.
    """
    if is_teacher(name):
        return load_teacher(name)
    place, at, weights = name.partition("@")
    colon = ":" in place
    if not at or not colon:
        return None
    try:
        network = load_weights(build(place), weights)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"teacher {name!r}: {error}") from error
    return network.eval()


def _module(network: Teacher, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network in evaluation mode and float32; refused if it is for other images or classes."""
    if isinstance(network, nn.Module):
        module = network.eval()
        with torch.no_grad():
            logits = module(torch.zeros(1, *shape))
        takes, gives = tuple(shape), tuple(logits.shape[1:])
    else:
        module = rebuild(network).float()
        takes, gives = tuple(network.input_shape), tuple(network.shapes[network.layers[-1].name])
    if (takes, gives) != (tuple(shape), (classes,)):
        raise ValueError(
            f"teacher: it must take images of {_times(shape)} and have {classes} classes, not take {_times(takes)} and "
            f"have {_times(gives)}"
        )
    return module


def _fingerprint(network: Teacher) -> str:
    """SHA-256 of a network: of the integer one's file, of the float one's state."""
    if not isinstance(network, nn.Module):
        return fingerprint(network)
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
