"""A network with what few interchange formats have: shortcuts, and layers of several sources."""

import torch


class Residual(torch.nn.Module):
    """A shortcut, and one with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.same = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.down = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.project = torch.nn.Conv2d(4, 6, 1, stride=2)
        self.last = torch.nn.Linear(96, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.same(x) + x)
        x = torch.relu(self.down(x) + self.project(x))
        return self.last(x.flatten(1))
