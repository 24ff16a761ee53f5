"""Rounding with compensation: only levels, never far from the best of all roundings, nearest where inputs are independent."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from firstspike.arith import LogWeights
from firstspike.cat import rounding
from firstspike.cat.quantiser import quantise
from firstspike.cat.rounding import fitted, outputs, patches, rounded

WEIGHTS = LogWeights(bits=3, levels_per_octave=1, mantissa_bits=0)
LEVELS = torch.tensor([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0], dtype=torch.float64)


def nearest(values: Tensor) -> Tensor:
    return quantise(values, WEIGHTS, 0)


def correlated(n: int, k: int, seed: int) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    mixing = torch.randn(k, k, generator=drawn, dtype=torch.float64)
    return torch.randn(n, k, generator=drawn, dtype=torch.float64) @ mixing


def error(chosen: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """Variance of the difference of the outputs: a shift is the bias's business."""
    return ((x - x.mean(0)) @ (chosen - weight).t()).square().mean(0)


@pytest.mark.parametrize("seed", range(8))
def test_it_lies_between_nearest_and_the_best_of_all(seed: int) -> None:
    x = correlated(200, 4, seed)
    weight = torch.rand(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.6 - 0.8
    chosen = rounded(weight, x, nearest)
    assert torch.isin(chosen, LEVELS).all()
    every = torch.tensor(list(itertools.product(LEVELS.tolist(), repeat=4)), dtype=torch.float64)
    best = torch.stack([error(every, row.expand(len(every), -1), x).min() for row in weight])
    ours = error(chosen, weight, x)
    assert (ours >= best - 1e-12).all()
    assert ours.mean() < error(nearest(weight), weight, x).mean()
    assert ours.mean() < 3 * best.mean()


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    x = torch.cat([torch.eye(4), -torch.eye(4)]).double()
    weight = torch.tensor([[0.3, -0.8, 0.11, 0.6]], dtype=torch.float64)
    assert torch.equal(rounded(weight, x, nearest), nearest(weight))


def test_fitted_weights_yield_the_target_where_that_is_possible() -> None:
    x = correlated(500, 6, 0)
    start, wanted = torch.zeros(3, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    found = fitted(start, x, x @ wanted.t() + 7.0)
    assert error(found, wanted, x).mean() < 0.01 * error(start, wanted, x).mean()
    assert torch.allclose(fitted(wanted, x, x @ wanted.t() - 2.0), wanted, atol=1e-9)


@pytest.mark.parametrize(
    "linear",
    [
        nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=False),
        nn.Conv2d(4, 4, (1, 3), padding=(0, 1), groups=4, bias=False),
        nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2, bias=False),
        nn.Linear(5, 3, bias=False),
    ],
)
def test_patches_times_weights_are_the_outputs(linear: nn.Conv2d | nn.Linear) -> None:
    linear = linear.double()
    shape = (2, 5) if isinstance(linear, nn.Linear) else (2, 4, 6, 5)
    x = torch.rand(shape, dtype=torch.float64)
    with torch.no_grad():
        rows, wanted = patches(linear, x), outputs(linear, linear(x))
        groups = linear.weight.flatten(1).view(len(rows), -1, rows.shape[2])
        torch.testing.assert_close(rows @ groups.transpose(1, 2), wanted)


@pytest.mark.parametrize("count", [9, 10, 11, 25, 40])
def test_of_many_samples_some_are_taken_evenly(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is one of them, no two steps differ by more than one, and inputs and outputs are of the same samples."""
    monkeypatch.setattr(rounding, "SAMPLES", 10)
    x = torch.arange(float(count))[:, None]
    taken = patches(nn.Linear(1, 1), x)[0, :, 0].long().tolist()
    assert len(taken) == min(count, 10) and taken[0] == 0 and taken[-1] < count
    steps = [after - before for before, after in itertools.pairwise(taken)]
    assert max(steps) - min(steps) <= 1 and count - taken[-1] <= -(-count // 10)
    assert outputs(nn.Linear(1, 1), x)[0, :, 0].long().tolist() == taken
