"""Plain layers, and which neuron reaches which.

A layer is a plain dict that one of the constructors makes. ``synapses_of_neuron`` looks back from a neuron and
``synapses_of_spike`` forward from a spike: each states the geometry by itself, so that one can check the other.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product as grid
from math import prod
from typing import Any

from . import tables
from .tables import NO_SPIKE, Params

Layer = dict[str, Any]
Shape = tuple[int, ...]

WEIGHTED = {
    "conv2d": {
        "name",
        "kind",
        "inputs",
        "codes",
        "k",
        "bias",
        "fires",
        "residual",
        "parts",
        "shifts",
        "stride",
        "padding",
        "groups",
        "dilation",
    },
    "linear": {"name", "kind", "inputs", "codes", "k", "bias", "fires", "residual", "parts", "shifts"},
}
KEYS = WEIGHTED | {
    "maxpool2d": {"name", "kind", "inputs", "kernel", "stride", "padding"},
    "flatten": {"name", "kind", "inputs"},
    "channels": {"name", "kind", "inputs", "channels"},
    "pixelshuffle": {"name", "kind", "inputs", "factor"},
}


# ---- plain layers -------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """``value`` as nested lists: an array gives its .tolist(), which keeps every float exactly."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(vertical, horizontal); one integer stands for both."""
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal


def conv2d(
    name: str,
    inputs: str,
    codes: Any,
    k: int,
    bias: Any,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    fires: bool = True,
    residual: Sequence[str] = (),
    parts: Sequence[Layer] = (),
    shifts: Sequence[int] = (),
) -> Layer:
    """Cross-correlation; ``codes[out][in of the group][row][column]`` are bytes, ``bias[out]`` integers in 2^-G."""
    layer = linear(name, inputs, codes, k, bias, fires=fires, residual=residual, parts=parts, shifts=shifts)
    geometry = {"stride": pair(stride), "padding": pair(padding), "groups": groups, "dilation": pair(dilation)}
    return layer | {"kind": "conv2d"} | geometry


def linear(
    name: str,
    inputs: str,
    codes: Any,
    k: int,
    bias: Any,
    *,
    fires: bool = True,
    residual: Sequence[str] = (),
    parts: Sequence[Layer] = (),
    shifts: Sequence[int] = (),
) -> Layer:
    """A dense layer on a flat input; ``codes[out][in]`` are bytes, ``bias[out]`` integers in units of 2^-G.

    ``parts`` are layers whose products are added too: their own inputs, codes, k and geometry count, nothing else.
    ``shifts[out]`` halve an output's weights (section 8), its bias being in units of 2^-(G + shift); none are zeros.
    """
    bias = plain(bias)
    return {
        "name": name,
        "kind": "linear",
        "inputs": [inputs],
        "codes": plain(codes),
        "k": k,
        "bias": bias,
        "fires": fires,
        "residual": list(residual),
        "parts": list(parts),
        "shifts": list(shifts) or [0] * len(bias),
    }


def maxpool2d(
    name: str,
    inputs: str,
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Layer:
    """The first spike of each window; padding never spikes. The stride is the kernel unless it is given."""
    return {
        "name": name,
        "kind": "maxpool2d",
        "inputs": [inputs],
        "kernel": pair(kernel),
        "stride": pair(kernel if stride is None else stride),
        "padding": pair(padding),
    }


def flatten(name: str, inputs: str) -> Layer:
    """[C, H, W] to [C*H*W] in C order."""
    return {"name": name, "kind": "flatten", "inputs": [inputs]}


def channels(name: str, inputs: Sequence[str], picks: Sequence[int | None]) -> Layer:
    """Channels of one or more maps, one behind the other: for each output channel its number there, or None for silence."""
    return {"name": name, "kind": "channels", "inputs": list(inputs), "channels": list(picks)}


def pixelshuffle(name: str, inputs: str, factor: int | Sequence[int]) -> Layer:
    """Every ``r * s`` channels become one, whose pixels they are: ``r`` rows, ``s`` columns, ``factor`` being (r, s)."""
    return {"name": name, "kind": "pixelshuffle", "inputs": [inputs], "factor": pair(factor)}


def avgpool2d_codes(channels: int, kernel: int | Sequence[int], params: Params) -> tuple[list[Any], int]:
    """(codes, k) of average pooling as a depthwise convolution: all codes are the level nearest to 1/n."""
    height, width = pair(kernel)
    q, k = tables.nearest_level(Fraction(1, height * width), params)
    code = tables.pack(q, 0, params)
    return [[[[code] * width for _ in range(height)]] for _ in range(channels)], k


# ---- geometry -----------------------------------------------------------------------------------------------------


def nested_shape(value: Any) -> Shape:
    """The shape of a nested list; ValueError where it is ragged."""
    if not isinstance(value, list):
        return ()
    inner = {nested_shape(item) for item in value}
    if len(inner) != 1:
        raise ValueError(f"nested list must be rectangular and not empty, not {value!r}")
    return (len(value), *inner.pop())


def flat(value: Any) -> list[Any]:
    """The leaves of a nested list in C order."""
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list) else [value]


