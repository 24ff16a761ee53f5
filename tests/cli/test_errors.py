"""Bad input on the command line: status 2, one line with subject, rule and value, no traceback, nothing half written."""

import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from PIL import Image

from firstspike.cli import main

Setup = Callable[[Path, Path, Run], list[str]]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def images(folder: Path, *, size: int = 8, mode: str = "L", classes: int = 10) -> Path:
    for label in range(classes):
        place = folder / str(label)
        place.mkdir(parents=True)
        for index in range(2):
            shape = (size, size) if mode == "L" else (size, size, 3)
            Image.fromarray(np.full(shape, 20 * label + index, dtype=np.uint8)).save(place / f"{index}.png")
    return folder


# ---- model files --------------------------------------------------------------------------------------------------


def missing_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return [str(tmp / "none.safetensors")]


def model_is_a_folder(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "net.safetensors").mkdir()
    return [str(tmp / "net.safetensors")]


def copied(tmp: Path, data: bytes) -> list[str]:
    (tmp / "net.safetensors").write_bytes(data)
    return [str(tmp / "net.safetensors")]


def truncated_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return copied(tmp, model.read_bytes()[:-100])


def empty_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return copied(tmp, b"")


def other_file(tmp: Path, model: Path, run: Run) -> list[str]:
    return copied(tmp, b"\x89PNG and more than eight bytes")


def corrupted_model(tmp: Path, model: Path, run: Run) -> list[str]:
    data = bytearray(model.read_bytes())
    data[-1000] ^= 16
    return copied(tmp, bytes(data))


def header(data: bytes) -> tuple[dict, bytes]:  # type: ignore[type-arg]
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(document: dict, tensors: bytes) -> bytes:  # type: ignore[type-arg]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def changed_description(tmp: Path, model: Path, **changes: object) -> list[str]:
    document, tensors = header(model.read_bytes())
    metadata = document["__metadata__"]
    metadata["firstspike"] = json.dumps({**json.loads(metadata["firstspike"]), **changes})
    digest = hashlib.sha256(metadata["firstspike"].encode() + metadata.get("notes", "").encode())
    for name in sorted(set(document) - {"__metadata__"}):
        first, last = document[name]["data_offsets"]
        digest.update(tensors[first:last])
    metadata["sha256"] = digest.hexdigest()
    return copied(tmp, with_header(document, tensors))


def newer_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return changed_description(tmp, model, format_version=99)


def unknown_key_of_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return changed_description(tmp, model, colour="red")


def huge_model(tmp: Path, model: Path, run: Run) -> list[str]:
    return changed_description(tmp, model, input_shape=[65536, 65536, 65536])


MODELS: dict[str, tuple[Setup, str]] = {
    "missing": (missing_model, "none.safetensors: No such file or directory"),
    "a folder": (model_is_a_folder, "net.safetensors: a model file must be a regular file, not a folder or device"),
    "truncated": (truncated_model, "net.safetensors: "),
    "empty": (empty_model, "net.safetensors: "),
    "another file": (other_file, "net.safetensors: "),
    "corrupted": (corrupted_model, "net.safetensors: sha256 must be"),
    "newer": (newer_model, "format_version must be at most 2, the newest that this release reads, not 99"),
    "unknown key": (unknown_key_of_model, "'colour'"),
    "huge": (huge_model, "65536"),
}


