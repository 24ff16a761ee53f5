"""What a run over many images did in every layer, in memory that does not grow with their number."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.spec.trace import Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTally:
    """Spike times of one layer that fires, counted over images.

    Attributes:
        name: the layer's.
        counts: how many neurons fired at each stored time, over all images, int64 ``[256]``; 255 is silence.
        silent: True for each neuron that fired on no image, ``[neurons]``.
    """

    name: str
    counts: np.ndarray
    silent: np.ndarray

    def __add__(self, other: "LayerTally") -> "LayerTally":
        """Both runs as one."""
        return replace(self, counts=self.counts + other.counts, silent=self.silent & other.silent)

    @property
    def neurons(self) -> int:
        """How many neurons the layer has."""
        return len(self.silent)

    @property
    def saturated(self) -> float:
        """Share of outputs that fired at step 0, and stand for 1 and all above."""
        return float(self.counts[0]) / max(1, int(self.counts.sum()))

    @property
    def fired(self) -> float:
        """Share of outputs with a spike."""
        return 1.0 - float(self.counts[NO_SPIKE]) / max(1, int(self.counts.sum()))

    @property
    def never(self) -> float:
        """Share of neurons that fired on no image."""
        return float(self.silent.mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """A run over images: spike times of the layers that fire, by name, the encoded input first, and hits by class.

    Attributes:
        layers: by name.
        images, hits: images of each class, and of these the ones that were read right, int64 ``[classes]`` each.
    """

    layers: Mapping[str, LayerTally]
    images: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, trace: Trace, labels: np.ndarray) -> "Tally":
        """The tally of a trace; ``labels``: int64 ``[n]``."""
        classes = trace.logits.shape[1]
        layers = {}
        for name, layer in trace.layers.items():
            if layer.neuron and layer.times is not None:
                counts = np.bincount(layer.times.reshape(-1), minlength=256)
                silent = (layer.times == NO_SPIKE).all(axis=0).reshape(-1)
                layers[name] = LayerTally(name=name, counts=counts, silent=silent)
        right = labels[trace.predictions == labels]
        return cls(
            layers=layers,
            images=np.bincount(labels, minlength=classes),
            hits=np.bincount(right, minlength=classes),
        )

    def __add__(self, other: "Tally") -> "Tally":
        """Both runs of the same network as one."""
        layers = {name: layer + other.layers[name] for name, layer in self.layers.items()}
        return replace(self, layers=layers, images=self.images + other.images, hits=self.hits + other.hits)
