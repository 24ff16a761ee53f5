"""What a run of a network on images leaves behind: spike times and event counts (numerics, section 5)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTrace:
    """Events of one layer over ``n`` images.

    Attributes:
        name, kind: as in the network; the encoded input is ``"input"`` of kind ``"input"``.
        shape: output shape of one image.
        times: spike times, uint8 ``[n, *shape]``, 255 for none; None for the read-out.
        spikes: number of output spikes per image, int64 ``[n]`` (zeros for the read-out).
        sops: synaptic operations per image, int64 ``[n]``: one product added to one membrane; padding does not count.
        sops_nonzero: the same without zero weights, int64 ``[n]``.
        neuron: True where the spikes are of neurons (input and firing layers), False for pooling and flattening.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    times: np.ndarray | None
    spikes: np.ndarray
    sops: np.ndarray
    sops_nonzero: np.ndarray
    neuron: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A run of a network on ``n`` images.

    Attributes:
        layers: by name in order of execution, the encoded input first.
        logits: int64 ``[n, classes]``, in units of ``2^-exponent`` of the read-out.
        latency_steps: ``(D+1) * T``.
    """

    layers: Mapping[str, LayerTrace] = field(default_factory=dict)
    logits: np.ndarray
    latency_steps: int

    @property
    def times(self) -> dict[str, np.ndarray]:
        """Spike times of every layer that has any, uint8 ``[n, *shape]``, by name in order of execution."""
        return {name: layer.times for name, layer in self.layers.items() if layer.times is not None}

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.logits)

    @property
    def predictions(self) -> np.ndarray:
        """Class of every image, int64 ``[n]``: the largest logit, the lowest index on a tie."""
        classes: np.ndarray = self.logits.argmax(axis=1)
        return classes

    @property
    def neurons(self) -> int:
        """Neurons of the input and of spiking layers."""
        return sum(int(np.prod(layer.shape)) for layer in self.layers.values() if layer.neuron)

    @property
    def spikes_per_neuron(self) -> float:
        """All spikes of the input and of spiking layers (before pooling), over all such neurons and images."""
        spikes = sum(int(layer.spikes.sum()) for layer in self.layers.values() if layer.neuron)
        return spikes / max(1, self.neurons * self.images)

    @property
    def sops_per_image(self) -> float:
        """Mean synaptic operations per image, zero weights included."""
        return sum(int(layer.sops.sum()) for layer in self.layers.values()) / max(1, self.images)

    @property
    def sops_nonzero_per_image(self) -> float:
        """Mean synaptic operations per image without zero weights."""
        return sum(int(layer.sops_nonzero.sum()) for layer in self.layers.values()) / max(1, self.images)


def join(traces: list[Trace]) -> Trace:
    """One trace of several runs of the same network, images in order."""
    first = traces[0]
    if len(traces) == 1:
        return first
    layers = {}
    for name, layer in first.layers.items():
        parts = [trace.layers[name] for trace in traces]
        times = [part.times for part in parts if part.times is not None]
        layers[name] = LayerTrace(
            name=name,
            kind=layer.kind,
            shape=layer.shape,
            times=np.concatenate(times) if times else None,
            spikes=np.concatenate([part.spikes for part in parts]),
            sops=np.concatenate([part.sops for part in parts]),
            sops_nonzero=np.concatenate([part.sops_nonzero for part in parts]),
            neuron=layer.neuron,
        )
    logits = np.concatenate([trace.logits for trace in traces])
    return Trace(layers=layers, logits=logits, latency_steps=first.latency_steps)


@dataclass(frozen=True, kw_only=True)
class LayerSums:
    """Events of one layer, summed over images: of `LayerTrace`, all but the times."""

    name: str
    kind: str
    shape: tuple[int, ...]
    spikes: int
    sops: int
    sops_nonzero: int
    neuron: bool


@dataclass(frozen=True, kw_only=True)
class Sums:
    """A run on any number of images in memory that does not grow with it.

    Attributes:
        layers: by name in order of execution, the encoded input first.
        images: number of images.
        hits: images whose class is their label.
        latency_steps: as in `Trace`.
    """

    layers: Mapping[str, LayerSums]
    images: int
    hits: int
    latency_steps: int

    @classmethod
    def of(cls, trace: Trace, labels: np.ndarray) -> "Sums":
        """The sums of a trace; ``labels``: int64 ``[n]``."""
        layers = {
            name: LayerSums(
                name=name,
                kind=layer.kind,
                shape=layer.shape,
                spikes=int(layer.spikes.sum()),
                sops=int(layer.sops.sum()),
                sops_nonzero=int(layer.sops_nonzero.sum()),
                neuron=layer.neuron,
            )
            for name, layer in trace.layers.items()
        }
        hits = int((trace.predictions == labels).sum())
        return cls(layers=layers, images=trace.images, hits=hits, latency_steps=trace.latency_steps)

    def __add__(self, other: "Sums") -> "Sums":
        """Both runs of the same network as one."""
        layers = {
            name: replace(
                mine,
                spikes=mine.spikes + other.layers[name].spikes,
                sops=mine.sops + other.layers[name].sops,
                sops_nonzero=mine.sops_nonzero + other.layers[name].sops_nonzero,
            )
            for name, mine in self.layers.items()
        }
        return replace(self, layers=layers, images=self.images + other.images, hits=self.hits + other.hits)

    @property
    def accuracy(self) -> float:
        """Share of images whose class is their label."""
        return self.hits / max(1, self.images)

    @property
    def spikes_per_neuron(self) -> float:
        """As in `Trace`."""
        counted = [layer for layer in self.layers.values() if layer.neuron]
        neurons = sum(math.prod(layer.shape) for layer in counted)
        return sum(layer.spikes for layer in counted) / max(1, neurons * self.images)

    @property
    def sops_per_image(self) -> float:
        """As in `Trace`."""
        return sum(layer.sops for layer in self.layers.values()) / max(1, self.images)

    @property
    def sops_nonzero_per_image(self) -> float:
        """As in `Trace`."""
        return sum(layer.sops_nonzero for layer in self.layers.values()) / max(1, self.images)
