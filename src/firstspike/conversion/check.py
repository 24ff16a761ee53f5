"""The proof of zero conversion loss on an example: the trained network in float64 against the integer network."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from firstspike.arith import decode, decode_planes
from firstspike.cat.prepared import Prepared
from firstspike.spec.network import INPUT, Network


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first layer in which the two networks differ, and how.

    Attributes:
        layer: name of the layer.
        count: values that differ.
        total: values compared in this layer.
        image: index of the first image that differs.
        expected, found: the first differing value in the trained and in the integer network.
    """

    layer: str
    count: int
    total: int
    image: int
    expected: float
    found: float

    def __str__(self) -> str:
        return (
            f"layer {self.layer!r}: {self.count} of {self.total} values differ, first in image {self.image}: "
            f"the trained network in float64 has {self.expected!r}, the integer network {self.found!r}"
        )


def first_difference(
    prepared: Prepared, network: Network, x: Tensor, outputs: Mapping[str, np.ndarray]
) -> Difference | None:
    """Compare every layer's spikes and the logits, with ``==``; None where all agree.

    Args:
        prepared: the trained network, stage ``"quantised"``; evaluated in float64 on a copy, on the CPU.
        network: its integer network.
        x: images ``[n, *shape]`` in [0, 1].
        outputs: the integer engine's output of every layer, and the encoded input under ``"input"``.
    """
    double = deepcopy(prepared).cpu().double().eval()
    with torch.no_grad():
        values = double.spike_values(x.double())
    names = [INPUT, *(layer.name for layer in network.layers)]
    last = network.layers[-1].name
    readout = network.synaptic[-1]
    for name in names:
        if name not in values:
            continue
        expected = values[name].numpy()
        if name == last:
            found = np.ldexp(outputs[name].astype(np.float64), -network.exponent(readout))
        elif network.planes(name) > 1:
            found = decode_planes(outputs[name])
        else:
            found = decode(outputs[name], network.code)
        expected = expected.reshape(found.shape)
        differs = expected != found
        if differs.any():
            first = tuple(int(i) for i in np.argwhere(differs)[0])
            return Difference(
                layer=name,
                count=int(differs.sum()),
                total=differs.size,
                image=first[0],
                expected=float(expected[first]),
                found=float(found[first]),
            )
    return None
