"""Weight averaging in training: what is averaged, what the quantised stage starts from, the schedule, resuming."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from firstspike.train import averaging
from firstspike.train.fit import Fitted, fit
from firstspike.train.module import rate
from firstspike.train.recipe import AveragingRecipe, Recipe, find_recipe

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def recipe() -> Recipe:
    """Four epochs: up, averaging twice, quantised."""
    digits = find_recipe("digits")
    return replace(
        digits,
        network=replace(digits.network, width=0.5, hidden=(16,)),
        training=replace(digits.training, epochs=4, warmup=0.25, quantised_rate=0.5, final=0.01),
        stages=replace(digits.stages, clip=0, input=0, ttfs=0, quantised=3),
        averaging=AveragingRecipe(start=1, every=4, rate=0.25),
    )


def run(recipe: Recipe, out: Path, **options: Any) -> Fitted:
    return fit(recipe, out=out, accelerator="cpu", **options)


def test_the_quantised_stage_starts_from_the_mean_of_the_states(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, Tensor]] = []
    started: list[dict[str, Tensor]] = []
    taken, measured = averaging.WeightAverage.on_train_batch_end, averaging.measure_statistics

    def watched(self: averaging.WeightAverage, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.current_epoch in (1, 2) and trainer.global_step % 4 == 0:
            states.append({name: value.detach().clone() for name, value in module.named_parameters()})
        taken(self, trainer, module, *rest)
        assert self.count == len(states) * (trainer.current_epoch < 3)

    def watched_measure(module: Any, batches: Any) -> None:
        assert module.current_epoch == 3
        assert module.network.stage == "ttfs"  # scales are chosen and batch norm is folded after this
        started.append({name: value.detach().clone() for name, value in module.named_parameters()})
        batches = list(batches)
        assert len(batches) > 2
        measured(module, batches)
        first = next(layer for layer in module.network.layers.values() if getattr(layer, "norm", None) is not None)
        inputs = [first.linear(module.network.encode(images, module.network.stage)).detach() for images in batches]
        means = torch.stack([u.mean((0, 2, 3)) for u in inputs]).mean(0)
        torch.testing.assert_close(first.norm.running_mean, means, rtol=1e-4, atol=1e-5)
        assert all(
            norm.momentum == 0.1 for norm in module.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        )

    monkeypatch.setattr(averaging.WeightAverage, "on_train_batch_end", watched)
    monkeypatch.setattr(averaging, "measure_statistics", watched_measure)
    run(recipe, tmp_path)
    assert len(states) > 5
    assert len(started) == 1
    for name, value in started[0].items():
        torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(0), rtol=1e-4, atol=1e-6)


def test_a_run_that_was_stopped_while_averaging_ends_as_one_that_was_not(recipe: Recipe, tmp_path: Path) -> None:
    whole = run(recipe, tmp_path / "whole")
    for epochs in (2, 3):
        run(recipe, tmp_path / "parts", stop_after=epochs)
    parts = run(recipe, tmp_path / "parts")
    assert parts.metrics == whole.metrics
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name


def test_the_rate_falls_to_its_share_stays_and_falls_again(recipe: Recipe) -> None:
    rates = [rate(recipe, step, 100) for step in range(400)]
    assert rates[0] == 0.01
    assert rates[99] == 1.0
    assert rates[100:300] == [0.25] * 200
    assert rates[300] == 0.125
    assert rates[399] == pytest.approx(0.5 * (0.01 + 0.24 / 100))
    later = replace(recipe, averaging=replace(recipe.averaging, start=2))
    assert rate(later, 100, 100) == 1.0
    assert rate(later, 150, 100) == pytest.approx(0.625)
    assert rate(later, 200, 100) == 0.25
