"""Random integer networks and inputs for Hypothesis, small enough for the oracle, and the same network in its form.

``networks()`` draws a `Network` of all layer kinds; ``spike_times(network)`` and ``pixels(network)`` draw inputs;
``plain(network)`` writes it as a plain network of ``oracles.network``. Shapes, connections and parameters are drawn one
by one, so that Hypothesis shrinks them; the numbers in arrays come from a drawn seed and a drawn style.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from oracles import network as oracle
from oracles import tables

from firstspike.arith import NO_SPIKE, Code, LogWeights, encode_weights, kernel, membrane_exponent, thresholds
from firstspike.spec.network import (
    INPUT,
    Channels,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    PixelShuffle,
    Shape,
    Synaptic,
)

SEEDS = st.integers(0, 2**32 - 1)


# ---- parameters ---------------------------------------------------------------------------------------------------


@st.composite
def codes(draw: st.DrawFn) -> Code:
    """A code of up to 9 octaves whose kernel falls strictly: as many mantissa bits as that takes, or more."""
    tau = draw(st.sampled_from([4, 1, 2, 8]))
    T = draw(st.integers(1, 9 * tau))
    least = next(bits for bits in range(13) if _is_code(T, tau, bits))
    bits = draw(st.integers(least, max(8, least)))
    return Code(T=T, tau=tau, mantissa_bits=bits, input=draw(st.sampled_from(["spike", "spike", "planes"])))


def _is_code(T: int, tau: int, mantissa_bits: int) -> bool:
    try:
        Code(T=T, tau=tau, mantissa_bits=mantissa_bits)
    except ValueError:
        return False
    return True


@st.composite
def weight_formats(draw: st.DrawFn) -> LogWeights:
    """A weight format of 2 to 8 bits and up to 16 octaves."""
    bits = draw(st.sampled_from([5, 2, 3, 4, 6, 7, 8]))
    rho = draw(st.sampled_from([rho for rho in (2, 1, 4, 8, 16) if (1 << (bits - 1)) <= 16 * rho]))
    return LogWeights(bits=bits, levels_per_octave=rho, mantissa_bits=draw(st.integers(0, 6)))


# ---- networks -----------------------------------------------------------------------------------------------------


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    code: st.SearchStrategy[Code] | None = None,
    weights: st.SearchStrategy[LogWeights] | None = None,
    max_layers: int = 5,
    residuals: bool = True,
    sources: bool = True,
    shifts: bool = True,
    size: int = 6,
) -> Network:
    """A network of up to ``max_layers`` layers and a read-out, on inputs of up to 3 x ``size`` x ``size``.

    Its membranes need ``accumulator_bits`` or fewer: often exactly as many. Without ``sources`` no layer has parts and no
    channels are rearranged, without ``shifts`` every layer has one scale.
    """
    build = _Builder(draw(code or codes()), draw(weights or weight_formats()), residuals, sources, shifts)
    extent = st.integers(1, size)
    image = draw(st.integers(0, 4)) > 0
    input_shape = draw(st.tuples(st.integers(1, 3), extent, extent) if image else st.tuples(st.integers(1, 12)))
    build.shapes[INPUT] = input_shape
    for _ in range(draw(st.integers(0, max_layers))):
        _add_layer(draw, build)
    _add_read_out(draw, build)
    outputs = math.prod(build.shapes[build.layers[-1].name])
    network = Network(
        code=build.code,
        weights=build.weights,
        input_shape=input_shape,
        layers=tuple(build.layers),
        accumulator_bits=48,
        classes=draw(st.sampled_from([(), tuple(f"class {i}" for i in range(outputs))])),
    )
    return replace(network, accumulator_bits=draw(st.sampled_from([needed_bits(network), 48])))


def needed_bits(network: Network) -> int:
    """The least accumulator width that the network fits."""
    bits = 8
    for layer in network.synaptic:
        low, high = network.membrane_bounds(layer)
        level = network.exponent(layer) + 2 if layer.fires else 0  # 2^G itself must be below 2^(A-1)
        bits = max(bits, max(-low - 1, 0).bit_length() + 1, max(high, 0).bit_length() + 1, level)
    return bits


class _Builder:
    """The layers so far, and the shape behind each name."""

    def __init__(self, code: Code, weights: LogWeights, residuals: bool, sources: bool, shifts: bool) -> None:
        self.code, self.weights, self.residuals, self.sources, self.shifts = code, weights, residuals, sources, shifts
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {}

    def bits(self, name: str) -> bool:
        """Whether a map is the input's planes."""
        flat = [layer.source for layer in self.layers if layer.name == name and isinstance(layer, Flatten)]
        return self.code.planes and (name == INPUT or any(self.bits(source) for source in flat))

    def exponent(self, layer: Synaptic) -> int:
        """``G`` of a layer."""
        return max(
            membrane_exponent(self.code, self.weights, part.scale, planes=self.bits(part.source))
            for part in layer.connections
        )

    def name(self, kind: str) -> str:
        return f"{kind}.{len(self.layers)}"

    def add(self, layer: Layer) -> None:
        joined = isinstance(layer, Channels)
        self.shapes[layer.name] = (
            layer.joined_shape(self.shapes) if joined else layer.output_shape(self.shapes[layer.source])
        )
        self.layers.append(layer)


