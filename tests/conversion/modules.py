"""Random plain PyTorch networks for Hypothesis: every kind of layer that can be converted, small enough for the oracle.

``plain_networks()`` draws a network and its input shape. Shapes, options and connections are drawn one by one; weights
come from a drawn seed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Step = Callable[["RandomNet", dict[str, Tensor]], Tensor]
SEEDS = st.integers(0, 2**32 - 1)


class RandomNet(nn.Module):
    """Steps in order, each from named values to a new one; the last is the read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, Step]] = []
        self.kinds: list[str] = []
        self.shapes: dict[str, Shape] = {}

    def add(self, kind: str, shape: Shape, step: Step) -> str:
        name = f"v{len(self.steps)}"
        self.steps.append((name, step))
        self.kinds.append(kind)
        self.shapes[name] = shape
        return name

    def layer(self, module: nn.Module) -> str:
        name = f"layer{len(list(self.children()))}"
        self.add_module(name, module)
        return name

    def forward(self, x: Tensor) -> Tensor:
        values = {"x": x}
        for name, step in self.steps:
            values[name] = step(self, values)
        return values[self.steps[-1][0]]


@st.composite
def plain_networks(draw: st.DrawFn, *, max_steps: int = 5, size: int = 6) -> tuple[RandomNet, Shape]:
    """A network in evaluation mode, float64, and the shape of one image."""
    net = RandomNet()
    image = draw(st.integers(0, 5)) > 0
    extent = st.integers(2, size)
    shape = draw(st.tuples(st.integers(1, 3), extent, extent)) if image else draw(st.tuples(st.integers(1, 8)))
    net.shapes["x"] = shape
    for _ in range(draw(st.sampled_from([max_steps, *range(max_steps)]))):
        source = draw(st.sampled_from([next(reversed(net.shapes)), *reversed(net.shapes)]))
        kinds = ["linear", "linear", "sum", "dropout", "cat"]
        if len(net.shapes[source]) == 3:
            kinds = [
                "conv",
                "same conv",
                "conv",
                "average",
                "maxpool",
                "average",
                "sum",
                "cat",
                "global",
                "dropout",
                "flatten",
            ]
        ADD[draw(st.sampled_from(kinds))](draw, net, source)
    source = next(reversed(net.shapes))
    if len(net.shapes[source]) == 3:
        if draw(st.booleans()):
            _conv(draw, net, source, fires=False)
        else:
            _flatten(draw, net, source)
            _linear(draw, net, next(reversed(net.shapes)), fires=False)
    else:
        _linear(draw, net, source, fires=False)
    randomise(net, draw(SEEDS), draw(st.sampled_from([0.3, 1.0, 3.0])))
    return net.double().eval(), shape


def randomise(net: nn.Module, seed: int, gain: float) -> None:
    """Weights of a size that lets some neurons fire late and some never; statistics as after training."""
    rng = np.random.default_rng(seed)

    def fill(tensor: Tensor, values: np.ndarray) -> None:
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values.astype(np.float64)).reshape(tensor.shape))

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            scale = gain * rng.choice([0.4, 1.0, 1.7]) / np.sqrt(fan_in)
            fill(module.weight, rng.normal(size=module.weight.shape) * scale)
            if module.bias is not None:
                fill(module.bias, rng.normal(size=module.bias.shape) * 0.3 + 0.1)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            fill(module.running_mean, rng.normal(size=module.num_features) * 0.3)
            fill(module.running_var, rng.random(module.num_features) * 2 + 0.05)
            if module.affine:
                sizes = rng.normal(size=module.num_features) * 0.6 + 0.5
                fill(module.weight, sizes * (rng.random(module.num_features) < 0.9))
                fill(module.bias, rng.normal(size=module.num_features) * 0.3 + 0.2)


# ---- one step each ------------------------------------------------------------------------------------------------


def _relu(draw: st.DrawFn, net: RandomNet) -> Callable[[RandomNet, Tensor], Tensor]:
    kind = draw(st.sampled_from(["module", "in place", "function", "method"]))
    if kind in ("module", "in place"):
        name = net.layer(nn.ReLU(inplace=kind == "in place"))
        return lambda n, u: n.get_submodule(name)(u)
    return (lambda n, u: functional.relu(u)) if kind == "function" else (lambda n, u: u.relu())


