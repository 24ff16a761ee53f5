"""`firstspike prune`: the file, its record, and what it refuses."""

import json
from pathlib import Path

import pytest

from firstspike.cli import main
from firstspike.spec.file import read_notes
from firstspike.spiking import load

pytestmark = pytest.mark.usefixtures("single_thread")


def test_writes_a_network_with_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, record = tmp_path / "lean.safetensors", tmp_path / "record.json"
    arguments = ["prune", "digits", "--data", "digits", "--images", "300", "--zeros", "0.6", "--channels", "conv2_2=32"]
    formats = ["--window", "16", "--weight-mantissa", "2", "--accumulator-bits", "24"]
    main([*arguments, *formats, "--out", str(net), "--json", str(record)])
    found, written = json.loads(record.read_text()), load(net).network
    zero = written.weights.zero_level
    zeros = sum(int((layer.codes & zero == zero).sum()) for layer in written.connections)
    weights = sum(layer.codes.size for layer in written.connections)
    assert found["zeros"] == pytest.approx(zeros / weights)
    assert found["weights"] == weights
    assert found["images"] == 300
    assert found["images_held_out"] == 143  # a tenth of the 1437 training images
    assert found["accuracy"] > found["accuracy_before"] - 0.05
    assert (written.code.T, written.weights.mantissa_bits, written.accumulator_bits) == (16, 2, 24)
    assert written.connections[3].codes.shape[0] == 32
    assert read_notes(net)["pruned"] == "digits"
    assert "held-out training images of digits" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--zeros", "1.5"], "zeros must be a share of weights from 0 to below 1, not 1.5"),
        (["--channels", "conv9=3"], "channels must name a layer with weights: one of conv1_1"),
        (["--accumulator-bits", "7"], "accumulator_bits must be"),
        (["--channels", "logits=3"], "layer 'logits' can lose channels only where one"),
        (["--channels", "conv1_1"], "must be NAME=N,NAME=N with positive integers N, not 'conv1_1'"),
    ],
)
def test_refuses_and_writes_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "lean.safetensors"
    try:
        status: object = main(["prune", "digits", "--data", "digits", *arguments, "--out", str(net)])
    except SystemExit as ended:  # an argument that argparse refuses
        status = ended.code
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not net.exists()
