"""One page that says what a network does and costs. It holds all it shows: no request leaves it."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from firstspike.report import numbers, raster, svg, tables
from firstspike.report.layers import layer_table, windows
from firstspike.report.view import CostView, SwingView
from firstspike.spec.network import Network
from firstspike.spec.trace import Trace

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the browser may load for the page: nothing from outside, even if a text tried."""


def demo_page(
    record: Mapping[str, Any],
    *,
    network: Network,
    trace: Trace,
    cost: CostView,
    image: np.ndarray,
    index: int = 0,
    label: int | None = None,
    provenance: Mapping[str, str] | None = None,
    designs: Mapping[str, CostView] | None = None,
    swings: Sequence[SwingView] = (),
) -> str:
    """The report as HTML.

    Args:
        record: of the demo, with the keys of `firstspike.report.tables.KEYS`.
        network: the integer network.
        trace: its trace on some images; the histograms are over all of them.
        cost: what these images cost on the processor.
        image: the image shown, ``[height, width]`` or ``[1 or 3, height, width]``, in [0, 1] or uint8.
        index: its place in the trace.
        label: its true class.
        provenance: what made the page, as (name, value): command, date, versions, machine.
        designs: costs of this and other designs on the same images, by name.
        swings: energy with single constants at the ends of their intervals, widest first.

    Raises:
        ValueError: the record lacks a key, the trace has no such image, or the image has another shape.
    """
    tables.check_record(record)
    if not 0 <= index < trace.images:
        raise ValueError(f"index must be in 0..{trace.images - 1}, not {index!r}")
    parts = [
        _header(record),
        _tiles(record, cost),
        _summary(record, cost),
        _image(network, trace, image, index, label),
        _raster(network, trace, index),
        _histograms(network, trace),
        _energy(cost, swings),
        _designs(designs or {}),
        _layers(network, trace, cost),
        _provenance(cost, provenance or {}),
    ]
    style = resources.files("firstspike.report").joinpath("style.css").read_text(encoding="utf-8")
    title = f"firstspike: {record['dataset']}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(record: Mapping[str, Any]) -> str:
    name = escape(str(record["dataset"]))
    return (
        f"<header><h1>First spikes on {name}</h1>\n"
        f"<p>A network trained with PyTorch, converted to integers, run as first spikes and priced on the processor. "
        f"Each neuron fires at most once in its window of {record['T']} time steps; a weight is a "
        f"{record['weight_bits']}-bit logarithmic code. Figures are means over {record['test_images']:,} test images "
        f"unless a line says otherwise.</p></header>"
    )


def _tiles(record: Mapping[str, Any], cost: CostView) -> str:
    totals = cost.record()
    tiles = [
        (numbers.percent(record["snn_accuracy"], 2), "accuracy of the spiking network"),
        (numbers.percent(record["agreement"], 2), "same class as the trained network"),
        (numbers.energy(cost.energy.value), f"per image, DRAM {escape(cost.dram)} included"),
        (numbers.time(totals["latency_us"]), f"for {record['latency_steps']:,} time steps of an image"),
        (numbers.count(record["sops_per_image"]), "synaptic operations per image"),
        (numbers.significant(record["spikes_per_neuron"]), "spikes per neuron"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in tiles)
        + "</div>"
    )


def _summary(record: Mapping[str, Any], cost: CostView) -> str:
    blocks = [f"<div><h3>{escape(head)}</h3>{_pairs(rows)}</div>" for head, rows in tables.summary(record, cost)]
    return f'<section><h2>Accuracy and cost</h2>\n<div class="columns gap">{"".join(blocks)}</div></section>'


def _pairs(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f'<tr><td>{escape(name)}</td><td class="n">{escape(value)}</td></tr>' for name, value in rows)
    return f"<table>{cells}</table>"


def _image(network: Network, trace: Trace, image: np.ndarray, index: int, label: int | None) -> str:
    last = network.synaptic[-1]
    logits = np.ldexp(trace.logits[index].astype(np.float64), -network.exponent(last))
    predicted = int(trace.predictions[index])
    labels = network.classes or tuple(str(number) for number in range(len(logits)))
    shown = sorted(np.argsort(-logits, kind="stable")[:10].tolist())
    chosen = [labels[number] for number in shown]
    bars = svg.logit_bars(
        logits[shown],
        chosen,
        shown.index(predicted),
        shown.index(label) if label is not None and label in shown else None,
    )
    known = "" if label is None else f"; it is {escape(labels[label])}"
    note = "" if len(shown) == len(logits) else f" The ten largest of {len(logits):,} logits are shown."
    return (
        f"<section><h2>One image</h2>\n<p>Read as {escape(labels[predicted])}{known}. The logits are exact integers in "
        f"units of 2<sup>&minus;{network.exponent(last)}</sup>, shown as the numbers they stand for.{note}</p>\n"
        f'<div class="pair"><img src="{raster.picture(image)}" alt="the image">{bars}</div></section>'
    )


def _raster(network: Network, trace: Trace, index: int) -> str:
    firing = [layer for layer in trace.layers.values() if layer.neuron]
    place = windows(network)
    picture = raster.raster(
        firing, index, network.code.T, [place[layer.name] for layer in firing], network.latency_steps
    )
    return (
        "<section><h2>Spike raster</h2>\n<p>The image above, layer by layer: every layer integrates while the one "
        f"before it fires, and fires in the next window of {network.code.T} steps. From top to bottom a band holds the "
        f"layer's neurons (at most {raster.ROWS} rows; where neurons share a row, stronger colour means that more of "
        "them fire). "
        f"Beside each name: neurons that fire.</p>\n{picture}</section>"
    )


