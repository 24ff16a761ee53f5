"""The size of image that a plain network takes: what an example says, or what is found by trial."""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, fx, nn

from firstspike.cat.operations import MisfitError, Operation, UnsupportedError
from firstspike.cat.tracing import BATCH, Traceable

COMMON_SIZES = (32, 28, 64, 224, 16, 8, 96, 48, 128, 299, 256, 12, 4, 1)
"""Heights and widths that are tried first where no example says how large an image is."""

LARGEST_SIZE = 1024

COMMON_LENGTHS = (1024, 256, 128, 784, 4096, 16000, 8000, 64, 32, 16)
"""The same for sequences."""

LONGEST = 1 << 16


class Blueprint(Protocol):
    """What is made of a network's graph for one size of image."""

    def blueprint(self) -> list[Any]:
        """All that tells one result of the same modules from another."""
        ...


Built = TypeVar("Built", bound=Blueprint)


def example_shape(example: Tensor | np.ndarray) -> tuple[int, ...]:
    """Shape of one of an example's images ``[n, *shape]``.

    Raises:
        TypeError: it is neither a tensor nor an array.
    """
    if not isinstance(example, Tensor | np.ndarray):
        raise TypeError(f"example must be a tensor or an array of images, not {type(example).__name__}")
    return tuple(int(extent) for extent in example.shape[1:])


def fitting(network: Traceable, build: Callable[[tuple[int, ...]], Built]) -> Built:
    """What a network becomes for square images of a size that its layers take, found by trial.

    Args:
        network: the plain network.
        build: makes it of its graph for images of one shape.

    Raises:
        UnsupportedError: it fits no size; or it fits several, and becomes something else for each.
    """
    layer = network.first_layer()
    if not isinstance(layer, nn.Conv2d | nn.Conv1d):
        return build((layer.in_features if layer is not None else 1,))
    line, channels = isinstance(layer, nn.Conv1d), layer.in_channels
    common, largest = (COMMON_LENGTHS, LONGEST) if line else (COMMON_SIZES, LARGEST_SIZE)

    def of_size(size: int) -> Built:
        return build((channels, size) if line else (channels, size, size))

    low, high, tried, size = 1, largest, set(), common[0]
    while True:
        tried.add(size)
        try:
            builder = of_size(size)
            break
        except MisfitError as misfit:
            if misfit.larger is not None:
                low, high = (max(low, size + 1), high) if misfit.larger else (low, min(high, size - 1))
            left = [other for other in common if low <= other <= high and other not in tried]
            if misfit.larger is not None and low <= high and (not left or len(tried) > 4):
                left = [(low + high) // 2]
            if not left or left[0] in tried:
                raise UnsupportedError(
                    f"{misfit} (no size of a square image fits; give prepare(net, example=images))"
                ) from None
            size = left[0]
    try:
        other = of_size(2 * size)
    except MisfitError:
        return of_size(size)
    if builder.blueprint() != other.blueprint():
        raise UnsupportedError(
            f"network {network.name}: what it computes depends on the size of an image; give prepare(net, example=images)"
        )
    return other


def check_fits(node: fx.Node, found: Operation) -> None:
    """Refuse a node that could not be run on images of this size, or did not keep them apart.

    Raises:
        MisfitError: it could not, or did not.
    """
    error, shape = node.meta.get("error"), node.meta.get("shape")
    if error is None and (found.kind == "pieces" or (shape and shape[0] == BATCH)):
        return
    read = tuple(node.all_input_nodes[0].meta.get("shape", ()))[1:]
    if found.kind == "reshape":
        given = [extent for extent in _numbers(node) if extent > 0 and extent != BATCH]
        raise MisfitError(f"{found.path}: {found.rule}", prod(read) < prod(given) if given else None)
    if isinstance(found.module, nn.Linear) and read:
        wanted = found.module.in_features
        raise MisfitError(f"{found.path}: it takes {wanted} features, not shape {read!r}", read[-1] < wanted)
    reason = " ".join(str(error).split())[:200]
    small = "small" in reason or "greater than actual input size" in reason
    raise MisfitError(
        f"{found.path}: it does not take what it reads, shape {read!r}: {reason}", True if small else None
    )


def _numbers(node: fx.Node) -> list[int]:
    """The numbers among a node's arguments."""
    numbers: list[Any] = []
    for argument in (*node.args[1:], *node.kwargs.values()):
        numbers += argument if isinstance(argument, tuple | list) else (argument,)
    return [number for number in numbers if isinstance(number, int)]
