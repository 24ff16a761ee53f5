"""Random integer networks of every layer kind, small, from a seed (the RTL tests' own generator)."""

from dataclasses import replace

import numpy as np

from firstspike.arith import Code, LogWeights, membrane_exponent, thresholds
from firstspike.spec import (
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


def random_network(
    seed: int,
    code: Code | None = None,
    weights: LogWeights | None = None,
    layers: int = 5,
    accumulator_bits: int = 40,
    octaves: int | None = None,
) -> Network:
    """A random network: convolutions (stride, padding, groups), pooling, residuals, flattening, linear, read-out.

    With ``octaves`` many layers have parts, whose scales differ by up to so many octaves; kernels are dilated, and channels
    rearranged or made pixels.
    """
    rng = np.random.default_rng(seed)
    more = np.random.default_rng([seed, 1])
    code = code or Code(T=int(rng.integers(4, 25)), tau=int(rng.choice([2, 4])), mantissa_bits=5)
    bits, rho = int(rng.integers(3, 6)), int(rng.choice([1, 2]))
    weights = weights or LogWeights(bits=bits, levels_per_octave=rho, mantissa_bits=5)
    shape: Shape = (int(rng.integers(1, 12)), int(rng.integers(3, 8)), int(rng.integers(3, 8)))
    built: list[Layer] = []
    shapes: dict[str, Shape] = {INPUT: shape}
    source = INPUT

    def add(layer: Layer) -> None:
        nonlocal source
        moved = isinstance(layer, Channels)
        shapes[layer.name] = layer.joined_shape(shapes) if moved else layer.output_shape(shapes[layer.source])
        built.append(layer)
        source = layer.name

    for index in range(int(rng.integers(1, layers + 1))):
        if octaves is not None and more.random() < 0.2 and not (code.planes and source == INPUT):
            add(rearranged(more, f"moved{index}", source, shapes[source]))
            factor = [pair for pair in ((2, 2), (1, 2), (3, 1)) if shapes[source][0] % (pair[0] * pair[1]) == 0]
            if factor and more.random() < 0.5:
                add(PixelShuffle(name=f"pixels{index}", source=source, factor=factor[0]))
        channels, height, width = shapes[source]
        name = f"layer{index}"
        if rng.random() < 0.25 and not (code.planes and source == INPUT):
            kernel = (int(rng.integers(1, min(3, height) + 1)), int(rng.integers(1, min(3, width) + 1)))
            stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
            padding = (int(rng.integers(0, kernel[0] // 2 + 1)), int(rng.integers(0, kernel[1] // 2 + 1)))
            add(MaxPool2d(name=name, source=source, kernel=kernel, stride=stride, padding=padding))
            continue
        kernel = (int(rng.integers(1, min(4, height) + 1)), int(rng.integers(1, min(4, width) + 1)))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        padding = (int(rng.integers(0, kernel[0])), int(rng.integers(0, kernel[1])))
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        outputs = groups * int(rng.integers(1, 1 + max(1, 40 // groups)))
        if rng.random() < 0.4 and kernel[0] % 2 and kernel[1] % 2:
            stride, padding = (1, 1), (kernel[0] // 2, kernel[1] // 2)
            outputs = channels if rng.random() < 0.6 else outputs
        codes = random_codes(rng, weights, (outputs, channels // groups, *kernel))
        scale = int(rng.integers(-1, 5))
        layer = Conv2d(
            name=name,
            source=source,
            codes=codes,
            scale=scale,
            bias=np.zeros(outputs, np.int64),
            stride=stride,
            padding=padding,
            groups=groups,
        )
        if octaves is not None:
            layer = replace(layer, dilation=dilated(more, kernel, padding, (height, width)))
        target = layer.output_shape(shapes[source])
        same = [other for other, s in shapes.items() if s == target and not (code.planes and other == INPUT)]
        residuals = tuple(str(r) for r in rng.choice(same, size=int(rng.integers(0, 3)))) if same else ()
        made = with_bias(rng, code, weights, layer, residuals, planes=code.planes and source == INPUT)
        add(made if octaves is None else with_parts(more, weights, made, shapes, octaves))
    if rng.random() < 0.8:
        add(Flatten(name="flatten", source=source))
        features = shapes[source][0]
        if rng.random() < 0.5:
            codes = random_codes(rng, weights, (int(rng.integers(1, 40)), features))
            zero = np.zeros(len(codes), np.int64)
            layer = Linear(name="hidden", source=source, codes=codes, scale=int(rng.integers(0, 5)), bias=zero)
            add(with_bias(rng, code, weights, layer, ()))
            features = len(codes)
        codes = random_codes(rng, weights, (int(rng.integers(1, 20)), features))
        read = Linear(
            name="readout", source=source, codes=codes, scale=0, bias=rng.integers(-9999, 9999, len(codes)), fires=False
        )
    else:
        codes = random_codes(rng, weights, (int(rng.integers(1, 20)), shapes[source][0], 1, 1))
        read = Conv2d(
            name="readout", source=source, codes=codes, scale=1, bias=rng.integers(-9999, 9999, len(codes)), fires=False
        )
    add(read)
    return Network(
        code=code, weights=weights, input_shape=shape, layers=tuple(built), accumulator_bits=accumulator_bits
    )


def rearranged(rng: np.random.Generator, name: str, source: str, shape: Shape) -> Channels:
    """Some channels of a map in any order, some silent."""
    picks = rng.integers(-1, shape[0], int(rng.integers(1, 9)))
    return Channels(name=name, source=source, channels=tuple(int(pick) for pick in picks))


def dilated(
    rng: np.random.Generator, kernel: tuple[int, int], padding: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int]:
    """A dilation with which a kernel fits its padded map."""
    most = [(n + 2 * p - 1) // (k - 1) if k > 1 else 3 for n, p, k in zip(size, padding, kernel, strict=True)]
    rows, columns = (int(rng.integers(1, min(m, 3) + 1)) for m in most)
    return rows, columns


def random_codes(rng: np.random.Generator, weights: LogWeights, shape: Shape) -> np.ndarray:
    """Weight codes, uniform, zero levels and negative zeros included."""
    return rng.integers(0, 1 << weights.bits, shape).astype(np.uint8)


def random_times(rng: np.random.Generator, code: Code, shape: Shape, density: float) -> np.ndarray:
    """A stored input, uint8: each neuron fires with probability ``density``, or each pixel has a spike if it has planes."""
    times = rng.integers(0, 255 if code.planes else code.T, shape)
    return np.where(rng.random(shape) < density, times, 255).astype(np.uint8)


def with_bias(
    rng: np.random.Generator,
    code: Code,
    weights: LogWeights,
    layer: Conv2d | Linear,
    residuals: tuple[str, ...],
    *,
    planes: bool = False,
) -> Conv2d | Linear:
    """The layer with biases about the thresholds, some exactly on one, and residuals if its ``G`` is large enough."""
    exponent = membrane_exponent(code, weights, layer.scale, planes=planes)
    bias = rng.integers(-(1 << exponent) // 2, 1 << exponent, layer.outputs)
    ties = rng.choice(thresholds(code, exponent), layer.outputs) - rng.integers(0, 2, layer.outputs)
    bias = np.where(rng.random(layer.outputs) < 0.3, ties, bias)
    return replace(layer, bias=bias, residuals=residuals if exponent >= code.exponent else ())


def with_shifts(rng: np.random.Generator, network: Network) -> Network:
    """The network with a shift for each output channel of half its layers that may have them, biases as much finer."""

    def shifted(layer: Layer) -> Layer:
        exact = isinstance(layer, Synaptic) and network.exponent(layer) >= network.code.exponent
        if not isinstance(layer, Synaptic) or not exact or not layer.fires or layer.residuals or rng.random() < 0.5:
            return layer
        shifts = rng.integers(0, 8, layer.outputs)
        return replace(layer, shifts=tuple(map(int, shifts)), bias=layer.bias << shifts)

    return replace(network, layers=tuple(map(shifted, network.layers)))


def with_parts(
    rng: np.random.Generator,
    weights: LogWeights,
    layer: Conv2d | Linear,
    shapes: dict[str, Shape],
    octaves: int,
    *,
    groups: bool = True,
) -> Conv2d | Linear:
    """The convolution with up to two parts from maps of any size; its bias stays, in units of the finest grid."""
    target = layer.output_shape(shapes[layer.source])
    parts: list[Conv2d] = []
    for number in range(int(rng.integers(0, 3))):
        source = str(rng.choice(list(shapes)))
        fits = [fitting(shapes[source][axis], target[axis]) for axis in (1, 2)]
        if not all(fits):
            continue
        rows, columns = (fit[int(rng.integers(len(fit)))] for fit in fits)
        both = [g for g in range(1, target[0] + 1) if target[0] % g == 0 and shapes[source][0] % g == 0]
        many = int(rng.choice(both)) if groups else 1
        codes = random_codes(rng, weights, (target[0], shapes[source][0] // many, rows[0], columns[0]))
        parts.append(
            Conv2d(
                name=f"{layer.name}.part{number}",
                source=source,
                codes=codes,
                scale=layer.scale + int(rng.integers(-octaves, octaves + 1)) * weights.levels_per_octave // 2,
                bias=np.zeros(target[0], np.int64),
                fires=False,
                stride=(rows[1], columns[1]),
                padding=(rows[2], columns[2]),
                groups=many,
            )
        )
    return replace(layer, parts=tuple(parts))


def fitting(size: int, wanted: int) -> list[tuple[int, int, int]]:
    """Kernels, strides and paddings by which ``size`` positions give ``wanted``."""
    return [
        (kernel, stride, padding)
        for kernel in range(1, 4)
        for stride in range(1, 4)
        for padding in range(kernel)
        if size + 2 * padding >= kernel and (size + 2 * padding - kernel) // stride + 1 == wanted
    ]
