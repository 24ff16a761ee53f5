"""Plain networks for tests of `prepare`: layers on images of 2 x 6 x 6, and any forward function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Forward = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """Layers on images of 2 x 6 x 6, and any forward function."""

    def __init__(self, forward: Forward, **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.down = nn.Conv2d(2, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * 36, 5)
        self.small = nn.Linear(4 * 9, 5)
        self.tiny = nn.Linear(4, 5)
        for name, module in modules.items():
            setattr(self, name, module)
        generator = torch.Generator().manual_seed(7)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
                if module.running_mean is not None and module.running_var is not None:
                    module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
                    module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.3)
        for parameter in self.parameters():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def block(n: Any, x: Tensor) -> Tensor:
    return F.relu(n.conv(x))


def readout(n: Any, x: Tensor) -> Tensor:
    return n.fc(n.flatten(x))


def batch(seed: int = 0) -> Tensor:
    return torch.rand(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def residual(n: Any, x: Tensor) -> Tensor:
    y = block(n, x)
    out = n.norm(n.again(y))
    out += y
    return readout(n, n.relu(out))
