"""One page that says what a network does and costs. It holds all it shows: no request leaves it."""

from collections.abc import Mapping, Sequence
from typing import Any

from firstspike.figures import numbers
from firstspike.figures.view import CostView, SwingView
from firstspike.pages import parts, tables
from firstspike.pages.templates import render, style
from firstspike.spec.network import Network
from firstspike.spec.trace import Trace


def demo_page(
    record: Mapping[str, Any],
    *,
    network: Network,
    trace: Trace,
    cost: CostView,
    example: parts.Example,
    provenance: Mapping[str, str] | None = None,
    designs: Mapping[str, CostView] | None = None,
    swings: Sequence[SwingView] = (),
) -> str:
    """The report as HTML.

    Args:
        record: of the demo, with the keys of `firstspike.pages.tables.KEYS`.
        network: the integer network.
        trace: its trace on some images; the histograms are over all of them.
        cost: what these images cost on the processor.
        example: the image shown.
        provenance: what made the page, as (name, value): command, date, versions, machine.
        designs: costs of this and other designs on the same images, by name.
        swings: energy with single constants at the ends of their intervals, widest first.

    Raises:
        ValueError: the record lacks a key, the trace has no such image, or the image has another shape.
    """
    tables.check_record(record)
    if example.index >= trace.images:
        raise ValueError(f"index must be in 0..{trace.images - 1}, not {example.index!r}")
    return render(
        "firstspike.pages",
        "demo.html",
        title=record["dataset"],
        policy=parts.POLICY,
        style=style(),
        record=record,
        cost=cost,
        images=trace.images,
        headline=_headline(record, cost),
        summary=tables.summary(record, cost),
        image=parts.picture(network, trace, example),
        raster=parts.spikes(network, trace, example.index),
        histograms=parts.histograms(network, trace),
        energy=parts.energy(cost, swings),
        designs=parts.designs(designs) if designs else None,
        layers=parts.layers(network, trace, cost),
        provenance=[*(provenance or {}).items(), ("technology", cost.technology), ("DRAM scenario", cost.dram)],
    )


def _headline(record: Mapping[str, Any], cost: CostView) -> list[tuple[str, str]]:
    return [
        (numbers.percent(record["snn_accuracy"], 2), "accuracy of the spiking network"),
        (numbers.percent(record["agreement"], 2), "same class as the trained network"),
        (numbers.energy(cost.energy.value), f"per image, DRAM {cost.dram} included"),
        (numbers.time(cost.record()["latency_us"]), f"for {record['latency_steps']:,} time steps of an image"),
        (numbers.count(record["sops_per_image"]), "synaptic operations per image"),
        (numbers.significant(record["spikes_per_neuron"]), "spikes per neuron"),
    ]
