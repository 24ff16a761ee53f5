"""SpinalFlow's dataflow on the same networks and spikes (Narayanan et al., ISCA 2020), as a baseline.

Per output pixel and tile of ``pes`` channels: the spines (time-sorted spikes of one input pixel) of the receptive field are
loaded ``spines`` at a time; a min-finder pops the smallest time, one a cycle, of all batches but the last into FIFOs; then a
merger takes the minimum over the FIFOs and the last batch, one spike a cycle; every merged spike reads one filter row and all
PEs add. A PE that fires emits its time and number, one stalled cycle each; the queues of the tiles are merged into the
output spine. What the publication leaves open is taken as in our processor (docs/explanation/energy.md, "Baselines").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from firstspike.arith import NO_SPIKE, checks
from firstspike.processor.cycles import LayerCounts
from firstspike.processor.plan import EVENTS
from firstspike.processor.rates import Rates, clock_pj, lane_pj, logic_mm2, zero_pj
from firstspike.processor.technology import Technology
from firstspike.spec.fan_out import nonzero_leaving
from firstspike.spec.interval import ZERO, Interval, plain, total
from firstspike.spec.network import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Synaptic


@dataclass(frozen=True, kw_only=True)
class SpinalFlow:
    """Size of the baseline, by default as published; memories and DRAM port it does not name are those of our processor.

    Attributes:
        pes: processing elements. spines: physical input spine buffers. filter_rows: rows of the filter buffer.
        weight_bits: bits of a (linear) weight.
        clock_mhz: clock frequency in MHz.
        activation_buffer_kib: memory of spines; word_bits: width of it and of the DRAM port.
        accumulator_bits: bits of a membrane, for biases and logits.
    """

    pes: int = 128
    spines: int = 16
    filter_rows: int = 4608
    weight_bits: int = 8
    clock_mhz: float = 200.0
    activation_buffer_kib: int = 128
    word_bits: int = 64
    accumulator_bits: int = 32

    def __post_init__(self) -> None:
        for name, high in (("pes", 4096), ("spines", 256), ("filter_rows", 1 << 20), ("weight_bits", 32)):
            checks.integer(f"SpinalFlow.{name}", getattr(self, name), low=1, high=high)
        for name, high in (("activation_buffer_kib", 4096), ("word_bits", 256), ("accumulator_bits", 64)):
            checks.integer(f"SpinalFlow.{name}", getattr(self, name), low=1, high=high)
        if not 0 < self.clock_mhz <= 10_000:
            raise ValueError(f"SpinalFlow.clock_mhz must be in (0, 10000], not {self.clock_mhz!r}")


def rates(design: SpinalFlow, technology: Technology, dram: str) -> Rates:
    """Energy per event of the baseline in our technology file.

    Raises:
        ValueError: the technology has no DRAM scenario of that name.
    """
    logic, baseline, buffer = technology.logic, technology.baseline, technology.sram.buffer
    row = design.pes * design.weight_bits
    filters = buffer(capacity_kib=design.filter_rows * row / 8192, width_bits=row)
    spines = buffer(capacity_kib=design.activation_buffer_kib, width_bits=design.word_bits)
    head = buffer(capacity_kib=1, width_bits=32)  # one physical spine buffer, written and read once a spike
    memories = [filters, spines, *[head] * design.spines]
    area = logic_mm2(technology, design.pes)
    none = Interval(low=0, value=0, high=0)
    return Rates(
        clock_mhz=design.clock_mhz,
        lane_add_pj=lane_pj(technology, baseline.add_operation),
        zero_add_pj=zero_pj(technology, baseline.add_operation),
        unpack_bit_pj=ZERO,
        weight_read_pj=filters.read_pj.times(1 / row),
        weight_write_pj=filters.write_pj.times(1 / row),
        activation_read_pj=spines.read_pj.times(1 / design.word_bits),
        activation_write_pj=spines.write_pj.times(1 / design.word_bits),
        membrane_read_pj=none,
        membrane_write_pj=none,
        threshold_step_pj=technology.wired(logic.fire_comparison).times(design.pes),
        spike_pj=plain(baseline.minimum) + head.read_pj + head.write_pj,
        byte_pj=plain(logic.encoder_byte),
        control_pj=plain(logic.control_cycle),
        clock_pj=clock_pj(technology, design.pes),
        leakage_mw=total([memory.leakage_mw for memory in memories]) + area.by(logic.leakage),
        dram=technology.memory(dram),
        area_mm2=total([memory.area_mm2 for memory in memories]) + area,
    )


def count(network: Network, times: Mapping[str, np.ndarray], design: SpinalFlow) -> tuple[LayerCounts, ...]:
    """Events per layer and image; fields as in `firstspike.processor.cycles.LayerCounts`, ``rows`` being merged spikes.

    Args:
        network: the integer network (its spikes are what counts; weights are taken as ``weight_bits`` linear bits).
        times: spike times by layer name, uint8 ``[n, *shape]``, as in a trace.
        design: the baseline.

    Raises:
        ValueError: a layer has residual inputs, or its filters exceed the filter buffer while it has several pixels.
    """
    images = len(times[INPUT])
    counted = [_load(images, network, times, design)]
    for layer in network.layers:
        if isinstance(layer, Synaptic):
            counted.append(_synaptic(network, layer, times, design))
        elif isinstance(layer, MaxPool2d):
            counted.append(_pool(layer, times, design))
    return tuple(counted)


def _layer(name: str, kind: str, images: int, events: Mapping[str, np.ndarray | int]) -> LayerCounts:
    full = {event: np.zeros(images, dtype=np.int64) + events.get(event, 0) for event in EVENTS}
    return LayerCounts(name=name, kind=kind, **full)


def _entry(channels: int) -> int:
    """Bits of a spike in a spine: its time and its channel."""
    return 8 + max(1, (channels - 1).bit_length())


def _load(images: int, network: Network, times: Mapping[str, np.ndarray], design: SpinalFlow) -> LayerCounts:
    """The image comes as one byte a pixel and is stored as spines."""
    bits = -(-int(np.prod(network.input_shape)) * 8 // design.word_bits) * design.word_bits
    spikes = (times[INPUT] != NO_SPIKE).reshape(images, -1).sum(axis=1)
    return _layer(
        INPUT,
        INPUT,
        images,
        {
            "cycles": bits // design.word_bits,
            "wait_cycles": bits // design.word_bits,
            "dram_read_bits": bits,
            "activation_write_bits": spikes * _entry(network.neuron_shape(INPUT)[0]),
        },
    )


def _pool(layer: MaxPool2d, times: Mapping[str, np.ndarray], design: SpinalFlow) -> LayerCounts:
    """The spines of a window are merged, one spike a cycle; the first spike of each channel is written."""
    source, target = times[layer.source], times[layer.name]
    images, entry = len(source), _entry(source.shape[1])
    merged = spikes_per_position(source, layer.kernel, layer.stride, layer.padding).sum(axis=(1, 2, 3))
    written = (target != NO_SPIKE).reshape(images, -1).sum(axis=1)
    pixels = int(np.prod(target.shape[2:]))
    return _layer(
        layer.name,
        layer.kind,
        images,
        {
            "cycles": merged + pixels,
            "walk_cycles": merged,
            "activation_read_bits": merged * entry,
            "activation_write_bits": written * entry,
        },
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Field:
    """What a layer with weights reads: its source and the window on it.

    Attributes:
        source: spike times, uint8 ``[n, channels, height, width]``.
        kernel, stride, padding: of the window, vertical and horizontal.
        groups: of channels.
    """

    source: np.ndarray
    kernel: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    def spikes(self, channels: slice = slice(None)) -> np.ndarray:
        """Spikes of these channels in every spine, int64 ``[n, pixels, k_h, k_w]``."""
        return spikes_per_position(self.source[:, channels], self.kernel, self.stride, self.padding)


def _field(network: Network, layer: Synaptic, times: Mapping[str, np.ndarray]) -> _Field:
    if layer.residuals:
        raise ValueError(f"layer {layer.name!r}: SpinalFlow has no residual inputs, not {layer.residuals!r}")
    if layer.parts:
        raise ValueError(f"layer {layer.name!r}: SpinalFlow has one source a layer, not {layer.inputs!r}")
    if isinstance(layer, Conv2d) and layer.dilation != (1, 1):
        raise ValueError(f"layer {layer.name!r}: SpinalFlow has no dilated windows, not {layer.dilation!r}")
    source = times[_behind(network, layer.source)]
    source = source if source.ndim == 4 else source[:, :, None, None]
    if isinstance(layer, Conv2d):
        return _Field(
            source=source,
            kernel=layer.weight_shape[2:],
            stride=layer.stride,
            padding=layer.padding,
            groups=layer.groups,
        )
    assert isinstance(layer, Linear)
    return _Field(source=source, kernel=source.shape[2:], stride=(1, 1), padding=(0, 0), groups=1)


def _synaptic(network: Network, layer: Synaptic, times: Mapping[str, np.ndarray], design: SpinalFlow) -> LayerCounts:
    field = _field(network, layer, times)
    images = len(field.source)
    events = {event: np.zeros(images, dtype=np.int64) for event in EVENTS}
    emitted = _emitted(layer, times, field)
    for first in range(0, layer.outputs, design.pes):
        channels = range(first, min(first + design.pes, layer.outputs))
        for event, value in _tile(network, layer, field, design, channels, emitted[:, channels].sum(axis=1)).items():
            events[event] += value
    spikes = field.spikes()
    if not layer.fires:
        events["dram_write_bits"] += layer.outputs * spikes.shape[1] * design.accumulator_bits
    origin = _behind(network, layer.source)
    fired = (times[origin] != NO_SPIKE).reshape(images, -1)
    events["nonzero_adds"] += (fired @ nonzero_leaving(network, layer, origin)).astype(np.int64)
    events["sops"] += layer.outputs // field.groups * spikes.sum(axis=(1, 2, 3))
    return _layer(layer.name, layer.kind, images, events)


def _emitted(layer: Synaptic, times: Mapping[str, np.ndarray], field: _Field) -> np.ndarray:
    """What each output channel hands on, its spikes or its logits: int64 ``[n, outputs]``."""
    if layer.fires:
        fired = (times[layer.name] != NO_SPIKE).reshape(len(field.source), layer.outputs, -1)
        return np.asarray(fired.sum(axis=2))
    return np.full((len(field.source), layer.outputs), field.spikes().shape[1])


def _tile(
    network: Network, layer: Synaptic, field: _Field, design: SpinalFlow, channels: range, emitted: np.ndarray
) -> dict[str, np.ndarray | int]:
    """Events of one tile of output channels; ``emitted`` is what they hand on, int64 ``[n]``."""
    inputs = field.source.shape[1]
    of_group, outputs = inputs // field.groups, layer.outputs // field.groups
    low, high = channels.start // outputs * of_group, ((channels.stop - 1) // outputs + 1) * of_group
    rows = (high - low) * field.kernel[0] * field.kernel[1]
    spikes = field.spikes(slice(low, high))
    images, pixels = spikes.shape[:2]
    if rows > design.filter_rows and pixels > 1:
        raise ValueError(
            f"layer {layer.name!r}: its {rows} filter rows must fit the filter buffer of {design.filter_rows} rows "
            f"where it has several output pixels, not {pixels} pixels"
        )
    walk = merge_cycles(spikes.reshape(images, pixels, -1), design.spines).sum(axis=1)
    merged = spikes.sum(axis=(1, 2, 3))
    steps = pixels * (network.code.T if layer.fires else 0)
    bits = rows * design.pes * design.weight_bits
    bias = design.pes * design.accumulator_bits
    thresholds = network.code.T * design.accumulator_bits * layer.fires
    load = -(-(bits + bias + thresholds) // design.word_bits)
    busy = walk + pixels + steps + emitted
    entry = _entry(layer.outputs)
    queued = emitted * entry * (layer.outputs > design.pes and layer.fires)
    written = emitted * (entry if layer.fires else design.accumulator_bits)
    return {
        # the filters of one tile load while the tile before computes, which favours the baseline
        "cycles": np.maximum(busy, load),
        "wait_cycles": np.maximum(load - busy, 0),
        "walk_cycles": walk,
        "fire_cycles": steps + emitted,
        "rows": merged,
        "lane_adds": merged * len(channels),
        "threshold_steps": steps,
        "activation_read_bits": merged * _entry(inputs) + queued,
        "activation_write_bits": written + queued,
        "weight_read_bits": merged * design.pes * design.weight_bits,
        "weight_write_bits": bits,
        "bias_read_bits": pixels * bias,
        "bias_write_bits": bias,
        "dram_read_bits": load * design.word_bits,
    }


def _behind(network: Network, name: str) -> str:
    """Name of the map behind flattenings."""
    layer: Layer
    while name != INPUT and isinstance(layer := network.layer(name), Flatten):
        name = layer.source
    return name


def spikes_per_position(
    times: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int]
) -> np.ndarray:
    """Spikes in every spine of every receptive field, int64 ``[n, pixels, k_h, k_w]``; padding has none.

    Args:
        times: spike times, uint8 ``[n, channels, height, width]``.
        kernel: height and width of the window.
        stride: of the window, vertical and horizontal.
        padding: on both sides, vertical and horizontal.
    """
    spikes = (times != NO_SPIKE).sum(axis=1, dtype=np.int64)
    (top, left), (down, across) = padding, stride
    padded = np.pad(spikes, ((0, 0), (top, top), (left, left)))
    windows = sliding_window_view(padded, (kernel[0], kernel[1]), axis=(1, 2))[:, ::down, ::across]
    return windows.reshape(len(times), -1, kernel[0], kernel[1])


def merge_cycles(spines: np.ndarray, buffers: int) -> np.ndarray:
    """Cycles that merge the spines of a window: all batches but the last into FIFOs, then all spikes once.

    Args:
        spines: spikes of each spine, int64 ``[..., spines]``; loaded ``buffers`` at a time in this order.
        buffers: physical spine buffers.

    >>> merge_cycles(np.array([3, 4, 5]), 16).tolist(), merge_cycles(np.array([3, 4, 5]), 2).tolist()
    (12, 19)
    """
    count = spines.shape[-1]
    last = (count - 1) // buffers * buffers
    sums: np.ndarray = spines[..., :last].sum(axis=-1) + spines.sum(axis=-1)
    return sums