@pytest.mark.parametrize("command", ["inspect", "evaluate", "cost"])
@pytest.mark.parametrize("label", MODELS)
def test_bad_model_files(
    label: str, command: str, tmp_path: Path, digits_model: Path, digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    setup, text = MODELS[label]
    arguments = [command, *setup(tmp_path, digits_model, digits_run)]
    arguments += [] if command == "inspect" else ["--data", "digits"]
    assert_refused([*arguments, "--json", str(tmp_path / "record.json")], text, tmp_path, capsys)


def assert_refused(arguments: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(folder)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"firstspike {arguments[0]}: error: ")
    assert text in line
    assert "Traceback" not in printed.out + printed.err
    assert len(line) < 600
    assert tree(folder) == before


# ---- everything else ----------------------------------------------------------------------------------------------


def empty_data(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "empty").mkdir()
    return ["evaluate", str(model), "--data", str(tmp / "empty")]


def empty_classes(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "data" / "0").mkdir(parents=True)
    return ["evaluate", str(model), "--data", str(tmp / "data")]


def unreadable_image(tmp: Path, model: Path, run: Run) -> list[str]:
    images(tmp / "data")
    (tmp / "data" / "3" / "1.png").write_bytes(b"no image")
    return ["evaluate", str(model), "--data", str(tmp / "data")]


def truncated_image(tmp: Path, model: Path, run: Run) -> list[str]:
    path = images(tmp / "data") / "3" / "1.png"
    path.write_bytes(path.read_bytes()[:45])
    return ["cost", str(model), "--data", str(tmp / "data")]


def broken_zip(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "data.zip").write_bytes(b"PK\x03\x04 broken")
    return ["evaluate", str(model), "--data", str(tmp / "data.zip")]


def zip_without_images(tmp: Path, model: Path, run: Run) -> list[str]:
    with zipfile.ZipFile(tmp / "data.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return ["evaluate", str(model), "--data", str(tmp / "data.zip")]


def colour_images(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["evaluate", str(model), "--data", str(images(tmp / "data", mode="RGB"))]


def larger_images(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", str(images(tmp / "data", size=9))]


def fewer_classes(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["evaluate", str(model), "--data", str(images(tmp / "data", classes=3))]


def classes_of_other_names(tmp: Path, model: Path, run: Run) -> list[str]:
    (images(tmp / "data") / "3").rename(tmp / "data" / "three")  # folders are classes in alphabetical order
    return ["evaluate", str(model), "--data", str(tmp / "data")]


def unknown_data(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["evaluate", str(model), "--data", "digit"]


def no_folder_for_json(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["evaluate", str(model), "--data", "digits", "--json", str(tmp / "nowhere" / "record.json")]


def json_is_a_folder(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "record").mkdir()
    return ["inspect", str(model), "--json", str(tmp / "record")]


def no_folder_for_json_of_train(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["train", "--recipe", "digits", "--out", str(tmp / "run"), "--json", str(tmp / "nowhere" / "record.json")]


def no_folder_for_json_of_demo(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["demo", "--out", str(tmp / "demo"), "--json", str(tmp / "nowhere" / "record.json")]


def out_is_a_file(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "demo").write_text("a file")
    return ["demo", "--out", str(tmp / "demo")]


def train_out_is_a_file(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "run").write_text("a file")
    return ["train", "--recipe", "digits", "--out", str(tmp / "run")]


def unknown_recipe(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["train", "--recipe", "digitz", "--out", str(tmp / "run")]


def unknown_key_of_recipe(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "mine.toml").write_text('[data]\nname = "digits"\n[training]\nepochs = 1\nlr = 0.1\n')
    return ["train", "--recipe", str(tmp / "mine.toml"), "--out", str(tmp / "run")]


def broken_recipe(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "mine.toml").write_text("[data\n")
    return ["convert", str(run.checkpoint), "--recipe", str(tmp / "mine.toml"), "--save", str(tmp / "net.safetensors")]


def unknown_accelerator(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["train", "--recipe", "digits", "--out", str(tmp), "--accelerator", "abacus"]


def no_gpu(tmp: Path, model: Path, run: Run) -> list[str]:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    return ["train", "--recipe", "digits", "--out", str(tmp / "run"), "--accelerator", "gpu"]


def negative_seed(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["train", "--recipe", "digits", "--out", str(tmp / "run"), "--seed", "-1"]


def damaged_checkpoint_to_resume(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "last.ckpt").write_bytes(run.checkpoint.read_bytes()[:5000])
    return ["train", "--recipe", "digits", "--out", str(tmp)]


def checkpoint_of_another_seed(tmp: Path, model: Path, run: Run) -> list[str]:
    shutil.copy(run.checkpoint, tmp / "last.ckpt")
    return ["train", "--recipe", "digits", "--out", str(tmp), "--seed", "1"]


def convert_to(tmp: Path, checkpoint: Path, *more: str) -> list[str]:
    return ["convert", str(checkpoint), "--recipe", "digits", "--save", str(tmp / "net.safetensors"), *more]


def missing_checkpoint(tmp: Path, model: Path, run: Run) -> list[str]:
    return convert_to(tmp, tmp / "none.ckpt")


def damaged_checkpoint(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "last.ckpt").write_bytes(run.checkpoint.read_bytes()[:5000])
    return convert_to(tmp, tmp / "last.ckpt")


def checkpoint_of_another_network(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "mine.toml").write_text(
        '[data]\nname = "digits"\nvalidation = 100\n[training]\nepochs = 1\n[network]\nplan = "small"\n'
    )
    arguments = convert_to(tmp, run.checkpoint)
    arguments[3] = str(tmp / "mine.toml")
    return arguments


def no_folder_for_model(tmp: Path, model: Path, run: Run) -> list[str]:
    arguments = convert_to(tmp, run.checkpoint)
    arguments[5] = str(tmp / "nowhere" / "net.safetensors")
    return arguments


def checkpoint_before_its_last_stage(tmp: Path, model: Path, run: Run) -> list[str]:
    import torch

    state = torch.load(run.checkpoint, weights_only=True)
    state["state_dict"]["network._stage"].fill_(3)
    del state["state_dict"]["network._seal"]  # as checkpoints were before they had one
    torch.save(state, tmp / "last.ckpt")
    return convert_to(tmp, tmp / "last.ckpt")


def membranes_too_narrow(tmp: Path, model: Path, run: Run) -> list[str]:
    return convert_to(tmp, run.checkpoint, "--accumulator-bits", "17")


def membranes_too_wide(tmp: Path, model: Path, run: Run) -> list[str]:
    return convert_to(tmp, run.checkpoint, "--accumulator-bits", "49")


def missing_technology(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--technology", str(tmp / "7nm.toml")]


def broken_technology(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "7nm.toml").write_text('name = "7nm"\n')
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--technology", str(tmp / "7nm.toml")]


def unknown_dram(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--dram", "hbm9"]


def bad_clock(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--clock-mhz", "nan"]


def bad_pes(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--pes", "3"]


def unknown_design(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--processor", "huge"]


def unknown_key_of_design(tmp: Path, model: Path, run: Run) -> list[str]:
    (tmp / "mine.toml").write_text("format = 1\nlanes = 3\n")
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--processor", str(tmp / "mine.toml")]


def too_many_images(tmp: Path, model: Path, run: Run) -> list[str]:
    return ["cost", str(model), "--data", "digits", "--limit", "1", "--batch", "2000"]


REFUSED: dict[Setup, str] = {
    empty_data: "empty",
    empty_classes: "data",
    unreadable_image: "1.png",
    truncated_image: "1.png",
    broken_zip: "data.zip",
    zip_without_images: "data.zip",
    colour_images: "must have the shape (1, 8, 8), not (3, 8, 8)",
    larger_images: "must have the shape (1, 8, 8), not (1, 9, 9)",
    classes_of_other_names: "must name class 3 '3' as the network does, not '4'",
    fewer_classes: "must have the network's 10 classes, not 3",
    unknown_data: "tiny-imagenet, a folder, a zip archive or a NumPy file, not 'digit'; did you mean 'digits'?",
    no_folder_for_json: "record.json': its folder must exist",
    json_is_a_folder: "record': it must be a file, not a folder",
    no_folder_for_json_of_train: "record.json': its folder must exist",
    no_folder_for_json_of_demo: "record.json': its folder must exist",
    out_is_a_file: "demo': it must be a folder, not a file",
    train_out_is_a_file: "run': it must be a folder, not a file",
    unknown_recipe: "or a TOML file, not 'digitz'; did you mean 'digits'?",
    unknown_key_of_recipe: "mine.toml: training.lr is not a known key (value",
    broken_recipe: "mine.toml: must be TOML, not this: Expected",
    unknown_accelerator: "abacus",
    no_gpu: "accelerator 'gpu': it must be a device of this machine",
    negative_seed: "training.seed must be in 0..4294967295, not -1",
    damaged_checkpoint_to_resume: "last.ckpt': it is damaged or no checkpoint",
    checkpoint_of_another_seed: "it must be of this recipe, with training.seed 1, not 0",
    missing_checkpoint: "none.ckpt': there is no such file",
    damaged_checkpoint: "last.ckpt': it is damaged or no checkpoint of `firstspike train`",
    checkpoint_of_another_network: "it must hold a network of this recipe",
    no_folder_for_model: "net.safetensors': its folder must exist",
    checkpoint_before_its_last_stage: "convert needs stage 'quantised' (set network.stage), not 'ttfs'",
    membranes_too_narrow: "17 bits",
    membranes_too_wide: "accumulator_bits must be in 8..48, not 49",
    missing_technology: "7nm.toml",
    broken_technology: "7nm.toml",
    unknown_dram: "not 'hbm9'",
    bad_clock: "not nan",
    bad_pes: "not 3",
    unknown_design: "processor must be a file ending in .toml or one of batch, default, lean, lean-batch, ulx3s, not 'huge'",
    unknown_key_of_design: "is not a known key",
    too_many_images: "Processor.images must be in 1..1024, not 2000",
}


@pytest.mark.parametrize("setup", REFUSED, ids=lambda setup: setup.__name__)
def test_bad_input(
    setup: Setup, tmp_path: Path, digits_model: Path, digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = setup(tmp_path, digits_model, digits_run)
    assert_refused(arguments, REFUSED[setup], tmp_path, capsys)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        (
            ["evaluate", "net", "--data", "digits", "--limit", "0"],
            "argument --limit: must be a positive integer, not '0'",
        ),
        (
            ["evaluate", "net", "--data", "digits", "--limit", "many"],
            "argument --limit: must be a positive integer, not 'many'",
        ),
        (["evaluate", "net", "--data", "digits", "--engine", "gpu"], "argument --engine: invalid choice: 'gpu'"),
        (["train", "--recipe", "digits", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["rtl", "run", "net", "--data", "digits", "--top", "lane"], "unrecognized arguments: --top lane"),
        (["rtl", "synth"], "the following arguments are required: --liberty"),
        (["convert", "last.ckpt", "--recipe", "digits"], "the following arguments are required: --save"),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(place: str, tmp_path: Path) -> None:
    arguments = ["inspect", str(tmp_path / "none.safetensors")]
    with pytest.raises(FileNotFoundError):
        main(["--debug", *arguments] if place == "before" else [*arguments, "--debug"])


def test_a_full_disk_leaves_the_older_record(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    path.write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "replace", full)
    assert_refused(
        ["inspect", str(digits_model), "--json", str(path)], "record.json: No space left on device", tmp_path, capsys
    )


def test_memory_and_other_errors_are_one_line(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from firstspike.cli import inspect as module

    for error, text in (
        (MemoryError(), "not enough memory"),
        (RuntimeError("two\n lines"), "two lines"),
        (ValueError(), "ValueError"),
    ):

        def broken(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(module, "load", broken)
        assert_refused(["inspect", str(digits_model)], text, tmp_path, capsys)


def test_as_a_program_without_and_with_debug(tmp_path: Path) -> None:
    """Status, one line on standard error, and the traceback when asked for."""
    command = [sys.executable, "-m", "firstspike.cli", "inspect", str(tmp_path / "none.safetensors")]
    plain = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == f"firstspike inspect: error: {tmp_path}/none.safetensors: No such file or directory\n"
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, timeout=120, check=False)
    assert debug.returncode != 0
    assert debug.stderr.startswith("Traceback (most recent call last):")


def test_interrupted_training_ends_with_130_and_can_be_resumed(tmp_path: Path) -> None:
    """Ctrl+C after the second epoch's line."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "firstspike.cli",
        "train",
        "--recipe",
        "digits",
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/14"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == "firstspike: interrupted\n"
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_images_must_come_from_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "vgg16-cifar10"]) == 2
    assert "images must be given by --data SPEC, or by --random N" in capsys.readouterr().err
