"""How many threads a training run takes: one where a second would wait more than it works."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SMALL = 1_000_000_000
"""Multiplications of a step's forward pass below which one thread is faster than several: the digits' have 0.05 of it,
those of VGG-16 on images of 32 x 32 have 40. Threads meet after every operation, which such a step makes by the thousand."""


def multiplications(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiplications of convolutions and linear layers for one image.

    Args:
        network: on the device ``meta``, where nothing is computed.
        shape: (channels, height, width) of an image.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2


@contextmanager
def kept() -> Iterator[None]:
    """Give PyTorch its number of threads back afterwards."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def suit(network: nn.Module, shape: tuple[int, ...], *, batch: int) -> None:
    """Let PyTorch take one thread for a network whose steps are small.

    Sums are then also taken in one order, whatever the machine: a small network's run gives the same numbers on two cores
    as on one.

    Args:
        network: on the device ``meta``.
        shape: (channels, height, width) of an image.
        batch: images of a step.
    """
    if multiplications(network, shape) * batch < SMALL:
        torch.set_num_threads(1)
