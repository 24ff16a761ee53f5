"""Cycles of an operation that do not depend on spikes, and which of a map's pixels its windows see."""

import numpy as np

from firstspike.spec.network import Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Operation, Pool, Window

PIXEL = 1
"""Cycles that start a window."""
ISSUE = 1
"""Cycles from a window's start to its first word."""
DRAIN = 2
"""Cycles from the last word to the last membrane update."""
NEXT = 1
"""Cycles that end a window."""
LATENCY = 1
"""Cycles from a read request to the data of an on-chip memory."""


def constant_cycles(network: Network, processor: ProcessorSpec, operation: Operation) -> int:
    """Cycles of an operation that do not depend on spikes."""
    if isinstance(operation, Convolve):
        return operation.pixels * (PIXEL + ISSUE + DRAIN + fire_cycles(network, processor, operation) + NEXT)
    if isinstance(operation, Pool):
        window = PIXEL + ISSUE + operation.kernel[0] * operation.kernel[1] + 1 + NEXT
        return operation.pixels * operation.words * window
    return 0


def fire_cycles(network: Network, processor: ProcessorSpec, operation: Convolve) -> int:
    """Cycles of a window after its walk."""
    steps = network.code.T + LATENCY
    cycles = 0
    if operation.residual is not None:
        cycles += -(-operation.outputs[1] // processor.lanes) + LATENCY + steps
    if not operation.last:
        return cycles + 1
    return cycles + (steps + settle_cycles(network, operation) if operation.fires else 0) + operation.out_words


def settle_cycles(network: Network, operation: Convolve) -> int:
    """Cycles in which membranes halve before they fire: the largest shift of the tile's channels."""
    layer, (first, count) = network.layer(operation.layer), operation.outputs
    channels = count // operation.group
    return max(layer.shifts[first : first + channels], default=0) if isinstance(layer, Synaptic) else 0


def coverage(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """How many windows see each input row and column."""
    rows, columns = (
        cover(size, window.kernel[axis], window.stride[axis], window.origin[axis], window.in_size[axis])
        for axis, size in enumerate((window.height, window.width))
    )
    return rows, columns


def cover(outputs: int, kernel: int, stride: int, origin: int, extent: int, dilation: int = 1) -> np.ndarray:
    """Number of (output, kernel position) pairs that fall on each of ``extent`` input positions, int64.

    >>> cover(3, 3, 1, -1, 3).tolist(), cover(2, 2, 2, 0, 5).tolist()
    ([2, 3, 2], [1, 1, 1, 1, 0])
    """
    positions = origin + stride * np.arange(outputs)[:, None] + dilation * np.arange(kernel)
    inside = positions[(positions >= 0) & (positions < extent)]
    return np.bincount(inside, minlength=extent).astype(np.int64)
