"""A network of one's own through the command line: converted without training, trained by a recipe, run on arrays."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import firstspike as fs
from firstspike.cat import own
from firstspike.cli.main import main
from firstspike.data import load
from firstspike.train.fit import build_network
from firstspike.train.recipe import find_recipe

MODULE = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.{activation}(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))

class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)
    def forward(self, x, scale=None):
        return self.fc(x.view(-1, 64))

def needs(argument):
    return None

text = "no network"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, activation in (("own_nets", "ReLU"), ("own_gelu", "GELU")):
        Path(f"{name}.py").write_text(MODULE.replace("{activation}", activation))
        sys.modules.pop(name, None)
    return tmp_path


def trained(name: str) -> nn.Module:
    torch.manual_seed(0)
    images = load("digits", split="train")
    x, y = torch.from_numpy(images.pixels()), torch.as_tensor(np.asarray(images.labels))
    net = own.build(name)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        for index in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            optimiser.step()
    return net.eval()


def test_a_trained_network_is_converted_and_run(place: Path) -> None:
    net = trained("own_nets:make")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, "w.pt")
    command = ["convert", "--model", "own_nets:make", "--weights", "w.pt", "--calibrate", "digits", "--images", "128"]
    assert main([*command, "--channel-scales", "--out", "net.safetensors", "--json", "record.json"]) == 0
    record = json.loads(Path("record.json").read_text())
    assert record["same_class"] > 0.95
    assert any(any(layer.shifts) for layer in fs.load("net.safetensors").network.synaptic)
    test = load("digits", split="test")
    np.savez("test.npz", images=test.images, labels=test.labels)
    assert main(["evaluate", "net.safetensors", "--data", "test.npz", "--json", "evaluated.json"]) == 0
    found = json.loads(Path("evaluated.json").read_text())
    snn = fs.load("net.safetensors")
    assert found["accuracy"] == float((snn.classify(test.pixels()) == test.labels).mean())
    assert found["accuracy"] > 0.85
    assert main(["cost", "net.safetensors", "--random", "2"]) == 0
    assert main(["evaluate", "net.safetensors", "--random", "2", "--json", "evaluated.json"]) == 0
    assert json.loads(Path("evaluated.json").read_text())["accuracy"] is None


def test_what_has_no_counterpart_is_changed_if_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "convert",
        "--model",
        "own_gelu:make",
        "--calibrate",
        "digits",
        "--images",
        "32",
        "--save",
        "n.safetensors",
    ]
    assert main(command) == 2
    assert "1: GELU cannot be converted; replace it by nn.ReLU" in capsys.readouterr().err
    assert main([*command, "--adapt"]) == 0
    assert "1: GELU -> ReLU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--model", "own_nets:make"],
            "convert needs CHECKPOINT and --recipe, or --model MODULE:FACTORY or FILE.onnx and --calibrate DATA",
        ),
        (["--model", "own_nets", "--calibrate", "digits"], "model must be MODULE:FACTORY"),
        (["--model", "own_nets:none", "--calibrate", "digits"], "must be a function or class without arguments"),
        (["--model", "own_nets:needs", "--calibrate", "digits"], "must be a function or class without arguments"),
        (["--model", "own_nets:text", "--calibrate", "digits"], "must be a function or class without arguments"),
        (["--model", "own_nets:make", "--weights", "none.pt", "--calibrate", "digits"], "there is no file 'none.pt'"),
        (
            ["--model", "own_nets:Other", "--weights", "bad.pt", "--calibrate", "digits"],
            "must be a state dict of the network",
        ),
    ],
)
def test_what_is_wrong_is_told(
    place: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": torch.zeros(2)}, "bad.pt")
    assert main(["convert", *arguments, "--save", "n.safetensors"]) == 2
    assert text in capsys.readouterr().err


def test_safetensors_and_plain_state_dicts(place: Path) -> None:
    from safetensors.torch import save_file

    net = own.build("own_nets:Other")
    save_file(net.state_dict(), "w.safetensors")
    torch.save(net.state_dict(), "w.pth")
    for name in ("w.safetensors", "w.pth"):
        other = own.load_weights(own.build("own_nets:Other"), name)
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items())


def test_a_network_of_ones_own_trains(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text(
        'base = "digits"\n[data]\nlimit = 64\n[training]\nepochs = 1\n[stages]\nclip = 0\ninput = 0\nttfs = 0\nquantised = 0\n'
    )
    command = ["train", "--recipe", "r.toml", "--model", "own_nets:make", "--out", "run"]
    assert main(command) == 0, capsys.readouterr().err
    assert Path("run/last.ckpt").is_file()
    Path("wrong.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    assert main(["train", "--recipe", "r.toml", "--model", "wrong:make", "--out", "other"]) == 2
    assert "model 'wrong:make' must have a logit for each of 10 classes, not 3" in capsys.readouterr().err


def test_the_normalisation_of_training_goes_into_the_first_layer(place: Path) -> None:
    torch.manual_seed(0)
    net = own.build("own_nets:make").eval()
    torch.save(net.state_dict(), "w.th")
    command = ["convert", "--model", "own_nets:make", "--weights", "w.th", "--calibrate", "digits", "--images", "32"]
    assert main([*command, "--mean", "0.3", "--std", "0.5", "--out", "net.safetensors"]) == 0
    x = torch.from_numpy(load("digits", split="train").limit(32).pixels())
    shifted = own.Normalised(net, mean=[0.3], std=[0.5])
    cat = fs.prepare(shifted, example=x, code=fs.Code(input="planes"))
    with torch.no_grad():
        torch.testing.assert_close(cat(x), net((x - 0.3) / 0.5))
    fs.calibrate(cat, x)
    converted = fs.convert(cat, example=x)
    found = fs.load("net.safetensors")
    assert torch.equal(found(x), converted(x))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--mean", "0.5"], "--mean and --std must be given together"),
        (["--mean", "0.5,0.5", "--std", "1"], "as many numbers as channels, not 2 and 1"),
        (["--mean", "0.5", "--std", "0"], r"std above 0, not \[0.5\] and \[0.0\]"),
        (["--mean", "half", "--std", "1"], "must be numbers with commas between, not 'half'"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    command = ["convert", "--model", "own_nets:make", "--calibrate", "digits", "--out", "n.safetensors", *given]
    try:
        status = main(command)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_a_recipe_tells_of_a_normalisation(place: Path) -> None:
    recipe = find_recipe("digits")
    network = replace(recipe.network, model="own_nets:make", mean=(0.3,), std=(0.5,))
    cat = build_network(replace(recipe, network=network), shape=(1, 8, 8), classes=10)
    assert "constants" in cat.layers
    with pytest.raises(ValueError, match=r"network\.mean must come with network\.model"):
        replace(recipe.network, mean=(0.3,), std=(0.5,))
    with pytest.raises(ValueError, match=r"network\.mean and network\.std must be given together"):
        build_network(replace(recipe, network=replace(network, std=())), shape=(1, 8, 8), classes=10)
