"""Pruning in training: what becomes zero and when, and that zero weights are zero codes of the converted network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from firstspike import convert
from firstspike.train import pruning
from firstspike.train.fit import Fitted, fit
from firstspike.train.pruning import choose, prunable, ramp, scores
from firstspike.train.recipe import AveragingRecipe, PruningRecipe, Recipe, find_recipe

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def recipe() -> Recipe:
    """Four epochs: dense, pruned twice, quantised with the zeros held."""
    digits = find_recipe("digits")
    return replace(
        digits,
        network=replace(digits.network, width=0.5, hidden=(16,)),
        training=replace(digits.training, epochs=4, warmup=0.25, quantised_rate=0.5, final=0.01),
        stages=replace(digits.stages, clip=0, input=0, ttfs=0, quantised=3),
        pruning=PruningRecipe(target=0.75, start=1, end=3, every=3),
    )


def run(recipe: Recipe, out: Path, **options: Any) -> Fitted:
    return fit(recipe, out=out, accelerator="cpu", **options)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_zero_weights_are_zero_codes(recipe: Recipe, tmp_path: Path, scope: str) -> None:
    recipe = replace(recipe, pruning=replace(recipe.pruning, scope=scope))
    fitted = run(recipe, tmp_path)
    weights = prunable(fitted.network, 1)
    zeros = {name: (weight == 0) for name, weight in weights.items()}
    count, total = sum(int(zero.sum()) for zero in zeros.values()), sum(zero.numel() for zero in zeros.values())
    assert count == pytest.approx(0.75 * total, abs=len(weights))
    assert fitted.metrics["zero_weights"] == pytest.approx(count / total)
    shares = [float(zero.float().mean()) for zero in zeros.values()]
    assert (max(shares) - min(shares) < 0.02) == (scope == "layer")
    network = convert(fitted.network, example=torch.rand(4, 1, 8, 8)).network
    for layer in network.synaptic:
        none = layer.codes % (1 << (network.weights.bits - 1)) == network.weights.zero_level
        if layer.name in zeros:
            assert none[zeros[layer.name].numpy()].all(), layer.name
        else:
            assert none.mean() < 0.5


def test_the_share_rises_from_its_start_to_its_end(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    seen: list[tuple[int, float]] = []
    chosen, ended = pruning.choose, pruning.Pruning.on_train_batch_end

    def watched(weights: Any, share: float, *, scope: str) -> dict[str, Tensor]:
        asked.append(share)
        return chosen(weights, share, scope=scope)

    def watched_end(self: pruning.Pruning, trainer: Any, module: Any, *rest: Any) -> None:
        ended(self, trainer, module, *rest)
        weights = prunable(module.network, 1).values()
        share = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
        seen.append((trainer.current_epoch, share))

    monkeypatch.setattr(pruning, "choose", watched)
    monkeypatch.setattr(pruning.Pruning, "on_train_batch_end", watched_end)
    run(recipe, tmp_path)
    assert asked == sorted(asked)
    assert asked[-1] == 0.75
    assert all(share == 0 for epoch, share in seen if epoch < 1)
    assert all(share == pytest.approx(0.75, abs=1e-3) for epoch, share in seen if epoch == 3)
    shares = [share for _, share in seen]
    assert shares == sorted(shares)


def test_an_average_has_the_zeros_too_and_a_stopped_run_goes_on_alike(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, averaging=AveragingRecipe(start=1, every=4, rate=0.5))
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "parts", stop_after=2)
    parts = run(recipe, tmp_path / "parts")
    assert parts.metrics == whole.metrics
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    weights = prunable(whole.network, 1).values()
    assert sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights) == pytest.approx(0.75, abs=1e-3)


def test_scores_rank_by_the_weights_that_are_no_smaller() -> None:
    """Against the definition, one weight at a time."""
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32))
    squares = np.sort(weight.numpy().astype(np.float64).ravel() ** 2)
    found = scores(weight).numpy()
    for value, score in zip(weight.numpy().ravel().astype(np.float64) ** 2, found, strict=True):
        assert score == pytest.approx(value / squares[squares >= value].sum(), rel=1e-6)


def test_every_layer_keeps_a_weight_and_zeros_go_first() -> None:
    weights = {"a": torch.tensor([0.0, 5.0, 1.0]), "b": torch.tensor([[1e-3, 1e-4]])}
    for scope in ("layer", "global"):
        kept = choose(weights, 0.99, scope=scope)
        assert kept["a"].tolist() == [False, True, False]
    assert choose(weights, 0.99, scope="layer")["b"].tolist() == [[True, False]]
    assert not choose(weights, 0.2, scope="global")["a"][0]
    assert [ramp(x) for x in (0, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"target": 1.0}, r"pruning.target must be in \[0, 1\), not 1.0"),
        ({"scope": "row"}, "pruning.scope must be 'global' or 'layer', not 'row'"),
        ({"start": 2, "end": 2}, "pruning.end must be in 3"),
    ],
)
def test_rules(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PruningRecipe(**changes)


def test_it_ends_within_training(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"pruning\.end must be at most training\.epochs, 4, not 5"):
        replace(recipe, pruning=replace(recipe.pruning, end=5))


def test_zeros_of_the_initial_network_are_held_in_a_network_of_its_widths(recipe: Recipe, tmp_path: Path) -> None:
    network = replace(recipe.network, width=1.0, widths=(16, 12, 24, 20))
    pruned = run(replace(recipe, network=network), tmp_path / "pruned").network
    initial = convert(pruned, example=torch.rand(4, 1, 8, 8)).network
    again = replace(
        recipe,
        network=network,
        training=replace(recipe.training, epochs=2, warmup=0.5, learning_rate=0.01),
        stages=replace(recipe.stages, quantised=1),
        pruning=PruningRecipe(hold=True),
    )
    first = run(again, tmp_path / "again", initial=initial, stop_after=1)
    fitted = run(again, tmp_path / "again", initial=initial)
    for name, weight in prunable(fitted.network, 0).items():
        zero = torch.from_numpy(initial.real_weights(layer := initial.connection(name), layer) == 0)
        assert zero.any() and (weight[zero] == 0).all()
        assert not torch.equal(weight, prunable(first.network, 0)[name])
        assert int((weight == 0).sum()) == int(zero.sum())
    assert [len(layer.codes) for layer in initial.connections[:4]] == [16, 12, 24, 20]


def test_held_zeros_and_widths_are_checked(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"pruning.target must be 0 with pruning.hold"):
        PruningRecipe(hold=True, target=0.5)
    with pytest.raises(ValueError, match=r"network.widths must have a width for each of the 4 convolutions of small"):
        replace(recipe.network, widths=(16, 16))
    with pytest.raises(ValueError, match=r"network.widths must be .* not 0"):
        replace(recipe.network, widths=(16, 16, 0, 16))
