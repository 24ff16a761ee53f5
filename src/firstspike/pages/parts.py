"""What pages say of a network, a trace and a cost: the values that their templates show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from firstspike.figures import bars, histogram, numbers, raster
from firstspike.figures.svg import Frame
from firstspike.figures.view import CostView, SwingView
from firstspike.pages.templates import both
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


def picture(network: Network, trace: Trace, example: Example) -> dict[str, Any]:
    """One image: what it is read as, the picture, and its largest logits."""
    index, label = example.index, example.label
    exponent = network.exponent(network.synaptic[-1])
    logits = np.ldexp(trace.logits[index].astype(np.float64), -exponent)
    predicted = int(trace.predictions[index])
    labels = network.classes or tuple(str(number) for number in range(len(logits)))
    shown = sorted(np.argsort(-logits, kind="stable")[:10].tolist())
    true = shown.index(label) if label is not None and label in shown else None
    names = [labels[number] for number in shown]

    def draw(frame: Frame) -> str:
        width = min(frame.width, 640)
        return histogram.logit_bars(logits[shown], names, shown.index(predicted), true, width=width)

    shape = example.image.shape
    drawable = len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))
    return {
        "read_as": labels[predicted],
        "label": None if label is None else labels[label],
        "exponent": exponent,
        "logits": len(logits),
        "shown": len(shown),
        "picture": raster.picture(example.image) if drawable else None,
        "bars": both(draw),
    }


def spikes(network: Network, trace: Trace, index: int) -> dict[str, Any]:
    """The spike raster of one image."""
    bands = [
        raster.Band(name=layer.name, times=layer.times[index], window=layer.window)
        for layer in trace.layers.values()
        if layer.neuron and layer.times is not None
    ]

    def draw(frame: Frame) -> str:
        return raster.raster(bands, network.code.T, network.latency_steps, frame)

    return {"rows": raster.ROWS, "picture": both(draw)}


def histograms(network: Network, trace: Trace) -> list[tuple[str, str, Markup]]:
    """When the neurons of every layer fire: name, share that fires, chart."""
    charts = []
    for layer in trace.layers.values():
        if layer.neuron and layer.times is not None:
            share = layer.fired
            chart = histogram.time_histogram(layer.name, layer.times, network.code.T)
            charts.append((layer.name, numbers.percent(share), Markup(chart)))
    return charts


def energy(cost: CostView, swings: Sequence[SwingView]) -> dict[str, Any]:
    """Energy per image, by group, component and layer."""
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


def designs(designs: Mapping[str, CostView], head: str = "design") -> dict[str, Any]:
    """Several costs side by side."""
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
        "heads": (head, "energy", "bounds", "cycles", "time", "per SOP", "area"),
        "rows": rows,
        "bars": both(partial(bars.cost_bars, designs)),
        "legend": Markup(bars.legend(list(next(iter(designs.values())).groups))),
    }


def layers(network: Network, trace: Trace, cost: CostView) -> dict[str, Any]:
    """Every layer's shape, weights, spikes, operations, cycles, traffic and energy."""
    priced = {layer.name: layer for layer in cost.layers}
    rows = []
    for row in layer_table(network):
        layer, price = trace.layers[row["name"]], priced.get(row["name"])
        synaptic = bool(row["weights"])
        fired = numbers.percent(layer.fired) if layer.times is not None else ""
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
