"""One page that says what a network does and costs. It holds all it shows: no request leaves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from firstspike.figures import bars, histogram, numbers, raster
from firstspike.figures.svg import Frame
from firstspike.figures.view import CostView, SwingView
from firstspike.pages import tables
from firstspike.pages.templates import both, render, style
from firstspike.spec.network import Network
from firstspike.spec.summary import layer_table
from firstspike.spec.trace import Trace

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the browser may load for the page: nothing from outside, even if a text tried."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """The image that the page shows.

    Attributes:
        image: ``[height, width]`` or ``[1 or 3, height, width]``, in [0, 1] or uint8.
        index: its place in the trace.
        label: its true class, if known.
    """

    image: np.ndarray
    index: int = 0
    label: int | None = None

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"index must be at least 0, not {self.index!r}")


def demo_page(
    record: Mapping[str, Any],
    *,
    network: Network,
    trace: Trace,
    cost: CostView,
    example: Example,
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
        policy=POLICY,
        style=style(),
        record=record,
        cost=cost,
        images=trace.images,
        headline=_headline(record, cost),
        summary=tables.summary(record, cost),
        image=_image(network, trace, example),
        raster=_raster(network, trace, example.index),
        histograms=_histograms(network, trace),
        energy=_energy(cost, swings),
        designs=_designs(designs) if designs else None,
        layers=_layers(network, trace, cost),
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


def _image(network: Network, trace: Trace, example: Example) -> dict[str, Any]:
    index, label = example.index, example.label
    exponent = network.exponent(network.synaptic[-1])
    logits = np.ldexp(trace.logits[index].astype(np.float64), -exponent)
    predicted = int(trace.predictions[index])
    labels = network.classes or tuple(str(number) for number in range(len(logits)))
    shown = sorted(np.argsort(-logits, kind="stable")[:10].tolist())
    true = shown.index(label) if label is not None and label in shown else None
    drawn = histogram.logit_bars(logits[shown], [labels[number] for number in shown], shown.index(predicted), true)
    return {
        "read_as": labels[predicted],
        "label": None if label is None else labels[label],
        "exponent": exponent,
        "logits": len(logits),
        "shown": len(shown),
        "picture": raster.picture(example.image),
        "bars": Markup(drawn),
    }


def _raster(network: Network, trace: Trace, index: int) -> dict[str, Any]:
    bands = [
        raster.Band(name=layer.name, times=layer.times[index], window=layer.window)
        for layer in trace.layers.values()
        if layer.neuron and layer.times is not None
    ]

    def draw(frame: Frame) -> str:
        return raster.raster(bands, network.code.T, network.latency_steps, frame)

    return {"rows": raster.ROWS, "picture": both(draw)}


def _histograms(network: Network, trace: Trace) -> list[tuple[str, str, Markup]]:
    charts = []
    for layer in trace.layers.values():
        if layer.neuron and layer.times is not None:
            share = float(layer.spikes.sum()) / max(1, layer.times.size)
            chart = histogram.time_histogram(layer.name, layer.times, network.code.T)
            charts.append((layer.name, numbers.percent(share), Markup(chart)))
    return charts


def _energy(cost: CostView, swings: Sequence[SwingView]) -> dict[str, Any]:
    energy = cost.energy
    return {
        "value": numbers.energy(energy.value),
        "low": numbers.energy(energy.low),
        "high": numbers.energy(energy.high),
        "shares": both(partial(bars.shares, cost.groups)),
        "legend": Markup(bars.legend(list(cost.groups))),
        "components": both(partial(bars.component_bars, cost)),
        "layers": both(partial(bars.layer_bars, cost)),
        "swings": both(partial(bars.swing_bars, swings, energy.value)) if swings else None,
    }


def _designs(designs: Mapping[str, CostView]) -> dict[str, Any]:
    rows = []
    for name, cost in designs.items():
        totals, energy = cost.record(), cost.energy
        rows.append(
            (
                name,
                numbers.energy(energy.value),
                f"{numbers.energy(energy.low)} to {numbers.energy(energy.high)}",
                numbers.count(totals["cycles_per_image"]),
                numbers.time(totals["latency_us"]),
                f"{numbers.significant(totals['pj_per_sop'])} pJ",
                f"{numbers.significant(totals['area_mm2'])} mm²",
            )
        )
    return {
        "heads": ("design", "energy", "bounds", "cycles", "time", "per SOP", "area"),
        "rows": rows,
        "bars": both(partial(bars.cost_bars, designs)),
        "legend": Markup(bars.legend(list(next(iter(designs.values())).groups))),
    }


def _layers(network: Network, trace: Trace, cost: CostView) -> dict[str, Any]:
    priced = {layer.name: layer for layer in cost.layers}
    rows = []
    for row in layer_table(network):
        layer, price = trace.layers[row["name"]], priced.get(row["name"])
        synaptic = bool(row["weights"])
        fired = numbers.percent(float(layer.spikes.sum()) / max(1, layer.times.size)) if layer.times is not None else ""
        rows.append(
            (
                row["name"],
                row["kind"],
                row["output_shape"],
                numbers.count(row["weights"]) if synaptic else "",
                numbers.percent(row["zero_weights"]) if synaptic else "",
                fired,
                numbers.count(price.events["sops"]) if price and synaptic else "",
                numbers.count(price.events["cycles"]) if price else "",
                numbers.bits(price.events["dram_read_bits"] + price.events["dram_write_bits"]) if price else "",
                numbers.energy(price.energy.value) if price else "",
            )
        )
    heads = ("layer", "kind", "output", "weights", "zero", "fire", "SOPs", "cycles", "DRAM", "energy")
    return {"heads": heads, "rows": rows}
