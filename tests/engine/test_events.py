"""Synaptic operations counted by products in pieces are the integers that they should be."""

import numpy as np
import pytest

from firstspike import zoo
from firstspike.engine import events
from firstspike.engine.events import SynapseCounter
from firstspike.spec.fan_out import fan_out


@pytest.mark.parametrize("exact", [1 << 24, 1 << 12, 1 << 8, 2])  # pieces of 2048 neurons, of few, of one; integers
def test_products_in_pieces_are_exact(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EXACT", exact)
    network = zoo.find("digits")
    rng = np.random.default_rng(exact)
    for connection in network.connections:
        counter = SynapseCounter(network, connection.source)
        every, nonzero = (counts.reshape(-1) for counts in fan_out(network, connection))
        spikes = rng.integers(0, network.planes(connection.source) + 1, (5, len(every)), dtype=np.uint8)
        place = counter.places[connection.name]
        expected = np.stack([spikes.astype(np.int64) @ every, spikes.astype(np.int64) @ nonzero], axis=1)
        assert np.array_equal(counter.count(spikes)[:, place : place + 2], expected)
        assert counter.piece * network.planes(connection.source) * int(counter.table.max()) < exact
        assert counter.count(spikes[:0]).shape == (0, counter.table.shape[1])
