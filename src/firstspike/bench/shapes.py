"""Networks of random codes in the narrow format and the shapes of well-known ones: workloads for benchmarks, no classifiers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from firstspike.arith import Code, LogWeights, membrane_exponent
from firstspike.bench.random_vgg import VGG16
from firstspike.spec import INPUT, Conv2d, Flatten, Linear, MaxPool2d, Network, Synaptic
from firstspike.spec.network import Layer

CODE = Code(T=16, tau=4, mantissa_bits=3, input="planes")
WEIGHTS = LogWeights(bits=5, levels_per_octave=2, mantissa_bits=2)


def random_network(shape: str, *, size: int) -> Network:
    """A network of random codes, the same at every call. Layers spike or not by their random biases, about half of each.

    Args:
        shape: one of `SHAPES`.
        size: rows and columns of the images, which have three channels.

    Raises:
        ValueError: the shape is unknown, or the images are too small for it.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
    build = _Build(size)
    SHAPES[shape](build, size)
    return Network(code=CODE, weights=WEIGHTS, input_shape=(3, size, size), layers=tuple(build.layers))


class _Build:
    """Layers one behind the other; `last` is the one to read."""

    def __init__(self, size: int) -> None:
        self.rng = np.random.default_rng(0)
        self.layers: list[Layer] = []
        self.last = INPUT
        self.shape: tuple[int, ...] = (3, size, size)

    def add(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.last, self.shape = layer.name, layer.output_shape(self.shape)

    def conv(self, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, **options: Any) -> None:
        shape = (outputs, self.shape[0] // groups, kernel, kernel)
        window: dict[str, Any] = {"stride": (stride, stride), "padding": (kernel // 2,) * 2, "groups": groups}
        self.add(self.synaptic(Conv2d, self.last, shape, **window, **options))

    def linear(self, outputs: int, *, fires: bool = True) -> None:
        self.add(self.synaptic(Linear, self.last, (outputs, self.shape[0]), fires=fires))

    def pool(self, kernel: int, stride: int, padding: int = 0) -> None:
        window = {"kernel": (kernel, kernel), "stride": (stride, stride), "padding": (padding, padding)}
        self.add(MaxPool2d(name=f"pool{len(self.layers)}", source=self.last, **window))

    def classify(self) -> None:
        """The largest of each channel, and logits: pooling by the mean would be a layer of its own."""
        self.pool(self.shape[1], 1)
        self.add(Flatten(name="flatten", source=self.last))
        self.linear(1000 if self.shape[0] > 1024 else 10, fires=False)

    def synaptic(self, kind: type, source: str, shape: tuple[int, ...], *, name: str = "", **options: Any) -> Synaptic:
        """A layer of random codes whose sums come near the firing level: small weights are the usual ones."""
        zero = WEIGHTS.zero_level
        levels = np.minimum(zero, self.rng.geometric(0.1, shape) + 2)  # 0 is the largest
        codes = (levels + (zero + 1) * self.rng.integers(0, 2, shape)).astype(np.uint8)
        scale = round(WEIGHTS.levels_per_octave * (math.log2(math.prod(shape[1:])) / 2 - 1))
        level = 2.0 ** membrane_exponent(CODE, WEIGHTS, scale, planes=source == INPUT)
        bias = np.rint(self.rng.normal(size=shape[0]) * 0.3 * level).astype(np.int64)
        name = name or f"layer{len(self.layers)}"
        return kind(name=name, source=source, codes=codes, scale=scale, bias=bias, **options)  # type: ignore[no-any-return]


def _vgg16(build: _Build, size: int) -> None:
    for outputs in VGG16:
        if outputs:
            build.conv(outputs, 3)
        else:
            build.pool(2, 2)
    build.classify()


def _resnet50(build: _Build, size: int) -> None:
    """He et al. 2016, table 1, bottleneck blocks."""
    build.conv(64, 7, stride=2)
    build.pool(3, 2, 1)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            before, shape = build.last, build.shape
            stride = 2 if stage > 0 and block == 0 else 1
            build.conv(width, 1)
            build.conv(width, 3, stride=stride)
            if block > 0:
                build.conv(4 * width, 1, residuals=(before,))
                continue
            name = f"layer{len(build.layers)}"
            options: dict[str, Any] = {"stride": (stride, stride), "fires": False}
            part = build.synaptic(Conv2d, before, (4 * width, shape[0], 1, 1), name=f"{name}_short", **options)
            part.bias[:] = 0
            build.conv(4 * width, 1, parts=(part,))
    build.classify()


def _resnet20(build: _Build, size: int) -> None:
    """He et al. 2016, section 4.2, with twice the channels: 20 layers for small images."""
    build.conv(32, 3)
    for stage, width in enumerate((32, 64, 128)):
        for block in range(3):
            before = build.last
            build.conv(width, 3, stride=2 if stage > 0 and block == 0 else 1)
            build.conv(width, 3, residuals=() if stage > 0 and block == 0 else (before,))
    build.classify()


def _mobilenet(build: _Build, size: int) -> None:
    """Howard et al. 2017, table 1; the first strides are left out for images below 64 x 64."""
    small = size < 64
    build.conv(32, 3, stride=1 if small else 2)
    steps = (
        (64, 1),
        (128, 1 if small else 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    )
    for outputs, stride in steps:
        build.conv(build.shape[0], 3, stride=stride, groups=build.shape[0])
        build.conv(outputs, 1)
    build.classify()


SHAPES: dict[str, Callable[[_Build, int], None]] = {
    "vgg16": _vgg16,
    "resnet20": _resnet20,
    "resnet50": _resnet50,
    "mobilenet": _mobilenet,
}
"""Shapes by name."""
