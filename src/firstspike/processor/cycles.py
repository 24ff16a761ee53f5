"""Exact cycle and event counts of the processor, in closed form from the spikes (docs/explanation/processor.md, "Cycles").

The RTL executes one operation after the other while the loader fetches the next one, so with an ideal DRAM

    cycles = fetch[0] + sum over operations i of max(execute[i], fetch[i+1])   (their sum instead after a transfer)

and ``execute`` is a sum over output pixels of the window's walk, in which a word of the activation buffer takes as many
cycles as it holds spikes, but at least one, plus constants of the layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import overload

import numpy as np

from firstspike.compiler.channels import moved_times, resolve
from firstspike.processor import planner
from firstspike.processor.plan import EVENTS, RESTING, Plan
from firstspike.processor.rates import PRODUCT_BITS
from firstspike.spec.network import INPUT, Channels, Network, PixelShuffle
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Program


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCounts:
    """Events of one layer (or ``"input"``, the image's load); every field but the names is int64 ``[n]``, one entry a run.

    A run is one image, or a batch of images (``Processor.images``).

    Attributes:
        name: the layer's name; kind: its kind, ``"input"`` for the load.
        cycles: clock cycles from the start of its first operation to the start of the next layer's.
        walk_cycles: of these, cycles in which words of receptive fields (or pooling windows) are looked at.
        fire_cycles: of these, cycles of residual inputs, thresholds and write-back.
        wait_cycles: of these, cycles in which the finished controller waits for DRAM (weights, descriptors).
        rows: weight rows read: one per spike of a receptive field, tile and pixel.
        sops: synaptic operations as numerics section 5 counts them (zero weights included, padding not).
        lane_adds: products added in elements that hold an output: ``sops`` plus, in grouped layers and where pixels are
            computed together, zero weights.
        nonzero_adds: of these, products with a weight that is not zero: the others move neither magnitude nor membrane.
        threshold_steps: cycles in which a threshold is broadcast to all processing elements (firing and residuals), and those
            in which membranes halve before (numerics, section 8).
        activation_read_bits, activation_write_bits: activation buffer, whole words.
        weight_read_bits, weight_write_bits: weight buffer, whole rows of ``pes`` codes (written from DRAM).
        unpacked_bits: packed weight rows that the unpacker takes, whole words.
        bias_read_bits, bias_write_bits: bias registers, whole tiles of ``pes`` accumulators.
        membrane_read_bits, membrane_write_bits: membrane memory, whole rows of ``pes`` accumulators.
        dram_read_bits, dram_write_bits: DRAM port, whole words: descriptors, biases, thresholds, weights, maps, logits.
        activation_off_cycles, membrane_off_cycles, weight_off_cycles: of each bank, cycles in which it
            is off; the membrane memory is one, the weight buffer two. 0 where none is switched off.
        woken_bits: bits of banks that are switched on.
    """

    name: str
    kind: str
    cycles: np.ndarray
    walk_cycles: np.ndarray
    fire_cycles: np.ndarray
    wait_cycles: np.ndarray
    rows: np.ndarray
    sops: np.ndarray
    lane_adds: np.ndarray
    nonzero_adds: np.ndarray
    threshold_steps: np.ndarray
    activation_read_bits: np.ndarray
    activation_write_bits: np.ndarray
    weight_read_bits: np.ndarray
    weight_write_bits: np.ndarray
    unpacked_bits: np.ndarray
    bias_read_bits: np.ndarray
    bias_write_bits: np.ndarray
    membrane_read_bits: np.ndarray
    membrane_write_bits: np.ndarray
    dram_read_bits: np.ndarray
    dram_write_bits: np.ndarray
    activation_off_cycles: np.ndarray
    membrane_off_cycles: np.ndarray
    weight_off_cycles: np.ndarray
    woken_bits: np.ndarray


assert tuple(field.name for field in fields(LayerCounts) if field.name not in ("name", "kind")) == EVENTS


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of a network over ``n`` runs.

    Attributes:
        layers: by execution: ``"input"`` first, then every layer that takes operations (not flattening).
        processor: the processor that was counted.
        images: images of all runs together; None: one a run.
        product_bits: of the network's format (`firstspike.spec.Network.product_bits`).
    """

    layers: Sequence[LayerCounts]
    processor: ProcessorSpec
    images: int | None = None
    product_bits: int = PRODUCT_BITS

    def total(self, event: str) -> np.ndarray:
        """Sum of a field over all layers, int64 ``[n]``.

        Raises:
            ValueError: there is no such field.
        """
        if event not in EVENTS:
            raise ValueError(f"event must be one of {', '.join(EVENTS)}, not {event!r}")
        total: np.ndarray = np.sum([getattr(layer, event) for layer in self.layers], axis=0)
        return total

    @property
    def cycles(self) -> np.ndarray:
        """Clock cycles of every run, int64 ``[n]``."""
        return self.total("cycles")


def count(
    network: Network,
    times: Mapping[str, np.ndarray],
    processor: ProcessorSpec,
    program: Program | None = None,
    *,
    plan: Plan | None = None,
    stall: float = 0.0,
) -> Counts:
    """Count the cycles and events of images whose spike times are known.

    Args:
        network: the integer network.
        times: spike times of every neuron of ``"input"`` and of every firing, pooling and flattening layer, uint8
            ``[n, *neuron_shape]``, as a trace has them; what is
            left of the last batch is counted as a smaller batch.
        processor: the processor.
        program: ``mapping.program(network, processor)``, if at hand.
        plan: ``planner.plan(network, processor, program)``, if at hand: what does not depend on the images.
        stall: probability that the DRAM holds a stream of its port back in a cycle; the counts are then expectations.

    Raises:
        ValueError: the network does not fit the processor; ``stall`` is not in [0, 1).
    """
    if not 0 <= stall < 1:
        raise ValueError(f"stall must be in [0, 1), not {stall!r}")
    if any(isinstance(layer, Channels | PixelShuffle) for layer in network.layers):
        times = moved_times(resolve(network), times)  # maps that only the processor has
    images, size = len(times[INPUT]), processor.images
    whole = images // size * size
    parts = []
    if whole or not images:
        first = {name: values[:whole] for name, values in times.items()}
        parts.append(_runs(plan or planner.plan(network, processor, program), first, stall))
    if whole < images:
        rest = {name: values[whole:] for name, values in times.items()}
        parts.append(_runs(planner.plan(network, replace(processor, images=images - whole)), rest, stall))
    return Counts(
        layers=parts[0] if len(parts) == 1 else _join(*parts),
        processor=processor,
        images=images,
        product_bits=network.product_bits,
    )


class _Records(Sequence[LayerCounts]):
    """The layers of an array of events ``[events, layers, n]``; their records are made when one is first looked at."""

    def __init__(self, layers: Sequence[tuple[str, str]], events: np.ndarray) -> None:
        self._layers = layers
        self._events = events

    @cached_property
    def _made(self) -> tuple[LayerCounts, ...]:
        return tuple(
            LayerCounts(name=name, kind=kind, **dict(zip(EVENTS, self._events[:, index], strict=True)))
            for index, (name, kind) in enumerate(self._layers)
        )

    @overload
    def __getitem__(self, index: int) -> LayerCounts: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerCounts, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerCounts | tuple[LayerCounts, ...]:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._layers)


