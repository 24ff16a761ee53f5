"""Knowledge distillation: whose soft labels a step learns from, the loss by an independent sum, resuming, what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from firstspike.cli.main import main
from firstspike.converter import convert
from firstspike.spec import Network
from firstspike.spiking import SpikingNetwork, load
from firstspike.train.distillation import Teachers, find_teacher
from firstspike.train.errors import TrainingError
from firstspike.train.fit import Fitted, build_network, fit, training_images
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import DistillationRecipe, Recipe, find_recipe
from firstspike.train.run import CHECKPOINT

pytestmark = pytest.mark.usefixtures("single_thread")

DIGITS = (1, 8, 8)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Two short epochs that learn from teachers."""
    digits = find_recipe("digits")
    return replace(
        digits,
        data=replace(digits.data, limit=200),
        network=replace(digits.network, width=0.5, hidden=(16,)),
        training=replace(digits.training, epochs=2, batch_size=50),
        stages=replace(digits.stages, clip=0, input=0, ttfs=0, quantised=1),
        distillation=DistillationRecipe(weight=0.6, temperature=3.0),
    )


@pytest.fixture(scope="module")
def images(recipe: Recipe) -> Tensor:
    return torch.from_numpy(training_images(recipe)[0].limit(40).pixels())


@pytest.fixture(scope="module")
def teachers(recipe: Recipe, images: Tensor, digits_model: Path) -> tuple[Network, Network]:
    """The trained network of the digits, and an untrained one of other layers."""
    torch.manual_seed(7)
    other = build_network(recipe, shape=DIGITS, classes=10)
    other.stage = "quantised"
    return load(digits_model).network, convert(other.eval(), example=images).network


def probabilities(network: Network, images: Tensor, temperature: float) -> np.ndarray:
    """The integer engine's logits as real numbers, and their softmax."""
    snn = SpikingNetwork(network)
    logits = snn.engine.layers(snn.encode(images))[network.layers[-1].name]
    scaled = np.exp(np.ldexp(logits.astype(np.float64), -snn.logit_exponent) / temperature)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def cross_entropy(target: np.ndarray, logits: Tensor, temperature: float) -> float:
    scaled = logits.detach().double().numpy() / temperature
    log_student = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-(target * log_student).sum(axis=1).mean() * temperature**2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_networks_take_turns(teachers: Sequence[Network], images: Tensor, temperature: float) -> None:
    taught = Teachers(teachers, shape=DIGITS, classes=10)
    logits = torch.randn(len(images), 10, generator=torch.Generator().manual_seed(1)) * 3
    expected = [cross_entropy(probabilities(teacher, images, temperature), logits, temperature) for teacher in teachers]
    found = [float(taught.loss(images, logits, step=step, temperature=temperature)) for step in range(4)]
    assert abs(expected[0] - expected[1]) > 0.01
    assert found == pytest.approx(expected * 2, rel=1e-5)


def test_the_gradient_goes_to_the_student_alone(teachers: Sequence[Network], images: Tensor) -> None:
    logits = torch.zeros(len(images), 10, requires_grad=True)
    pixels = images.clone().requires_grad_()
    Teachers(teachers[:1], shape=DIGITS, classes=10).loss(pixels, logits, step=0, temperature=2.0).backward()
    expected = 2.0 * (0.1 - probabilities(teachers[0], images, 2.0)) / len(images)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-6)
    assert pixels.grad is None


def test_a_step_weighs_labels_and_teachers(recipe: Recipe, teachers: Sequence[Network], images: Tensor) -> None:
    calm = replace(recipe, sparsity=replace(recipe.sparsity, weight=0.0))
    made = ConversionAwareTraining(
        build_network(calm, shape=DIGITS, classes=10),
        calm,
        steps_per_epoch=3,
        teachers=Teachers(teachers, shape=DIGITS, classes=10),
    )
    logged: dict[str, float] = {}
    made.log = lambda name, value, **_: logged.__setitem__(name, float(torch.as_tensor(value).detach()))  # type: ignore[method-assign, assignment]
    made._trainer = SimpleNamespace(current_epoch=1)  # type: ignore[assignment]
    made.on_train_epoch_start()
    labels = torch.arange(len(images)) % 10
    logits = made.network(images).detach()
    hard = float(functional.cross_entropy(logits, labels, label_smoothing=calm.training.label_smoothing))
    for index in (0, 1):
        soft = cross_entropy(probabilities(teachers[(3 + index) % 2], images, 3.0), logits, 3.0)
        loss = float(made.training_step((images, labels), index).detach())
        assert loss == pytest.approx(0.4 * hard + 0.6 * soft, rel=1e-4)
        assert logged["train_loss"] == pytest.approx(hard, rel=1e-4)
    assert not any("teacher" in name for name in made.state_dict())
    assert len(list(made.parameters())) == len(list(made.network.parameters()))


def run(recipe: Recipe, out: Path, teachers: Sequence[Network], **options: Any) -> Fitted:
    return fit(recipe, out=out, teachers=teachers, accelerator="cpu", **options)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    recipe: Recipe, teachers: Sequence[Network], tmp_path: Path
) -> None:
    whole = run(recipe, tmp_path / "whole", teachers)
    run(recipe, tmp_path / "parts", teachers, stop_after=1)
    parts = run(recipe, tmp_path / "parts", teachers)
    alone = run(replace(recipe, distillation=DistillationRecipe()), tmp_path / "alone", ())
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    assert parts.metrics == whole.metrics
    for others in (teachers[::-1], teachers[:1]):
        with pytest.raises(
            TrainingError, match=r"must be of these teachers in this order .* \w{12}, not of \w{12}, \w{12};"
        ):
            run(recipe, tmp_path / "parts", others)
    assert alone.metrics != whole.metrics


