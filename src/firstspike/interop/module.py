"""`to_torch`: a converted network as a plain PyTorch module, for tools that look into modules: hooks, counters, exporters."""

import numpy as np
import torch
from torch import Tensor, nn

from firstspike.arith import PLANES, kernel, pixel_boundaries
from firstspike.cat.moves import shuffled
from firstspike.spec import network as spec
from firstspike.spec.network import INPUT, Network, Synaptic
from firstspike.spiking import SpikingNetwork


class FirstSpike(nn.Module):
    """Neurons that fire once: the largest kernel value that is at most the membrane, 0 for none."""

    rising: Tensor
    values: Tensor

    def __init__(self, rising: np.ndarray, values: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("rising", torch.from_numpy(rising.copy()))
        self.register_buffer("values", torch.from_numpy(values.copy()))

    def forward(self, u: Tensor) -> Tensor:
        """Decoded spikes, float64, of membranes of any shape."""
        return self.values[torch.searchsorted(self.rising, u.double().contiguous(), right=True)]


class PlaneNeurons(FirstSpike):
    """Pixels as eight binary neurons each, channel ``8 c + j`` being plane ``j`` of channel ``c``: 1 for a spike, else 0."""

    def forward(self, u: Tensor) -> Tensor:
        """Planes ``[n, 8 c, ...]``, float64, of pixels ``[n, c, ...]`` in [0, 1]."""
        p = torch.searchsorted(self.rising, u.double().contiguous(), right=True)
        places = torch.arange(PLANES - 1, -1, -1, device=u.device).reshape(1, 1, PLANES, *[1] * (u.dim() - 2))
        return (p.unsqueeze(2) >> places & 1).flatten(1, 2).double()


class TorchNetwork(nn.Module):
    """A network of integers in float64, layer by layer: the same logits, in units of ``2^-logit_exponent``.

    Every connection is an ``nn.Conv2d`` or ``nn.Linear`` under ``weights``, every layer that fires a `FirstSpike` under
    ``neurons``, so that hooks see what each receives and makes. It is for looking at: engines run far faster.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        code = network.code
        rising = kernel(code)[::-1]
        values = np.concatenate([[0.0], rising])
        self.encode = (
            PlaneNeurons(pixel_boundaries(np.float64), np.arange(256) / 256)
            if code.planes
            else FirstSpike(rising, values)
        )
        self._names = {
            name: f"n{place}" for place, name in enumerate([INPUT, *(layer.name for layer in network.layers)])
        }
        firing = [layer for layer in network.synaptic if layer.fires]
        self.neurons = nn.ModuleDict({self._names[layer.name]: FirstSpike(rising, values) for layer in firing})
        self._places = {connection.name: f"w{place}" for place, connection in enumerate(network.connections)}
        self.weights = nn.ModuleDict(
            {
                self._places[connection.name]: self._linear(layer, connection)
                for layer in network.synaptic
                for connection in layer.connections
            }
        )

    def _linear(self, layer: Synaptic, connection: Synaptic) -> nn.Module:
        """A connection with its weights; the bias of its layer is the first connection's."""
        network = self.network
        weight = torch.from_numpy(network.real_weights(layer, connection))
        planes = network.planes(connection.source) > 1
        groups = connection.groups if isinstance(connection, spec.Conv2d) else 1
        if planes:  # a weight of its own for each plane
            share = 2.0 ** -torch.arange(1, PLANES + 1, dtype=torch.float64)
            own = weight.reshape(len(weight), self._channels(connection, weight), 1, -1)
            weight = (own * share.reshape(1, 1, PLANES, 1)).reshape(len(weight), -1, *weight.shape[2:])
        made: nn.Conv2d | nn.Linear
        if isinstance(connection, spec.Conv2d):
            kernel_size = (int(weight.shape[2]), int(weight.shape[3]))
            made = nn.Conv2d(
                weight.shape[1] * groups,
                weight.shape[0],
                kernel_size,
                stride=connection.stride,
                padding=connection.padding,
                dilation=connection.dilation,
                groups=groups,
                bias=connection is layer,
                dtype=torch.float64,
            )
        else:
            made = nn.Linear(weight.shape[1], weight.shape[0], bias=connection is layer, dtype=torch.float64)
        with torch.no_grad():
            made.weight.copy_(weight)
            if made.bias is not None:
                made.bias.copy_(torch.from_numpy(network.real_bias(layer)))
        return made

    def _channels(self, connection: Synaptic, weight: Tensor) -> int:
        """Channels of the input that a connection's weights reach over; a flattened image has rows and columns, too."""
        return int(weight.shape[1]) if isinstance(connection, spec.Conv2d) else self.network.input_shape[0]

    def layers(self, x: Tensor) -> dict[str, Tensor]:
        """Decoded output of every layer by name, the encoded input's too; membranes of the read-out."""
        values = {INPUT: self.encode(x)}
        for layer in self.network.layers:
            values[layer.name] = self._layer(layer, values)
        return values

    def _layer(self, layer: spec.Layer, values: dict[str, Tensor]) -> Tensor:
        x = values[layer.source]
        if isinstance(layer, spec.Flatten):
            return x.flatten(1)
        if isinstance(layer, spec.MaxPool2d):
            (top, left), pad = layer.padding, nn.functional.pad  # a pool itself pads at most half its window
            return nn.functional.max_pool2d(pad(x, (left, left, top, top)), layer.kernel, layer.stride)
        if isinstance(layer, spec.PixelShuffle):
            return shuffled(x, layer.factor)
        if isinstance(layer, spec.Channels):
            joined = torch.cat([*(values[name] for name in layer.inputs), torch.zeros_like(x[:, :1])], dim=1)
            return joined[:, list(layer.channels)]  # -1 is the silent one behind all
        assert isinstance(layer, Synaptic)
        u = torch.stack([self.weights[self._places[one.name]](values[one.source]) for one in layer.connections]).sum(
            dim=0
        )
        for name in layer.residuals:
            u = u + values[name]
        return self.neurons[self._names[layer.name]](u) if layer.fires else u

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float64 ``[n, classes]``, of images in [0, 1], ``[n, *input_shape]``."""
        return self.layers(x)[self.network.layers[-1].name].flatten(1)


def to_torch(snn: SpikingNetwork | Network) -> TorchNetwork:
    """A converted network as a PyTorch module in evaluation mode; see `TorchNetwork`."""
    return TorchNetwork(snn.network if isinstance(snn, SpikingNetwork) else snn).eval()