def _runs(plan: Plan, times: Mapping[str, np.ndarray], stall: float) -> _Records:
    """Events of whole batches."""
    walks, spikes = plan.walk(times)
    events = plan.events(walks, spikes, times)
    events[EVENTS.index("cycles")], events[EVENTS.index("wait_cycles")] = plan.schedule(walks, stall)
    if plan.processor.switched:
        events[[EVENTS.index(name) for name in RESTING]] = plan.rest(walks, stall)
    return _Records(plan.layers, events)


def _join(whole: Sequence[LayerCounts], rest: Sequence[LayerCounts]) -> tuple[LayerCounts, ...]:
    """The last, smaller batch behind the others; a layer without operations in one of them (the load of an input that stays
    in DRAM) counts nothing there."""
    parts = [{layer.name: layer for layer in part} for part in (whole, rest)]
    longest = max(whole, rest, key=len)
    joined = []
    for layer in longest:
        values = {
            event: np.concatenate(
                [
                    getattr(part[layer.name], event)
                    if layer.name in part
                    else np.zeros(len(runs[0].cycles), dtype=np.int64)
                    for part, runs in zip(parts, (whole, rest), strict=True)
                ]
            )
            for event in EVENTS
        }
        joined.append(LayerCounts(name=layer.name, kind=layer.kind, **values))
    return tuple(joined)
