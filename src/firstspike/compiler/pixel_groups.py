"""Narrow layers whose neighbouring pixels the lanes compute together (docs/explanation/processor.md, "Pixel groups").

A map lies channels last, so ``g`` neighbouring pixels of ``C`` channels are one pixel of ``g C``. They come from one wider
window: ``k + (g - 1) s`` columns for a kernel of ``k`` at stride ``s``, in which the weights of pixel ``i`` begin at column
``i s`` and are zero elsewhere.
"""

from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from firstspike.compiler.timing import constant_cycles, coverage
from firstspike.spec.network import Conv2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Operation

SPIKES = 1 / 5
"""Share of a map's neurons that fire, as the choice of groups assumes: no program depends on images."""

INPUT_SPIKES = 1 / 2
"""The same of the input, whose planes are the bits of pixels."""

_widened: WeakKeyDictionary[Synaptic, dict[tuple[int, int], Synaptic]] = WeakKeyDictionary()
"""Results of `widened`, which many designs and stages ask for, for as long as their layer lives."""


def sizes(network: Network, processor: ProcessorSpec, layer: Synaptic) -> tuple[int, ...]:
    """Pixels that a layer may compute together: 1 and, where the processor has groups, the divisors of a row that fit its lanes.

    The layer is a plain convolution that fires, of channels that fill whole words.
    """
    plain = all(isinstance(one, Conv2d) and one.groups == 1 and one.dilation == (1, 1) for one in layer.connections)
    if not (processor.pixel_groups and plain and layer.fires) or layer.outputs % processor.lanes:
        return (1,)
    width = network.shapes[layer.name][2]
    return tuple(size for size in range(1, processor.pes // layer.outputs + 1) if width % size == 0) or (1,)


def widened(layer: Synaptic, pixels: int, *, zero: int) -> Synaptic:
    """A layer that computes ``pixels`` neighbours of a row as the channels of one pixel, first pixel's channels first.

    Args:
        layer: a convolution without groups and dilation, whose parts are too; any layer for one pixel.
        pixels: how many.
        zero: the code of weight zero.
    """
    if pixels == 1:
        return layer
    known = _widened.setdefault(layer, {})
    if (pixels, zero) not in known:
        assert isinstance(layer, Conv2d)
        outputs, channels, height, width = layer.weight_shape
        step = layer.stride[1]
        codes = np.full((pixels, outputs, channels, height, width + (pixels - 1) * step), zero, dtype=np.uint8)
        for pixel in range(pixels):
            codes[pixel, ..., pixel * step : pixel * step + width] = np.asarray(layer.codes)
        known[pixels, zero] = replace(
            layer,
            codes=codes.reshape(-1, *codes.shape[2:]),
            bias=np.tile(layer.bias, pixels),
            shifts=layer.shifts * pixels,
            parts=tuple(widened(part, pixels, zero=zero) for part in layer.parts),
            stride=(layer.stride[0], pixels * step),
        )
    return known[pixels, zero]


def layer_of(network: Network, operation: Convolve) -> Synaptic:
    """The layer that an operation computes, as wide as its group."""
    layer = network.layer(operation.layer)
    assert isinstance(layer, Synaptic)
    return widened(layer, operation.group, zero=network.weights.zero_level)


def connection_of(network: Network, operation: Convolve) -> Synaptic:
    """The layer, or the part of it, whose weights an operation has, as wide as its group."""
    return widened(network.connection(operation.connection), operation.group, zero=network.weights.zero_level)


def estimated_cycles(network: Network, processor: ProcessorSpec, work: Iterable[Operation]) -> float:
    """Cycles of operations over maps of `SPIKES`, without waiting for the DRAM."""
    cycles = 0.0
    for operation in work:
        cycles += constant_cycles(network, processor, operation)
        if isinstance(operation, Convolve):
            rows, columns = coverage(operation)
            inside = operation.images * int(rows.sum() * columns.sum())
            positions = operation.pixels * operation.kernel[0] * operation.kernel[1]
            cycles += inside * _walk(network, processor, operation) + positions - inside
    return cycles


def _walk(network: Network, processor: ProcessorSpec, operation: Convolve) -> float:
    """Cycles at a position in the map: a word takes one for every spike, but at least one."""
    source = network.connection(operation.connection).source
    share = INPUT_SPIKES if source in network.input_maps else SPIKES
    left = network.neuron_shape(source)[0] - operation.channel_word * processor.lanes
    neurons = [min(processor.lanes, left - word * processor.lanes) for word in range(operation.words)]
    return sum(many * share + (1 - share) ** many for many in neurons)
