"""``firstspike reproduce``: what is there is run, what is missing says so and is null; nothing is invented."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from firstspike import __version__, spec
from firstspike.arith import Code, LogWeights
from firstspike.cli import main
from firstspike.data import load as load_images
from firstspike.processor import Processor
from firstspike.spec import Flatten, Linear, MaxPool2d
from firstspike.spiking import SpikingNetwork, load
from firstspike.zoo.published import PUBLISHED

KEYS = [
    "accuracy",
    "energy_uj",
    "energy_uj_low",
    "energy_uj_high",
    "published_accuracy",
    "published_energy_uj",
    "frames_per_second",
    "latency_steps",
]


@pytest.fixture(scope="module")
def place_of_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo that holds a small CIFAR-10 network, and data of ten classes."""
    folder = tmp_path_factory.mktemp("reproduce")
    rng = np.random.default_rng(0)
    zoo, data = folder / "zoo", folder / "data" / "cifar10"
    zoo.mkdir()
    classes = tuple(f"class{index}" for index in range(10))
    for part in ("train", "test"):
        for name in classes:
            (data / part / name).mkdir(parents=True)
            for index in range(2):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(data / part / name / f"{index}.png")
    layers = (
        MaxPool2d(name="pool", source="input", kernel=(8, 8), stride=(8, 8)),
        Flatten(name="flatten", source="pool"),
        Linear(
            name="logits",
            source="flatten",
            codes=rng.integers(0, 32, (10, 48), dtype=np.uint8),
            scale=4,
            bias=np.zeros(10, dtype=np.int64),
            fires=False,
        ),
    )
    network = spec.Network(code=Code(), weights=LogWeights(), input_shape=(3, 32, 32), layers=layers, classes=classes)
    SpikingNetwork(network).save(zoo / "vgg16-cifar10.safetensors")
    return folder


def reproduce(folder: Path, *arguments: str) -> int:
    return main(["reproduce", "--zoo", str(folder / "zoo"), "--data-root", str(folder / "data"), *arguments])


def columns(file: Path) -> dict[str, Any]:
    """The record without its head."""
    record = json.loads(file.read_text())
    assert (record.pop("schema"), record.pop("firstspike")) == (1, __version__)
    return record