def _add_layer(draw: st.DrawFn, build: _Builder) -> None:
    # mostly a chain, and now and then a branch from further back
    source = draw(st.sampled_from([next(reversed(build.shapes)), *reversed(build.shapes)]))
    if len(build.shapes[source]) == 1:
        moves = build.sources and not build.bits(source) and draw(st.integers(0, 3)) == 0
        build.add(_channels(draw, build, source) if moves else _linear(draw, build, source, fires=True))
        return
    kinds = ["conv", "same", "same", "maxpool", "avgpool", "flatten"] + ["channels", "shuffle"] * build.sources
    numbers = ("maxpool", "channels", "shuffle")
    kind = draw(st.sampled_from([kind for kind in kinds if kind not in numbers or not build.bits(source)]))
    if kind == "conv":
        build.add(_conv(draw, build, source, fires=True))
    elif kind == "same":
        build.add(_conv(draw, build, source, fires=True, same=True))
    elif kind == "maxpool":
        window, stride, padding = _window(draw, build.shapes[source])
        build.add(MaxPool2d(name=build.name(kind), source=source, kernel=window, stride=stride, padding=padding))
    elif kind == "avgpool":
        build.add(_average(draw, build, source))
    elif kind == "channels":
        build.add(_channels(draw, build, source))
    elif kind == "shuffle":
        channels = build.shapes[source][0]
        pairs = [(r, s) for r in (1, 2, 3) for s in (1, 2, 3) if channels % (r * s) == 0]
        build.add(PixelShuffle(name=build.name(kind), source=source, factor=draw(st.sampled_from(pairs))))
    else:
        build.add(Flatten(name=build.name(kind), source=source))


def _add_read_out(draw: st.DrawFn, build: _Builder) -> None:
    source = next(reversed(build.shapes))
    if len(build.shapes[source]) == 3:
        if draw(st.booleans()):
            build.add(_conv(draw, build, source, fires=False))
            return
        build.add(Flatten(name=build.name("flatten"), source=source))
        source = build.layers[-1].name
    build.add(_linear(draw, build, source, fires=False))


def _linear(draw: st.DrawFn, build: _Builder, source: str, *, fires: bool) -> Linear:
    same = [shape[0] for shape in build.shapes.values() if len(shape) == 1 and shape[0] < 12]  # partners of residuals
    match = bool(same) and draw(st.booleans())
    outputs = draw(st.sampled_from(same) if match else st.integers(1, 6))
    shape = (outputs, build.shapes[source][0])
    layer = Linear(
        name=build.name("linear"),
        source=source,
        codes=_codes(draw, shape, build.weights),
        scale=_scale(draw, build.weights),
        bias=np.zeros(shape[0], dtype=np.int64),
        fires=fires,
    )
    return _finish(draw, build, layer)


