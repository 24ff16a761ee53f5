"""Bounds on the sizes of a network: what a file of any content may ask of a machine that runs it (docs/reference/model-file.md).

Every engine can hold and compute one image of a network within these bounds; each is far above what a trained network
needs (VGG-16 at 224 x 224: 3.2 million outputs of a layer, 16 billion operations).
"""

import math

MAX_LAYERS = 1 << 12
"""Most layers of a network."""

MAX_PARTS = 1 << 7
"""Most parts of a layer."""

MAX_ALL_PARTS = 1 << 12
"""Most parts of all layers together."""

MAX_SUMS = 1 << 25
"""Most sums that the parts of one layer leave for it, for one image: its outputs times its parts."""

MAX_EXTENT = 1 << 16
"""Most channels, rows or columns of a map, rows or columns of a kernel, and the largest stride."""

MAX_NEURONS = 1 << 24
"""Most outputs of one layer, for one image."""

MAX_ALL_NEURONS = 1 << 27
"""Most outputs of all layers and the input together, for one image."""

MAX_PADDED = 1 << 25
"""Most values of the padded input of a window, or of the maps together whose channels are rearranged, for one image."""

MAX_FIELD = 1 << 22
"""Most values of its input that a layer reads for one position: channels times rows times columns of the kernel."""

MAX_OPERATIONS = 1 << 36
"""Most operations of all layers together, for one image; see `operations`."""

Shape = tuple[int, ...]


def window_shape(
    name: str, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of the windows over a map ``(channels, height, width)``.

    Raises:
        ValueError: the padding reaches the kernel's size, so that a window could see padding alone; the kernel is too large
            or does not fit the padded input; or the padded input is too large.
    """
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise ValueError(
            f"layer {name!r}: padding must be below the kernel's size {kernel!r}, not {padding!r}: a window would see "
            "padding alone"
        )
    if max(kernel) > MAX_EXTENT:
        raise ValueError(f"layer {name!r}: kernel must be in 1..{MAX_EXTENT}, not {kernel!r}")
    padded = tuple(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))
    if padded[0] < kernel[0] or padded[1] < kernel[1]:
        raise ValueError(
            f"layer {name!r}: window {kernel!r} must fit its padded input, not {shape!r} + 2 * {padding!r}"
        )
    if shape[0] * math.prod(padded) > MAX_PADDED:
        raise ValueError(
            f"layer {name!r}: its padded input must have at most {MAX_PADDED} values, not {shape!r} + 2 * {padding!r}"
        )
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride, strict=True))
    return rows, columns


def check_shape(name: str, shape: Shape) -> None:
    """Check the shape of the input or of a layer's output.

    Raises:
        ValueError: it has too many values, or a map has an axis that is too long.
    """
    if len(shape) == 3 and max(shape) > MAX_EXTENT:
        raise ValueError(f"{name!r} must have at most {MAX_EXTENT} channels, rows and columns, not shape {shape!r}")
    if math.prod(shape) > MAX_NEURONS:
        raise ValueError(f"{name!r} must have at most {MAX_NEURONS} outputs, not shape {shape!r}")


def check_field(name: str, size: int) -> None:
    """Check how many values of its input a layer reads for one position.

    Raises:
        ValueError: too many.
    """
    if size > MAX_FIELD:
        raise ValueError(f"layer {name!r}: its kernel must see at most {MAX_FIELD} values of the input, not {size}")


def check_maps(name: str, size: int) -> None:
    """Check the size of the maps together whose channels a layer rearranges.

    Raises:
        ValueError: too large.
    """
    if size > MAX_PADDED:
        raise ValueError(f"layer {name!r}: its maps together must have at most {MAX_PADDED} values, not {size}")


def check_parts(name: str, shape: Shape, parts: int) -> None:
    """Check the parts of a layer and the sums that they leave for it.

    Raises:
        ValueError: too many.
    """
    if parts > MAX_PARTS:
        raise ValueError(f"layer {name!r}: it must have at most {MAX_PARTS} parts, not {parts}")
    if math.prod(shape) * parts > MAX_SUMS:
        raise ValueError(f"layer {name!r}: outputs times parts must be at most {MAX_SUMS}, not {shape!r} times {parts}")


def check_total(neurons: int, operations: int, parts: int) -> None:
    """Check the sums over all layers.

    Raises:
        ValueError: a sum is too large.
    """
    if neurons > MAX_ALL_NEURONS:
        raise ValueError(f"all layers together must have at most {MAX_ALL_NEURONS} outputs, not {neurons}")
    if parts > MAX_ALL_PARTS:
        raise ValueError(f"all layers together must have at most {MAX_ALL_PARTS} parts, not {parts}")
    if operations > MAX_OPERATIONS:
        raise ValueError(f"a network must take at most {MAX_OPERATIONS} operations an image, not {operations}")
