"""Knowledge distillation: soft labels of trained integer networks, as part of the loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from firstspike.cat.rebuild import rebuild
from firstspike.spec import Network, fingerprint


class Teachers:
    """Integer networks that say how likely they hold each class (Hinton et al. 2015, arXiv 1503.02531).

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

    def __init__(self, networks: Sequence[Network], *, shape: tuple[int, int, int], classes: int) -> None:
        if not networks:
            raise ValueError("teachers: there must be at least one network")
        for network in networks:
            found = (tuple(network.input_shape), network.shapes[network.layers[-1].name])
            if found != (tuple(shape), (classes,)):
                raise ValueError(
                    f"teacher: it must take images of {_times(shape)} and have {classes} classes, not take "
                    f"{_times(found[0])} and have {_times(found[1])}"
                )
        self.fingerprints = [fingerprint(network) for network in networks]
        self._networks = [rebuild(network).float().requires_grad_(False) for network in networks]

    def to(self, **options: Any) -> "Teachers":
        """Move the networks, as `torch.nn.Module.to` does."""
        for network in self._networks:
            network.to(**options)
        return self

    def loss(self, images: Tensor, logits: Tensor, *, step: int, temperature: float) -> Tensor:
        """Cross entropy of ``logits`` to a teacher's probabilities, both at ``temperature``, times its square.

        Args:
            images: ``[n, *shape]`` in [0, 1].
            logits: ``[n, classes]``, the student's.
            step: optimiser steps so far; says whose turn it is.
            temperature: divides the logits of both.
        """
        with torch.no_grad():
            taught = self._networks[step % len(self._networks)](images)
        target = torch.softmax(taught.float() / temperature, dim=1)
        return functional.cross_entropy(logits.float() / temperature, target) * temperature**2


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
