"""Training runs: killed at any moment and resumed to the same bits; what stops a run keeps the last good checkpoint."""

import csv
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import deterministic

from firstspike import files
from firstspike.converter import convert
from firstspike.train.errors import TrainingError
from firstspike.train.fit import Fitted, build_network, fit, load_network, training_images
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import Recipe, load_recipe
from firstspike.train.run import CHECKPOINT

TINY = """
[data]
name = "{data}"
validation = 16
pad = 1
flip = true

[network]
plan = "small"
width = 0.125
hidden = [8]
dropout = 0.2

[training]
epochs = 5
batch_size = 16
learning_rate = 0.1
seed = 3

[stages]
clip = 0
input = 1
ttfs = 2
quantised = 3

[sparsity]
weight = 0.05
target = 0.3
"""
STEPS = 5
"""Steps in an epoch: 80 training images of 16 a step."""

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 48 grey images of 8 x 8, bright above or below, and a recipe of five epochs in five stages."""
    root, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    for label in range(2):
        folder = root / "images" / f"class{label}"
        folder.mkdir(parents=True)
        for index in range(48):
            pixels = rng.integers(0, 120, (8, 8), dtype=np.uint8)
            pixels[4 * label : 4 * label + 4] += 100
            Image.fromarray(pixels).save(folder / f"{index:02}.png")
    path = root / "tiny.toml"
    path.write_text(TINY.format(data=root / "images"))
    return path


@pytest.fixture(scope="module")
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file)


def run(recipe: Recipe, out: Path, **options: Any) -> Fitted:
    return fit(recipe, out=out, accelerator="cpu", **options)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fitted]:
    """The run that was never stopped."""
    out = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return out, run(recipe, out)
    finally:
        torch.set_num_threads(threads)


def checkpoint(out: Path) -> dict[str, Any]:
    return torch.load(out / CHECKPOINT, weights_only=True)  # type: ignore[no-any-return]


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, through lists and tables."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def assert_same_run(out: Path, fitted: Fitted, whole: tuple[Path, Fitted]) -> None:
    expected_out, expected = whole
    assert same(fitted.network.state_dict(), expected.network.state_dict())
    assert fitted.metrics == expected.metrics
    assert fitted.epochs == expected.epochs == 5
    found, kept = checkpoint(out), checkpoint(expected_out)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "recipe"):
        assert same(found[part], kept[part]), part


# ---- resuming -----------------------------------------------------------------------------------------------------


def test_a_run_goes_through_its_stages_and_leaves_checkpoint_and_logs(
    whole: tuple[Path, Fitted], recipe: Recipe
) -> None:
    out, fitted = whole
    assert fitted.network.stage == "quantised"
    assert not fitted.network.training
    assert set(fitted.metrics) >= {
        "train_loss",
        "validation_accuracy",
        "validation_loss",
        "validation_spikes_per_neuron",
    }
    assert sorted(path.name for path in out.iterdir()) == [CHECKPOINT, "log"]
    with open(out / "log" / "version_0" / "metrics.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["validation_accuracy"]]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert float(rows[-1]["validation_accuracy"]) == fitted.metrics["validation_accuracy"]
    assert any(path.name.startswith("events.out.tfevents") for path in (out / "log" / "version_0").iterdir())
    images = torch.from_numpy(training_images(recipe)[1].pixels())
    assert convert(fitted.network, example=images)(images).shape == (16, 2)


def test_the_same_seed_gives_the_same_run_and_another_another(
    whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path
) -> None:
    torch.rand(3)  # what happened before does not matter
    assert_same_run(tmp_path / "again", run(recipe, tmp_path / "again"), whole)
    other = replace(recipe, training=replace(recipe.training, seed=4))
    assert not same(run(other, tmp_path / "other", stop_after=1).network.state_dict(), whole[1].network.state_dict())


def test_a_sibling_starts_alike_on_the_same_split_and_sees_other_batches(recipe: Recipe, tmp_path: Path) -> None:
    sibling = replace(recipe, training=replace(recipe.training, order=1))
    for ours, theirs in zip(training_images(recipe), training_images(sibling), strict=True):
        assert np.array_equal(ours.pixels(), theirs.pixels())
    lone = [replace(part, training=replace(part.training, learning_rate=1e-30)) for part in (recipe, sibling)]
    starts = [run(part, tmp_path / f"start{n}", stop_after=1).network for n, part in enumerate(lone)]
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(starts[0].parameters(), starts[1].parameters(), strict=True)
        if ours.dim() > 1  # others begin at 0 and are moved by any rate
    )
    ends = [run(part, tmp_path / f"end{n}", stop_after=1).network for n, part in enumerate((recipe, sibling))]
    assert not same(dict(ends[0].named_parameters()), dict(ends[1].named_parameters()))


@pytest.mark.parametrize("epochs", [[1, 2, 3, 4], [3]], ids=str)
def test_stopped_after_epochs_and_resumed(
    whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path, epochs: list[int]
) -> None:
    for last in epochs:
        assert run(recipe, tmp_path, stop_after=last).epochs == last
    assert_same_run(tmp_path, run(recipe, tmp_path), whole)
    starts = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert starts == [f"version_{start}" for start in range(len(epochs) + 1)]  # no start's log is lost
    for start in starts:
        assert (tmp_path / "log" / start / "metrics.csv").stat().st_size > 0


def test_a_finished_run_resumed_is_the_finished_run(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path) -> None:
    shutil.copy(whole[0] / CHECKPOINT, tmp_path / CHECKPOINT)
    assert_same_run(tmp_path, run(recipe, tmp_path), whole)


KILLED = """
import os, signal, sys
import torch
from firstspike.train import fit as fit_module
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import load_recipe

