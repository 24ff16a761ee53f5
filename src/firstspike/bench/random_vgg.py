"""A VGG of random weight codes whose layers read spikes of a chosen density: a workload for benchmarks."""

import math
from dataclasses import replace

import numpy as np

from firstspike.arith import NO_SPIKE, Code, LogWeights, encode_weights
from firstspike.engine import Engine, create, encode
from firstspike.engine.events import spikes_of
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, Synaptic
from firstspike.spec.network import Layer
from firstspike.spec.windows import max_pool

VGG16: tuple[int, ...] = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of the 3x3 convolutions of VGG-16; 0 is a 2x2 max pooling."""

HIDDEN = (512, 512)
"""Features of the hidden linear layers."""

CLASSES = 10

SIZE = 32
"""Rows and columns of the image, which has three channels."""

_SPREAD = 0.4  # standard deviation of the membranes, in units of the firing level


def random_vgg(*, density: float) -> Network:
    """A VGG-16 of random codes, the same at every call, of which ``density`` of every hidden layer's inputs spike.

    Each channel's bias is a quantile of its membranes over random images, taken after the pooling that follows, if one
    does: so every layer with weights but the first reads spikes of the density asked for. The input is dense.

    Args:
        density: share of inputs that spike, 0..1.

    Raises:
        ValueError: ``density`` is not in 0..1.
    """
    if not 0 <= density <= 1:
        raise ValueError(f"density must be in 0..1, not {density!r}")
    rng = np.random.default_rng(0)
    network_of = _Prefix(shape=(3, SIZE, SIZE))
    images = random_images(4, network_of.shape, seed=1)
    layers: list[Layer] = []
    source, channels = INPUT, 3
    for i, outputs in enumerate(VGG16):
        if outputs:
            codes = _codes(rng, (outputs, channels, 3, 3))
            conv = Conv2d(name=f"conv{i}", source=source, codes=codes, scale=0, bias=_zeros(outputs), padding=(1, 1))
            pooled = VGG16[i + 1 : i + 2] == (0,)
            layers.append(_calibrate(network_of, layers, conv, images, density, pooled=pooled))
            channels = outputs
        else:
            layers.append(MaxPool2d(name=f"pool{i}", source=source, kernel=(2, 2), stride=(2, 2)))
        source = layers[-1].name
    layers.append(Flatten(name="flatten", source=source))
    inputs = channels * (SIZE >> VGG16.count(0)) ** 2
    for i, outputs in enumerate(HIDDEN):
        name = layers[-1].name
        linear = Linear(
            name=f"linear{i}", source=name, codes=_codes(rng, (outputs, inputs)), scale=0, bias=_zeros(outputs)
        )
        layers.append(_calibrate(network_of, layers, linear, images, density, pooled=False))
        inputs = outputs
    codes = _codes(rng, (CLASSES, inputs))
    scale = _scale(inputs)
    readout = Linear(name="logits", source=layers[-1].name, codes=codes, scale=scale, bias=_zeros(CLASSES), fires=False)
    return network_of(*layers, readout)


def random_images(images: int, shape: tuple[int, ...], *, seed: int = 0, code: Code | None = None) -> np.ndarray:
    """Stored input, uint8 ``[images, *shape]``, of pixels drawn evenly from 0..1: nearly all of them spike."""
    return encode(np.random.default_rng(seed).random((images, *shape)), code or Code())


def densities(network: Network, times: np.ndarray, engine: Engine) -> tuple[float, float]:
    """Share of inputs that spike, over all layers with weights: weighted by their synapses (SOPs per multiplication of
    the dense network), and spikes per neuron of the input and of firing layers."""
    outputs = {INPUT: times, **engine.layers(times)}
    synapses = events = spikes = neurons = 0.0
    spikes += spikes_of(network, INPUT, times).sum()
    neurons += times.size * network.planes(INPUT)
    for layer in network.synaptic:
        share = float(spikes_of(network, layer.source, outputs[layer.source]).mean())
        weight = multiplications(network, layer)
        synapses, events = synapses + weight, events + share * weight
        if layer.fires:
            spikes += (outputs[layer.name] != NO_SPIKE).sum()
            neurons += outputs[layer.name].size
    return events / synapses, float(spikes / neurons)


def multiplications(network: Network, layer: Synaptic) -> int:
    """Multiplications of the dense layer on one image, padding included."""
    return math.prod(network.shapes[layer.name]) * math.prod(layer.weight_shape[1:])


class _Prefix:
    """Networks on one input shape with the default code and weight format."""

    def __init__(self, *, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, *layers: Layer) -> Network:
        return Network(code=Code(), weights=LogWeights(), input_shape=self.shape, layers=layers)


def _codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    # all levels but the largest, so that the widest layers fit 32 bits
    weights = LogWeights()
    return encode_weights(rng.integers(1, weights.zero_level, shape, endpoint=True), rng.random(shape) < 0.5, weights)


def _zeros(count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.int64)


def _scale(fan_in: int) -> int:
    """Levels that bring sums of ``fan_in`` random products near the firing level."""
    return round(LogWeights().levels_per_octave * math.log2(max(1.0, math.sqrt(fan_in) * _SPREAD)))


def _calibrate(
    network_of: _Prefix, before: list[Layer], layer: Synaptic, images: np.ndarray, density: float, *, pooled: bool
) -> Synaptic:
    layer = replace(layer, scale=_scale(math.prod(layer.weight_shape[1:])))
    network = network_of(*before, replace(layer, fires=False))
    sums = create(network).logits(images)
    if pooled:
        sums = -max_pool(MaxPool2d(name="-", source="-", kernel=(2, 2), stride=(2, 2)), -sums)  # the largest membrane
    by_channel = sums.swapaxes(0, 1).reshape(layer.outputs, -1)
    lowest = network.thresholds(layer)[-1]
    quantile = np.quantile(by_channel, 1 - density, axis=1) if density < 1 else by_channel.min(axis=1)
    return replace(layer, bias=np.ceil(lowest - quantile).astype(np.int64))
