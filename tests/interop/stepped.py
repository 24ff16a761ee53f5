"""Networks in SpikingJelly's own neurons, step by step through time: a second opinion that shares no inference with ours."""

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import layer as sj_layer
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from firstspike.arith import decode_weights, kernel
from firstspike.spec import Network
from firstspike.spec.network import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Synaptic

SILENCE = 255


def times_of(spikes: Tensor) -> np.ndarray:
    """Spike times of a sequence ``[T, n, ...]`` that holds at most one spike a neuron."""
    fired = spikes != 0
    assert int(fired.sum(dim=0).max()) <= 1
    return torch.where(fired.any(dim=0), fired.int().argmax(dim=0), SILENCE).numpy().astype(np.uint8)


# ---- FewSpikeNode: a threshold, a reset and a weight for every step -----------------------------------------------


def few_spike(network: Network, times: np.ndarray) -> tuple[dict[str, np.ndarray], Tensor]:
    """Spike times of every layer, and the logits as real numbers, of a chain of layers.

    A few-spikes neuron (Stöckl and Maass 2021) compares its membrane with ``theta[t]`` in step ``t``, takes ``h[t]`` off it
    when it fires, and sends ``d[t]``. With the kernel as threshold and weight, and a reset that no membrane survives, it is
    one that fires once.
    """
    falling = torch.from_numpy(kernel(network.code))
    table = neuron.FewSpikeTable(theta=falling, h=torch.full_like(falling, 1e9), d=falling)
    x = torch.stack([torch.from_numpy(times == t).double() * falling[t] for t in range(len(falling))])
    found = {}
    for layer in network.layers:
        if isinstance(layer, Synaptic):
            x = _weighted(network, layer)(x)
            bias = layer.bias.astype(np.float64) / 2.0 ** (network.exponent(layer) + layer.channel_shifts)
            x[0] += torch.from_numpy(bias).reshape(-1, *[1] * (x.dim() - 3))  # once, not in every step
            if layer.fires:
                x = neuron.FewSpikeNode(table, step_mode="m").double()(x)
            else:
                return found, x.sum(dim=0)
        elif isinstance(layer, MaxPool2d):
            x = sj_layer.MaxPool2d(layer.kernel, layer.stride, layer.padding, step_mode="m")(x)
            x = x * ((x > 0).int().cumsum(dim=0) == 1)  # the earliest of a window
        else:
            assert isinstance(layer, Flatten)
            x = sj_layer.Flatten(step_mode="m")(x)
        found[layer.name] = times_of(x)
    raise AssertionError("no read-out")


def _weighted(network: Network, layer: Synaptic) -> nn.Module:
    weight = torch.from_numpy(decode_weights(layer.codes, network.weights, layer.scale))
    weight = weight / 2.0 ** torch.from_numpy(layer.channel_shifts).reshape(-1, *[1] * (weight.dim() - 1))
    made: Any
    if isinstance(layer, Conv2d):
        made = sj_layer.Conv2d(
            weight.shape[1] * layer.groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=False,
            step_mode="m",
        )
    else:
        assert isinstance(layer, Linear)
        made = sj_layer.Linear(weight.shape[1], weight.shape[0], bias=False, step_mode="m")
    made.weight.data = weight
    return made


# ---- IFNode: the graph that others know, with its schedule --------------------------------------------------------


def integrate_and_fire(graph: Any, sequence: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Spikes of every neuron node, ``[steps, n, ...]``, and the logits, of an input ``[steps, n, ...]``."""
    order = sorted(graph.nodes, key=lambda name: int(name.partition("_")[0]))  # a file keeps none
    nodes = {name: _module(graph.nodes[name]) for name in order}
    reads = {name: [one for one, two in graph.edges if two == name] for name in nodes}
    schedule, spikes, logits = graph.metadata["schedule"], {}, torch.zeros(())
    for step, image in enumerate(sequence):
        values: dict[str, Tensor] = {}
        for name, module in nodes.items():
            x = image if not reads[name] else torch.stack([values[one] for one in reads[name]]).sum(dim=0)
            if name in schedule:
                told = schedule[name]
                x = x + told["current"][step]
                if step == 0:
                    x = x + torch.from_numpy(told["bias"]).reshape(-1, *[1] * (x.dim() - 2))
                fired = module(x)
                spikes.setdefault(name, []).append(fired)
                values[name] = fired * told["gain"][step]
                logits = getattr(module, "v", logits)
            else:
                values[name] = module(x)
    return {name: torch.stack(fired) for name, fired in spikes.items()}, logits


def _module(node: Any) -> nn.Module:
    """SpikingJelly's module for a node."""
    kind = type(node).__name__
    if kind == "IF":
        (threshold,) = np.unique(node.v_threshold)
        return neuron.IFNode(v_threshold=float(threshold), v_reset=None)
    if kind == "I":  # never fires
        return neuron.IFNode(v_threshold=1e300, v_reset=None)
    if kind in ("Linear", "Conv2d"):
        weight = torch.from_numpy(node.weight)
        if kind == "Linear":
            made: Any = sj_layer.Linear(weight.shape[1], weight.shape[0], bias=False)
        else:
            assert not node.bias.any()
            made = sj_layer.Conv2d(
                weight.shape[1] * node.groups,
                weight.shape[0],
                tuple(weight.shape[2:]),
                stride=tuple(node.stride),
                padding=tuple(node.padding),
                dilation=tuple(node.dilation),
                groups=node.groups,
                bias=False,
            )
        made.weight.data = weight
        return made
    if kind == "SumPool2d":
        kernel_size, stride, padding = (tuple(map(int, v)) for v in (node.kernel_size, node.stride, node.padding))
        return nn.Sequential(sj_layer.AvgPool2d(kernel_size, stride, padding, divisor_override=1))
    return sj_layer.Flatten() if kind == "Flatten" else nn.Identity()


def input_sequence(network: Network, times: np.ndarray, steps: int) -> Tensor:
    """What the graph's input receives in every step, ``[steps, n, *input_shape]``, of a stored input."""
    sequence = torch.zeros(steps, *times.shape, dtype=torch.float64)
    if network.code.planes:
        sequence[0] = torch.from_numpy((SILENCE - times.astype(np.float64)) / 256)
        return sequence
    for t, value in enumerate(kernel(network.code)):
        sequence[t] = torch.from_numpy(times == t).double() * value
    return sequence


__all__ = ["INPUT", "few_spike", "input_sequence", "integrate_and_fire", "times_of"]
