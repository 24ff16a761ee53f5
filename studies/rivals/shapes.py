"""Networks as shapes alone: layer tables of VGG-16 and ResNet-50, and spike times of a given activity. For cost models.

A shape network is a `firstspike.spec.Network` whose weights are all zero and take no memory: it can be mapped and priced,
and computes nothing. Biases, thresholds and tables are there, so its traffic is a real network's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from firstspike.arith import NO_SPIKE, Code, LogWeights
from firstspike.compiler.timing import cover
from firstspike.spec.network import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Shape, Synaptic

WORD = 8
"""Spike times in a word of the default processor's activation buffer."""

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3 x 3 convolutions of each stage; a 2 x 2 maximum follows (Simonyan and Zisserman 2015, D)."""

RESNET50 = ((64, 256, 3, 1), (128, 512, 4, 2), (256, 1024, 6, 2), (512, 2048, 3, 2))
"""Inner and outer channels, blocks, and stride of the first block of each stage (He et al. 2016, table 1; the stride is in
the 3 x 3 convolution, as in torchvision)."""


def vgg16(*, size: int = 224, classes: int = 1000, hidden: int = 4096) -> Network:
    """VGG-16 on ``3 x size x size`` images: 13 convolutions, two hidden layers, a read-out.

    >>> sum(layer.weight_count for layer in vgg16().synaptic)
    138344128
    """
    layers: list[Layer] = []
    channels, name, extent = 3, INPUT, size
    for stage, (width, depth) in enumerate(VGG16, start=1):
        for index in range(1, depth + 1):
            layers.append(_conv(f"conv{stage}_{index}", name, channels, width, 3))
            name, channels = layers[-1].name, width
        layers.append(MaxPool2d(name=f"pool{stage}", source=name, kernel=(2, 2), stride=(2, 2)))
        name, extent = layers[-1].name, extent // 2
    layers.append(Flatten(name="flatten", source=name))
    features = channels * extent * extent
    layers += [_linear("linear1", "flatten", features, hidden), _linear("linear2", "linear1", hidden, hidden)]
    return _network(layers, size, _linear("logits", "linear2", hidden, classes))


def resnet50(*, size: int = 224, classes: int = 1000) -> Network:
    """ResNet-50 on ``3 x size x size`` images: 53 convolutions and a read-out.

    The last pooling takes the earliest spike of each channel, not the average: the processor has no unit for averages.

    >>> sum(layer.weight_count for layer in resnet50().synaptic)
    25502912
    """
    layers: list[Layer] = [_conv("conv1", INPUT, 3, 64, 7, stride=2)]
    layers.append(MaxPool2d(name="pool1", source="conv1", kernel=(3, 3), stride=(2, 2), padding=(1, 1)))
    name, channels = "pool1", 64
    for stage, (inner, outer, blocks, first) in enumerate(RESNET50, start=2):
        for block in range(1, blocks + 1):
            at, stride = f"conv{stage}_{block}", first if block == 1 else 1
            identity = name
            if block == 1:
                layers.append(_conv(f"{at}_shortcut", name, channels, outer, 1, stride=stride))
                identity = layers[-1].name
            layers.append(_conv(f"{at}_1", name, channels, inner, 1))
            layers.append(_conv(f"{at}_2", f"{at}_1", inner, inner, 3, stride=stride))
            layers.append(replace(_conv(f"{at}_3", f"{at}_2", inner, outer, 1), residuals=(identity,)))
            name, channels = f"{at}_3", outer
    rest = size // 32
    layers.append(MaxPool2d(name="pool5", source=name, kernel=(rest, rest), stride=(rest, rest)))
    layers.append(Flatten(name="flatten", source="pool5"))
    return _network(layers, size, _linear("logits", "flatten", channels, classes))


def _network(layers: list[Layer], size: int, read_out: Linear) -> Network:
    read_out = replace(read_out, fires=False)
    return Network(code=Code(), weights=LogWeights(), input_shape=(3, size, size), layers=(*layers, read_out))


def _conv(name: str, source: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> Conv2d:
    pair = (stride, stride)
    padding = (kernel // 2, kernel // 2)
    codes, bias = _weights((outputs, inputs, kernel, kernel)), np.zeros(outputs, dtype=np.int64)
    return Conv2d(name=name, source=source, codes=codes, scale=0, bias=bias, stride=pair, padding=padding)


def _linear(name: str, source: str, inputs: int, outputs: int) -> Linear:
    codes, bias = _weights((outputs, inputs)), np.zeros(outputs, dtype=np.int64)
    return Linear(name=name, source=source, codes=codes, scale=0, bias=bias)


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Codes of one weight, not zero, that share one byte of memory: every product costs what a product costs."""
    return np.broadcast_to(np.uint8(LogWeights().zero_level - 1), shape)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """How a map of spike times is filled.

    Attributes:
        density: share of neurons that spike.
        silent_words: share of the words of 8 neighbouring channels without a spike; a word costs the walker a cycle then.

    Raises:
        ValueError: a share is outside [0, 1], or there are fewer silent words than the density forces.
    """

    density: float
    silent_words: float

    def __post_init__(self) -> None:
        for name, share in (("density", self.density), ("silent_words", self.silent_words)):
            if not 0 <= share <= 1:
                raise ValueError(f"Activity.{name} must be in 0..1, not {share!r}")
        if self.silent_words + self.density > 1:
            raise ValueError(
                f"Activity.silent_words must be at most 1 - density = {1 - self.density!r}, not {self.silent_words!r}"
            )


