"""The same network with ReLU in PyTorch, with random weights: what other runtimes are given."""

from typing import cast

import torch
from torch import Tensor, nn

from firstspike.spec import INPUT, Channels, Conv2d, Flatten, Linear, MaxPool2d, Network, PixelShuffle, Synaptic
from firstspike.spec.network import Layer


def dense_twin(network: Network) -> nn.Module:
    """A network's layers with ReLU, in evaluation mode: a chain as `nn.Sequential`, anything else as a `Twin`."""
    previous = INPUT
    for layer in network.layers:
        if layer.inputs != (previous,) or (isinstance(layer, Synaptic) and layer.parts) or isinstance(layer, Channels):
            return Twin(network).eval()
        previous = layer.name
    modules = [module for layer in network.layers for module in _modules(layer)]
    return nn.Sequential(*modules).eval()


class Twin(nn.Module):
    """Layers that branch, add and rearrange, in the order of the network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = network.layers
        computed: list[Layer] = []
        for layer in network.layers:
            if not isinstance(layer, Channels):
                computed += [layer, *(layer.parts if isinstance(layer, Synaptic) else ())]
        self.places = {layer.name: place for place, layer in enumerate(computed)}
        self.connections = nn.ModuleList([_modules(layer)[0] for layer in computed])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the last layer for images ``[n, *input_shape]``."""
        maps = {INPUT: x}
        for layer in self.layers:
            if isinstance(layer, Channels):
                maps[layer.name] = _rearranged(layer, [maps[name] for name in layer.inputs])
                continue
            value = self._products(layer, maps)
            if isinstance(layer, Synaptic):
                for part in layer.parts:
                    value = value + self._products(part, maps)
                for name in layer.residuals:
                    value = value + maps[name]
                value = value.relu() if layer.fires else value
            maps[layer.name] = value
        return maps[self.layers[-1].name]

    def _products(self, layer: Layer, maps: dict[str, Tensor]) -> Tensor:
        return cast(Tensor, self.connections[self.places[layer.name]](maps[layer.source]))


def _modules(layer: Layer) -> list[nn.Module]:
    """What computes a layer from its own source, and its ReLU."""
    if isinstance(layer, MaxPool2d):
        return [nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)]
    if isinstance(layer, Flatten):
        return [nn.Flatten()]
    if isinstance(layer, PixelShuffle):
        if layer.factor[0] != layer.factor[1]:
            raise ValueError(f"layer {layer.name!r}: PyTorch shuffles pixels by one factor, not {layer.factor!r}")
        return [nn.PixelShuffle(layer.factor[0])]
    assert isinstance(layer, Synaptic)
    module: nn.Module
    if isinstance(layer, Conv2d):
        kernel = cast(tuple[int, int], layer.weight_shape[2:])
        inputs = layer.weight_shape[1] * layer.groups
        module = nn.Conv2d(inputs, layer.outputs, kernel, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        assert isinstance(layer, Linear)
        module = nn.Linear(layer.weight_shape[1], layer.outputs)
    return [module, nn.ReLU()] if layer.fires else [module]


def _rearranged(layer: Channels, maps: list[Tensor]) -> Tensor:
    """Channels taken from the maps, one behind the other, and silence as a last one."""
    every = torch.cat([*maps, torch.zeros_like(maps[0][:, :1])], dim=1)
    return every[:, [c % every.shape[1] for c in layer.channels]]
