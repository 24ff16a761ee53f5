"""Every subcommand from end to end on digits, and the records that it writes."""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from PIL import Image

from firstspike import __version__, names
from firstspike.cli import demo as demo_module
from firstspike.cli import main
from firstspike.cli import train as train_module
from firstspike.cli.arguments import parser
from firstspike.data import load as load_images
from firstspike.engine import NAMES
from firstspike.records import SCHEMA
from firstspike.spiking import load

DEMO_KEYS = [
    "dataset",
    "test_images",
    "cat_accuracy",
    "snn_accuracy",
    "agreement",
    "weight_bits",
    "T",
    "tau",
    "latency_steps",
    "spikes_per_neuron",
    "sops_per_image",
    "cycles_per_image",
    "energy_uj_per_image",
    "train_seconds",
]
"""Kept stable."""

QUICK = """
[data]
name = "digits"
validation = 100
pad = 1
flip = false
[network]
plan = "small"
width = 0.125
hidden = [8]
[training]
epochs = 2
batch_size = 64
learning_rate = 0.05
[stages]
clip = 0
ttfs = 1
quantised = 1
"""


def record(path: Path) -> dict[str, Any]:
    """A record without what every record begins with."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert (found.pop("schema"), found.pop("firstspike")) == (SCHEMA, __version__)
    return found


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that a user can type, with its parser."""

    def below(found: argparse.ArgumentParser, typed: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        parts = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
        if not parts:
            yield typed.strip(), found
        for name, part in (entry for action in parts for entry in action.choices.items()):
            yield from below(part, f"{typed} {name}")

    return below(parser(), "")


@pytest.mark.parametrize("command", [name for name, _ in commands() if name != "completion"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"example:\n  firstspike {command} " in shown
    assert "--json FILE" in shown
    assert "--debug" not in shown


@pytest.mark.parametrize("command", [name for name, _ in commands()])
def test_what_runs_a_command_is_there(command: str) -> None:
    module, _, function = dict(commands())[command].get_default("run").partition(":")
    assert callable(getattr(import_module(module), function))


def test_examples_are_accepted() -> None:
    """Every option that an example shows exists."""
    for name, command in commands():
        if command.epilog:
            example = command.epilog.partition("example:\n  firstspike ")[2]
            assert parser().parse_args(shlex.split(example)).run, name


@pytest.mark.parametrize(
    "arguments", [["--help"], ["cost", "--help"], ["evaluate"], ["--version"], ["completion", "perl"]]
)
def test_help_and_usage_errors_load_nothing(arguments: list[str]) -> None:
    code = f"""
import sys
from firstspike.cli import main
try:
    main({arguments!r})
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "firstspike.cli.main" in loaded
    assert loaded.isdisjoint({"numpy", "rich", "PIL", "torch", "firstspike.data", "firstspike.spec", "msgspec"})


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"firstspike {__version__}\n"


def test_lists_of_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json", str(tmp_path / "recipes.json")]) == 0
    assert main(["zoo", "--json", str(tmp_path / "zoo.json")]) == 0
    shown = capsys.readouterr().out
    recipes = record(tmp_path / "recipes.json")["recipes"]
    networks = record(tmp_path / "zoo.json")["networks"]
    assert [row["name"] for row in recipes] == [*names.recipes(), *names.teachers()]
    assert [row["name"] for row in networks] == list(names.networks())
    assert all(row["text"].endswith(".") for row in recipes)
    assert all(row["accuracy"].endswith(" test images") and row["classes"] >= 10 for row in networks)
    for row in recipes + networks:
        assert f" {row['name']} " in shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_name_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name, _ in commands():
        assert name.split()[-1] in script
    assert "--accumulator-bits" in script


def test_names_of_the_zoo_stand_for_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "vgg16-cifar10", "--json", str(tmp_path / "inspect.json")]) == 0
    assert record(tmp_path / "inspect.json")["classes"][0] == "airplane"
    assert main(["inspect", "vgg16-cifar-10"]) == 2
    assert "not 'vgg16-cifar-10'; did you mean 'vgg16-cifar10'?" in " ".join(capsys.readouterr().err.split())


def test_nothing_blank_in_a_pipe(digits_model: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "firstspike.cli",
        "evaluate",
        str(digits_model),
        "--data",
        "digits",
        "--limit",
        "5",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert shown.strip() and all(line.strip() for line in shown.splitlines())


def test_demo(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it but the training, which the fixture has done; the record may lie in the folder that demo makes."""
    asked = []

    def fit(recipe: Any, *, out: Path, resume: bool) -> Any:
        asked.append((recipe, Path(out).parent, resume))
        return digits_run.fitted

    monkeypatch.setattr(demo_module, "fit", fit)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--json", str(out / "record.json")]) == 0
    assert asked == [(digits_run.recipe, out, False)]
    found = record(out / "record.json")
    assert list(found) == DEMO_KEYS
    assert found["dataset"] == "digits"
    assert found["test_images"] == 360
    assert found["weight_bits"] == 5
    assert (found["T"], found["tau"], found["latency_steps"]) == (24, 4, 144)
    assert found["snn_accuracy"] >= 0.97
    assert abs(found["snn_accuracy"] - found["cat_accuracy"]) <= 0.005
    assert found["agreement"] >= 0.99
    snn, images = load(out / "digits.safetensors"), load_images("digits", split="test")
    trace = snn.trace(images.pixels())
    assert found["spikes_per_neuron"] == trace.spikes_per_neuron
    assert found["sops_per_image"] == trace.sops_per_image
    assert found["snn_accuracy"] == float(np.mean(trace.predictions == images.labels))
    assert found["cycles_per_image"] > 0
    assert found["energy_uj_per_image"] > 0
    assert found["train_seconds"] >= 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert sorted(path.name for path in out.iterdir()) == ["digits.safetensors", "record.json", "report.html"]
    printed = capsys.readouterr()
    assert "report.html" in printed.out
    assert printed.err == ""


def test_train_convert_inspect_evaluate_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick.toml").write_text(QUICK)
    train = ["train", "--recipe", "quick.toml", "--accelerator", "cpu", "--json", "train.json"]
    assert main(train) == 0
    found = record(tmp_path / "train.json")
    assert found["recipe"] == "quick.toml"
    assert found["dataset"] == "digits"
    assert found["epochs"] == 2
    assert found["checkpoint"] == "runs/quick/last.ckpt"
    assert 0 <= found["validation_accuracy"] <= 1
    assert found["train_seconds"] > 0
    assert "checkpoint: runs/quick/last.ckpt" in capsys.readouterr().out
    assert main(train) == 0  # finished: the same metrics again
    again = record(tmp_path / "train.json")
    assert {**again, "train_seconds": 0} == {**found, "train_seconds": 0}

    arguments = ["convert", "runs/quick/last.ckpt", "--recipe", "quick.toml", "--save", "quick.safetensors"]
    assert main([*arguments, "--limit", "5", "--json", "convert.json"]) == 0
    size = Path("quick.safetensors").stat().st_size
    snn = load("quick.safetensors")
    assert record(tmp_path / "convert.json") == {
        "network": "quick.safetensors",
        "size_bytes": size,
        "layers": len(snn.network.layers),
        "images_compared": 5,
        "latency_steps": snn.latency_steps,
    }
    assert snn.network.classes == tuple("0123456789")
    assert (
        "all spikes and logits equal the trained network in float64 on 5 validation images" in capsys.readouterr().out
    )

    assert main(["inspect", "quick.safetensors", "--json", "inspect.json"]) == 0
    found = record(tmp_path / "inspect.json")
    assert found["notes"] == {"recipe": "quick.toml", "dataset": "digits-validation"}
    assert [row["name"] for row in found["layers"]] == [layer.name for layer in snn.network.layers]
    printed = capsys.readouterr().out
    for layer in snn.network.layers:
        assert layer.name in printed

    assert main(["evaluate", "quick.safetensors", "--data", "digits", "--limit", "30", "--json", "evaluate.json"]) == 0
    found = record(tmp_path / "evaluate.json")
    images = load_images("digits", split="test").limit(30)
    trace = snn.trace(images.pixels())
    assert found["images"] == 30
    assert found["accuracy"] == float(np.mean(trace.predictions == images.labels))
    assert found["spikes_per_neuron"] == trace.spikes_per_neuron
    assert found["sops_per_image"] == trace.sops_per_image
    assert found["images_per_second"] > 0
    assert "accuracy" in capsys.readouterr().out

    assert main(["cost", "quick.safetensors", "--data", "digits", "--limit", "3", "--json", "cost.json"]) == 0
    found = record(tmp_path / "cost.json")
    assert found["images"] == 3
    assert found["energy_uj_per_image"] > 0
    assert len(found["layers"]) >= len(snn.network.synaptic)
    assert "DRAM" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "convert.json",
        "cost.json",
        "evaluate.json",
        "inspect.json",
        "quick.safetensors",
        "quick.toml",
        "runs",
        "train.json",
    ]


def test_wider_membranes_change_nothing_else(digits_run: Run, digits_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "wide.safetensors"
    arguments = ["convert", str(digits_run.checkpoint), "--recipe", "digits", "--save", str(out)]
    assert main([*arguments, "--accumulator-bits", "40"]) == 0
    wide, usual = load(out), load(digits_model)
    assert (usual.network.accumulator_bits, wide.network.accumulator_bits) == (32, 40)
    images = load_images("digits", split="test").limit(20).pixels()
    assert np.array_equal(wide(images), usual(images))


def test_evaluate_by_any_engine_and_on_all_images(digits_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    found = {}
    for engine in ("native", "reference"):
        arguments = ["evaluate", str(digits_model), "--data", "digits", "--limit", "25", "--engine", engine]
        assert main([*arguments, "--json", str(path)]) == 0
        found[engine] = record(path)
        assert found[engine]["engine"] == engine
        for key in ("images_per_second", "engine"):
            del found[engine][key]
    assert found["native"] == found["reference"]
    assert set(NAMES) >= set(found)
    assert main(["evaluate", str(digits_model), "--data", "digits", "--json", str(path)]) == 0
    assert record(path)["images"] == 360
    assert record(path)["accuracy"] >= 0.97


def test_images_without_a_test_split_are_not_called_test_images(
    digits_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same images below ``test`` are a test set; alone they may be those of training."""
    images = load_images("digits", split="test").limit(30)
    for index, (pixels, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        for folder in (tmp_path / "plain", tmp_path / "split" / "test", tmp_path / "split" / "train"):
            path = folder / str(label) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(path)
    out, found = tmp_path / "record.json", {}
    for data in ("plain", "split"):
        assert main(["evaluate", str(digits_model), "--data", str(tmp_path / data), "--json", str(out)]) == 0
        found[data] = record(out)
        printed = " ".join(capsys.readouterr().out.split())
        assert ("has no folders train and test" in printed) == (data == "plain")
        assert ("30 test images" in printed) == (data == "split")
    assert (found["plain"]["split"], found["split"]["split"]) == ("all", "test")
    assert found["plain"]["accuracy"] == found["split"]["accuracy"]


def test_processor_and_technology_of_cost(digits_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    base = ["cost", str(digits_model), "--data", "digits", "--limit", "2", "--json", str(path)]
    assert main(base) == 0
    first = record(path)
    assert first["latency_us"] == pytest.approx(first["cycles_per_image"] / 250)
    assert main([*base, "--pes", "64", "--clock-mhz", "125"]) == 0
    other = record(path)
    assert other["cycles_per_image"] != first["cycles_per_image"]
    assert other["latency_us"] == pytest.approx(other["cycles_per_image"] / 125)
    assert main([*base, "--batch", "2"]) == 0
    batch = record(path)
    assert (batch["images"], batch["batches"]) == (2, 1)
    assert batch["dram_read_uj_per_image"] < first["dram_read_uj_per_image"]
    assert batch["pe_uj_per_image"] == first["pe_uj_per_image"]
    (tmp_path / "mine.toml").write_text("format = 1\npes = 64\nclock_mhz = 125.0\n")
    assert main([*base, "--processor", str(tmp_path / "mine.toml")]) == 0
    assert record(path) == other


def test_train_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def fit(recipe: Any, **options: Any) -> Any:
        seen.update(options, recipe=recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "fit", fit)
    (tmp_path / "quick.toml").write_text(QUICK)
    arguments = ["train", "vgg16", "--recipe", str(tmp_path / "quick.toml"), "--data", "cifar10", "--seed", "7"]
    arguments += ["--precision", "bf16-mixed"]
    assert main([*arguments, "--data-root", "there", "--out", str(tmp_path / "run"), "--restart"]) == 130
    recipe = seen["recipe"]
    assert recipe.training.precision == "bf16-mixed"
    assert (recipe.network.plan, recipe.data.name, recipe.training.seed) == ("vgg16", "cifar10", 7)
    assert recipe.training.epochs == 2
    assert seen["resume"] is False
    assert seen["data_root"] == "there"
    assert seen["out"] == tmp_path / "run"


@pytest.mark.parametrize(
    ("capabilities", "precision", "told"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, "bf16-mixed", True),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16-mixed", False),
        ({"neon": True, "bf16": True}, "bf16-mixed", False),
        ({"avx512_f": True, "avx512_bf16": False}, "32-true", False),
    ],
)
def test_train_tells_of_a_cpu_without_bfloat16(
    capabilities: dict[str, bool],
    precision: str,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fit(recipe: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "fit", fit)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    arguments = ["train", "--recipe", "digits", "--precision", precision, "--accelerator", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 130
    found = " ".join(capsys.readouterr().out.split())
    assert ("note: this CPU has no bfloat16 instructions" in found) == told


def test_paths_that_look_like_markup(digits_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[bold]"
    folder.mkdir()
    path = folder / "[x].safetensors"
    path.write_bytes(digits_model.read_bytes())
    for command in (
        ["inspect"],
        ["evaluate", "--data", "digits", "--limit", "2"],
        ["cost", "--data", "digits", "--limit", "1"],
    ):
        assert main([command[0], str(path), *command[1:]]) == 0
        assert "[bold]" in capsys.readouterr().out.replace("\n", "")