torch.set_num_threads(1)
recipe, out, moment, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0

def kill_at(owner, name):
    original = getattr(owner, name)
    def method(*arguments, **options):
        global seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(owner, name, method)

kill_at(*{"step": (ConversionAwareTraining, "training_step"), "rename": (os, "replace")}[moment])
fit_module.fit(load_recipe(recipe), out=out, accelerator="cpu")
"""


@pytest.mark.parametrize(
    ("moment", "count", "done"),
    [("step", 3 * STEPS + 3, 3), ("rename", 2, 1)],
    ids=["within an epoch", "while the checkpoint is written"],
)
def test_killed_and_resumed_loses_at_most_an_epoch(
    whole: tuple[Path, Fitted], recipe_file: Path, recipe: Recipe, tmp_path: Path, moment: str, count: int, done: int
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(recipe_file), str(tmp_path), moment, str(count)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (
        checkpoint(tmp_path)["global_step"] == done * STEPS
    )  # every finished epoch but the one that was being written
    assert_same_run(tmp_path, run(recipe, tmp_path), whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, "log"]  # nothing half written is left


def test_begin_anew_where_there_is_a_checkpoint(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"another run")
    assert_same_run(tmp_path, run(recipe, tmp_path, resume=False), whole)


# ---- checkpoints that cannot be resumed ---------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no checkpoint")
    elif how == "flipped":
        middle = len(whole) // 3
        path.write_bytes(
            whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 4000]) + whole[middle + 4000 :]
        )
    elif how == "code":
        torch.save({"state_dict": os.system}, path)


@pytest.mark.parametrize("how", ["truncated", "empty", "text", "flipped", "code"])
def test_damaged_checkpoints_are_refused(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path, how: str) -> None:
    path = tmp_path / CHECKPOINT
    shutil.copy(whole[0] / CHECKPOINT, path)
    damage(path, how)
    before = path.read_bytes()
    with pytest.raises(
        TrainingError,
        match=rf"checkpoint '{re.escape(str(path))}': it is damaged or no checkpoint; remove it, or begin anew",
    ) as caught:
        run(recipe, tmp_path)
    assert "weights_only" not in str(caught.value)
    assert path.read_bytes() == before
    with pytest.raises(
        ValueError, match=rf"checkpoint '{re.escape(str(path))}': it is damaged or no checkpoint of `firstspike train`"
    ):
        load_network(recipe, path, shape=(1, 8, 8), classes=2)


def test_files_that_are_no_training_run_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="it must be of a training run, with optimizer_states; remove it"):
        run(recipe, tmp_path)


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that sets what lies under ``keys``; the last state of a table where a key is None."""

    def edit(state: Any) -> None:
        for key in keys[:-1]:
            state = state[next(iter(state)) if key is None else key]
        state[next(iter(state)) if keys[-1] is None else keys[-1]] = value

    return edit