def test_teachers_and_the_recipes_weight_go_together(
    recipe: Recipe, teachers: Sequence[Network], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"distillation.weight must be 0 without teachers \(--teacher\), not 0.6"):
        run(recipe, tmp_path, ())
    with pytest.raises(ValueError, match=r"distillation.weight must be above 0 with teachers, not 0.0"):
        run(replace(recipe, distillation=DistillationRecipe()), tmp_path, teachers)
    assert not list(tmp_path.iterdir())


def test_teachers_of_other_data_are_refused(recipe: Recipe, teachers: Sequence[Network], tmp_path: Path) -> None:
    larger = replace(recipe, data=replace(recipe.data, size=16))
    with pytest.raises(ValueError, match="must take images of 1x16x16 and have 10 classes, not take 1x8x8 and have 10"):
        run(larger, tmp_path / "run", teachers)
    assert not (tmp_path / "run").exists()
    for shape, classes, wanted in (((3, 8, 8), 10, "3x8x8 and have 10"), (DIGITS, 11, "1x8x8 and have 11")):
        with pytest.raises(ValueError, match=f"it must take images of {wanted} classes, not take 1x8x8 and have 10"):
            Teachers(teachers, shape=shape, classes=classes)
    with pytest.raises(ValueError, match="teachers: there must be at least one network"):
        Teachers([], shape=DIGITS, classes=10)


def test_the_command_takes_teachers(digits_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(
        '[data]\nname = "digits"\nlimit = 100\nvalidation = 50\n[network]\nplan = "small"\nwidth = 0.25\nhidden = [16]\n'
        "[training]\nepochs = 1\nbatch_size = 50\n[distillation]\nweight = 1\n",
        encoding="utf-8",
    )
    command = ["train", "--recipe", str(path), "--accelerator", "cpu"]
    assert main([*command, "--teacher", str(digits_model), "--out", str(tmp_path / "run")]) == 0
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert state["recipe"]["distillation.weight"] == 1.0
    assert main([*command, "--out", str(tmp_path / "none")]) != 0
    assert not (tmp_path / "none").exists()


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("relations", [0.25, 1.0])
def test_relations_are_correlations_of_rows_and_columns(
    teachers: Sequence[Network], images: Tensor, relations: float
) -> None:
    taught = Teachers(teachers[:1], shape=DIGITS, classes=10)
    logits = torch.randn(len(images), 10, generator=torch.Generator().manual_seed(1)) * 3
    target = probabilities(teachers[0], images, 2.0)
    student = torch.softmax(logits.double() / 2.0, dim=1).numpy()
    rows = np.mean([1 - pearson(a, b) for a, b in zip(student, target, strict=True)])
    columns = np.mean([1 - pearson(a, b) for a, b in zip(student.T, target.T, strict=True)])
    soft = cross_entropy(target, logits, 2.0)
    expected = (1 - relations) * soft + relations * 4.0 * (rows + columns)
    found = float(taught.loss(images, logits, step=0, temperature=2.0, relations=relations))
    assert found == pytest.approx(expected, rel=1e-5)


def plain_network() -> torch.nn.Module:
    """Stands for anybody's own network."""
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_float_network_teaches(tmp_path: Path, images: Tensor, name: str) -> None:
    from safetensors.torch import save_file

    network = plain_network()
    with torch.no_grad():
        network[1].weight.mul_(5)
    path = tmp_path / name
    (torch.save if name.endswith(".pt") else save_file)(network.state_dict(), path)
    teacher = find_teacher(f"{__name__}:plain_network@{path}")
    assert teacher is not None
    taught = Teachers([teacher], shape=DIGITS, classes=10)
    assert taught.fingerprints == Teachers([network], shape=DIGITS, classes=10).fingerprints
    assert taught.fingerprints != Teachers([plain_network()], shape=DIGITS, classes=10).fingerprints
    with torch.no_grad():
        logits = network(images)
    found = float(taught.loss(images, logits, step=0, temperature=1.0))
    expected = cross_entropy(torch.softmax(logits.double(), dim=1).numpy(), logits, 1.0)  # its own entropy
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_float_network_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="have 9 classes"):
        Teachers([plain_network()], shape=DIGITS, classes=9)


def test_names_of_float_teachers(tmp_path: Path) -> None:
    assert find_teacher("vgg16-cifar10") is None
    weights = tmp_path / "weights.pt"
    torch.save({"other": torch.zeros(1)}, weights)
    with pytest.raises(FileNotFoundError, match="no file"):
        find_teacher(f"{__name__}:plain_network@missing.pt")
    with pytest.raises(ValueError, match="must be a state dict"):
        find_teacher(f"{__name__}:plain_network@{weights}")
    with pytest.raises(ValueError, match="must be a function"):
        find_teacher(f"{__name__}:nothing@{weights}")


def test_teachers_begin_in_their_epoch(recipe: Recipe, teachers: Sequence[Network], images: Tensor) -> None:
    late = replace(
        recipe,
        sparsity=replace(recipe.sparsity, weight=0.0),
        distillation=replace(recipe.distillation, start=2),
    )
    made = ConversionAwareTraining(
        build_network(late, shape=DIGITS, classes=10),
        late,
        steps_per_epoch=3,
        teachers=Teachers(teachers[:1], shape=DIGITS, classes=10),
    )
    made.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    labels = torch.arange(len(images)) % 10
    losses = []
    for epoch in (1, 2):
        made._trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
        torch.manual_seed(0)
        losses.append(float(made.training_step((images, labels), 0).detach()))
    with torch.no_grad():
        hard = float(functional.cross_entropy(made.network(images), labels))
    assert losses[0] == pytest.approx(hard, rel=0.2)
    assert losses[0] != losses[1]
