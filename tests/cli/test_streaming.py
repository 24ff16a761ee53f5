"""Runs on many images: `evaluate` keeps sums, and the memory does not grow with the number of images."""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from spec.model_files import small_network

from firstspike.cli import common, evaluate, main
from firstspike.cli.common import run_all, sum_all
from firstspike.spec.trace import Sums
from firstspike.spiking import SpikingNetwork


class Stream:
    """Images that are made when they are asked for."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.count, self.shape = count, shape
        self.labels = np.broadcast_to(np.int64(1), count)
        self.name, self.classes, self.labelled, self.whole = "made", (), True, True

    def __len__(self) -> int:
        return self.count

    def pixels(self, start: int, stop: int) -> np.ndarray:
        return np.stack([np.random.default_rng(i).random(self.shape, dtype=np.float32) for i in range(start, stop)])


@pytest.fixture
def snn() -> SpikingNetwork:
    return SpikingNetwork(small_network())


@pytest.fixture(autouse=True)
def no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "track", lambda items, label, total: items)
    monkeypatch.setattr(common, "CHUNK", 4)


def test_sums_are_those_of_the_trace(snn: SpikingNetwork) -> None:
    images: Any = Stream(11, snn.network.input_shape)
    trace, sums = run_all(snn, images, ""), sum_all(snn, images, "")
    assert sums == Sums.of(trace, images.labels)
    assert sums.images == 11
    assert sums.hits == int((trace.predictions == 1).sum())
    for name in ("spikes_per_neuron", "sops_per_image", "sops_nonzero_per_image", "latency_steps"):
        assert getattr(sums, name) == getattr(trace, name)
    for name, layer in trace.layers.items():
        found = sums.layers[name]
        wanted = SimpleNamespace(spikes=layer.spikes.sum(), sops=layer.sops.sum(), nonzero=layer.sops_nonzero.sum())
        assert (found.spikes, found.sops, found.sops_nonzero) == (wanted.spikes, wanted.sops, wanted.nonzero)
        assert (found.kind, found.shape, found.neuron) == (layer.kind, layer.shape, layer.neuron)


def peak(run: Callable[[], object]) -> int:
    """Most bytes that a second run takes; the first one imports and makes what stays."""
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_of_a_stream_is_flat(snn: SpikingNetwork) -> None:
    images: Any = Stream(1000, snn.network.input_shape)
    assert peak(lambda: sum_all(snn, images, "")) < 200_000  # counts of every image take a megabyte, spike times more


def test_the_memory_of_evaluate_is_flat(snn: SpikingNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snn.save(tmp_path / "net.safetensors")
    images = Stream(600, snn.network.input_shape)
    monkeypatch.setattr(evaluate, "arriving_images", lambda options, snn: nullcontext(images))
    arguments = [
        "evaluate",
        str(tmp_path / "net.safetensors"),
        "--random",
        "1",
        "--json",
        str(tmp_path / "record.json"),
    ]
    assert peak(lambda: main(arguments)) < 400_000  # spike times of every image take more than a megabyte
    assert json.loads((tmp_path / "record.json").read_text())["images"] == 600
