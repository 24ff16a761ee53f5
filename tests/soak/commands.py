"""Whole commands in forked children: on a disk that fills up, or killed; what is left must be whole, and go on."""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soak.campaign import Campaign

LIBRARY = "SOAK_FULL_DISK"
"""Environment variable with the path of the library that `full_disk.c` becomes."""

RECIPE = """
[data]
name = "digits"
validation = 200
limit = 200
pad = 1
flip = false
[network]
plan = "small"
width = 0.25
hidden = [16]
[training]
epochs = 3
batch_size = 50
[stages]
clip = 0
ttfs = 1
quantised = 2
"""
OWN = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))
"""
SPACE = """
format: 1
networks: [net.safetensors]
data: {name: digits, validation_images: 100, accuracy_images: 20, cost_images: 4}
code: {T: {unit: steps, values: [12, 24]}}
processor: {pes: {unit: pes, values: [16, 32]}}
objectives: [accuracy, energy_uj]
search: {method: nsga2, trials: 6, population: 3, seed: 3}
"""

COMMANDS: dict[str, list[str]] = {
    "train": ["train", "--recipe", "mine.toml", "--out", "out/run", "--json", "out/train.json"],
    "convert": [
        "convert",
        "run/last.ckpt",
        "--recipe",
        "mine.toml",
        "--save",
        "out/net.safetensors",
        "--json",
        "out/c.json",
    ],
    "evaluate": ["evaluate", "net.safetensors", "--data", "digits", "--limit", "20", "--json", "out/evaluate.json"],
    "inspect": ["inspect", "net.safetensors", "--json", "out/inspect.json"],
    "cost": ["cost", "net.safetensors", "--data", "digits", "--limit", "4", "--json", "out/cost.json"],
    "explore": ["explore", "space.yaml", "--out", "out/explore", "--workers", "1", "--json", "out/explore.json"],
    "emit": ["rtl", "emit", "net.safetensors", "--data", "digits", "--pes", "16", "--out", "out/rtl"],
    "demo": ["demo", "--out", "out/demo", "--json", "out/demo.json"],
    "own": [
        "convert",
        "--model",
        "own_network:make",
        "--calibrate",
        "digits",
        "--images",
        "32",
        "--limit",
        "4",
        "--out",
        "out/own.safetensors",
        "--json",
        "out/own.json",
    ],
    "onnx": ["export", "net.safetensors", "--format", "onnx", "--out", "out/net.onnx", "--json", "out/onnx.json"],
    "nir": ["export", "net.safetensors", "--format", "nir", "--out", "out/net.nir", "--json", "out/nir.json"],
    "report": [
        "report",
        "net.safetensors",
        "--data",
        "digits",
        "--limit",
        "8",
        "--out",
        "out/report.html",
        "--json",
        "out/report.json",
    ],
    "playground": [
        "playground",
        "net.safetensors",
        "--data",
        "digits",
        "--out",
        "out/play.html",
        "--json",
        "out/p.json",
    ],
    "reproduce": ["reproduce", "--quick", "--zoo", ".", "--data-root", ".", "--json", "out/reproduce.json"],
}
"""Every command that writes, in a folder with a run, a model file, a recipe and a space; all that it writes is in out/."""

RESUMED = ("train", "explore")
"""Commands that go on where they were stopped, to the same bytes."""

_state: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended: its status as of `os.waitpid`, what it printed, its seconds and counted writes."""

    status: int
    out: str
    err: str
    seconds: float
    writes: int


