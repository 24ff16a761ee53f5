"""`firstspike merge`: siblings' averages become one integer network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from firstspike.arith import LogWeights, decode_weights
from firstspike.cli.main import main
from firstspike.spec import Network, load
from firstspike.train.averaging import WeightAverage
from firstspike.train.fit import fit
from firstspike.train.recipe import find_recipe
from firstspike.train.run import CHECKPOINT

pytestmark = pytest.mark.usefixtures("single_thread")

TEXT = """
[data]
name = "digits"
validation = 200
limit = 200

[network]
plan = "small"
width = 0.25
hidden = [16]

[training]
epochs = 2
batch_size = 50
learning_rate = 0.05

[stages]
clip = 0
input = 0
ttfs = 0
quantised = 2

[averaging]
start = 0
every = 1
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("merge") / "siblings.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def siblings(recipe: Path) -> list[Path]:
    """Checkpoints of two runs that differ in the order of batches."""
    paths = []
    for order in (0, 1):
        wanted = find_recipe(str(recipe))
        wanted = replace(wanted, training=replace(wanted.training, order=order))
        fit(wanted, out=recipe.parent / str(order), accelerator="cpu")
        paths.append(recipe.parent / str(order) / CHECKPOINT)
    return paths


def merge(recipe: Path, checkpoints: list[Path], out: Path, *more: str) -> int:
    return main(["merge", *map(str, checkpoints), "--recipe", str(recipe), "--save", str(out), *more])


def readout(network: Network) -> np.ndarray:
    layer = network.synaptic[-1]
    return decode_weights(layer.codes, network.weights, layer.scale)


def average(checkpoint: Path) -> np.ndarray:
    """The average of the read-out's weights in a run's last epochs, as the callback keeps it."""
    callbacks = torch.load(checkpoint, weights_only=True)["callbacks"]
    state = callbacks[WeightAverage.__name__]
    assert state["count"] == 8  # 200 images in batches of 50, twice
    return np.asarray(state["average"]["network.layers.logits.linear.weight"].double().numpy())


