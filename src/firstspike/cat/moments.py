"""Second moments of what a layer reads and of the membranes that it should have: all that least squares need."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DAMPING = 0.01
"""Added to the diagonal of a covariance, as a share of its mean, so that it can be inverted."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of inputs ``x`` ``[K]`` and wanted membranes ``y`` ``[O]``, both with their means taken away.

    Attributes:
        covariance: mean of ``x x^T``, ``[K, K]``.
        cross: mean of ``x y^T``, ``[K, O]``.
        variance: mean of ``y^T y``.
    """

    covariance: Tensor
    cross: Tensor
    variance: float

    def error(self, weight: Tensor) -> float:
        """Mean squared error of the membranes of ``weight`` ``[O, K]``, with the best bias, as a share of their variance."""
        explained = 2 * (weight * self.cross.t()).sum() - ((weight @ self.covariance) * weight).sum()
        return (self.variance - float(explained)) / max(self.variance, 1e-30)

    def distance(self, weight: Tensor, other: Tensor) -> float:
        """Mean squared difference of the membranes of two weights ``[O, K]``, means aside, as a share of the variance wanted."""
        change = weight - other
        return float(((change @ self.covariance) * change).sum()) / max(self.variance, 1e-30)

    def among(self, inputs: Tensor) -> "Moments":
        """Those of some inputs, by their indices."""
        covariance = self.covariance[inputs][:, inputs]
        return Moments(covariance=covariance, cross=self.cross[inputs], variance=self.variance)

    def fitted(self, weight: Tensor) -> Tensor:
        """The weights near ``weight`` ``[O, K]`` with the least error: ridge regression."""
        rest = self.cross - self.covariance @ weight.t()
        change: Tensor = torch.cholesky_solve(rest, torch.linalg.cholesky(damped(self.covariance)))
        return weight + change.t()


def damped(covariance: Tensor) -> Tensor:
    """A covariance ``[K, K]`` with `DAMPING`, so that it can be inverted."""
    diagonal = covariance.diagonal()
    damping = max(DAMPING * float(diagonal.mean()), 1e-12)
    return covariance + damping * torch.eye(len(covariance), dtype=covariance.dtype)


def moments(layer: nn.Conv2d | nn.Linear, batches: Iterable[tuple[Tensor, Tensor]], positions: int) -> Moments:
    """Moments of a layer over batches of inputs and wanted membranes.

    Args:
        layer: without groups.
        batches: pairs ``[n, c_in, ...]``, with the layer's frame, and ``[n, c_out, ...]``.
        positions: of a map, at most, that are looked at in an image, drawn evenly.
    """
    drawn = torch.Generator().manual_seed(0)
    inputs, outputs = layer.weight[0].numel(), len(layer.weight)
    square, product = torch.zeros(inputs, inputs), torch.zeros(inputs, outputs)
    means = torch.zeros(inputs, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
    size, count = 0.0, 0
    for x, y in batches:
        rows, wanted = (x, y) if isinstance(layer, nn.Linear) else _sampled(layer, x, y, positions, drawn)
        square += rows.t() @ rows
        product += rows.t() @ wanted
        for mean, values in zip(means, (rows, wanted), strict=True):
            mean += values.double().sum(dim=0)
        size += float(wanted.double().square().sum())
        count += len(rows)
    mx, my = (mean / count for mean in means)
    return Moments(
        covariance=square / count - torch.outer(mx, mx).to(square),
        cross=product / count - torch.outer(mx, my).to(product),
        variance=size / count - float(my.square().sum()),
    )


def _sampled(layer: nn.Conv2d, x: Tensor, y: Tensor, positions: int, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    """What some of the outputs of a convolution read ``[m, K]``, and those outputs ``[m, O]``."""
    n, _, height, width = y.shape
    number = min(positions, height * width)
    chosen = torch.rand(n, height * width, generator=drawn).argsort(dim=1)[:, :number]
    assert isinstance(layer.padding, tuple)
    padded = functional.pad(x, (layer.padding[1], layer.padding[1], layer.padding[0], layer.padding[0]))
    image = torch.arange(n)[:, None]
    top, left = chosen // width * layer.stride[0], chosen % width * layer.stride[1]
    taps = [
        padded[image, :, top + dy * layer.dilation[0], left + dx * layer.dilation[1]]
        for dy in range(layer.kernel_size[0])
        for dx in range(layer.kernel_size[1])
    ]
    rows = torch.stack(taps, dim=3).flatten(2).flatten(0, 1)
    return rows, y.flatten(2)[image, :, chosen].flatten(0, 1)
