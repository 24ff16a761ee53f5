"""The ablation's rows: which stages and teachers each has, and plain conversion with what spike times lose made good."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import studies
from firstspike.cat.prepare import prepare
from firstspike.train.recipe import DistillationRecipe, StagesRecipe, load_recipe
from studies.ablation import OF_RELU, ROWS, row_recipe
from studies.normalise import normalise

RECIPE = load_recipe(str(Path(studies.__file__).with_name("ablation-narrow.toml")))
STARTS = {"clip": 0, "input": 3, "ttfs": 4, "quantised": 6}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_the_stages_up_to_its_own(row: str) -> None:
    assert asdict(RECIPE.stages) == STARTS and RECIPE.distillation.weight > 0
    mine = [] if row in OF_RELU else list(STARTS)[: list(STARTS).index(row) + 1]
    found = row_recipe(RECIPE, row, 7, taught=True)
    assert found.stages == StagesRecipe(**{name: STARTS[name] if name in mine else None for name in STARTS})
    assert found.training.seed == 7 and found.distillation == RECIPE.distillation
    assert row_recipe(RECIPE, row, 7, taught=False).distillation == DistillationRecipe()


@torch.no_grad()
@pytest.mark.parametrize("norm", [False, True])
def test_enlarged_values_are_that_many_times_as_large_and_logits_see_it(norm: bool) -> None:
    torch.manual_seed(0)
    norms = [torch.nn.BatchNorm1d(5)] if norm else []
    network = torch.nn.Sequential(torch.nn.Linear(4, 5), *norms, torch.nn.ReLU(), torch.nn.Linear(5, 3, bias=False))
    images = torch.rand(50, 4)
    values = []
    for enlarged in (1.0, 1.25):
        cat = prepare(network.eval(), example=images[:1])
        before = cat.eval().spike_values(images)
        normalise(cat, images, percentile=100, enlarged=enlarged)
        values.append(cat.eval().spike_values(images))
    (hidden, logits) = [name for name in values[0] if name != "input"]
    assert float(values[0][hidden].max()) == pytest.approx(1)
    torch.testing.assert_close(values[1][hidden], 1.25 * values[0][hidden])
    torch.testing.assert_close(values[0][logits], before[logits])
    torch.testing.assert_close(values[1][logits], 1.25 * before[logits])
