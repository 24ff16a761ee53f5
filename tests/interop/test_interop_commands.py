"""`firstspike export`, and `firstspike convert --model FILE.onnx`."""

import json
from pathlib import Path

import numpy as np
import pytest

import firstspike as fs
from firstspike.cli.main import main
from firstspike.spec import fingerprint

pytest.importorskip("onnx")
pytest.importorskip("nir")

from interop.onnx_graphs import GRAPHS


def test_from_an_onnx_file_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    GRAPHS["keras_small"](Path("keras.onnx"))
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
    command = ["convert", "--model", "keras.onnx", "--calibrate", "images.npy", "--save", "net.safetensors"]
    assert main([*command, "--json", "record.json"]) == 0
    assert json.loads(Path("record.json").read_text())["images_calibrated"] == 40
    wanted = fingerprint(fs.load("net.safetensors").network)
    assert main(["export", "net.safetensors", "--format", "nir", "--out", "net.nir", "--json", "record.json"]) == 0
    assert json.loads(Path("record.json").read_text())["fingerprint"] == wanted
    assert fingerprint(fs.from_nir("net.nir").network) == wanted
    assert main(["export", "net.safetensors", "--format", "onnx", "--out", "net.onnx", "--quantisers"]) == 2
    assert main(["export", "net.safetensors", "--format", "nir", "--out", "net.nir", "--precision", "float32"]) == 2
    options = ["--precision", "float32", "--quantisers"]
    assert main(["export", "net.safetensors", "--format", "onnx", "--out", "net.onnx", *options]) == 0


def test_weights_beside_an_onnx_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "--model", "net.onnx", "--weights", "w.pt", "--calibrate", "digits"]
    assert main([*command, "--save", str(tmp_path / "net.safetensors")]) == 2
    assert "--weights must not be given with --model net.onnx" in capsys.readouterr().err
