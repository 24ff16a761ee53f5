"""Training in two processes under torchrun: the loss curve of one process with the same global batch, to rounding."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPE = """
[data]
name = "digits"
validation = 836
pad = 1
flip = false
cutmix = 0.5

[network]
plan = "small"
width = 0.125
hidden = [8]

[training]
epochs = {epochs}
batch_size = 20
learning_rate = 0.05

[stages]
clip = 0
input = {input}
ttfs = {ttfs}
quantised = {quantised}

[sparsity]
weight = 0.05
target = 0.3
"""


def train(recipe: Path, out: Path, *, processes: int, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["train", "--recipe", str(recipe), "--out", str(out), "--accelerator", "cpu"]
    launcher = [sys.executable, "-m", "firstspike.cli"]
    if processes > 1:
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(processes),
            "-m",
            "firstspike.cli",
        ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*launcher, *command], capture_output=True, text=True, timeout=500, check=False, env=environment
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def column(out: Path, name: str) -> list[float]:
    """A column of the run's logs, through all its starts."""
    values = []
    for version in sorted((out / "log").iterdir()):
        with open(version / "metrics.csv", newline="") as stream:
            values += [float(row[name]) for row in csv.DictReader(stream) if row.get(name)]
    return values


def checkpoint(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.ckpt", weights_only=True)["state_dict"]  # type: ignore[no-any-return]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    text = RECIPE.format(epochs=2, input=2, ttfs=2, quantised=2)
    recipe.write_text(text.replace("learning_rate = 0.05", "learning_rate = 0.02"))  # at 0.05 rounding itself grows
    for processes in (1, 2):
        result = train(recipe, tmp_path / str(processes), processes=processes)
        assert result.stdout.count("checkpoint:") == 1  # one process reports
    one, two = (column(tmp_path / str(n), "train_loss") for n in (1, 2))
    assert len(one) == 3  # a line every 20 of 60 steps
    np.testing.assert_allclose(two, one, rtol=1e-5)
    first, second = checkpoint(tmp_path / "1"), checkpoint(tmp_path / "2")
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=2e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_integer_weights_and_spikes_train_as_in_one_process(tmp_path: Path) -> None:
    """In stage quantised all values of the forward pass are dyadic and exact: no spike can be tipped by rounding."""
    recipe = tmp_path / "tiny.toml"
    text = RECIPE.format(epochs=1, input=0, ttfs=0, quantised=0)
    recipe.write_text(text.replace("batch_size = 20", "batch_size = 200"))  # three steps
    for processes in (1, 2):
        train(recipe, tmp_path / str(processes), processes=processes)
    first, second = checkpoint(tmp_path / "1"), checkpoint(tmp_path / "2")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6, msg=name)


DIES = """
import os, signal, sys
from firstspike.cli.main import main
from firstspike.train.module import ConversionAwareTraining

step = ConversionAwareTraining.training_step

def dying(self, batch, index):
    if self.current_epoch == 1 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)

ConversionAwareTraining.training_step = dying
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_the_checkpoint_resumes(tmp_path: Path) -> None:
    recipe, out, script = tmp_path / "tiny.toml", tmp_path / "run", tmp_path / "dies.py"
    recipe.write_text(RECIPE.format(epochs=2, input=2, ttfs=2, quantised=2))
    script.write_text(DIES)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            str(script),
            "train",
            "--recipe",
            str(recipe),
            "--out",
            str(out),
            "--accelerator",
            "cpu",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode != 0
    assert "Signal 9 (SIGKILL)" in result.stdout + result.stderr
    assert torch.load(out / "last.ckpt", weights_only=True)["epoch"] == 0
    train(recipe, out, processes=2)
    assert torch.load(out / "last.ckpt", weights_only=True)["epoch"] == 1
