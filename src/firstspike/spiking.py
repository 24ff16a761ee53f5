"""The public face of a converted network: `convert`, `load`, and `SpikingNetwork` with no reset, no time loop, no time axis."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from firstspike.cat.prepared import Prepared
from firstspike.convert import ConversionError, first_difference, lower
from firstspike.engine import Engine, create
from firstspike.engine.events import flat
from firstspike.engine.events import trace as trace_events
from firstspike.engine.images import encode_images, to_float
from firstspike.spec import INPUT, Network, Trace
from firstspike.spec import load as load_network
from firstspike.spec import save as save_network
from firstspike.spec.trace import join

Images = Tensor | np.ndarray

BATCH = 64
"""Images that run at once; results do not depend on it."""


class SpikingNetwork:
    """An integer time-to-first-spike network with an engine that runs it bit-exactly.

    Attributes:
        network: the layers, codes and tables (`firstspike.spec.Network`).
        engine: what runs it.
    """

    def __init__(self, network: Network, *, engine: str | None = None) -> None:
        self.network = network
        self.engine: Engine = create(network, engine) if engine else create(network)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.network, self.engine.name)  # an engine holds memory of its own

    def __repr__(self) -> str:
        net = self.network
        return (
            f"SpikingNetwork({len(net.layers)} layers, input {net.input_shape}, T={net.code.T}, tau={net.code.tau}, "
            f"{net.weights.bits}-bit weights, engine {self.engine.name!r})"
        )

    @property
    def logit_exponent(self) -> int:
        """Integer logits stand for ``logit * 2^-logit_exponent``."""
        return self.network.exponent(self.network.synaptic[-1])

    @property
    def latency_steps(self) -> int:
        """Time steps from the first input step to the logits: ``(D+1) * T``."""
        return self.network.latency_steps

    def encode(self, x: Images) -> np.ndarray:
        """Spike times, uint8 ``[n, *input_shape]``, of images in [0, 1] (a uint8 image stands for ``float32(p)/255``).

        Raises:
            TypeError: ``x`` is no tensor or array of floats or uint8.
            ValueError: its shape is not ``[n, *input_shape]``, or it holds NaN or values outside [0, 1].
        """
        return encode_images(self.network, x)

    def __call__(self, x: Images) -> Any:
        """Integer logits, int64 ``[n, classes]``, of images ``x`` in [0, 1], ``[n, *input_shape]``.

        The result is a tensor if ``x`` is one, else an array. Raises as `encode` does.
        """
        times = self.encode(x)
        logits = np.concatenate([flat(self.engine.logits(part)) for part in _batches(times)])
        return torch.from_numpy(logits) if isinstance(x, Tensor) else logits

    def classify(self, x: Images) -> Any:
        """Class of every image, int64 ``[n]``: the largest logit, the lowest index on a tie."""
        logits = self(x)
        classes = np.asarray(logits).argmax(axis=1)
        return torch.from_numpy(classes) if isinstance(x, Tensor) else classes

    def trace(self, x: Images) -> Trace:
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
    return SpikingNetwork(network, engine=engine)


def load(path: str | os.PathLike[str], *, engine: str | None = None) -> SpikingNetwork:
    """Read a model file.

    Raises:
        FileNotFoundError: there is no such file.
        firstspike.FormatError: it is damaged, of a newer version, or breaks a rule of the format.
    """
    return SpikingNetwork(load_network(Path(path)), engine=engine)


def convert(
    prepared: Prepared, *, example: Images, classes: tuple[str, ...] = (), engine: str | None = None
) -> SpikingNetwork:
    """Convert a prepared network in stage ``"quantised"`` to integers and prove it on an example.

    The trained network in float64 and the integer network must have the same spike in every neuron and the same logits
    on ``example``, with ``==``.

    Args:
        prepared: made by `firstspike.prepare` and trained.
        example: images in [0, 1], ``[n, *shape]``, n >= 1; they fix the input shape.
        classes: names of the logits.
        engine: name of the engine, by default the fastest there is.

    Raises:
        TypeError: ``prepared`` is no prepared network, or ``example`` no images.
        ValueError: the example holds no image, NaN or values outside [0, 1].
        ConversionError: the stage is not ``"quantised"``, a layer does not fit, or a layer differs on the example.
    """
    if not isinstance(example, Tensor | np.ndarray):
        raise TypeError(f"example must be a tensor or an array, not {type(example).__name__}")
    if example.ndim < 2 or len(example) == 0:
        raise ValueError(f"example must hold at least one image, not shape {tuple(example.shape)!r}")
    network = lower(prepared, tuple(example.shape[1:]), classes=classes)
    snn = SpikingNetwork(network, engine=engine)
    times = snn.encode(example)
    outputs = {INPUT: times, **snn.engine.layers(times)}
    images = torch.from_numpy(np.array(to_float(example)))  # a copy: the example may be read-only
    difference = first_difference(prepared, network, images, outputs)
    if difference is not None:
        raise ConversionError(f"convert: the integer network differs on the example: {difference}")
    return snn


def _batches(times: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, max(1, len(times)), BATCH):
        yield times[start : start + BATCH]
