"""A small random network with its trace and cost, so that reports can be made without training."""

from functools import cache

import numpy as np

from firstspike import spec
from firstspike.arith import Code, LogWeights, encode
from firstspike.engine.events import trace as trace_events
from firstspike.engine.reference import ReferenceEngine
from firstspike.processor import Cost, Processor, baselines, cycles, sensitivity, technology


def _codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    level = np.minimum(rng.geometric(0.12, shape) - 1, 15)
    sign = rng.random(shape) < 0.42
    return (level[...] | (sign << 4)).astype(np.uint8)


@cache
def network() -> spec.Network:
    """Three convolutions, two poolings, a hidden layer and a read-out on 8 x 8 pixels."""
    rng = np.random.default_rng(5)

    def conv(name: str, source: str, inputs: int, outputs: int, scale: int) -> spec.Conv2d:
        return spec.Conv2d(
            name=name,
            source=source,
            codes=_codes(rng, (outputs, inputs, 3, 3)),
            scale=scale,
            bias=np.zeros(outputs, dtype=np.int64),
            padding=(1, 1),
        )

    return spec.Network(
        code=Code(),
        weights=LogWeights(),
        input_shape=(1, 8, 8),
        layers=(
            conv("conv1", "input", 1, 16, 1),
            conv("conv2", "conv1", 16, 16, 4),
            spec.MaxPool2d(name="pool1", source="conv2", kernel=(2, 2), stride=(2, 2)),
            conv("conv3", "pool1", 16, 32, 4),
            spec.MaxPool2d(name="pool2", source="conv3", kernel=(2, 2), stride=(2, 2)),
            spec.Flatten(name="flatten", source="pool2"),
            spec.Linear(
                name="linear",
                source="flatten",
                codes=_codes(rng, (10, 128)),
                scale=6,
                bias=np.zeros(10, dtype=np.int64),
                fires=False,
            ),
        ),
    )


def images(count: int = 8) -> np.ndarray:
    """Smooth random pictures, float64 ``[n, 1, 8, 8]`` in [0, 1]."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[0:8, 0:8]
    centre = rng.uniform(2, 5, (count, 2, 1, 1))
    ring = np.hypot(y - centre[:, 0], x - centre[:, 1])
    return np.clip(1.2 - np.abs(ring - 2) * 0.6, 0, 1)[:, None]


@cache
def trace() -> spec.Trace:
    """The network on the images."""
    return trace_events(ReferenceEngine(network()), encode(images(), network().code))


@cache
def cost() -> Cost:
    """What they cost on the default processor."""
    return Processor().price(network(), trace())


def record() -> dict[str, object]:
    """What a demo's record looks like; accuracies and times are made up."""
    run, price = trace(), cost()
    return {
        "dataset": "digits",
        "test_images": run.images,
        "cat_accuracy": 0.9833,
        "snn_accuracy": 0.9806,
        "agreement": 0.9972,
        "weight_bits": network().weights.bits,
        "T": network().code.T,
        "tau": network().code.tau,
        "latency_steps": run.latency_steps,
        "spikes_per_neuron": run.spikes_per_neuron,
        "sops_per_image": run.sops_per_image,
        "cycles_per_image": price.cycles_per_image,
        "energy_uj_per_image": price.energy_uj,
        "train_seconds": 41.5,
    }


@cache
def designs() -> dict[str, Cost]:
    """The same images on other designs."""
    return baselines.compare(network(), trace(), processor=Processor(), technology=technology.default())


@cache
def swings() -> tuple[sensitivity.Swing, ...]:
    """Which constant decides."""
    times = trace().times
    counts = cycles.count(network(), times, Processor())
    return sensitivity.of_counts(counts, weight_bits=5, technology=technology.default())
