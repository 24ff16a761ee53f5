"""A long run of `firstspike evaluate`: the memory is as large after a hundred thousand images as after ten thousand."""

import gc

import numpy as np

from soak.campaign import Campaign
from soak.models import random_network

IMAGES = 100_000
WARM = 10_000
GROWN_MB = 4.0
"""What the process may grow by after the first images: no byte for each of the others."""


class Stream:
    """Images that are made when they are asked for; resident memory, in MB, at the first chunk after `WARM` and at the end."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.resident = shape, [0.0, 0.0]
        self.labels = np.broadcast_to(np.int64(0), IMAGES)

    def __len__(self) -> int:
        return IMAGES

    def pixels(self, start: int, stop: int) -> np.ndarray:
        if start <= WARM:
            self.resident[0] = resident_mb()
        self.resident[1] = resident_mb()
        return np.random.default_rng(start).random((stop - start, *self.shape), dtype=np.float32)


def resident_mb() -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def case(seed: int) -> str:
    from firstspike.cli import common
    from firstspike.spiking import SpikingNetwork

    snn = SpikingNetwork(random_network(np.random.default_rng(seed)))
    images = Stream(snn.network.input_shape)
    common.track = lambda items, label, total: items
    sums = common.sum_all(snn, images, "")  # type: ignore[arg-type]
    gc.collect()
    assert sums.images == IMAGES
    grown = images.resident[1] - images.resident[0]
    assert grown < GROWN_MB, f"{IMAGES - WARM} images took {grown:.1f} MB"
    return f"{IMAGES:,} images, grew by {max(0, grown):.1f} MB"


CAMPAIGN = Campaign(name="stream", case=case, seconds=600.0)
