"""Random programs of layers, in place and with stale names: converted whole or refused, nothing is ever lost."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from firstspike.cat.prepare import UnsupportedError, prepare

OPERATIONS: dict[str, Callable[[Any, Tensor, Tensor], Tensor | None]] = {
    "conv": lambda n, a, b: n.conv(a),
    "conv, relu": lambda n, a, b: F.relu(n.conv(a)),
    "again, norm, relu": lambda n, a, b: n.relu(n.norm(n.again(a))),
    "relu": lambda n, a, b: F.relu(a),
    "relu_": lambda n, a, b: a.relu_(),
    "relu_ discarded": lambda n, a, b: discard(a.relu_()),
    "relu module in place": lambda n, a, b: n.inplace(a),
    "relu module in place, discarded": lambda n, a, b: discard(n.inplace(a)),
    "add": lambda n, a, b: a + b,
    "iadd": lambda n, a, b: plus(a, b),
    "iadd discarded": lambda n, a, b: discard(plus(a, b)),
    "add_": lambda n, a, b: a.add_(b),
    "add_ discarded": lambda n, a, b: discard(a.add_(b)),
    "maxpool": lambda n, a, b: n.pool(a),
    "average": lambda n, a, b: F.avg_pool2d(a, 1, 1),
    "identity": lambda n, a, b: n.same(a),
    "dropout": lambda n, a, b: F.dropout(a, 0.5, n.training),
    "contiguous": lambda n, a, b: a.contiguous(),
    "zero_ discarded": lambda n, a, b: discard(a.zero_()),
    "residual": lambda n, a, b: n.relu(n.norm(n.conv(a)) + b),
}


def discard(_: Tensor) -> None:
    return None


def plus(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


class Program(nn.Module):
    """Operations on any two earlier values, all of one shape; reading what was overwritten included."""

    def __init__(self, steps: list[tuple[str, int, int]], last: int) -> None:
        super().__init__()
        self.steps, self.last = steps, last
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.again = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.same = nn.Identity()
        self.fc = nn.Linear(2 * 16, 3)
        assert self.norm.running_mean is not None
        self.norm.running_mean.add_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for name, first, second in self.steps:
            result = OPERATIONS[name](self, values[first % len(values)], values[second % len(values)])
            if result is not None:
                values.append(result)
        return self.fc(values[self.last % len(values)].flatten(1))


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(-3, -1), st.integers(-4, -1)), min_size=1, max_size=7
    ),
    st.integers(-2, -1),
)
def test_any_program_is_converted_whole_or_refused(steps: list[tuple[str, int, int]], last: int) -> None:
    net = Program(steps, last).double()
    x = torch.rand(2, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net.eval()(x.clone())
        assume(bool(torch.isfinite(expected).all()))
        try:
            prepared = prepare(net)
        except UnsupportedError:
            event("refused")
            return
        event(f"converted, {min(4, len(prepared.steps))} or more steps")
        assert torch.equal(prepared.eval()(x), expected)