def test_weights_are_the_levels_nearest_to_the_mean_of_the_averages(
    recipe: Path,
    siblings: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert merge(recipe, siblings, tmp_path / "both") == 0
    printed = capsys.readouterr().out
    assert "ttfs: 0." in printed
    assert "of 200 validation images" in printed
    found = load(tmp_path / "both")
    first, second = map(average, siblings)
    assert np.abs(first - second).max() > 1e-3
    weights, scale = LogWeights(), found.synaptic[-1].scale
    sizes = [0.0, *(float(weights.level(q + scale)) for q in range((1 << weights.bits - 1) - 1))]
    levels = np.array(sorted({sign * size for size in sizes for sign in (1, -1)}))
    mean = (first + second) / 2
    distance = np.abs(readout(found) - mean)
    nearest = np.abs(mean[..., None] - levels).min(axis=-1)
    np.testing.assert_allclose(distance, nearest, atol=1e-6)
    assert len(np.unique(readout(found))) > 10


def test_the_order_of_checkpoints_does_not_matter_and_one_is_itself(
    recipe: Path, siblings: list[Path], tmp_path: Path
) -> None:
    ways = {"both": siblings, "turned": siblings[::-1], "one": siblings[:1], "twice": siblings[:1] * 2}
    for name, checkpoints in ways.items():
        assert merge(recipe, checkpoints, tmp_path / name) == 0
    found = {name: (tmp_path / name).read_bytes() for name in ways}
    assert found["both"] == found["turned"]
    assert found["one"] == found["twice"]
    assert found["one"] != found["both"]


def test_training_goes_on_from_the_merged_average(recipe: Path, siblings: list[Path], tmp_path: Path) -> None:
    """Without a rate to speak of, the quantised epoch leaves the weights at the mean of both averages."""
    longer = tmp_path / "longer.toml"
    longer.write_text(
        TEXT.replace("epochs = 2", "epochs = 3\nquantised_rate = 1e-12\nweight_decay = 0"), encoding="utf-8"
    )
    command = ["train", "--recipe", str(longer), "--accelerator", "cpu"]
    paths = []
    for order in ("0", "1"):
        folder = tmp_path / order
        assert main([*command, "--order", order, "--stop-after", "2", "--out", str(folder)]) == 0
        paths.append(folder / CHECKPOINT)
    before = [path.read_bytes() for path in paths]
    assert merge(longer, paths, tmp_path / "merged", "--checkpoint", str(tmp_path / "on" / CHECKPOINT)) == 0
    assert [path.read_bytes() for path in paths] == before
    mean = (average(paths[0]) + average(paths[1])) / 2
    assert main([*command, "--out", str(tmp_path / "on")]) == 0
    state = torch.load(tmp_path / "on" / CHECKPOINT, weights_only=True)
    assert state["epoch"] == 2
    found = state["state_dict"]["network.layers.logits.linear.weight"].double().numpy()
    np.testing.assert_allclose(found, mean, atol=1e-6)
    assert main([*command, "--stop-after", "0", "--out", str(tmp_path / "none")]) == 2


def test_a_checkpoint_without_an_average_is_refused(
    recipe: Path, siblings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(siblings[0], weights_only=True)
    state["callbacks"][WeightAverage.__name__]["count"] = 0
    torch.save(state, tmp_path / "empty.ckpt")
    assert merge(recipe, [siblings[1], tmp_path / "empty.ckpt"], tmp_path / "out") == 2
    assert "empty.ckpt: the checkpoint must hold an average" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_average_moves_towards_the_network_that_runs_started_from(
    recipe: Path, siblings: list[Path], tmp_path: Path
) -> None:
    """Where they started is what a run without a rate to speak of leaves in its checkpoint."""
    initial, still = tmp_path / "initial", tmp_path / "still.toml"
    assert merge(recipe, siblings, initial) == 0
    text = TEXT.replace("learning_rate = 0.05", "learning_rate = 1e-12\nweight_decay = 0").replace(
        "epochs = 2", "epochs = 1"
    )
    still.write_text(text.replace("quantised = 2", "quantised = 1"), encoding="utf-8")
    command = ["train", "--recipe", str(still), "--accelerator", "cpu", "--initial", str(initial)]
    assert main([*command, "--out", str(tmp_path / "start")]) == 0
    start = torch.load(tmp_path / "start" / CHECKPOINT, weights_only=True)["state_dict"]

    shared = tmp_path / "shared" / CHECKPOINT
    more = ["--initial", str(initial), "--share", "0.25", "--checkpoint", str(shared)]
    assert merge(recipe, siblings, tmp_path / "out", *more) == 0
    found = torch.load(shared, weights_only=True)["callbacks"][WeightAverage.__name__]["average"]
    averages = [
        torch.load(path, weights_only=True)["callbacks"][WeightAverage.__name__]["average"] for path in siblings
    ]
    for name, value in found.items():
        mean = (averages[0][name] + averages[1][name]) / 2
        torch.testing.assert_close(value, 0.75 * mean + 0.25 * start[name], rtol=1e-5, atol=1e-5)
    weights = "network.layers.conv2_1.linear.weight"
    assert (found[weights] - averages[0][weights]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--initial", "FILE", "--share", "1"], "--share must be in [0, 1), not 1.0"),
        (["--initial", "FILE", "--share", "-0.1"], "--share must be in [0, 1), not -0.1"),
        (["--initial", "FILE"], "--initial and --share belong together, not FILE and 0.0"),
        (["--share", "0.3"], "--initial and --share belong together, not None and 0.3"),
    ],
)
def test_a_share_that_makes_no_sense_is_refused(
    more: list[str],
    message: str,
    recipe: Path,
    siblings: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert merge(recipe, siblings, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
