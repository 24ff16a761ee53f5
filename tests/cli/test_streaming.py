"""Runs on many images: `evaluate` keeps sums, and the memory does not grow with the number of images."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from spec.model_files import small_network

from firstspike.cli import common
from firstspike.cli.common import run_all, sum_all
from firstspike.spec.trace import Sums
from firstspike.spiking import SpikingNetwork


class Stream:
    """Images that are made when they are asked for."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.count, self.shape = count, shape
        self.labels = np.broadcast_to(np.int64(1), count)

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


def test_the_memory_of_a_stream_is_flat(snn: SpikingNetwork) -> None:
    def peak(count: int) -> int:
        images: Any = Stream(count, snn.network.input_shape)
        tracemalloc.start()
        try:
            sum_all(snn, images, "")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(8)  # what the first run imports and makes
    assert peak(1000) < 200_000  # counts of every image would take a megabyte, spike times more
