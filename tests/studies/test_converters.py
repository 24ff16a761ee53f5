"""The study of converters: rivals get the same network, and are read after every number of steps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.converters import accuracies, with_modules


class Written(nn.Module):
    """A residual network as people write them: functions, a shortcut that pads channels, sizes asked of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, 2, padding=1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        y = self.second(x)
        y += functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0)
        y = functional.relu(y)
        y = functional.avg_pool2d(y, y.size()[3])
        logits: Tensor = self.last(y.view(y.size(0), -1))
        return logits


def test_modules_in_place_of_functions_compute_the_same() -> None:
    torch.manual_seed(0)
    network, x = Written().eval(), torch.randn(2, 3, 8, 8)
    rewritten = with_modules(network, x)
    with torch.no_grad():
        torch.testing.assert_close(rewritten(x), network(x))
    assert sum(type(module) is nn.ReLU for module in rewritten.modules()) == 2
    assert {node.op for node in rewritten.graph.nodes} == {"placeholder", "call_module", "call_function", "output"}
    assert len([node for node in rewritten.graph.nodes if node.op == "call_function"]) == 1  # the sum


def test_accuracy_is_that_of_the_summed_logits() -> None:
    spikes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.5], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]])

    def logits(images: Tensor) -> Iterator[Tensor]:
        return iter(spikes[:, images[:, 0].long()])

    found = accuracies([1, 2, 3], torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), 1, logits)
    assert found == {1: 100.0, 2: 50.0, 3: 100.0}
