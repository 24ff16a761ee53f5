"""The public face of a converted network: `load`, and `SpikingNetwork` with no reset, no time loop, no time axis.

PyTorch is not loaded for it; images and results are tensors where the caller has them.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firstspike.engine import Engine, create
from firstspike.engine.events import flat
from firstspike.engine.events import trace as trace_events
from firstspike.engine.images import encode_images, like
from firstspike.figures import Table
from firstspike.spec import Network, Trace
from firstspike.spec import load as load_network
from firstspike.spec import save as save_network
from firstspike.spec.summary import summary
from firstspike.spec.trace import join

if TYPE_CHECKING:
    from torch import Tensor

    Images = Tensor | np.ndarray
    """What holds images: a tensor or an array."""

BATCH = 64
"""Images that run at once; results do not depend on it."""


class SpikingNetwork:
    """An integer time-to-first-spike network with an engine that runs it bit-exactly.

    Attributes:
        network: the layers, codes and tables (`firstspike.spec.Network`).
        engine: what runs it.
    """

    def __init__(self, network: Network, *, engine: str | None = None, owned: bool = False) -> None:
        """Make an engine for a network, which stays as it is; or let it hold the codes alone if the network is ``owned``."""
        self.network = network
        self.engine: Engine = create(network, engine, owned=owned)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.network, self.engine.name)  # an engine holds memory of its own

    def __repr__(self) -> str:
        net = self.network
        return (
            f"SpikingNetwork({len(net.layers)} layers, input {net.input_shape}, T={net.code.T}, tau={net.code.tau}, "
            f"{net.weights.bits}-bit weights, engine {self.engine.name!r})"
        )

    def _repr_html_(self) -> str:
        return self.network._repr_html_()

    def summary(self) -> Table:
        """The layers as a table: shapes, weights, scales, bits that the membranes need. A large network takes a second."""
        return summary(self.network)

    @property
    def logit_exponent(self) -> int:
        """Integer logits stand for ``logit * 2^-logit_exponent``."""
        return self.network.exponent(self.network.synaptic[-1])

    @property
    def latency_steps(self) -> int:
        """Time steps from the first input step to the logits: ``(D+1) * T``."""
        return self.network.latency_steps

    def encode(self, x: "Images") -> np.ndarray:
        """Spike times, uint8 ``[n, *input_shape]``, of images in [0, 1] (a uint8 image stands for ``float32(p)/255``).

        Raises:
            TypeError: ``x`` is no tensor or array of floats or uint8.
            ValueError: its shape is not ``[n, *input_shape]``, or it holds NaN or values outside [0, 1].
        """
        return encode_images(self.network, x)

    def __call__(self, x: "Images") -> Any:
        """Integer logits, int64 ``[n, classes]``, of images ``x`` in [0, 1], ``[n, *input_shape]``.

        The result is a tensor if ``x`` is one, else an array. Raises as `encode` does.
        """
        times = self.encode(x)
        logits = np.concatenate([flat(self.engine.logits(part)) for part in _batches(times)])
        return like(x, logits)

    def split(self, logits: Any) -> dict[str, Any]:
        """The logits of each output by name, of a network that has several: ``[n, ...]`` from those of a call."""
        shape = self.network.shapes[self.network.layers[-1].name]
        joined = logits.reshape(len(logits), *shape)
        heads, first = {}, 0
        for name, size in self.network.heads:
            heads[name] = joined[:, first : first + size]
            first += size
        return heads

    def classify(self, x: "Images") -> Any:
        """Class of every image, int64 ``[n]``: the largest logit, the lowest index on a tie."""
        logits = self(x)
        classes = np.asarray(logits).argmax(axis=1)
        return like(x, classes)

    def trace(self, x: "Images") -> Trace:
        """Spike times, spikes and synaptic operations of every layer on images ``x``. Raises as `encode` does."""
        return join([trace_events(self.engine, part) for part in _batches(self.encode(x))])

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, str] | None = None) -> None:
        """Write the model file (docs/reference/model-file.md), whole or not at all; ``notes`` are free text kept beside it.

        Raises:
            OSError, ValueError: it cannot be written there; an older file of that name is kept.
            TypeError: a note is no text.
        """
        save_network(self.network, Path(path), notes=notes or {})


def _again(network: Network, engine: str) -> SpikingNetwork:
    """What a pickle calls: the same engine, made anew."""
    return SpikingNetwork(network, engine=engine, owned=True)


def load(path: str | os.PathLike[str], *, engine: str | None = None) -> SpikingNetwork:
    """Read a model file.

    Raises:
        FileNotFoundError: there is no such file.
        firstspike.FormatError: it is damaged, of a newer version, or breaks a rule of the format.
    """
    return SpikingNetwork(load_network(Path(path)), engine=engine, owned=True)


def _batches(times: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, max(1, len(times)), BATCH):
        yield times[start : start + BATCH]
