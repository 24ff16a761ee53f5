"""Nodes that NIR does not have yet, proposed here (docs/reference/nir.md); each is written and read as NIR's own are.

NIR 1.x (Pedersen et al. 2024, doi 10.1038/s41467-024-52259-9) has neurons that fire any number of times at a constant
threshold, and neither the first spike's code nor the earliest spike of a window.
"""

from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

Ports = dict[str, np.ndarray]


def _shape(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int64).reshape(-1)


@dataclass(eq=False, kw_only=True)
class TTFS(nir.NIRNode):
    r"""Neurons that fire at most once in their window, when a falling threshold meets the membrane.

    A membrane is the sum of all that arrived before the window begins, ``v = \sum I``. In step ``t = 0 .. T-1`` of the window

    .. math::
        z(t) = 1 \text{ if } v \ge \kappa(t) \text{ and } z(t') = 0 \text{ for all } t' < t

    and the spike stands for ``\kappa(t)``: that is what nodes behind it receive. With ``value`` of the input as its membrane
    the same node encodes an image.

    Attributes:
        kernel: ``\kappa(0 .. T-1)``, falling, float64.
        shape: of the neurons, without a batch.
    """

    kernel: np.ndarray
    shape: np.ndarray
    input_type: Ports | None = None
    output_type: Ports | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kernel = np.asarray(self.kernel, dtype=np.float64)
        self.input_type, self.output_type = {"input": _shape(self.shape)}, {"output": _shape(self.shape)}


@dataclass(eq=False, kw_only=True)
class BitPlanes(nir.NIRNode):
    """Pixels as eight binary neurons each: plane ``j`` fires in step 0 if bit ``7 - j`` of ``p`` is set, and stands for 2^-(j+1).

    ``p`` is the integer nearest to ``255 x``, a tie to the even one; nodes behind it receive the sum of all planes, ``p / 256``.

    Attributes:
        shape: of an image.
        bits: planes of a pixel.
    """

    shape: np.ndarray
    bits: int = 8
    input_type: Ports | None = None
    output_type: Ports | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bits = int(self.bits)
        self.input_type, self.output_type = {"input": _shape(self.shape)}, {"output": _shape(self.shape)}


@dataclass(eq=False, kw_only=True)
class MaxPool2d(nir.NIRNode):
    """The earliest spike of each window, which is the largest value; padding is silent.

    Attributes:
        kernel_size, stride, padding: rows and columns.
        input_shape: ``(channels, rows, columns)``.
    """

    kernel_size: np.ndarray
    stride: np.ndarray
    padding: np.ndarray
    input_shape: np.ndarray
    input_type: Ports | None = None
    output_type: Ports | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kernel, stride, padding, shape = map(_shape, (self.kernel_size, self.stride, self.padding, self.input_shape))
        self.kernel_size, self.stride, self.padding, self.input_shape = kernel, stride, padding, shape
        size = (shape[1:] + 2 * padding - kernel) // stride + 1
        self.input_type, self.output_type = {"input": shape}, {"output": np.array([shape[0], *size])}


@dataclass(eq=False, kw_only=True)
class Channels(nir.NIRNode):
    """Channels of one or more maps, one behind the other in the order of ``sources``, rearranged.

    Attributes:
        sources: names of the nodes whose maps it reads, separated by line breaks.
        channels: for every output channel, its number among all, or -1 for silence.
        shape: of the output.
    """

    sources: str
    channels: np.ndarray
    shape: np.ndarray
    input_type: Ports | None = None
    output_type: Ports | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channels = _shape(self.channels)
        self.input_type, self.output_type = {"input": _shape(self.shape)}, {"output": _shape(self.shape)}


@dataclass(eq=False, kw_only=True)
class PixelShuffle(nir.NIRNode):
    """Channels become pixels: output ``(c, r y + i, s x + j)`` is input ``(c r s + i s + j, y, x)``.

    Attributes:
        factor: ``(r, s)``.
        input_shape: ``(channels, rows, columns)``.
    """

    factor: np.ndarray
    input_shape: np.ndarray
    input_type: Ports | None = None
    output_type: Ports | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.factor, self.input_shape = _shape(self.factor), _shape(self.input_shape)
        (down, across), (channels, rows, columns) = self.factor, self.input_shape
        out = np.array([channels // (down * across), down * rows, across * columns])
        self.input_type, self.output_type = {"input": self.input_shape}, {"output": out}


PROPOSED: dict[str, type[nir.NIRNode]] = {
    kind.__name__: kind for kind in (TTFS, BitPlanes, MaxPool2d, Channels, PixelShuffle)
}
"""The proposed nodes by their name in a file."""