INPUT_ACTIVITY = Activity(density=0.996, silent_words=0.001)
LAYER_ACTIVITY = Activity(density=0.219, silent_words=0.185)
POOLED_ACTIVITY = Activity(density=0.352, silent_words=0.102)
"""The encoded image, firing layers and pooled maps of VGG-16 on CIFAR-10 after its first cycle of training: shares of all
neurons (words) of the first 200 test images; ``python -m studies.multichip --measure NET`` measures another network."""


def measure(network: Network, times: Mapping[str, np.ndarray]) -> dict[str, Activity]:
    """Activity of every map whose spike times are known, by name, as the layers that read it meet it; flattenings are left out.

    A pixel counts as often as windows see it: fewer see the border, where trained networks spike more.

    Args:
        network: whose maps.
        times: spike times, uint8 ``[n, *shape]``, by name of the input or layer.
    """
    found = {}
    for name in (INPUT, *(layer.name for layer in network.layers if not isinstance(layer, Flatten))):
        if name in times:
            fired, active = _activity(times[name])
            reads = _reads(network, name)
            found[name] = Activity(
                density=float((fired.mean(axis=(0, 1)) * reads).sum() / reads.sum()),
                silent_words=float(((1 - active.mean(axis=(0, 1))) * reads).sum() / reads.sum()),
            )
    return found


def _reads(network: Network, name: str) -> np.ndarray:
    """How many windows of convolutions and poolings see each pixel of a map; 1 each where none reads it."""
    size = network.shapes[name][1:]
    reads = np.zeros(size, dtype=np.int64)
    for layer in network.layers:
        if layer.source == name and isinstance(layer, Conv2d | MaxPool2d):
            kernel = layer.kernel if isinstance(layer, MaxPool2d) else layer.weight_shape[2:]
            target = network.shapes[layer.name][1:]
            rows, columns = (
                cover(target[axis], kernel[axis], layer.stride[axis], -layer.padding[axis], size[axis])
                for axis in (0, 1)
            )
            reads += np.outer(rows, columns)
    return reads if reads.any() else np.ones_like(reads)


def _activity(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which neurons, and which words of 8 neighbouring channels, of a map ``[n, channels, ...]`` spike."""
    fired = times != NO_SPIKE
    return fired, np.logical_or.reduceat(fired, np.arange(0, times.shape[1], WORD), axis=1)


def map_totals(times: np.ndarray) -> tuple[int, int, int, int]:
    """Spikes, neurons, silent words and words of a map, uint8 ``[n, channels, ...]``.

    >>> map_totals(np.array([[3, 255, 255, 255, 255, 255, 255, 255, 255]], dtype=np.uint8))
    (1, 9, 1, 2)
    """
    fired, active = _activity(times)
    return int(fired.sum()), fired.size, active.size - int(active.sum()), active.size


def spikes(network: Network, activity: Mapping[str, Activity] | None = None, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Random spike times of one image in every map, uint8 ``[1, *shape]``: neurons spike alike and independently, but whole
    words are silenced where the activity asks for more silent words than that gives. All spikes are at time 0: costs do
    not depend on times.

    Args:
        network: whose maps.
        activity: of maps by name; others have `INPUT_ACTIVITY`, `POOLED_ACTIVITY` or `LAYER_ACTIVITY` by kind.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    chosen = {INPUT: INPUT_ACTIVITY} | {
        layer.name: POOLED_ACTIVITY if isinstance(layer, MaxPool2d) else LAYER_ACTIVITY for layer in network.layers
    }
    chosen |= activity or {}
    times: dict[str, np.ndarray] = {INPUT: _map(network.input_shape, chosen[INPUT], generator)}
    for layer in network.layers:
        if isinstance(layer, Flatten):
            times[layer.name] = times[layer.source].reshape(1, -1)
        elif not isinstance(layer, Synaptic) or layer.fires:
            times[layer.name] = _map(network.shapes[layer.name], chosen[layer.name], generator)
    return times


def _map(shape: Shape, activity: Activity, generator: np.random.Generator) -> np.ndarray:
    silenced = silenced_share(activity)
    rate = min(1.0, activity.density / (1 - silenced)) if silenced < 1 else 0.0
    fired = generator.random(shape, dtype=np.float32) < rate
    words = generator.random((-(-shape[0] // WORD), *shape[1:]), dtype=np.float32) < silenced
    fired &= ~np.repeat(words, WORD, axis=0)[: shape[0]]
    return np.where(fired, 0, NO_SPIKE).astype(np.uint8)[None]


def silenced_share(activity: Activity) -> float:
    """Share ``z`` of words to silence so that ``z + (1 - z) (1 - density / (1 - z))^8`` are silent; 0 if that is less.

    >>> round(silenced_share(Activity(density=0.25, silent_words=0.5)), 3), silenced_share(LAYER_ACTIVITY) > 0
    (0.498, True)
    """

    def silent(z: float) -> float:
        return z + (1 - z) * (1 - activity.density / (1 - z)) ** WORD

    low, high = 0.0, 1 - activity.density
    if high <= 0 or silent(low) >= activity.silent_words:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if silent(middle) < activity.silent_words else (low, middle)
    return low