def _after(draw: st.DrawFn, net: RandomNet, shape: Shape, *, fires: bool) -> tuple[Any, list[str], str]:
    """Norm, residuals and activation behind a linear operation: a function of the membrane and the values."""
    features = shape[0]
    norm: str | None = None
    if draw(st.booleans()):
        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        norm = net.layer(kind(features, affine=draw(st.booleans()), eps=draw(st.sampled_from([1e-5, 1e-2]))))
    partners = [name for name, other in net.shapes.items() if other == shape and name != "logits"]
    residuals = draw(st.lists(st.sampled_from(partners), max_size=2)) if partners else []
    parts = _projections(draw, net, shape) if draw(st.integers(0, 2)) == 0 else []
    relu = _relu(draw, net) if fires else None

    def finish(n: RandomNet, u: Tensor, values: dict[str, Tensor]) -> Tensor:
        if norm is not None:
            u = n.get_submodule(norm)(u)
        for name in residuals:
            u = u + values[name]
        for part in parts:
            u = part(n, values) + u
        return u if relu is None else relu(n, u)

    label = (" norm" if norm else "") + (" part" if parts else "") + (" residual" if residuals or parts else "")
    return finish, residuals, label


def _projections(draw: st.DrawFn, net: RandomNet, shape: Shape) -> list[Step]:
    """One or two further linear operations of the same shape, with or without batch norm."""
    found: list[Step] = []
    for _ in range(draw(st.integers(1, 2))):
        source = draw(st.sampled_from([name for name, other in net.shapes.items() if len(other) == len(shape)]))
        before = net.shapes[source]
        norm: str | None = None
        if len(shape) == 1:
            name = net.layer(nn.Linear(before[0], shape[0], bias=draw(st.booleans())))
        else:
            stride = [
                next((s for s in (1, 2, 3) if (n - 1) // s + 1 == m), 0)
                for n, m in zip(before[1:], shape[1:], strict=True)
            ]
            if 0 in stride:
                continue
            name = net.layer(nn.Conv2d(before[0], shape[0], 1, tuple(stride), bias=draw(st.booleans())))
            norm = net.layer(nn.BatchNorm2d(shape[0])) if draw(st.booleans()) else None

        def part(
            n: RandomNet, v: dict[str, Tensor], name: str = name, norm: str | None = norm, source: str = source
        ) -> Tensor:
            u = n.get_submodule(name)(v[source])
            return u if norm is None else n.get_submodule(norm)(u)

        found.append(part)
    return found


def _cat(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    """Maps one behind the other, and maybe what commutes with that."""
    shape = net.shapes[source]
    partners = [name for name, other in net.shapes.items() if other[1:] == shape[1:] and len(other) == len(shape)]
    names = [source, *draw(st.lists(st.sampled_from(partners), min_size=1, max_size=2))]
    channels = sum(net.shapes[name][0] for name in names)
    relu = _relu(draw, net) if draw(st.booleans()) else None
    pool = len(shape) == 3 and min(shape[1:]) > 1 and draw(st.booleans())
    size = tuple(n // 2 for n in shape[1:]) if pool else shape[1:]

    def step(n: RandomNet, v: dict[str, Tensor]) -> Tensor:
        total = torch.cat([v[name] for name in names], dim=1)
        total = total if relu is None else relu(n, total)
        return functional.max_pool2d(total, 2) if pool else total

    net.add("cat", (channels, *size), step)


def _conv(draw: st.DrawFn, net: RandomNet, source: str, *, fires: bool = True, same: bool = False) -> None:
    channels, *size = net.shapes[source]
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    if same:
        half = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
        kernel, stride, padding, outputs = (2 * half[0] + 1, 2 * half[1] + 1), (1, 1), half, channels
    else:
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        kernel = tuple(draw(st.integers(p + 1, min(3, n + 2 * p))) for n, p in zip(size, padding, strict=True))
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
        outputs = groups * draw(st.integers(1, max(1, 4 // groups)))
    conv = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=draw(st.booleans()))
    name = net.layer(conv)
    shape = (outputs, *_windows(size, kernel, stride, padding))
    finish, _, label = _after(draw, net, shape, fires=fires)
    pool = fires and not label.endswith("residual") and min(shape[1:]) > 1 and draw(st.integers(0, 3)) == 0
    if not pool:
        step: Step = lambda n, v: finish(n, n.get_submodule(name)(v[source]), v)  # noqa: E731
        net.add("conv" + label, shape, step)
        return
    top = net.layer(nn.MaxPool2d(2))  # before the activation, as some networks have it
    relu = _relu(draw, net)

    def pooled(n: RandomNet, v: dict[str, Tensor]) -> Tensor:
        return relu(n, n.get_submodule(top)(n.get_submodule(name)(v[source])))

    net.add("conv, maxpool, relu", (outputs, shape[1] // 2, shape[2] // 2), pooled)


def _linear(draw: st.DrawFn, net: RandomNet, source: str, *, fires: bool = True) -> None:
    same = [shape[0] for shape in net.shapes.values() if len(shape) == 1]
    outputs = draw(st.sampled_from(same)) if same and draw(st.booleans()) else draw(st.integers(1, 6))
    name = net.layer(nn.Linear(net.shapes[source][0], outputs, bias=draw(st.booleans())))
    finish, _, label = _after(draw, net, (outputs,), fires=fires)
    net.add("linear" + label, (outputs,), lambda n, v: finish(n, n.get_submodule(name)(v[source]), v))


def _maxpool(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    channels, *size = net.shapes[source]
    kernel, stride, padding = _pool_window(draw, size)
    shape = (channels, *_windows(size, kernel, stride, padding))
    if draw(st.booleans()):
        name = net.layer(nn.MaxPool2d(kernel, stride, padding))
        net.add("maxpool", shape, lambda n, v: n.get_submodule(name)(v[source]))
    else:
        net.add("maxpool", shape, lambda n, v: functional.max_pool2d(v[source], kernel, stride, padding))


def _average(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    channels, *size = net.shapes[source]
    tiles = draw(st.booleans())  # which may merge into the next layer
    if tiles:
        kernel = tuple(draw(st.sampled_from([k for k in (2, 1, 4, 3) if k <= n])) for n in size)
        stride, padding = kernel, (0, 0)
    else:
        kernel, stride, padding = _pool_window(draw, size)
    shape = (channels, *_windows(size, kernel, stride, padding))
    if draw(st.booleans()):
        name = net.layer(nn.AvgPool2d(kernel, stride, padding))
        net.add("average", shape, lambda n, v: n.get_submodule(name)(v[source]))
    else:
        net.add("average", shape, lambda n, v: functional.avg_pool2d(v[source], kernel, stride, padding))
    if tiles and draw(st.booleans()):
        if draw(st.booleans()):
            _conv(draw, net, next(reversed(net.shapes)))
        else:
            _flatten(draw, net, next(reversed(net.shapes)))
            _linear(draw, net, next(reversed(net.shapes)))


def _global(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    channels = net.shapes[source][0]
    kind = draw(st.sampled_from(["module", "function", "mean"]))
    if kind == "mean":
        net.add("global average", (channels,), lambda n, v: v[source].mean((2, 3)))
    elif kind == "module":
        name = net.layer(nn.AdaptiveAvgPool2d(1))
        net.add("global average", (channels, 1, 1), lambda n, v: n.get_submodule(name)(v[source]))
    else:
        net.add("global average", (channels, 1, 1), lambda n, v: functional.adaptive_avg_pool2d(v[source], 1))


def _sum(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    partners = [name for name, shape in net.shapes.items() if shape == net.shapes[source]]
    other = draw(st.sampled_from(partners))
    relu = _relu(draw, net) if draw(st.booleans()) else None

    def step(n: RandomNet, v: dict[str, Tensor]) -> Tensor:
        total = v[source] + v[other]
        return total if relu is None else relu(n, total)

    net.add("sum", net.shapes[source], step)


def _flatten(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    shape = (int(np.prod(net.shapes[source])),)
    kind = draw(st.sampled_from(["module", "method", "view"]))
    if kind == "module":
        name = net.layer(nn.Flatten())
        net.add("flatten", shape, lambda n, v: n.get_submodule(name)(v[source]))
    elif kind == "method":
        net.add("flatten", shape, lambda n, v: v[source].flatten(1))
    else:
        net.add("flatten", shape, lambda n, v: v[source].reshape(v[source].size(0), -1))


def _dropout(draw: st.DrawFn, net: RandomNet, source: str) -> None:
    name = net.layer(draw(st.sampled_from([nn.Dropout(0.5), nn.Identity()])))
    net.add("dropout", net.shapes[source], lambda n, v: n.get_submodule(name)(v[source]))


def _pool_window(draw: st.DrawFn, size: list[int]) -> tuple[Any, Any, Any]:
    """Padding is at most half of the window, as torch wants it."""
    kernel = tuple(draw(st.integers(1, min(3, n))) for n in size)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding


def _windows(size: list[int], kernel: Any, stride: Any, padding: Any) -> tuple[int, int]:
    rows, columns = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
    return rows, columns


ADD: dict[str, Callable[[st.DrawFn, RandomNet, str], None]] = {
    "conv": _conv,
    "same conv": lambda draw, net, source: _conv(draw, net, source, same=True),
    "linear": _linear,
    "maxpool": _maxpool,
    "average": _average,
    "global": _global,
    "sum": _sum,
    "cat": _cat,
    "flatten": _flatten,
    "dropout": _dropout,
}
