"""What a worker does with a part of the images: the same numbers as in one process."""

from dataclasses import dataclass

import numpy as np

from firstspike.engine import Engine, create, events
from firstspike.engine.images import encode_images
from firstspike.spec import Network, Trace
from firstspike.spec.trace import Sums

Part = tuple[np.ndarray, np.ndarray]
"""Pixels and labels of some images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A network for workers; ``key`` tells it from others, so that a worker makes its engine once."""

    key: str
    network: Network
    engine: str


_engines: dict[str, Engine] = {}


def trace(job: Job, part: Part) -> Trace:
    """All spikes of some images; one thread, as there is a worker for each processor."""
    if job.key not in _engines:
        _engines.clear()
        _engines[job.key] = create(job.network, job.engine, threads=1)
    return events.trace(_engines[job.key], encode_images(job.network, part[0]))


def sums(job: Job, part: Part) -> Sums:
    """The sums of some images alone."""
    return Sums.of(trace(job, part), part[1])
