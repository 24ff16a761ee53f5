"""Layers and networks in the narrow formats whose operands fit bytes; random codes, and sums near the firing level."""

import math
from dataclasses import replace

import numpy as np

from engine.networks import needed_bits
from firstspike.arith import NO_SPIKE, Code, LogWeights, membrane_exponent
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network

CODE = Code(T=16, tau=4, mantissa_bits=3)
WEIGHTS = LogWeights(bits=5, levels_per_octave=2, mantissa_bits=2)


def layer(
    kind: type, name: str, source: str, shape: tuple[int, ...], *, seed: int, **options: object
) -> Conv2d | Linear:
    """A layer of random codes; its scale keeps the sums near the firing level, its bias spreads the spike times."""
    weights, planes = options.pop("weights", WEIGHTS), bool(options.pop("planes", False))
    code = options.pop("code", CODE)
    rng = np.random.default_rng(seed)
    scale = 2 * int(math.log2(math.prod(shape[1:])) / 2 - 1) + seed % 2  # both positions in an octave
    level = 2.0 ** membrane_exponent(code, weights, scale, planes=planes)
    codes = rng.integers(0, 1 << weights.bits, shape, dtype=np.uint8)
    bias = np.rint(rng.normal(size=shape[0]) * 0.3 * level).astype(np.int64)
    return kind(name=name, source=source, codes=codes, scale=scale, bias=bias, **options)


def rare(made: Conv2d | Linear, share: float, rng: np.random.Generator) -> Conv2d | Linear:
    """The layer with small weights but for a share: as in trained networks, some tiles need further planes, others do not."""
    largest = rng.random(made.codes.shape) < share
    small = rng.integers(3, 16, made.codes.shape) + 16 * rng.integers(0, 2, made.codes.shape)
    codes = np.where(largest, rng.choice([0, 1, 2, 16, 17, 18], small.shape), small)
    return replace(made, codes=codes.astype(np.uint8))


def chain(*layers: Layer, shape: tuple[int, ...], code: Code = CODE, weights: LogWeights = WEIGHTS) -> Network:
    network = Network(code=code, weights=weights, input_shape=shape, layers=layers, accumulator_bits=48)
    return replace(network, accumulator_bits=needed_bits(network))


def spikes(n: int, shape: tuple[int, ...], *, planes: bool = False) -> np.ndarray:
    rng = np.random.default_rng(n)
    if planes:
        return rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    return np.where(rng.random((n, *shape)) < 0.6, rng.integers(0, 16, (n, *shape)), NO_SPIKE).astype(np.uint8)