def _histograms(network: Network, trace: Trace) -> str:
    charts = []
    for layer in trace.layers.values():
        if layer.neuron and layer.times is not None:
            share = float(layer.spikes.sum()) / max(1, layer.times.size)
            chart = svg.time_histogram(layer.name, layer.times, network.code.T)
            charts.append(f"<div><h3>{escape(layer.name)} &middot; {numbers.percent(share)} fire</h3>{chart}</div>")
    return (
        "<section><h2>Spike times</h2>\n<p>Share of a layer's neurons that fire at each step of its window, over "
        f"{trace.images:,} images. Early spikes stand for large values: the value falls by half every "
        f'{network.code.tau} steps.</p>\n<div class="multiples">{"".join(charts)}</div></section>'
    )


def _energy(cost: CostView, swings: Sequence[SwingView]) -> str:
    energy = cost.energy
    low, high = numbers.energy(energy.low), numbers.energy(energy.high)
    decides = (
        f'<h3 class="gap">Which constant decides: one at an end of its interval, all others at their values</h3>'
        f"{svg.swing_bars(swings, energy.value)}"
        if swings
        else ""
    )
    return (
        f"<section><h2>Energy</h2>\n<p>{numbers.energy(energy.value)} per image, between {low} and {high} if every "
        "constant is at the same end of its interval at once. Events are counted from the spikes; energies per event "
        f"come from the technology file &ldquo;{escape(cost.technology)}&rdquo; with DRAM scenario "
        f"&ldquo;{escape(cost.dram)}&rdquo;. Energies of the logic are estimates.</p>\n"
        f"{svg.shares(cost.groups)}{svg.legend(list(cost.groups))}\n"
        f"<h3>By component, with bounds</h3>{svg.component_bars(cost)}\n"
        f'<h3 class="gap">By layer</h3>{svg.layer_bars(cost)}{decides}</section>'
    )


def _designs(designs: Mapping[str, CostView]) -> str:
    if not designs:
        return ""
    rows = []
    for name, cost in designs.items():
        totals = cost.record()
        cells = (
            numbers.energy(cost.energy.value),
            f"{numbers.energy(cost.energy.low)} to {numbers.energy(cost.energy.high)}",
            numbers.count(totals["cycles_per_image"]),
            numbers.time(totals["latency_us"]),
            f"{numbers.significant(totals['pj_per_sop'])} pJ",
            f"{numbers.significant(totals['area_mm2'])} mm²",
        )
        figures = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
        rows.append(f"<tr><td>{escape(name)}</td>{figures}</tr>")
    heads = ("energy", "bounds", "cycles", "time", "per SOP", "area")
    titles = "<th>design</th>" + "".join(f'<th class="n">{head}</th>' for head in heads)
    groups = list(next(iter(designs.values())).groups)
    return (
        "<section><h2>Other designs</h2>\n<p>The same network, images and spikes on other designs, priced with the same "
        "technology file. Where a design leaves something open, the choice favours it "
        "(docs/explanation/energy.md, Baselines).</p>\n"
        f"{svg.design_bars(designs)}{svg.legend(groups)}"
        f'<div class="scroll"><table class="wide"><tr>{titles}</tr>{"".join(rows)}</table></div></section>'
    )


def _layers(network: Network, trace: Trace, cost: CostView) -> str:
    priced = {layer.name: layer for layer in cost.layers}
    heads = (
        "layer", "kind", "output", "weights", "zero", "fire", "SOPs", "cycles", "DRAM", "energy",
    )  # fmt: skip
    lines = []
    for row in layer_table(network):
        layer, price = trace.layers[row["name"]], priced.get(row["name"])
        synaptic = bool(row["weights"])
        fired = numbers.percent(float(layer.spikes.sum()) / max(1, layer.times.size)) if layer.times is not None else ""
        cells = [
            numbers.count(row["weights"]) if synaptic else "",
            numbers.percent(row["zero_weights"]) if synaptic else "",
            fired,
            numbers.count(price.events["sops"]) if price and synaptic else "",
            numbers.count(price.events["cycles"]) if price else "",
            numbers.bits(price.events["dram_read_bits"] + price.events["dram_write_bits"]) if price else "",
            numbers.energy(price.energy.value) if price else "",
        ]
        words = "".join(f"<td>{escape(str(row[key]))}</td>" for key in ("name", "kind", "output_shape"))
        figures = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
        lines.append(f"<tr>{words}{figures}</tr>")
    titles = "".join(
        f'<th class="n">{head}</th>' if place > 2 else f"<th>{head}</th>" for place, head in enumerate(heads)
    )
    return (
        "<section><h2>Layers</h2>\n<p>Means per image. &ldquo;Fire&rdquo; is the share of a layer's outputs with a "
        "spike; cycles of a layer run from its first operation to the next layer's.</p>\n"
        f'<div class="scroll"><table class="wide"><tr>{titles}</tr>{"".join(lines)}</table></div></section>'
    )


def _provenance(cost: CostView, provenance: Mapping[str, str]) -> str:
    rows = [*provenance.items(), ("technology", cost.technology), ("DRAM scenario", cost.dram)]
    return (
        f"<section><h2>Provenance</h2>\n{_pairs([(name, str(value)) for name, value in rows])}"
        '<p class="note">Spikes, logits and event counts are exact. Energies per event are scaled from published and '
        "predictive libraries; each constant's source and bounds stand in the technology file and in docs/explanation/energy.md. "
        "Not included: the clock tree after layout, glitches, pads and the DRAM controller.</p></section>"
    )