def windows(layer: Layer, size: Shape, kernel: Shape) -> Shape:
    """(rows, columns) of the windows that fit into the padded map."""
    return tuple((size[i] + 2 * layer["padding"][i] - kernel[i]) // layer["stride"][i] + 1 for i in (0, 1))


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """The shape behind a layer, and the check that the layer fits an input of ``shape``."""
    kind, name = layer["kind"], layer["name"]
    if kind == "flatten":
        return (prod(shape),)
    if kind == "linear":
        codes = nested_shape(layer["codes"])
        if len(codes) != 2 or shape != codes[1:]:
            raise ValueError(f"layer {name!r} must have codes [out][in] for input {shape!r}, not of shape {codes!r}")
        return codes[:1]
    if len(shape) != 3:
        raise ValueError(f"layer {name!r} must have an input (C, H, W), not {shape!r}")
    channels, *size = shape
    if kind == "pixelshuffle":
        rows, columns = layer["factor"]
        if channels % (rows * columns):
            raise ValueError(f"layer {name!r} must have channels in {rows * columns}s, not {channels!r}")
        return (channels // (rows * columns), size[0] * rows, size[1] * columns)
    if kind == "maxpool2d":
        kernel: Shape = layer["kernel"]
    else:
        codes = nested_shape(layer["codes"])
        groups = layer["groups"]
        if len(codes) != 4 or codes[1] * groups != channels or codes[0] % groups:
            raise ValueError(f"layer {name!r} must have codes of {channels} inputs in {groups} groups, not {codes!r}")
        channels = codes[0]
        kernel = tuple(layer["dilation"][i] * (codes[2 + i] - 1) + 1 for i in (0, 1))
    size = list(windows(layer, tuple(size), kernel))
    if min(size) < 1:
        raise ValueError(f"layer {name!r} must have at least one window, not {size!r}")
    return (channels, *size)


def synapses_of_neuron(layer: Layer, shape: Shape, out: Shape) -> Iterator[tuple[int, int]]:
    """(flat input index, code) of each synapse of the neuron ``out`` that lies inside the layer, not in padding."""
    if layer["kind"] == "linear":
        yield from enumerate(layer["codes"][out[0]])
        return
    (channels, height, width), (o, y, x) = shape, out
    (down, right), (top, left) = layer["stride"], layer["padding"]
    first = o // (len(layer["codes"]) // layer["groups"]) * (channels // layer["groups"])
    for c, plane in enumerate(layer["codes"][o]):
        for i, line in enumerate(plane):
            for j, code in enumerate(line):
                row, column = y * down - top + i * layer["dilation"][0], x * right - left + j * layer["dilation"][1]
                if 0 <= row < height and 0 <= column < width:
                    yield ((first + c) * height + row) * width + column, code


def synapses_of_spike(layer: Layer, shape: Shape, out_shape: Shape, source: Shape) -> Iterator[tuple[int, int]]:
    """(flat output index, code) of each synapse that a spike of the input neuron ``source`` reaches."""
    if layer["kind"] == "linear":
        yield from ((o, row[source[0]]) for o, row in enumerate(layer["codes"]))
        return
    (c, row, column), (outs, height, width) = source, out_shape
    inside = shape[0] // layer["groups"]  # input channels of a group
    across = outs // layer["groups"]  # output channels of a group
    rows, columns = len(layer["codes"][0][0]), len(layer["codes"][0][0][0])
    for o in range(c // inside * across, (c // inside + 1) * across):
        for y, x in grid(range(height), range(width)):
            i, between_rows = divmod(row - (y * layer["stride"][0] - layer["padding"][0]), layer["dilation"][0])
            j, between_columns = divmod(column - (x * layer["stride"][1] - layer["padding"][1]), layer["dilation"][1])
            if 0 <= i < rows and 0 <= j < columns and not between_rows and not between_columns:
                yield (o * height + y) * width + x, layer["codes"][o][c % inside][i][j]


def pool(layer: Layer, times: list[int], shape: Shape, out_shape: Shape) -> list[int]:
    """The smallest time of each window. 255, no spike, is the greatest byte, so it loses against every spike."""
    _, height, width = shape
    result = []
    for c, y, x in grid(*map(range, out_shape)):
        best = NO_SPIKE
        for i, j in grid(*map(range, layer["kernel"])):
            row = y * layer["stride"][0] - layer["padding"][0] + i
            column = x * layer["stride"][1] - layer["padding"][1] + j
            if 0 <= row < height and 0 <= column < width:
                best = min(best, times[(c * height + row) * width + column])
        result.append(best)
    return result