def random_chain(rng: np.random.Generator) -> Network:
    """Two to seven layers that feed the next: convolutions of any window, pools, then linear ones."""
    planes = bool(rng.integers(0, 2))
    shape = (int(rng.choice([1, 3, 20, 64, 70])), int(rng.integers(3, 12)), int(rng.choice([5, 10, 16, 19, 35])))
    layers: list[Layer] = []
    at: tuple[int, ...] = shape
    for number in range(int(rng.integers(1, 4))):
        name, source = f"c{number}", layers[-1].name if layers else INPUT
        kernel = tuple(int(rng.integers(1, min(4, side) + 1)) for side in at[1:])
        outputs = int(rng.choice([16, 50, 64, 70, 128]))
        groups = 2 if at[0] % 2 == 0 and outputs % 2 == 0 and rng.random() < 0.3 else 1
        window = {
            "stride": tuple(int(rng.integers(1, 3)) for _ in kernel),
            "padding": tuple(int(rng.integers(0, k)) for k in kernel),
            "groups": groups,
        }
        weights = (outputs, at[0] // groups, *kernel)
        made = layer(
            Conv2d, name, source, weights, seed=int(rng.integers(1 << 30)), planes=planes and not layers, **window
        )
        layers.append(rare(made, float(rng.choice([0, 0.001, 0.01, 1])), rng))
        at = layers[-1].output_shape(at)
        pool = tuple(int(rng.integers(1, min(3, side) + 1)) for side in at[1:])
        if rng.random() < 0.6:
            layers.append(MaxPool2d(name=f"p{number}", source=name, kernel=pool, stride=pool))
            at = layers[-1].output_shape(at)
    layers.append(Flatten(name="f", source=layers[-1].name))
    hidden = int(rng.choice([48, 100]))
    layers.append(layer(Linear, "h", "f", (hidden, math.prod(at)), seed=int(rng.integers(1 << 30))))
    layers.append(layer(Linear, "l", "h", (10, hidden), seed=int(rng.integers(1 << 30)), fires=False))
    return chain(*layers, shape=shape, code=replace(CODE, input="planes" if planes else "spike"))


def random_branches(rng: np.random.Generator) -> Network:
    """A residual network: blocks of two convolutions that add what goes by them, as it is or over a convolution of its own."""
    width = int(rng.choice([16, 32, 50, 64, 96]))
    shape = (int(rng.choice([3, 64])), int(rng.integers(4, 9)), int(rng.choice([5, 16, 19])))
    layers: list[Layer] = [_conv(rng, "stem", INPUT, (width, shape[0], 3, 3), padding=(1, 1))]
    at = layers[0].output_shape(shape)
    for number in range(int(rng.integers(1, 4))):
        source, outputs = layers[-1].name, int(rng.choice([width, width, 70, 128]))
        stride = (2, 1) if rng.random() < 0.4 else (1, 1)
        layers.append(_conv(rng, f"a{number}", source, (outputs, at[0], 3, 3), padding=(1, 1), stride=stride))
        groups = 2 if rng.random() < 0.3 else 1
        second = (outputs, outputs // groups, 3, 3)
        past: dict[str, object] = {"residuals": (source,) * int(rng.integers(1, 3))}
        if stride != (1, 1) or outputs != at[0]:
            part = _conv(rng, f"p{number}", source, (outputs, at[0], 1, 1), stride=stride, fires=False)
            past = {"parts": (replace(part, bias=np.zeros_like(part.bias)),)}
        before = at
        at = layers[-1].output_shape(at)
        made = _conv(rng, f"b{number}", f"a{number}", second, padding=(1, 1), groups=groups)
        layers.append(replace(made, **past))
        if before == at and number > 0 and rng.random() < 0.5:  # what is read far behind
            layers[-1] = replace(layers[-1], residuals=(*layers[-1].residuals, layers[-3].name))
        if rng.random() < 0.3 and min(at[1:]) > 1:
            layers.append(MaxPool2d(name=f"m{number}", source=f"b{number}", kernel=(2, 2), stride=(2, 2)))
            at = layers[-1].output_shape(at)
    layers.append(Flatten(name="f", source=layers[-1].name))
    layers.append(layer(Linear, "l", "f", (10, math.prod(at)), seed=int(rng.integers(1 << 30)), fires=False))
    return chain(*layers, shape=shape)


def random_apart(rng: np.random.Generator) -> Network:
    """Depthwise layers of any window, with what reads them: convolutions of one pixel, residual inputs, pools, each other."""
    channels = int(rng.choice([3, 16, 64, 70, 130]))
    shape = (channels, int(rng.integers(3, 9)), int(rng.choice([5, 16, 19])))
    layers: list[Layer] = []
    at = shape
    for number in range(int(rng.integers(1, 4))):
        source = layers[-1].name if layers else INPUT
        kernel = tuple(int(rng.integers(1, min(5, side) + 1)) for side in at[1:])
        gaps = tuple(
            int(rng.integers(1, 3)) if (k - 1) * 2 < side else 1 for k, side in zip(kernel, at[1:], strict=True)
        )
        window: dict[str, object] = {
            "stride": tuple(int(rng.integers(1, 3)) for _ in kernel),
            "padding": tuple(int(rng.integers(0, (k - 1) * gap + 1)) for k, gap in zip(kernel, gaps, strict=True)),
            "dilation": gaps,
        }
        layers.append(_conv(rng, f"d{number}", source, (at[0], 1, *kernel), groups=at[0], **window))
        at = layers[-1].output_shape(at)
        if rng.random() < 0.7:
            outputs = int(rng.choice([32, 64, 70, at[0]]))
            residuals = (f"d{number}",) if outputs == at[0] else ()
            layers.append(_conv(rng, f"c{number}", f"d{number}", (outputs, at[0], 1, 1), residuals=residuals))
            at = layers[-1].output_shape(at)
        if rng.random() < 0.3 and min(at[1:]) > 1:
            layers.append(MaxPool2d(name=f"m{number}", source=layers[-1].name, kernel=(2, 2), stride=(2, 2)))
            at = layers[-1].output_shape(at)
    layers.append(Flatten(name="f", source=layers[-1].name))
    layers.append(layer(Linear, "l", "f", (10, math.prod(at)), seed=int(rng.integers(1 << 30)), fires=False))
    return chain(*layers, shape=shape)


def _conv(
    rng: np.random.Generator,
    name: str,
    source: str,
    shape: tuple[int, ...],
    *,
    stride: tuple[int, int] = (1, 1),
    **options: object,
) -> Conv2d:
    made = layer(Conv2d, name, source, shape, seed=int(rng.integers(1 << 30)), stride=stride, **options)
    assert isinstance(made, Conv2d)
    return rare(made, float(rng.choice([0, 0.01, 1])), rng)
