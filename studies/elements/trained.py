"""What the lanes see of a layer of a trained network: the arguments that choose it, and the stimulus that they stand for."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from firstspike.data import load as load_images
from firstspike.spec.network import INPUT, Synaptic
from firstspike.spiking import load
from studies.elements.stimulus import Stimulus, layer_stimulus


def layer_arguments(parser: argparse.ArgumentParser, *, data: str, layer: str | None, cycles: int) -> None:
    """Images, layer, lanes and cycles, with these defaults; without a layer the one of most operations."""
    add = parser.add_argument
    add("--data", default=data, help="test images (%(default)s)")
    add("--data-root", help="where named data sets lie")
    add("--image", type=int, default=0, help="which test image (%(default)s)")
    add("--layer", default=layer, help=f"a convolution or linear layer ({layer or 'the one of most operations'})")
    add("--lanes", type=int, default=16, help="output channels (%(default)s)")
    add("--cycles", type=int, default=cycles, help="about how many (%(default)s)")


def trained_stimulus(options: argparse.Namespace, *, zeros: float = 0.0) -> tuple[Stimulus, str]:
    """Spikes and weights of the chosen layer on the chosen image, and where they come from.

    Args:
        options: ``network``, a model file, and what `layer_arguments` adds.
        zeros: share of the layer's weights, the least, set to zero.
    """
    snn = load(options.network)
    net = snn.network
    if (net.code.T, net.code.tau, net.weights.bits, net.weights.levels_per_octave) != (24, 4, 5, 2):
        raise SystemExit("the comparison is for T=24, tau=4, 5-bit weights of 2 levels per octave")
    images = load_images(options.data, split="test", data_root=options.data_root)
    times = snn.encode(images.pixels(options.image, options.image + 1))
    outputs = {INPUT: times, **snn.engine.layers(times)}
    synaptic = {layer.name: layer for layer in net.synaptic}
    trace = snn.trace(images.pixels(options.image, options.image + 1))
    name = options.layer or max(synaptic, key=lambda key: int(trace.layers[key].sops.sum()))
    layer = synaptic[name]
    assert isinstance(layer, Synaptic)
    if zeros:
        layer = thinned(layer, net.weights.zero_level, zeros)
    lanes = min(options.lanes, layer.outputs)
    made = layer_stimulus(layer, outputs[layer.source][0], lanes=lanes, cycles=options.cycles)
    return made, f"{Path(options.network).name}, layer {name}, image {options.image} of {images.name}"


def thinned(layer: Synaptic, zero: int, share: float) -> Synaptic:
    """The layer with a share of its weights zero: those of least magnitude, which are the highest levels."""
    codes = layer.codes.copy()
    least = np.argsort(-(codes & zero).astype(int), axis=None, kind="stable")[: round(share * codes.size)]
    codes.reshape(-1)[least] = zero
    return replace(layer, codes=codes)
