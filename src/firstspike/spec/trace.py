"""What a run of a network on images leaves behind: spike times and event counts (numerics, section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