def _conv(draw: st.DrawFn, build: _Builder, source: str, *, fires: bool, same: bool = False) -> Conv2d:
    channels = build.shapes[source][0]
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    if same:  # the output has the input's shape, so that residuals find partners
        half = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
        window, stride, padding, outputs = (2 * half[0] + 1, 2 * half[1] + 1), (1, 1), half, channels
        dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if build.sources else (1, 1)
        padding = (half[0] * dilation[0], half[1] * dilation[1])
    else:
        window, stride, padding = _window(draw, build.shapes[source])
        dilation = (1, 1)
        if build.sources:
            rows, columns = (
                draw(st.integers(1, max(1, (n + 2 * p - 1) // max(1, k - 1))))
                for n, p, k in zip(build.shapes[source][1:], padding, window, strict=True)
            )
            dilation = (min(rows, 4), min(columns, 4))
        outputs = groups * draw(st.integers(1, max(1, 4 // groups)))
    shape = (outputs, channels // groups, *window)
    layer = Conv2d(
        name=build.name("conv"),
        source=source,
        codes=_codes(draw, shape, build.weights),
        scale=_scale(draw, build.weights),
        bias=np.zeros(outputs, dtype=np.int64),
        fires=fires,
        stride=stride,
        padding=padding,
        groups=groups,
        dilation=dilation,
    )
    return _finish(draw, build, layer)


def _channels(draw: st.DrawFn, build: _Builder, source: str) -> Channels:
    """Channels of some maps of one size, in any order, some twice, some silent."""
    shape = build.shapes[source]
    same = [name for name, other in build.shapes.items() if other[1:] == shape[1:] and not build.bits(name)]
    others = draw(st.lists(st.sampled_from(same), max_size=2)) if len(shape) == 3 else []
    total = sum(build.shapes[name][0] for name in (source, *others))
    channels = draw(st.lists(st.integers(-1, total - 1), min_size=1, max_size=6))
    return Channels(name=build.name("channels"), source=source, others=tuple(others), channels=tuple(channels))


def _parts(draw: st.DrawFn, build: _Builder, layer: Synaptic) -> tuple[Synaptic, ...]:
    """Up to two further connections from maps that some window takes to the layer's shape."""
    shape = layer.output_shape(build.shapes[layer.source])
    found: list[Synaptic] = []
    for number in range(draw(st.sampled_from([0, 0, 1, 2])) if build.sources else 0):
        source = draw(st.sampled_from([name for name, other in build.shapes.items() if len(other) == len(shape)]))
        before = build.shapes[source]
        options: dict[str, Any] = {}
        window: tuple[int, ...] = ()
        groups = 1
        if len(shape) == 3:
            fits = [_fitting(before[axis], shape[axis]) for axis in (1, 2)]
            if not all(fits):
                continue
            rows, columns = (draw(st.sampled_from(fit)) for fit in fits)
            groups = draw(st.sampled_from([g for g in range(1, 4) if shape[0] % g == 0 and before[0] % g == 0]))
            window = (rows[0], columns[0])
            options = {"stride": (rows[1], columns[1]), "padding": (rows[2], columns[2]), "groups": groups}
        part = type(layer)(
            name=f"{layer.name}.part{number}",
            source=source,
            codes=_codes(draw, (shape[0], before[0] // groups, *window), build.weights),
            scale=_scale(draw, build.weights),
            bias=np.zeros(shape[0], dtype=np.int64),
            fires=False,
            **options,
        )
        found.append(part)
    return tuple(found)


def _fitting(size: int, wanted: int) -> list[tuple[int, int, int]]:
    """Kernels, strides and paddings of up to 3 by which ``size`` positions give ``wanted``."""
    return [
        (kernel, stride, padding)
        for kernel in range(1, 4)
        for stride in range(1, 4)
        for padding in range(kernel)
        if size + 2 * padding >= kernel and (size + 2 * padding - kernel) // stride + 1 == wanted
    ]


def _average(draw: st.DrawFn, build: _Builder, source: str) -> Conv2d:
    """Average pooling as the file stores it: depthwise, all codes the level nearest to 1/n, no bias."""
    channels = build.shapes[source][0]
    window, stride, padding = _window(draw, build.shapes[source])
    params = tables.Params(
        bits=build.weights.bits, rho=build.weights.levels_per_octave, M_w=build.weights.mantissa_bits
    )
    codes, scale = oracle.avgpool2d_codes(channels, window, params)
    return Conv2d(
        name=build.name("avgpool"),
        source=source,
        codes=np.array(codes, dtype=np.uint8),
        scale=scale,
        bias=np.zeros(channels, dtype=np.int64),
        stride=stride,
        padding=padding,
        groups=channels,
    )


def _window(draw: st.DrawFn, shape: Shape) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Window, stride and padding, below the window, that fit a map."""
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    rows, columns = (draw(st.integers(p + 1, min(3, n + 2 * p))) for n, p in zip(shape[1:], padding, strict=True))
    return (rows, columns), draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding


def _scale(draw: st.DrawFn, weights: LogWeights) -> int:
    return draw(st.integers(-2 * weights.levels_per_octave, 3 * weights.levels_per_octave))


def _codes(draw: st.DrawFn, shape: Shape, weights: LogWeights) -> np.ndarray:
    style = draw(st.sampled_from(["any", "negative", "sparse", "silent"]))
    rng = np.random.default_rng(draw(SEEDS))
    codes = rng.integers(0, 1 << weights.bits, shape, dtype=np.uint8)  # both zeros too
    if style == "negative":
        codes |= np.uint8(1 << (weights.bits - 1))
    if style == "sparse":
        zero = encode_weights(np.full(shape, weights.zero_level), np.full(shape, False), weights)
        codes = np.where(rng.random(shape) < 0.7, zero, codes)
    return np.full(shape, weights.zero_level, dtype=np.uint8) if style == "silent" else codes


def _finish(draw: st.DrawFn, build: _Builder, layer: Any) -> Any:
    """The layer with parts and residual inputs, where there are any of its shape, and a bias."""
    layer = replace(layer, parts=_parts(draw, build, layer))
    exponent = build.exponent(layer)
    shape = layer.output_shape(build.shapes[layer.source])
    partners = [name for name in build.shapes if build.shapes[name] == shape and not build.bits(name)]
    if build.residuals and partners and exponent >= build.code.exponent:
        layer = replace(layer, residuals=tuple(draw(st.lists(st.sampled_from(partners), max_size=2))))
    if build.shifts and layer.fires and not layer.residuals and exponent >= build.code.exponent and draw(st.booleans()):
        size = layer.outputs
        shifts = tuple(draw(st.lists(st.integers(0, 7), min_size=size, max_size=size)))
        layer = replace(layer, shifts=shifts if any(shifts) else ())
    style = draw(st.sampled_from(["zero", "any", "threshold", "just below", "high", "low"]))
    rng = np.random.default_rng(draw(SEEDS))
    theta = thresholds(build.code, exponent)
    bias = {
        "zero": np.zeros(layer.outputs, dtype=np.int64),
        "any": np.rint(rng.normal(size=layer.outputs) * 2.0**exponent).astype(np.int64),
        "threshold": rng.choice(theta, layer.outputs) << layer.channel_shifts,
        "just below": (rng.choice(theta, layer.outputs) << layer.channel_shifts) - 1,
        "high": np.full(layer.outputs, 3 * theta[0]),
        "low": np.full(layer.outputs, -3 * theta[0]),
    }[style]
    return replace(layer, bias=bias)


def shifted(network: Network, seed: int = 0) -> Network:
    """The network with a random shift for each output channel, and a bias as much finer, wherever a layer may have them."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Synaptic) and layer.fires and not layer.residuals:
            shifts = rng.integers(0, 8, layer.outputs)
            layer = replace(layer, shifts=tuple(map(int, shifts)), bias=layer.bias << shifts)
        layers.append(layer)
    wide = replace(network, layers=tuple(layers), accumulator_bits=48)
    return replace(wide, accumulator_bits=needed_bits(wide))


# ---- inputs -------------------------------------------------------------------------------------------------------


@st.composite
def spike_times(draw: st.DrawFn, network: Network, *, max_images: int = 3) -> np.ndarray:
    """Encoded inputs, uint8 ``[n, *input_shape]``, ``n = 0 .. max_images``; of planes, any byte."""
    shape = (draw(st.integers(0, max_images)), *network.input_shape)
    rng = np.random.default_rng(draw(SEEDS))
    style = draw(st.sampled_from(["any", "sparse", "silent", "first", "last"]))
    T = 255 if network.code.planes else network.code.T
    times = rng.integers(0, T, shape, dtype=np.uint8)
    silent = np.full(shape, NO_SPIKE, dtype=np.uint8)
    return {
        "any": np.where(rng.random(shape) < 0.2, silent, times),
        "sparse": np.where(rng.random(shape) < 0.8, silent, times),
        "silent": silent,
        "first": np.zeros(shape, dtype=np.uint8),
        "last": np.full(shape, T - 1, dtype=np.uint8),
    }[style]


@st.composite
def pixels(draw: st.DrawFn, network: Network, *, max_images: int = 3) -> np.ndarray:
    """Images in ``[0, 1]``, float64 or float32 ``[n, *input_shape]``: any value, uint8 pixels, or values at a tie."""
    shape = (draw(st.integers(0, max_images)), *network.input_shape)
    rng = np.random.default_rng(draw(SEEDS))
    style = draw(st.sampled_from(["any", "bytes", "ties", "just below", "black", "white"]))
    ties = rng.choice(kernel(network.code), shape)
    return {
        "any": rng.random(shape),
        "bytes": rng.integers(0, 256, shape).astype(np.float32) / np.float32(255),
        "ties": ties,
        "just below": np.nextafter(ties, 0),
        "black": np.zeros(shape, dtype=np.float32),
        "white": np.ones(shape, dtype=np.float32),
    }[style]


def neurons(network: Network, stored: np.ndarray) -> list[int]:
    """Spike times of the input's neurons in the oracle's order, of one image as it is stored."""
    if not network.code.planes:
        return stored.reshape(-1).tolist()
    return [NO_SPIKE if byte >> (7 - j) & 1 else 0 for byte in stored.reshape(-1).tolist() for j in range(8)]


# ---- the oracle's own form ----------------------------------------------------------------------------------------


def params(code: Code, weights: LogWeights, accumulator_bits: int = 48) -> tables.Params:
    """The same parameters for the oracle."""
    return tables.Params(
        T=code.T,
        tau=code.tau,
        M=code.mantissa_bits,
        bits=weights.bits,
        rho=weights.levels_per_octave,
        M_w=weights.mantissa_bits,
        A=accumulator_bits,
        planes=code.planes,
    )


def plain(network: Network) -> dict[str, Any]:
    """The same network for the oracle."""
    return {
        "params": params(network.code, network.weights, network.accumulator_bits),
        "input_shape": network.input_shape,
        "layers": [_plain_layer(layer) for layer in network.layers],
    }


def _plain_layer(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Channels):
        picks = [None if channel < 0 else channel for channel in layer.channels]
        return oracle.channels(layer.name, layer.inputs, picks)
    if isinstance(layer, PixelShuffle):
        return oracle.pixelshuffle(layer.name, layer.source, layer.factor)
    if isinstance(layer, MaxPool2d):
        return oracle.maxpool2d(layer.name, layer.source, layer.kernel, stride=layer.stride, padding=layer.padding)
    if isinstance(layer, Flatten):
        return oracle.flatten(layer.name, layer.source)
    assert isinstance(layer, Synaptic)
    numbers = (layer.name, layer.source, layer.codes, layer.scale, layer.bias)
    parts = [_plain_layer(part) for part in layer.parts]
    shifts = layer.shifts
    if isinstance(layer, Linear):
        return oracle.linear(*numbers, fires=layer.fires, residual=layer.residuals, parts=parts, shifts=shifts)
    assert isinstance(layer, Conv2d)
    return oracle.conv2d(
        *numbers,
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
        dilation=layer.dilation,
        fires=layer.fires,
        residual=layer.residuals,
        parts=parts,
        shifts=shifts,
    )
