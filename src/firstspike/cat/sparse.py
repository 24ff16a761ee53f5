"""Weights of which a share is zero, whose membranes come nearest to wanted ones: least squares by ADMM.

Boza 2024, "Fast and optimal weight update for pruned large language models" (arXiv 2401.02938): the alternating direction
method of multipliers, with inputs scaled to one variance and a share of zeros that rises while it runs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from firstspike.cat.moments import DAMPING, Moments

PENALTY = 0.3
"""``rho`` of the method, for inputs of variance 1."""

RISE, REST = 20, 15
"""Iterations in which the share of zeros rises, and in which the zeros stay where they are."""

Choose = Callable[[Tensor, float], Tensor]
"""Of weights ``[O, K]`` for inputs of one variance, and a share of zeros, which stay: bool ``[O, K]``."""


def ramp(progress: float) -> float:
    """Share of the target that is reached: fast at first (Zhu and Gupta 2017, arXiv 1710.01878, equation 1).

    >>> ramp(0.0), ramp(0.5), ramp(1.0)
    (0.0, 0.875, 1.0)
    """
    return 1 - (1 - progress) ** 3


def largest(score: Tensor, share: float, *, least: int = 1) -> Tensor:
    """All but the ``round(share * n)`` least of ``n`` scores, of equal ones the first; the ``least`` largest always."""
    count = min(round(share * score.numel()), score.numel() - least)
    kept = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    kept[score.sort(stable=True).indices[:count]] = False
    return kept


def single_weights(weight: Tensor, share: float) -> Tensor:
    """The weights of largest magnitude stay."""
    return largest(weight.abs().flatten(), share).view_as(weight)


def whole_channels(taps: int) -> Choose:
    """All weights of a channel stay or go, by their squares; a channel has ``taps`` inputs, one behind the other."""

    def choose(weight: Tensor, share: float) -> Tensor:
        squares = weight.square().view(len(weight), -1, taps).sum(dim=(0, 2))
        return largest(squares, share).repeat_interleave(taps).expand_as(weight)

    return choose


class Sparse:
    """Sparse weights for the moments of a layer; the share of zeros may rise from call to call."""

    def __init__(self, moments: Moments, weight: Tensor, choose: Choose = single_weights) -> None:
        """``weight`` ``[O, K]`` is the dense start."""
        self.scale = moments.covariance.diagonal().clamp(min=1e-12).sqrt()
        scaled = moments.covariance / torch.outer(self.scale, self.scale)
        scaled += DAMPING * torch.eye(len(scaled))
        self.inverse = torch.linalg.inv(scaled + PENALTY * torch.eye(len(scaled)))
        self.choose = choose
        self.weight = weight * self.scale
        self.wanted = self.weight @ scaled
        self.dual = torch.zeros_like(self.weight)
        self.kept = torch.ones_like(self.weight, dtype=torch.bool)
        self.share = 0.0

    def solve(self, share: float, *, rise: int = RISE, rest: int = REST) -> tuple[Tensor, Tensor]:
        """Weights ``[O, K]`` with that share of zeros, and which are kept: bool of the same shape."""
        first = self.share
        for iteration in range(rise + rest):
            moved = self.weight + self.dual
            if iteration < rise:
                self.kept = self.choose(moved, first + (share - first) * ramp((iteration + 1) / rise))
            kept = moved * self.kept
            self.dual = moved - kept
            self.weight = (self.wanted + PENALTY * (kept - self.dual)) @ self.inverse
        self.share = share
        return (self.weight + self.dual) * self.kept / self.scale, self.kept
