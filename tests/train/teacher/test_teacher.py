"""Teachers: the first layer whitens, training resumes to the bit, a file gives the same network back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from firstspike.cli.main import main
from firstspike.train.errors import TrainingError
from firstspike.train.teacher import TeacherNetwork, fit_teacher, load_teacher, save_teacher
from firstspike.train.teacher.fit import CHECKPOINT
from firstspike.train.teacher.recipe import TeacherData, TeacherRecipe, TeacherShape, TeacherTraining


def network(**changes: object) -> TeacherNetwork:
    torch.manual_seed(0)
    return TeacherNetwork(**{"classes": 3, "widths": (24, 32, 32), "side": 16, **changes})  # type: ignore[arg-type]


def images(n: int, side: int = 16) -> torch.Tensor:
    """Smooth noise: neighbours are alike, as in photographs."""
    drawn = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))
    return functional.avg_pool2d(drawn, 3, 1, 1)


def test_the_first_layer_whitens() -> None:
    net, x = network(), images(400)
    net.measure(x)
    with torch.no_grad():
        y = functional.conv2d((x - net.mean) / net.deviation, net.whiten.weight)[:, :12].double()
    flat = y.transpose(0, 1).flatten(1)
    covariance = flat @ flat.t() / flat.shape[1]
    off = covariance - torch.diag(covariance.diag())
    assert off.abs().max() < 1e-4
    assert (covariance.diag() <= 1 + 1e-4).all()  # the floor keeps weak directions below 1
    assert covariance.diag().max() > 0.99


def test_convolutions_begin_as_the_identity() -> None:
    net, x = network(), torch.rand(2, 24, 8, 8)
    first = net.groups[0].convolutions[0]
    assert torch.equal(first(x)[:, :24], x)


def test_depth_three_has_a_residual_connection() -> None:
    net = network(depth=3).eval()
    group = net.groups[0]
    with torch.no_grad():
        group.convolutions[2].weight.zero_()
        x = torch.rand(2, 24, 8, 8)
        y = functional.gelu(group.norms[0](functional.max_pool2d(group.convolutions[0](x), 2)))
        assert torch.allclose(group(x), functional.gelu(group.norms[2](torch.zeros_like(y)) + y), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"widths": (24, 32)}, "three"),
        ({"widths": (23, 32, 32)}, "network.widths"),
        ({"depth": 4}, "network.depth"),
        ({"side": 8}, "side"),
    ],
)
def test_a_network_out_of_range_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        network(**changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 24 images each, told apart by their colour."""
    from PIL import Image

    drawn = torch.Generator().manual_seed(0)
    for label, colour in (("blue", 2), ("red", 0)):
        place = tmp_path / "data" / "train" / label
        place.mkdir(parents=True)
        for index in range(24):
            pixels = torch.randint(0, 100, (16, 16, 3), generator=drawn)
            pixels[:, :, colour] += 120
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(place / f"{index}.png")
    return tmp_path / "data"


def recipe(folder: Path, epochs: int = 5) -> TeacherRecipe:
    return TeacherRecipe(
        data=TeacherData(name=str(folder), validation=8, pad=1),
        network=TeacherShape(widths=(24, 24, 24)),
        training=TeacherTraining(epochs=epochs, batch_size=8, learning_rate=40.0, bias_rate=8.0, precision="32-true"),
    )


def test_training_resumes_to_the_bit_and_learns(folder: Path, tmp_path: Path) -> None:
    whole = fit_teacher(recipe(folder), out=tmp_path / "whole")
    part = fit_teacher(recipe(folder), out=tmp_path / "part", stop_after=1)
    assert part.epochs == 1
    resumed = fit_teacher(recipe(folder), out=tmp_path / "part")
    assert resumed.epochs == whole.epochs == 5
    assert resumed.metrics == whole.metrics
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert whole.metrics["train_loss"] < part.metrics["train_loss"]


def test_a_checkpoint_of_another_recipe_is_refused(folder: Path, tmp_path: Path) -> None:
    fit_teacher(recipe(folder), out=tmp_path, stop_after=1)
    with pytest.raises(TrainingError, match="of this recipe"):
        fit_teacher(recipe(folder, epochs=6), out=tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="damaged or no teacher's checkpoint"):
        fit_teacher(recipe(folder), out=tmp_path)


def test_a_loss_that_is_not_finite_ends_training(folder: Path, tmp_path: Path) -> None:
    wild = replace(recipe(folder), training=replace(recipe(folder).training, learning_rate=1e30))
    with pytest.raises(TrainingError, match="must be finite"):
        fit_teacher(wild, out=tmp_path)


def test_a_file_gives_the_same_network_back(tmp_path: Path) -> None:
    net, x = network(depth=3).eval(), images(3)
    net.measure(x)
    save_teacher(net, tmp_path / "teacher.safetensors", classes=("a", "b", "c"), recipe="r")
    with torch.no_grad():
        assert torch.equal(load_teacher(tmp_path / "teacher.safetensors")(x), net(x))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="firstspike teacher"):
        load_teacher(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_teacher(tmp_path / "missing.safetensors")


def test_the_command_line_trains_a_teacher_that_trains_a_student(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        f'base = "teacher-cifar10"\n[data]\nname = "{folder}"\nvalidation = 8\npad = 1\n[network]\nwidths = [24, 24, 24]\n'
        '[training]\nepochs = 2\nbatch_size = 8\nprecision = "32-true"\n'
    )
    out, record = tmp_path / "teacher", tmp_path / "record.json"
    command = ["teacher", "--recipe", str(tmp_path / "own.toml"), "--out", str(out)]
    assert main([*command, "--stop-after", "1"]) == 0
    assert not (out / "teacher.safetensors").exists()
    assert main([*command, "--json", str(record)]) == 0
    values = json.loads(record.read_text())
    assert (values["epochs"], values["teacher"]) == (2, str(out / "teacher.safetensors"))
    (tmp_path / "student.toml").write_text(
        f'base = "digits"\n[data]\nname = "{folder}"\nvalidation = 8\n[network]\nwidth = 0.25\nhidden = [8]\n'
        "[training]\nepochs = 1\nbatch_size = 8\n[stages]\nclip = 0\ninput = 0\nttfs = 1\nquantised = 1\n"
        "[distillation]\nweight = 0.5\n"
    )
    student = ["train", "--recipe", str(tmp_path / "student.toml"), "--out", str(tmp_path / "student")]
    assert main([*student, "--teacher", str(out / "teacher.safetensors")]) == 0
