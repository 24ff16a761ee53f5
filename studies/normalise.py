"""Data-based weight normalisation: what conversion without conversion-aware training does to a ReLU network."""

import numpy as np
import torch
from torch import Tensor

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared


def normalise(prepared: Prepared, images: Tensor, *, percentile: float, enlarged: float = 1.0) -> None:
    """Data-based weight normalisation of a chain of layers, in place: a ReLU network whose activations end at about 1.

    Every firing layer's output is divided by the ``percentile`` of its activations on ``images`` (Rueckauer et al. 2017,
    doi 10.3389/fnins.2017.00682); the layer that reads it multiplies its weights by the same. Up to activations beyond
    that percentile, the function stays the same. With ``enlarged`` each output is that many times as large, which is not
    taken back: it makes good what spike times lose in the mean (`firstspike.cat.calibrate.gain`).

    Raises:
        ValueError: the network has residuals, or the percentile is not in (0, 100].
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be in (0, 100], not {percentile!r}")
    if any(step.residuals for step in prepared.steps):
        raise ValueError("normalise needs a chain of layers, not a network with residuals")
    with torch.no_grad():
        outputs = prepared.eval().spike_values(images)
        factor = 1.0
        for step in prepared.steps:
            module = prepared.layers[step.name]
            if not isinstance(module, Synapses):
                continue
            module.linear.weight.mul_(factor)
            if not step.fires:
                continue
            values = outputs[step.name].flatten().numpy()
            factor = max(float(np.percentile(values, percentile)), 1e-6)
            affine = module.norm if module.norm is not None else module.linear
            assert affine.bias is not None
            if module.norm is None:
                module.linear.weight.mul_(enlarged / factor)
            else:
                module.norm.weight.mul_(enlarged / factor)
            affine.bias.mul_(enlarged / factor)