def setup(names: tuple[str, ...] = tuple(COMMANDS)) -> None:
    """One folder with all that commands need; how long each takes and how often it writes, when nothing goes wrong."""
    os.environ.update(OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0")
    import torch

    from firstspike import cli
    from firstspike.cli import demo
    from firstspike.explore import search
    from firstspike.train import fit as fit_module
    from firstspike.train.recipe import find_recipe

    assert cli and search and fit_module  # imported once, not in every child
    torch.set_num_threads(1)
    start = Path(tempfile.mkdtemp(prefix="soak-commands-"))
    (start / "mine.toml").write_text(RECIPE)
    (start / "space.yaml").write_text(SPACE)
    (start / "own_network.py").write_text(OWN)
    (start / "out").mkdir()
    short = find_recipe(str(start / "mine.toml"))
    demo.find_recipe = lambda name: short  # three epochs write as often as fourteen, epoch by epoch
    _state["start"] = start
    for arguments in (
        ["train", "--recipe", "mine.toml", "--out", "run"],
        ["convert", "run/last.ckpt", "--recipe", "mine.toml", "--save", "net.safetensors"],
    ):
        ended = child(start, arguments)
        assert ended.status == 0, ended.err
    _state["good"] = {}
    for name in names:
        place = fresh()
        ended = child(place, COMMANDS[name])
        assert os.waitstatus_to_exitcode(ended.status) in (0, 1), (name, ended.err)
        _state["good"][name] = (ended, contents(place / "out"))
        shutil.rmtree(place)
    every = [(name, write) for name, (ended, _) in _state["good"].items() for write in range(ended.writes)]
    _state["writes"] = [every[index] for index in np.random.default_rng(0).permutation(len(every))]


def fresh() -> Path:
    place = Path(tempfile.mkdtemp(prefix="soak-case-"))
    shutil.rmtree(place)
    shutil.copytree(_state["start"], place)
    return place


def child(place: Path, arguments: list[str], *, full_after: int = 1 << 40, kill_after: float | None = None) -> Ended:
    """A command in a fork of this process, in a folder."""
    library = ctypes.CDLL(os.environ[LIBRARY]) if LIBRARY in os.environ else None
    streams = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        code = 99
        try:
            for descriptor, stream in zip((1, 2), streams, strict=False):
                os.dup2(stream.fileno(), descriptor)
            os.chdir(place)
            if library is not None:
                library.full_disk_arm.argtypes = [ctypes.c_char_p, ctypes.c_long]
                library.full_disk_arm(str(place / "out").encode(), full_after)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            from firstspike.cli import main

            code = main(arguments)
            sys.stdout.flush()
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            if library is not None:
                streams[2].write(str(library.full_disk_count()).encode())
                streams[2].flush()
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    texts = []
    for stream in streams:
        stream.seek(0)
        texts.append(stream.read().decode("utf-8", "replace"))
        stream.close()
    return Ended(status=status, out=texts[0], err=texts[1], seconds=time.monotonic() - start, writes=int(texts[2] or 0))


SAME = (".safetensors", ".csv", ".v", ".hex", ".bin", ".onnx")
"""Files that the same command writes with the same bytes."""


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file that has the same bytes each time; of a checkpoint, of its numbers."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".ckpt":
            found[str(path.relative_to(folder))] = _numbers(path)
        elif path.suffix in SAME and "log" not in path.parts:
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _numbers(path: Path) -> str:
    from firstspike.train.checkpoint import read_checkpoint

    digest = hashlib.sha256()
    for name, value in sorted(read_checkpoint(path)["state_dict"].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def whole(place: Path, name: str) -> None:
    """Every file under its own name is whole: of the right bytes, or readable where the bytes differ each time."""
    import json

    from firstspike.spec import load

    for path in (place / "out").rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load(path)
        elif path.suffix == ".ckpt":
            _numbers(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path


def leftovers(place: Path) -> list[str]:
    return [str(path.relative_to(place)) for path in (place / "out").rglob(".*.tmp")]


def full_disk(seed: int) -> str:
    """A case: one command whose writes fail from one on, for ever; then the same with room.

    The seeds go through all writes of all commands, in an order of their own, before any comes again.
    """
    name, first = _state["writes"][seed % len(_state["writes"])]
    good, expected = _state["good"][name]
    place = fresh()
    try:
        ended = child(place, COMMANDS[name], full_after=first)
        code = os.waitstatus_to_exitcode(ended.status)
        lines = ended.err.splitlines()
        what = f"{name}, full after {first} of {good.writes} writes: status {code}, {ended.err[-400:]!r}"
        assert "Traceback" not in ended.err, what
        assert code in (0, 1, 2), what
        if code == 2:
            assert len([line for line in lines if ": error: " in line]) == 1, what
            assert "No space left on device" in lines[-1] and "out" in lines[-1], what
        assert not leftovers(place), (what, leftovers(place))
        whole(place, name)
        again = child(place, COMMANDS[name])
        assert os.waitstatus_to_exitcode(again.status) == os.waitstatus_to_exitcode(good.status), (
            what,
            again.err[-300:],
        )
        found = contents(place / "out")
        assert found == expected, (what, sorted(set(found.items()) ^ set(expected.items())))
        return f"{name}, told" if code == 2 else f"{name}, not needed"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def killed(names: tuple[str, ...] = ("train", "convert", "explore", "demo", "reproduce")) -> Callable[[int], str]:
    """A case: one command killed at a random moment, then run again."""

    def case(seed: int) -> str:
        rng = np.random.default_rng(seed)
        name = names[seed % len(names)]
        good, expected = _state["good"][name]
        place = fresh()
        try:
            moment = float(rng.random()) * good.seconds
            ended = child(place, COMMANDS[name], kill_after=moment)
            whole(place, name)
            again = child(place, COMMANDS[name])
            what = f"{name}, killed after {moment:.2f} of {good.seconds:.2f} s: {again.err[-400:]!r}"
            assert os.waitstatus_to_exitcode(again.status) == os.waitstatus_to_exitcode(good.status), what
            found = contents(place / "out")
            assert found == expected, (what, sorted(set(found.items()) ^ set(expected.items())))
            if name == "train":
                assert not leftovers(place), (what, leftovers(place))
            return f"{name}, {'killed' if os.WIFSIGNALED(ended.status) else 'had ended'}"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return case


def with_full_disk(arguments: list[str]) -> int:
    """This program again, under the library that makes writes fail."""
    folder = tempfile.mkdtemp(prefix="soak-library-")
    library = f"{folder}/full_disk.so"
    source = Path(__file__).with_name("full_disk.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, str(source), "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": library, LIBRARY: library}
    return subprocess.run([sys.executable, "-m", "soak", *arguments], env=environment, check=False).returncode


CAMPAIGNS = (
    Campaign(name="full-disk", case=full_disk, setup=setup, seconds=600.0, megabytes=8192),
    Campaign(name="kills", case=killed(), setup=setup, seconds=600.0, megabytes=8192),
)
