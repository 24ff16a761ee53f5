"""One training step after the other: stages by epoch, schedule, spike penalty, what stops training."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from firstspike.cat.prepare import prepare
from firstspike.train.errors import TrainingError
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import DataRecipe, Recipe, SparsityRecipe, StagesRecipe, TrainingRecipe


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(12, 4)
    )


def module(**options: Any) -> ConversionAwareTraining:
    """The Lightning module without a trainer; what it logs is kept in ``logged``."""
    training = {"epochs": 4, "batch_size": 8, **options.pop("training", {})}
    recipe = Recipe(data=DataRecipe(name="digits"), training=TrainingRecipe(**training), **options)
    made = ConversionAwareTraining(prepare(network()), recipe, steps_per_epoch=10)
    made.logged = {}  # type: ignore[assignment]
    made.log = lambda name, value, **_: made.logged.__setitem__(name, float(torch.as_tensor(value).detach()))  # type: ignore
    return made


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(8, 1, 4, 4, generator=generator), torch.randint(0, 4, (8,), generator=generator)


def at_epoch(made: ConversionAwareTraining, epoch: int) -> None:
    made._trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
    made.on_train_epoch_start()


def test_stages_begin_in_their_epochs() -> None:
    made = module(stages=StagesRecipe(clip=1, ttfs=2, quantised=3))
    seen = []
    for epoch in range(4):
        made.network.eval()
        at_epoch(made, epoch)
        seen.append(made.network.stage)
        assert made.network.training
    assert seen == ["relu", "clip", "ttfs", "quantised"]
    measured = made.network.layers["0"].norm.running_mean  # type: ignore[union-attr]
    before = measured.clone()  # type: ignore[union-attr, operator]
    made.network(batch()[0])
    assert torch.equal(measured, before)  # type: ignore[arg-type]  # frozen in the last stage


def test_dropout_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    made = module(training={"seed": 3})

    def loss(epoch: int) -> float:
        at_epoch(made, epoch)
        return made.training_step(batch(), 1).item()

    first = loss(2)
    torch.rand(100)
    assert loss(2) == first
    assert loss(3) != first


def test_optimiser_decays_weights_only_and_the_schedule_is_one_cycle() -> None:
    made = module(training={"learning_rate": 0.5, "warmup": 0.25, "final": 0.1, "weight_decay": 0.01, "momentum": 0.8})
    made.network.stage = "clip"
    configured = made.configure_optimizers()
    optimiser, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    decayed, plain = optimiser.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)
    assert [p.dim() for p in decayed["params"]] == [4, 2]
    assert {p.dim() for p in plain["params"]} == {1}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(made.network.parameters()))
    assert all(group["momentum"] == 0.8 and group["nesterov"] for group in optimiser.param_groups)
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(40):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10:] == pytest.approx([0.5 * (1 - 0.9 * step / 30) for step in range(30)])
    assert min(rates) >= 0.05


def test_last_stage_has_a_rate_of_its_own() -> None:
    made = module(training={"learning_rate": 0.5, "quantised_rate": 0.2}, stages=StagesRecipe(ttfs=1, quantised=3))
    same = module(training={"learning_rate": 0.5}, stages=StagesRecipe(ttfs=1, quantised=3))
    rates = []
    for each in (made, same):
        configured = each.configure_optimizers()
        optimiser, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        rates.append([])
        for _ in range(40):
            rates[-1].append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
    assert rates[0][:30] == rates[1][:30]
    assert rates[0][30:] == pytest.approx([0.2 * rate for rate in rates[1][30:]])


def test_loss_is_cross_entropy_plus_the_weighted_mean_activation() -> None:
    made = module(sparsity=SparsityRecipe(weight=0.7), training={"label_smoothing": 0.1})
    at_epoch(made, 0)
    images, labels = batch()
    torch.manual_seed(5)
    loss = made.training_step((images, labels), 1)
    torch.manual_seed(5)
    values = made.network.spike_values(images)
    plain = nn.functional.cross_entropy(values["5"], labels, label_smoothing=0.1)
    assert made.logged["train_loss"] == pytest.approx(plain.item())  # type: ignore[index]
    activity = values["0"].sum() / 8 / values["0"][0].numel()
    assert loss.item() == pytest.approx((plain + 0.7 * activity).item(), rel=1e-6)
    loss.backward()
    assert made.network.encode.activity is None  # observation ends with the step
    without = module()
    at_epoch(without, 0)
    torch.manual_seed(5)
    assert without.training_step((images, labels), 0).item() == pytest.approx(
        nn.functional.cross_entropy(values["5"], labels).item()
    )


@pytest.mark.parametrize(("target", "grows"), [(0.01, True), (1.5, False)])
def test_penalty_is_steered_towards_the_target(target: float, grows: bool) -> None:
    made = module(sparsity=SparsityRecipe(weight=0.5, target=target, gain=0.1, limit=2.0), stages=StagesRecipe(ttfs=0))
    at_epoch(made, 0)
    made.training_step(batch(), 3)
    assert float(made.penalty_weight) == 0.5  # every ten steps only
    made.training_step(batch(), 10)
    spikes = made.logged["train_spikes_per_neuron"]  # type: ignore[index]
    assert 0 < spikes < 1
    expected = 0.5 * math.exp(0.1 * (spikes / target - 1))
    assert float(made.penalty_weight) == pytest.approx(min(expected, 2.0))
    assert (float(made.penalty_weight) > 0.5) == grows
    assert "penalty_weight" in made.state_dict()


def test_loss_that_is_not_finite_stops_training() -> None:
    made = module()
    at_epoch(made, 2)
    images, labels = batch()
    images[0] = float("nan")
    with pytest.raises(
        TrainingError, match=r"the loss must be finite, not nan, in epoch 2 step 7; try a lower learning rate$"
    ):
        made.training_step((images, labels), 7)


def test_validation_counts_spikes_and_leaves_no_trace() -> None:
    made = module(stages=StagesRecipe(ttfs=0))
    at_epoch(made, 0)
    made.network.eval()
    made.on_validation_epoch_start()
    images, labels = batch()
    with torch.no_grad():
        made.validation_step((images, labels), 0)
        values = made.network.spike_values(images)
        logits = made(images)
    made.on_validation_epoch_end()
    spiking = [values["input"], values["0"]]
    rate = sum(int((v > 0).sum()) for v in spiking) / sum(v.numel() for v in spiking)
    assert made.logged["validation_spikes_per_neuron"] == pytest.approx(rate)  # type: ignore[index]
    assert made.logged["validation_accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())  # type: ignore[index]
    assert made.logged["validation_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels).item())  # type: ignore[index]
    assert all(fire.activity is None and not fire.observe for fire in made.network.fires.values())
