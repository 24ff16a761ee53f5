"""Images a second on a board, by the cycle model: VGG-16 and a small residual network, for sizes and clocks of the ULX3S.

Number: the table "What to expect" of docs/how-to/fpga.md.
n: --limit images (4).
Machine: any; nothing is timed, the rates are of the cycle model. Versions: any that the package takes.
The residual network has random weights of a trained network's spread: ResNet-8 for 32 x 32 pixels (16, 32, 64 channels, a block
of two convolutions a stage, 3 x 3 of stride 2 between them). Its activity is its own, about half of the neurons.

    python -m studies.board_rates --data-root DIR
"""

import argparse
from dataclasses import replace

import numpy as np

from firstspike import zoo
from firstspike.arith import Code, LogWeights, encode_weights, level_values, membrane_exponent
from firstspike.data import load as load_images
from firstspike.processor import cycles, designs
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, Network
from firstspike.spiking import SpikingNetwork, load

SIZES = ((16, 60.0, 20), (64, 80.0, 80))
"""Processing elements, MHz, KiB of weights: 1,024 rows a bank each."""


def resnet(seed: int = 0) -> SpikingNetwork:
    """ResNet-8 with random weights."""
    rng = np.random.default_rng(seed)
    code, weights = Code(), LogWeights()
    layers: list[Layer] = []

    def convolution(source: str, inputs: int, outputs: int, stride: int, residuals: tuple[str, ...] = ()) -> str:
        name = f"conv{len(layers)}"
        codes, scale = _codes(rng, weights, (outputs, inputs, 3, 3))
        bias = np.rint(rng.normal(0.05, 0.1, outputs) * 2.0 ** membrane_exponent(code, weights, scale)).astype(np.int64)
        values = {"codes": codes, "scale": scale, "bias": bias, "residuals": residuals}
        layers.append(Conv2d(name=name, source=source, stride=(stride, stride), padding=(1, 1), **values))
        return name

    source, channels = convolution(INPUT, 3, 16, 1), 16
    for width in (16, 32, 64):
        if width != channels:
            source, channels = convolution(source, channels, width, 2), width
        inner = convolution(source, width, width, 1)
        source = convolution(inner, width, width, 1, (source,))
    layers.append(Flatten(name="flatten", source=source))
    codes, scale = _codes(rng, weights, (10, 64 * 8 * 8))
    bias = np.zeros(10, dtype=np.int64)
    layers.append(Linear(name="readout", source="flatten", codes=codes, scale=scale, bias=bias, fires=False))
    return SpikingNetwork(Network(code=code, weights=weights, input_shape=(3, 32, 32), layers=tuple(layers)))


def _codes(rng: np.random.Generator, weights: LogWeights, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Normal weights of standard deviation ``1 / sqrt(fan-in)``, each at its nearest level; codes and scale."""
    deviation = 1.0 / np.sqrt(np.prod(shape[1:]))
    values = rng.normal(0, deviation, shape)
    scale = int(np.floor(-weights.levels_per_octave * np.log2(3 * deviation)))
    levels = level_values(weights, scale)
    order = np.argsort(levels)
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    nearest = order[np.searchsorted(middles, np.abs(values))]
    return encode_weights(nearest, values < 0, weights), scale


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--limit", type=int, default=4)
    options = parser.parse_args()
    pixels = load_images("cifar10", split="test", data_root=options.data_root).limit(options.limit)
    for name, snn in (("VGG-16", load(zoo.file("vgg16-cifar10"))), ("ResNet-8", resnet())):
        times = snn.trace(pixels.pixels(0, len(pixels))).times
        for pes, clock, weights in SIZES:
            design = replace(designs.load("ulx3s"), pes=pes, clock_mhz=clock, weight_buffer_kib=weights)
            counts = cycles.count(snn.network, times, design)
            rate = len(pixels) * 1e6 * clock / counts.cycles.sum()
            waiting = counts.total("wait_cycles").sum() / counts.cycles.sum()
            print(f"| {name} | {pes} | {clock:g} | {rate:.1f} | {waiting:.0%} |")


if __name__ == "__main__":
    main()
