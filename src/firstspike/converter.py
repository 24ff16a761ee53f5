"""`convert`: a prepared network becomes a network of integers, proved equal on an example."""

import warnings

import numpy as np
import torch
from torch import Tensor

from firstspike.cat.health import saturation
from firstspike.cat.prepared import Prepared
from firstspike.conversion import ConversionError, first_difference, lower
from firstspike.engine.images import to_float
from firstspike.spec import INPUT
from firstspike.spiking import SpikingNetwork


def convert(
    prepared: Prepared, *, example: Tensor | np.ndarray, classes: tuple[str, ...] = (), engine: str | None = None
) -> SpikingNetwork:
    """Convert a prepared network in stage ``"quantised"`` to integers and prove it on an example.

    The trained network in float64 and the integer network must have the same spike in every neuron and the same logits
    on ``example``, with ``==``. A warning tells of layers of which more than a few per cent saturate.

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
    shares = {layer.name: float((outputs[layer.name] == 0).mean()) for layer in network.synaptic if layer.fires}
    warning = saturation(shares)  # a spike at t = 0 stands for 1 and all above
    if warning:
        warnings.warn(f"convert: {warning}", UserWarning, stacklevel=2)
    return snn