MALFORMED = {
    "recipe is no table": (put("recipe", value="vgg"), "it must be of a training run, with recipe"),
    "recipe of numbers": (put("recipe", value={1: 2}), "it must be of this recipe, with 1 None, not 2"),
    "recipe without end": (put("recipe", "network.hidden", value=[[[["x"] * 999] * 999] * 999] * 9), "of this recipe"),
    "no loops": (put("loops", value={}), "the state of one optimiser, one schedule and the loops"),
    "loops of text": (put("loops", value={"fit_loop": "x"}), "its loops, schedule or callbacks are none of a run"),
    "no optimiser": (put("optimizer_states", value=[]), "the state of one optimiser"),
    "odd optimiser": (put("optimizer_states", value=[3]), "its optimiser must have a state"),
    "odd momentum": (
        put("optimizer_states", 0, "state", 0, "momentum_buffer", value=torch.zeros(3)),
        "momentum 0 must",
    ),
    "no groups": (put("optimizer_states", 0, "param_groups", value=[]), "its loops, schedule or callbacks are none"),
    "no stage 99": (
        put("state_dict", "network._stage", value=torch.tensor(99)),
        "it must hold a network of this recipe",
    ),
    "text as weights": (put("state_dict", None, value="x"), "must be a tensor of finite numbers"),
    "not a number": (
        put("state_dict", "penalty_weight", value=torch.tensor(float("nan"))),
        "'penalty_weight' must be a",
    ),
    "wrong shape": (put("state_dict", None, value=torch.zeros(2, 3)), "it must hold a network of this recipe"),
    "epoch 10": (put("epoch", value=10), "its epoch must be in 0..4, not 10"),
    "epoch text": (put("epoch", value="1"), "its epoch must be in 0..4, not '1'"),
    "odd callbacks": (put("callbacks", "_Checkpoint", value=7), "its loops, schedule or callbacks are none of a run"),
    "teachers of numbers": (put("teachers", value=[7]), r"these teachers in this order .*, none, not of \[7\]"),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_checkpoints_are_refused_in_one_line(
    whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path, how: str
) -> None:
    edit, text = MALFORMED[how]
    state = checkpoint(whole[0])
    edit(state)
    state["epoch"] = min(state["epoch"], 3) if how not in ("epoch 10", "epoch text") else state["epoch"]
    torch.save(state, tmp_path / CHECKPOINT)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match=text) as caught:
        run(recipe, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"checkpoint '{tmp_path / CHECKPOINT}': ")
    assert message.endswith("begin anew (--restart)")
    assert message.isprintable()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_checkpoint_that_inflates_is_refused(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole[0] / CHECKPOINT) as old, zipfile.ZipFile(tmp_path / CHECKPOINT, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(TrainingError, match="it is damaged or no checkpoint; remove it"):
        run(recipe, tmp_path)


def test_checkpoints_of_another_recipe_are_refused(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path) -> None:
    shutil.copy(whole[0] / CHECKPOINT, tmp_path / CHECKPOINT)
    before = (tmp_path / CHECKPOINT).read_bytes()
    for other, text in (
        (replace(recipe, training=replace(recipe.training, learning_rate=0.2)), "training.learning_rate 0.2, not 0.1"),
        (replace(recipe, network=replace(recipe.network, hidden=(9,))), r"network.hidden \[9\], not \[8\]"),
    ):
        with pytest.raises(TrainingError, match=f"it must be of this recipe, with {text}; use another folder"):
            run(other, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


# ---- what stops a run ---------------------------------------------------------------------------------------------


def stopped(recipe: Recipe, out: Path, text: str) -> None:
    """One good epoch, then an error; the first epoch's checkpoint stays and can be resumed."""
    before = (out / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match=text):
        run(recipe, out)
    assert (out / CHECKPOINT).read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == [CHECKPOINT, "log"]


def test_loss_that_is_not_finite(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(recipe, tmp_path, stop_after=1)
    forward = ConversionAwareTraining.forward
    monkeypatch.setattr(ConversionAwareTraining, "forward", lambda self, x: forward(self, x) * float("nan"))
    stopped(
        recipe,
        tmp_path,
        r"the loss must be finite, not nan, in epoch 1 step 0; try a lower learning rate; "
        r"the checkpoint '.*last.ckpt' of the epoch before is kept$",
    )


def test_weights_that_are_not_finite_are_never_saved(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of an epoch may break them without a loss that shows it."""
    run(recipe, tmp_path, stop_after=1)

    def broken(self: ConversionAwareTraining) -> None:
        with torch.no_grad():
            next(self.network.parameters())[0] = float("inf")

    monkeypatch.setattr(ConversionAwareTraining, "on_validation_epoch_end", broken)
    stopped(
        recipe, tmp_path, r"network\.layers\..* must be finite, not NaN or infinite, after epoch 1; try .* is kept$"
    )


def test_divergence_ends_with_an_error(recipe: Recipe, tmp_path: Path) -> None:
    wild = replace(recipe, training=replace(recipe.training, learning_rate=1e30, warmup=0.0))
    with pytest.raises(
        TrainingError, match=r"must be finite, not .*try a lower learning rate; there is no checkpoint yet$"
    ):
        run(wild, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_checkpoint_that_cannot_be_written(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(recipe, tmp_path, stop_after=1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    stopped(
        recipe,
        tmp_path,
        r"checkpoint '.*last.ckpt': it could not be written \(No space left on device\); "
        r"the checkpoint .* of the epoch before is kept$",
    )


def test_a_full_disk_claims_no_checkpoint_that_there_is_none_of(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        TrainingError, match=r"could not be written \(No space left on device\); there is no checkpoint yet$"
    ):
        run(recipe, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"of another run")
    with pytest.raises(TrainingError, match=r"the older checkpoint '.*last.ckpt' is as it was$"):
        run(recipe, tmp_path, resume=False)


def test_a_full_disk_under_a_log_names_the_folder(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lightning.pytorch.loggers.CSVLogger.save", full)
    with pytest.raises(
        TrainingError, match=rf"^run folder '{tmp_path}': a log could not be written .*; there is no checkpoint"
    ):
        run(recipe, tmp_path)


def test_a_folder_is_one_run_s_at_a_time(recipe: Recipe, tmp_path: Path) -> None:
    with files.locked(tmp_path), pytest.raises(OSError, match="another process works with it") as caught:
        run(recipe, tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_checkpoint_beyond_the_limit_of_file_sizes(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, tmp_path, stop_after=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / CHECKPOINT).stat().st_size // 2, hard))
    try:
        stopped(
            recipe,
            tmp_path,
            r"it could not be written \(File too large\); the checkpoint .* of the epoch before is kept$",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_interrupt_is_an_interrupt(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(self: ConversionAwareTraining, batch: Any, index: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ConversionAwareTraining, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


def test_global_switches_are_left_as_they_were(recipe: Recipe, tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    assert deterministic.fill_uninitialized_memory
    run(recipe, tmp_path, stop_after=1)
    assert not torch.are_deterministic_algorithms_enabled()
    assert deterministic.fill_uninitialized_memory
    with pytest.raises(ValueError, match="invalid accelerator name"):
        fit(recipe, out=tmp_path, accelerator="abacus")
    assert not torch.are_deterministic_algorithms_enabled()


# ---- other ways to train ------------------------------------------------------------------------------------------


def test_mixed_precision(recipe: Recipe, tmp_path: Path) -> None:
    mixed = replace(recipe, training=replace(recipe.training, precision="bf16-mixed"))
    fitted = run(mixed, tmp_path / "mixed")
    assert all(np.isfinite(value) for value in fitted.metrics.values())
    assert {parameter.dtype for parameter in fitted.network.parameters()} == {torch.float32}
    images = torch.from_numpy(training_images(recipe)[1].pixels())
    snn = convert(fitted.network, example=images)
    with torch.no_grad():
        assert torch.equal(fitted.network.double()(images.double()), snn(images) * 2.0**-snn.logit_exponent)
    for last in (2, 5):
        again = run(mixed, tmp_path / "again", stop_after=last)
    assert same(again.network.float().state_dict(), fitted.network.float().state_dict())


def test_progress_is_a_line_an_epoch_where_there_is_no_terminal(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(recipe, out=tmp_path, accelerator="cpu", stop_after=2)
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"(epoch [12]/2 (clip|input): loss \d\.\d+  validation \d\.\d+  spikes/neuron \d\.\d+\n){2}", printed.out
    )
    assert printed.err == ""


def test_networks_of_recipes_need_square_images(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="a VGG needs square images, not 8x6 pixels"):
        build_network(recipe, shape=(1, 8, 6), classes=2)
    with pytest.raises(ValueError, match="image_size must be at least 4 for 2 poolings, not 2"):
        build_network(recipe, shape=(1, 2, 2), classes=2)


def test_networks_of_checkpoints(whole: tuple[Path, Fitted], recipe: Recipe, tmp_path: Path) -> None:
    network = load_network(recipe, whole[0] / CHECKPOINT, shape=(1, 8, 8), classes=2)
    assert network.stage == "quantised"
    assert not network.training
    images = torch.from_numpy(training_images(recipe)[1].pixels())
    with torch.no_grad():
        assert torch.equal(network(images), whole[1].network(images))
    with pytest.raises(FileNotFoundError, match=r"checkpoint '.*none.ckpt': there is no such file"):
        load_network(recipe, tmp_path / "none.ckpt", shape=(1, 8, 8), classes=2)
    with pytest.raises(ValueError, match="it must hold a network of this recipe"):
        load_network(recipe, whole[0] / CHECKPOINT, shape=(1, 8, 8), classes=3)


def test_validation_images_are_never_trained_on(recipe: Recipe) -> None:
    training, validation = training_images(recipe)
    assert (len(training), len(validation)) == (80, 16)
    rows = {image.tobytes() for image in training.images}
    assert not rows & {image.tobytes() for image in validation.images}


def test_limited_training_images_leave_the_validation_images(recipe: Recipe) -> None:
    training, validation = training_images(recipe)
    fewer, same = training_images(replace(recipe, data=replace(recipe.data, limit=30)))
    assert np.array_equal(same.images, validation.images)
    assert np.array_equal(fewer.images, training.limit(30).images)
    assert len(training_images(replace(recipe, data=replace(recipe.data, limit=1000)))[0]) == len(training)
    with pytest.raises(ValueError, match="limit must be at least 1, not -2"):
        training_images(replace(recipe, data=replace(recipe.data, limit=-2)))
