"""Rounding weights with the errors of those rounded before made good by those that follow (GPTQ).

Frantar et al. 2022, arXiv 2210.17323: rounding a layer's weights one input at a time, the least squares error of its
membranes over some images is kept least by moving the weights not yet rounded. Everything is closed form.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.cat.moments import damped

SAMPLES = 32768
"""Positions of a map, at most, that are looked at."""

BLOCK = 128
"""Inputs whose effect on the rest is applied at once."""


def patches(linear: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """What each output of a layer reads: ``[groups, samples, inputs of a group]``, float64, at most `SAMPLES` samples."""
    if isinstance(linear, nn.Linear):
        return _spread(x.flatten(0, -2)).double()[None]
    n = len(x)
    columns = functional.unfold(x, linear.kernel_size, linear.dilation, _padding(linear), linear.stride)
    columns = columns.view(n, linear.groups, -1, columns.shape[-1]).permute(1, 0, 3, 2).flatten(1, 2)
    return torch.stack([_spread(group).double() for group in columns])


def outputs(linear: nn.Conv2d | nn.Linear, u: Tensor) -> Tensor:
    """A layer's outputs at the same samples: ``[groups, samples, outputs of a group]``, float64."""
    if isinstance(linear, nn.Linear):
        return _spread(u.flatten(0, -2)).double()[None]
    n, o = u.shape[:2]
    rows = u.view(n, linear.groups, o // linear.groups, -1).permute(1, 0, 3, 2).flatten(1, 2)
    return torch.stack([_spread(group).double() for group in rows])


def fitted(weight: Tensor, x: Tensor, target: Tensor) -> Tensor:
    """The weights near ``weight`` ``[O, K]`` for which ``x`` ``[N, K]`` yields ``target`` ``[N, O]`` up to a shift.

    Ridge regression: what spikes have lost of the inputs is made good where that is possible.
    """
    centred = x - x.mean(dim=0)
    wanted = target - target.mean(dim=0)
    rest = wanted - centred @ weight.t()
    covariance = centred.t() @ centred
    change = torch.cholesky_solve(centred.t() @ rest, torch.linalg.cholesky(damped(covariance)))
    return weight + change.t()


def rounded(weight: Tensor, x: Tensor, nearest: Callable[[Tensor], Tensor]) -> Tensor:
    """Weights ``[O, K]`` of values that ``nearest`` returns, chosen for the inputs ``x`` ``[N, K]``."""
    centred = x - x.mean(dim=0)
    return compensated(weight, damped(centred.t() @ centred), nearest)


def compensated(
    weight: Tensor, covariance: Tensor, nearest: Callable[[Tensor], Tensor], kept: Tensor | None = None
) -> Tensor:
    """Weights ``[O, K]`` of values that ``nearest`` returns, chosen for inputs of a damped covariance ``[K, K]``.

    Inputs of much variance come first, while there is most to make good with. Where ``kept`` ``[O, K]`` is False a weight
    is zero and stays it.
    """
    order = torch.argsort(covariance.diagonal(), descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left, done = weight[:, order].clone(), torch.empty_like(weight)
    free = None if kept is None else kept[:, order].to(weight)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = torch.empty(len(left), stop - start, dtype=left.dtype)
        for i in range(start, stop):
            done[:, i] = nearest(left[:, i]) if free is None else nearest(left[:, i]) * free[:, i]
            error = (left[:, i] - done[:, i]) / factor[i, i]
            left[:, i + 1 : stop] -= _among(error[:, None] * factor[i, i + 1 : stop], free, i + 1, stop)
            errors[:, i - start] = error
        left[:, stop:] -= _among(errors @ factor[start:stop, stop:], free, stop, None)
    result = torch.empty_like(done)
    result[:, order] = done
    return result


def _among(change: Tensor, free: Tensor | None, start: int, stop: int | None) -> Tensor:
    return change if free is None else change * free[:, start:stop]


def _spread(samples: Tensor) -> Tensor:
    """At most `SAMPLES` of them, spread evenly."""
    n = len(samples)
    if n <= SAMPLES:
        return samples
    return samples[torch.arange(SAMPLES) * n // SAMPLES]


def _padding(linear: nn.Conv2d) -> tuple[int, ...]:
    assert isinstance(linear.padding, tuple)
    return linear.padding
