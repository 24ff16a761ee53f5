"""VGG networks with random weights of a trained network's spread, for the RTL's size and speed (no accuracy)."""

import numpy as np

from firstspike.arith import Code, LogWeights, encode_weights, level_values, membrane_exponent
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
DIGITS = (16, 16, "M", 32, 32, "M")


def random_vgg(plan: tuple[int | str, ...], shape: tuple[int, int, int], classes: int = 10, seed: int = 0) -> Network:
    """A VGG with normal weights of standard deviation ``1.0 / sqrt(fan-in)`` at the nearest level, and small biases."""
    rng = np.random.default_rng(seed)
    code, weights = Code(), LogWeights()
    layers: list[Layer] = []
    source, channels = INPUT, shape[0]
    size = shape[1]
    for index, entry in enumerate(plan):
        name = f"layer{index}"
        if entry == "M":
            layers.append(MaxPool2d(name=name, source=source, kernel=(2, 2), stride=(2, 2)))
            size //= 2
        else:
            outputs = int(entry)
            codes, scale = _codes(rng, weights, (outputs, channels, 3, 3))
            exponent = membrane_exponent(code, weights, scale)
            bias = np.rint(rng.normal(0.05, 0.1, outputs) * 2.0**exponent).astype(np.int64)
            layers.append(
                Conv2d(name=name, source=source, codes=codes, scale=scale, bias=bias, stride=(1, 1), padding=(1, 1))
            )
            channels = outputs
        source = name
    layers.append(Flatten(name="flatten", source=source))
    codes, scale = _codes(rng, weights, (classes, channels * size * size))
    bias = np.zeros(classes, dtype=np.int64)
    layers.append(Linear(name="readout", source="flatten", codes=codes, scale=scale, bias=bias, fires=False))
    return Network(code=code, weights=weights, input_shape=shape, layers=tuple(layers))


def _codes(rng: np.random.Generator, weights: LogWeights, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    deviation = 1.0 / np.sqrt(np.prod(shape[1:]))
    values = rng.normal(0, deviation, shape)
    scale = int(np.floor(-weights.levels_per_octave * np.log2(3 * deviation)))
    levels = level_values(weights, scale)
    order = np.argsort(levels)
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    nearest = order[np.searchsorted(middles, np.abs(values))]
    return encode_weights(nearest, values < 0, weights), scale
