"""Windows over maps of spike times, and the earliest spike in each."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from firstspike.arith import NO_SPIKE
from firstspike.spec.network import MaxPool2d


def windows(
    values: np.ndarray, fill: int, kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int]
) -> np.ndarray:
    """View ``[n, c, h_out, w_out, k_h, k_w]`` on padded values ``[n, c, h, w]``."""
    (top, left), (down, across) = padding, stride
    padded = np.pad(values, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=fill)
    return sliding_window_view(padded, (kernel[0], kernel[1]), axis=(2, 3))[:, :, ::down, ::across]


def max_pool(layer: MaxPool2d, times: np.ndarray) -> np.ndarray:
    """The earliest spike of every window, uint8 ``[n, c, h, w]``: silence is 255, so it is the minimum."""
    first: np.ndarray = windows(times, NO_SPIKE, layer.kernel, layer.stride, layer.padding).min(axis=(-2, -1))
    return first
