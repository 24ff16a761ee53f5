"""Weights of a loaded network lie in memory once: no array beside the native engine's packed codes."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from engine.networks import networks
from firstspike.spec import Network, load, save
from firstspike.spec.codes import pack

native = pytest.importorskip("firstspike._native", reason="the extension is not built")
from firstspike.engine.native import NativeEngine  # noqa: E402

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "zoo" / "vgg16-cifar10.safetensors"


def arrays(*roots: Any) -> dict[int, np.ndarray]:
    """All arrays that these objects hold, owners of their memory, by identity."""
    found: dict[int, np.ndarray] = {}
    seen: set[int] = set()
    stack: list[Any] = list(roots)
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, type | ModuleType):
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            while isinstance(value.base, np.ndarray):
                value = value.base
            found[id(value)] = value
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list | tuple | set):
            stack += value
        elif isinstance(value, FunctionType):
            stack += [cell.cell_contents for cell in value.__closure__ or ()]
        elif isinstance(value, partial):
            stack += [value.func, *value.args, *value.keywords.values()]
        else:
            stack += vars(value).values() if hasattr(value, "__dict__") else ()
    return found


def test_arrays_of_network_and_engine() -> None:
    size = MODEL.stat().st_size
    network = load(MODEL)
    assert 0.9 * size < sum(array.nbytes for array in arrays(network).values()) < 1.05 * size  # the file's own bytes
    engine = NativeEngine(network, owned=True)
    assert 0.9 * size < engine.weight_bytes
    assert engine.weight_bytes + sum(array.nbytes for array in arrays(network, engine).values()) < 1.1 * size
    other = NativeEngine(network, owned=True)
    del engine
    assert other.weight_bytes + sum(array.nbytes for array in arrays(network, other).values()) < 1.1 * size
    again = load(MODEL)
    for layer, twin in zip(network.synaptic, again.synaptic, strict=True):
        assert np.array_equal(layer.codes, twin.codes)


def test_a_network_that_others_hold_stays_as_it_is() -> None:
    network = load(MODEL)
    before = arrays(network)
    NativeEngine(network)
    assert arrays(network).keys() == before.keys()


@pytest.mark.parametrize("instructions", native.instruction_sets())
def test_codes_come_back_from_the_engine(instructions: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(network=networks(size=8))
    def check(network: Network) -> None:
        path = folder / "model.safetensors"
        save(network, path)
        loaded = load(path)
        NativeEngine(loaded, instructions=instructions, owned=True)
        for layer, source in zip(loaded.synaptic, network.synaptic, strict=True):
            assert np.array_equal(layer.codes, source.codes)
            assert np.array_equal(layer.packed(network.weights.bits), pack(source.codes, network.weights.bits))
        first = path.read_bytes()
        save(loaded, path)
        assert path.read_bytes() == first

    check()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_resident_memory() -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "memory.py"),
        "--batches",
        "1",
        "32",
        "--rounds",
        "1",
        "--json",
        "-",
    ]
    (one, many) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["runs"]
    for run in (one, many):
        assert run["loaded"][0] < 1.5 * run["file"]
        assert run["peak"][0] < 1.5 * run["file"] + run["in_flight"]
        assert run["loaded"][0] > 0.9 * run["file"]  # the weights are there: it measures something