def test_what_is_there_is_run_and_the_rest_is_null(place_of_zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = place_of_zoo / "record.json"
    assert reproduce(place_of_zoo, "--processor", "default", "--json", str(target)) == 1
    record = columns(target)
    assert list(record) == ["cifar10", "cifar100", "tiny_imagenet"]
    ours = record["cifar10"]
    assert [list(entry)[: len(KEYS)] for entry in record.values()] == [KEYS] * 3
    snn = load(place_of_zoo / "zoo" / "vgg16-cifar10.safetensors")
    images = load_images("cifar10", split="test", data_root=place_of_zoo / "data")
    pixels = images.pixels(0, len(images))
    assert ours["accuracy"] == np.mean(np.asarray(snn.classify(pixels)) == images.labels)
    cost = Processor().run(snn, pixels)
    assert (ours["energy_uj_low"], ours["energy_uj"], ours["energy_uj_high"]) == (
        cost.energy.low,
        cost.energy.value,
        cost.energy.high,
    )
    assert ours["frames_per_second"] == cost.frames_per_second
    assert (ours["latency_steps"], ours["accuracy_images"]) == (24, 20)
    assert [(row["processor"], row["dram"]) for row in ours["costs"]] == [
        ("default", "flat-4pj"),
        ("default", "lpddr3"),
    ]
    for entry, published in zip(record.values(), PUBLISHED, strict=True):
        assert (entry["published_accuracy"], entry["published_energy_uj"]) == (published.accuracy, published.energy_uj)
    for missing in ("cifar100", "tiny_imagenet"):
        entry = record[missing]
        assert entry["missing"] == "not trained"
        assert {entry[key] for key in KEYS if not key.startswith("published")} == {None}
        assert entry["make"].startswith("firstspike train --recipe")
    shown = capsys.readouterr().out
    assert "Incomplete: CIFAR-100 (not trained), Tiny-ImageNet (not trained)." in shown
    assert "firstspike cost" in shown
    assert "firstspike evaluate" in shown


def test_a_technology_of_ones_own_prices_and_is_named(
    place_of_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (resources.files("firstspike.processor") / "technologies" / "28nm.toml").read_text()
    head, part, tail = text.partition("[dram.flat-4pj.read]\n")
    rate = "value = {0}\nlow = {0}\nhigh = {0}\n"
    assert tail.startswith(rate.format(4.0))
    dear = tmp_path / "dear.toml"
    dear.write_text(head + part + tail.replace(rate.format(4.0), rate.format(7.0), 1))
    target = tmp_path / "record.json"
    arguments = ["--processor", "default", "--json", str(target), "--technology", str(dear)]
    assert reproduce(place_of_zoo, *arguments) == 1
    cost = Processor().run(
        load(place_of_zoo / "zoo" / "vgg16-cifar10.safetensors"),
        load_images("cifar10", split="test", data_root=place_of_zoo / "data").pixels(0, 20),
    )
    more = cost.energy.value + 0.75 * cost.components["dram_read"].value
    assert columns(target)["cifar10"]["energy_uj"] == pytest.approx(more, rel=1e-12)
    assert f"--technology{dear}" in "".join(capsys.readouterr().out.split())


def test_without_data_nothing_is_invented(
    place_of_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "record.json"
    arguments = ["--zoo", str(place_of_zoo / "zoo"), "--data-root", str(tmp_path), "--quick", "--json", str(target)]
    assert main(["reproduce", *arguments]) == 1
    record = columns(target)
    assert record["cifar10"]["missing"] == "no data"
    assert {record[key]["energy_uj"] for key in ("cifar10", "cifar100", "tiny_imagenet")} == {None}
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Put", "or", "or"]
    assert "cifar10-test.zip" in lines[0] and str(tmp_path) in lines[0]


def test_a_set_from_elsewhere(place_of_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "record.json"
    base = ["reproduce", "--zoo", str(place_of_zoo / "zoo"), "--data-root", str(tmp_path), "--json", str(target)]
    base += ["--processor", "default"]
    assert main([*base, "--data", f"cifar10={place_of_zoo / 'data' / 'cifar10'}"]) == 1
    assert json.loads(target.read_text())["cifar10"]["accuracy_images"] == 20
    assert main([*base, "--data", "cifar10=nowhere"]) == 2
    assert "not 'nowhere'" in capsys.readouterr().err
    assert main([*base, "--data", "cifar-10=nowhere"]) == 2
    assert "did you mean 'cifar10'?" in " ".join(capsys.readouterr().err.split())


def test_a_network_of_another_shape_is_refused(place_of_zoo: Path, tmp_path: Path, capsys) -> None:
    wrong = tmp_path / "zoo"
    wrong.mkdir()
    layers = (
        Flatten(name="flatten", source="input"),
        Linear(
            name="logits",
            source="flatten",
            codes=np.zeros((10, 12), dtype=np.uint8),
            scale=8,
            bias=np.zeros(10, dtype=np.int64),
            fires=False,
        ),
    )
    network = spec.Network(code=Code(), weights=LogWeights(), input_shape=(3, 2, 2), layers=layers)
    SpikingNetwork(network).save(wrong / "vgg16-cifar10.safetensors")
    data = str(place_of_zoo / "data")
    assert main(["reproduce", "--zoo", str(wrong), "--data-root", data]) == 2
    assert (
        "network 'vgg16-cifar10' must take the images of 'cifar10', (3, 32, 32), not (3, 2, 2)"
        in capsys.readouterr().err
    )
