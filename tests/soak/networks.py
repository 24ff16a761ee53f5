"""Random networks on every instruction set, path and number of threads; threads and forks together."""

import os
import signal
import threading
import time
from itertools import product
from typing import Any

import numpy as np
from engine.narrow import random_apart, random_branches, random_chain, spikes
from engine.networks import networks, spike_times
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from firstspike.engine.reference import ReferenceEngine
from soak.campaign import Campaign
from soak.models import random_network

EXAMPLES = 20
"""Networks of a case."""

THREADS = (1, 2, 4)


def case(number: int) -> str:
    from firstspike.engine import native
    from firstspike.engine.native import NativeEngine

    ways = list(product(native._native.instruction_sets(), ("event", "dense", "auto"), THREADS))

    @seed(number)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        network = data.draw(networks(size=8))
        times = data.draw(spike_times(network, max_images=7))
        expected = ReferenceEngine(network).layers(times)
        for instructions, path, threads in ways:
            found = NativeEngine(network, threads=threads, instructions=instructions, path=path).layers(times)
            for name, values in expected.items():
                assert np.array_equal(found[name], values), f"{name}: {instructions}, {path}, {threads} threads"

    check()
    return f"{EXAMPLES} networks in {len(ways)} ways, equal"


def matrices(number: int) -> str:
    """Networks whose operands fit bytes, with as many images as rows of tiles want; spike times asked for, and not."""
    from firstspike.engine.native import NativeEngine

    rng = np.random.default_rng(number)
    for example in range(EXAMPLES):
        network = (random_chain, random_branches, random_apart)[example % 3](rng)
        n = int(rng.integers(1, 70))
        times = spikes(n, network.input_shape, planes=network.code.planes)
        expected = ReferenceEngine(network).layers(times)
        for threads in THREADS:
            engine = NativeEngine(network, threads=threads, path="dense")
            found = engine.layers(times)
            for name, values in expected.items():
                assert np.array_equal(found[name], values), f"{name}: {n} images, {threads} threads"
            assert np.array_equal(engine.logits(times), expected["l"]), f"{n} images, {threads} threads"
    return f"{EXAMPLES} networks, equal"


def forks(number: int) -> str:
    """Children forked while threads are inside the engine: each runs the engine too, and ends."""
    from firstspike.engine.native import NativeEngine

    rng = np.random.default_rng(number)
    network = random_network(rng)
    engine = NativeEngine(network, threads=int(rng.integers(1, 4)))
    times = rng.integers(0, 2 * network.code.T, (64, *network.input_shape)).astype(np.uint8)
    expected = engine.logits(times)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            assert np.array_equal(engine.logits(times), expected)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    children: list[int] = []
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.setitimer(signal.ITIMER_REAL, 10)  # a deadlock ends by the alarm
                os._exit(0 if np.array_equal(engine.logits(times), expected) else 1)
            children.append(child)
            time.sleep(float(rng.random()) * 0.01)
        statuses: list[Any] = [os.waitpid(child, 0)[1] for child in children]
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert statuses == [0] * 10, f"children ended with {statuses}"
    return "10 children"


CAMPAIGNS = (
    Campaign(name="networks", case=case, seconds=120.0),
    Campaign(name="matrices", case=matrices, seconds=120.0),
    Campaign(name="forks", case=forks, seconds=60.0),
)
