"""Prepared networks made from others: of an integer network, in another number format."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from firstspike import spec
from firstspike.arith import Code, LogWeights
from firstspike.cat.layers import AveragePool, Rearrange, Synapses
from firstspike.cat.moves import PixelShuffle
from firstspike.cat.prepared import Prepared, Step
from firstspike.spec import Network
from firstspike.spec.network import Conv2d, Flatten, Linear, MaxPool2d, Synaptic


def rebuild(network: Network) -> Prepared:
    """The prepared network, in float64, evaluation mode and stage ``"quantised"``, that computes what ``network`` does.

    The same spikes and logits, with ``==``: every weight is a level of its layer's scale, every bias on its grid.
    """
    formats: dict[str, Any] = {
        "code": network.code,
        "weights": network.weights,
        "accumulator_bits": network.accumulator_bits,
    }
    steps: list[Step] = []
    modules: dict[str, nn.Module] = {}
    shifts: dict[str, tuple[int, ...]] = {}
    for layer in network.layers:
        if isinstance(layer, Conv2d | Linear):
            for connection in (*layer.parts, layer):
                assert isinstance(connection, Conv2d | Linear)
                synapses = Synapses(_linear(layer, connection, network), None, **formats)
                if any(layer.shifts):
                    synapses.take_shifts()
                    shifts[connection.name] = layer.shifts
                modules[connection.name] = synapses
                steps.append(
                    Step(
                        name=connection.name,
                        kind="synapses",
                        source=connection.source,
                        residuals=connection.residuals,
                        fires=connection.fires,
                        parts=tuple(part.name for part in connection.parts),
                    )
                )
        elif isinstance(layer, spec.Channels):
            modules[layer.name] = Rearrange(layer.channels)
            steps.append(Step(name=layer.name, kind="channels", source=layer.source, others=layer.others))
        elif isinstance(layer, spec.PixelShuffle):
            modules[layer.name] = PixelShuffle(layer.factor)
            steps.append(Step(name=layer.name, kind="pixelshuffle", source=layer.source))
        elif isinstance(layer, MaxPool2d):
            modules[layer.name] = nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)
            steps.append(Step(name=layer.name, kind="maxpool", source=layer.source))
        else:
            assert isinstance(layer, Flatten)
            modules[layer.name] = nn.Flatten()
            steps.append(Step(name=layer.name, kind="flatten", source=layer.source))
    prepared = Prepared(steps, modules, **formats, heads=dict(network.heads)).double()
    prepared.set_input_shape(network.input_shape)
    prepared.set_stage("quantised", scales={one.name: one.scale for one in network.connections}, shifts=shifts)
    return prepared.eval()


def reformat(
    prepared: Prepared,
    *,
    code: Code | None = None,
    weights: LogWeights | None = None,
    accumulator_bits: int | None = None,
) -> Prepared:
    """A copy of a network in another number format, in stage ``"quantised"`` with scales chosen anew.

    Raises:
        ValueError: the weights are not finite.
    """
    copy = deepcopy(prepared).eval()
    copy.set_stage("ttfs")
    copy.follow_code(code or copy.code)
    copy.weights = weights or copy.weights
    copy.accumulator_bits = accumulator_bits or copy.accumulator_bits
    for module in copy.modules():
        if isinstance(module, Synapses):
            module.weights, module.accumulator_bits = copy.weights, copy.accumulator_bits
        elif isinstance(module, AveragePool):
            module.weights = copy.weights
    copy.set_stage("quantised")
    return copy


def _linear(owner: Synaptic, layer: Conv2d | Linear, network: Network) -> nn.Conv2d | nn.Linear:
    weight, bias = real_weights(owner, layer, network)
    if isinstance(layer, Linear):
        linear: nn.Conv2d | nn.Linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    else:
        linear = nn.Conv2d(
            weight.shape[1] * layer.groups,
            weight.shape[0],
            (int(weight.shape[2]), int(weight.shape[3])),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            dtype=torch.float64,
        )
    with torch.no_grad():
        linear.weight.copy_(weight)
        assert linear.bias is not None
        linear.bias.copy_(bias)
    return linear


def real_weights(owner: Synaptic, layer: Synaptic, network: Network) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer's connection as real numbers, float64: exact. A part has no bias."""
    weight = torch.from_numpy(network.real_weights(owner, layer))
    return weight, torch.from_numpy(network.real_bias(layer) if layer is owner else np.zeros(layer.outputs))
