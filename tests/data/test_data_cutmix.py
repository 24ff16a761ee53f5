"""CutMix: which pixels and labels come from where, the loss by an independent sum, parts of a batch, the law of areas."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstspike.data.cutmix import Mixed, cutmix
from firstspike.train.fit import build_network, fit
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import find_recipe


def batch(n: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose pixels all say which image they are of."""
    return torch.arange(n).float()[:, None, None, None].expand(n, 3, height, width).clone(), 10 * torch.arange(n)


def mixed(n: int = 8, height: int = 12, width: int = 20, *, seed: int = 0, probability: float = 1.0) -> Mixed:
    generator = torch.Generator().manual_seed(seed)
    return cutmix(*batch(n, height, width), probability=probability, generator=generator)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_one_rectangle_comes_from_the_neighbour(seed: int, n: int, height: int, width: int) -> None:
    found = mixed(n, height, width, seed=seed)
    pixels = found.images.numpy()
    neighbours = [i + 1 if i % 2 == 0 and i + 1 < n else i if i % 2 == 0 else i - 1 for i in range(n)]
    assert found.labels.tolist() == [10 * i for i in range(n)]
    if n == 1:
        assert (pixels == 0).all()
        return
    inside = pixels[0, 0] == 1
    for i, neighbour in enumerate(neighbours):
        for channel in pixels[i]:
            assert (channel == np.where(inside, neighbour, i)).all()
    if found.share < 1:
        assert found.pasted.tolist() == [10 * i for i in neighbours]
    assert found.share == pytest.approx(1 - inside.mean(), abs=1e-12)
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    assert (inside == np.outer(rows, columns)).all()
    for line in (rows, columns):
        assert np.abs(np.diff(np.concatenate([[0], line, [0]]))).sum() in (0, 2)  # one run


def test_parts_of_whole_pairs_are_mixed_as_the_whole() -> None:
    images, labels = batch(12, 8, 8)
    whole = mixed(12, 8, 8, seed=3)
    parts = [
        cutmix(images[part], labels[part], probability=1, generator=torch.Generator().manual_seed(3))
        for part in (slice(0, 4), slice(4, 12))
    ]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.pasted for part in parts]), whole.pasted)
    assert {part.share for part in parts} == {whole.share}
    assert 0 < whole.share < 1


def test_how_often_and_how_much() -> None:
    assert all(mixed(seed=seed, probability=0).share == 1 for seed in range(50))
    assert torch.equal(mixed(probability=0).images, batch(8, 12, 20)[0])
    often = [mixed(2, 32, 32, seed=seed, probability=0.3).share < 1 for seed in range(2000)]
    assert np.mean(often) == pytest.approx(0.3, abs=0.04)
    shares = [mixed(2, 64, 64, seed=seed).share for seed in range(2000)]
    rng = np.random.default_rng(0)  # the share of a clipped rectangle, drawn anew
    side, centres = np.sqrt(rng.random(200_000)), rng.random((2, 200_000))
    kept = [np.minimum(c + side / 2, 1) - np.maximum(c - side / 2, 0) for c in centres]
    assert np.mean(shares) == pytest.approx(float(1 - (kept[0] * kept[1]).mean()), abs=0.02)
    assert np.std(shares) == pytest.approx(float((kept[0] * kept[1]).std()), abs=0.02)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_weighs_both_labels(smoothing: float) -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels, pasted = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 3, 4])
    log = logits.double().log_softmax(dim=1).numpy()
    target = np.full((4, 5), smoothing / 5)
    for i in range(4):
        target[i, labels[i]] += (1 - smoothing) * 0.7
        target[i, pasted[i]] += (1 - smoothing) * 0.3
    found = Mixed(images=torch.zeros(4, 1, 2, 2), labels=labels, pasted=pasted, share=0.7)
    assert float(found.loss(logits, label_smoothing=smoothing)) == pytest.approx(-(target * log).sum() / 4, rel=1e-6)


def test_every_step_draws_anew_and_the_same_when_repeated() -> None:
    digits = find_recipe("digits")
    losses = {}
    for order in (0, 1, 1024):
        recipe = replace(
            digits,
            data=replace(digits.data, cutmix=1.0),
            network=replace(digits.network, width=0.25, hidden=(8,)),
            training=replace(digits.training, order=order),
            sparsity=replace(digits.sparsity, weight=0.0),
        )
        torch.manual_seed(0)
        made = ConversionAwareTraining(build_network(recipe, shape=(1, 24, 24), classes=10), recipe, steps_per_epoch=3)
        made.log = lambda *_, **__: None  # type: ignore[method-assign]
        images, labels = torch.rand(20, 1, 24, 24, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 10
        for epoch in (0, 1):
            made._trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
            for step in (0, 1, 2):
                losses[order, epoch, step] = float(made.training_step((images, labels), step).detach())
                assert float(made.training_step((images, labels), step).detach()) == losses[order, epoch, step]
    assert len(set(losses.values())) == len(losses)


def test_processes_with_half_a_pair_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = find_recipe("digits")
    recipe = replace(digits, data=replace(digits.data, cutmix=0.5), training=replace(digits.training, batch_size=54))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"training.batch_size must be even in each of 2 processes .* not 54"):
        fit(recipe, out=tmp_path, accelerator="cpu")
    assert not list(tmp_path.iterdir())
