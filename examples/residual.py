"""A network of one's own with a residual, average pooling and functional calls, converted without training.

python examples/residual.py
"""

import torch
from torch import nn
from torch.nn import functional

import firstspike as fs


class Residual(nn.Module):
    """Two convolutions with a shortcut, then the global average and the read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.logits = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images ``[n, 3, height, width]``."""
        x = functional.max_pool2d(functional.relu(self.norm(self.first(x))), 2)
        x = torch.relu(self.second(x) + x)
        x = functional.adaptive_avg_pool2d(x, 1)
        return self.logits(torch.flatten(x, 1))


torch.set_num_threads(1)  # so small a network waits for a second thread more than it gains
torch.manual_seed(0)
x = torch.rand(8, 3, 16, 16)
cat = fs.prepare(Residual(), example=x)
cat.stage = "quantised"
snn = fs.convert(cat, example=x)
print(snn)
for layer in snn.trace(x).layers.values():
    print(
        f"{layer.name:16s} {layer.kind:10s} {layer.shape!s:14s} {layer.spikes.mean():8.1f} spikes {layer.sops.mean():10.1f} SOPs"
    )

try:
    fs.prepare(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8, 2)))
except fs.UnsupportedError as error:
    print(error)
