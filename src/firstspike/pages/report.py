"""The report of any network, or of several side by side: one page that holds all it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from firstspike.figures import bars, histogram, numbers
from firstspike.figures.view import CostView, SwingView
from firstspike.pages import parts
from firstspike.pages.templates import both, render, style
from firstspike.spec.network import Network
from firstspike.spec.tally import Tally
from firstspike.spec.trace import Trace

SATURATED, SILENT = 0.03, 0.5
"""Shares from which on the page points at a layer, as `firstspike.cat.health` does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A network and what was seen of it.

    Attributes:
        name: what the page calls it.
        network: the integer network.
        tally: its run on all images.
        labelled: the tally's labels say something.
        trace: its run on the images that were priced.
        costs: what they cost, by DRAM scenario; the first stands in the headline.
        shown: images that the page shows, each with its place in ``shown_trace``.
        shown_trace: the network's run on them; None for none.
        swings: energy in the first scenario with single constants at the ends of their intervals, widest first.

    Raises:
        ValueError: there is no cost.
    """

    name: str
    network: Network
    tally: Tally
    labelled: bool
    trace: Trace
    costs: Mapping[str, CostView]
    shown: Sequence[parts.Example] = ()
    shown_trace: Trace | None = None
    swings: Sequence[SwingView] = field(default=())

    def __post_init__(self) -> None:
        if not self.costs:
            raise ValueError(f"entry {self.name!r}: costs must hold at least one scenario, not {{}}")

    @property
    def cost(self) -> CostView:
        """In the first scenario."""
        return next(iter(self.costs.values()))

    @property
    def images(self) -> int:
        """How many images were run."""
        return int(self.tally.images.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of images that were read right; None without labels."""
        return float(self.tally.hits.sum()) / max(1, self.images) if self.labelled else None


def report_page(entries: Sequence[Entry], *, title: str, provenance: Mapping[str, str] | None = None) -> str:
    """The report as HTML.

    Args:
        entries: the networks, in the order of the page.
        title: what the images are called.
        provenance: what made the page, as (name, value): command, date, versions, machine.

    Raises:
        ValueError: there is no entry, or two have one name.
    """
    names = [entry.name for entry in entries]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a report needs entries of different names, not {names!r}")
    first = entries[0].cost
    return render(
        "firstspike.pages",
        "report.html",
        title=title,
        policy=parts.POLICY,
        style=style(),
        entries=[_entry(entry, place) for place, entry in enumerate(entries)],
        comparison=_comparison(entries) if len(entries) > 1 else None,
        provenance=[*(provenance or {}).items(), ("technology", first.technology)],
    )


def _entry(entry: Entry, place: int) -> dict[str, Any]:
    """All that the page says of one network."""
    network, trace = entry.network, entry.trace
    return {
        "name": entry.name,
        "anchor": f"network-{place}",
        "code": network.code,
        "bits": network.weights.bits,
        "images": entry.images,
        "priced": trace.images,
        "headline": _headline(entry),
        "classes": _classes(entry),
        "examples": _examples(entry),
        "histograms": [
            (name, numbers.percent(layer.fired), Markup(histogram.counted_histogram(name, layer.counts, trace.steps)))
            for name, layer in entry.tally.layers.items()
        ],
        "health": _health(entry),
        "scenarios": _scenarios(entry),
        "swings": both(partial(bars.swing_bars, entry.swings, entry.cost.energy.value)) if entry.swings else None,
        "layers": parts.layers(network, trace, entry.cost),
    }


def _headline(entry: Entry) -> list[tuple[str, str]]:
    cost, energy = entry.cost, entry.cost.energy
    spread = f"{numbers.energy(energy.low)} to {numbers.energy(energy.high)}"
    tiles = [] if entry.accuracy is None else [(numbers.percent(entry.accuracy, 2), f"of {entry.images:,} images")]
    return [
        *tiles,
        (numbers.energy(energy.value), f"per image ({spread}), DRAM {cost.dram}"),
        (numbers.time(cost.record()["latency_us"]), f"for {entry.trace.latency_steps:,} time steps"),
        (numbers.count(entry.trace.sops_per_image), "synaptic operations per image"),
        (numbers.significant(entry.trace.spikes_per_neuron), "spikes per neuron"),
        (f"{numbers.significant(cost.record()['area_mm2'])} mm²", "area of memories and logic"),
    ]


def _examples(entry: Entry) -> list[dict[str, Any]]:
    network, trace = entry.network, entry.shown_trace
    if trace is None:
        return []
    return [
        {"image": parts.picture(network, trace, example), "raster": parts.spikes(network, trace, example.index)}
        for example in entry.shown
    ]


def _classes(entry: Entry) -> Markup | None:
    """Accuracy by class, the worst first; None without labels or with one class."""
    tally = entry.tally
    seen = np.flatnonzero(tally.images)
    if not entry.labelled or len(seen) < 2:
        return None
    names = entry.network.classes or tuple(map(str, range(len(tally.images))))
    right = tally.hits / np.maximum(1, tally.images)
    worst = seen[np.argsort(right[seen], kind="stable")][:10].tolist()
    rows = {
        names[index]: [("read right:", float(right[index]), "g1"), ("read wrong:", 1 - float(right[index]), "rest")]
        for index in worst
    }
    return both(partial(bars.part_bars, rows, "Accuracy by class"))


def _health(entry: Entry) -> dict[str, Any]:
    rows, table = {}, []
    for name, layer in entry.tally.layers.items():
        late = layer.fired - layer.saturated
        rows[name] = [
            ("at step 0:", layer.saturated, "g4"),
            ("later:", late, "g0"),
            ("silent:", 1 - layer.fired, "rest"),
        ]
        hidden = name != "input"
        advice = "many at step 0: values above 1 are cut" if hidden and layer.saturated > SATURATED else ""
        advice = advice or ("many never fire: values are too small" if hidden and layer.never > SILENT else "")
        table.append(
            (
                name,
                f"{layer.neurons:,}",
                numbers.percent(layer.fired),
                numbers.percent(layer.saturated, 2),
                f"{int(layer.silent.sum()):,}",
                numbers.percent(layer.never),
                advice,
            )
        )
    heads = ("layer", "neurons", "fire", "at step 0", "never fire", "of all", "note")
    return {"bars": both(partial(bars.part_bars, rows, "Saturation and silence")), "heads": heads, "rows": table}


def _scenarios(entry: Entry) -> dict[str, Any]:
    """Energy in every DRAM scenario: whole, by component, and by layer with its interval."""
    heads, rows = ["layer"], {layer.name: [layer.name] for layer in entry.cost.layers}
    for name, cost in entry.costs.items():
        heads += [name, "low to high"]
        for layer in cost.layers:
            energy = layer.energy
            rows[layer.name] += [
                numbers.energy(energy.value),
                f"{numbers.energy(energy.low)} to {numbers.energy(energy.high)}",
            ]
    single = [{"name": name, **parts.energy(cost, ())} for name, cost in entry.costs.items()]
    whole = parts.designs(entry.costs, "DRAM")
    return {"whole": whole, "single": single, "heads": heads, "rows": list(rows.values())}


def _comparison(entries: Sequence[Entry]) -> dict[str, Any]:
    heads = ("", *(entry.name for entry in entries))
    rows = []

    def row(name: str, show: Any) -> None:
        rows.append((name, *(show(entry) for entry in entries)))

    row("accuracy", lambda e: "" if e.accuracy is None else numbers.percent(e.accuracy, 2))
    row("images", lambda e: f"{e.images:,}")
    row("weights", lambda e: numbers.count(sum(c.weight_count for c in e.network.connections)))
    row("bits of a weight", lambda e: str(e.network.weights.bits))
    row("T, tau", lambda e: f"{e.network.code.T}, {e.network.code.tau}")
    row("time steps", lambda e: f"{e.trace.latency_steps:,}")
    row("spikes per neuron", lambda e: numbers.significant(e.trace.spikes_per_neuron))
    row("SOPs per image", lambda e: numbers.count(e.trace.sops_per_image))
    row("cycles per image", lambda e: numbers.count(e.cost.record()["cycles_per_image"]))
    row("time per image", lambda e: numbers.time(e.cost.record()["latency_us"]))
    for name in entries[0].costs:
        row(f"energy, {name}", lambda e, name=name: numbers.energy(e.costs[name].energy.value))
        row("low to high", lambda e, name=name: _spread(e.costs[name]))
    row("energy per SOP", lambda e: f"{numbers.significant(e.cost.record()['pj_per_sop'])} pJ")
    row("area", lambda e: f"{numbers.significant(e.cost.record()['area_mm2'])} mm²")
    costs = {entry.name: entry.cost for entry in entries}
    return {
        "heads": heads,
        "rows": rows,
        "dram": entries[0].cost.dram,
        "bars": both(partial(bars.cost_bars, costs)),
        "legend": Markup(bars.legend(list(entries[0].cost.groups))),
    }


def _spread(cost: CostView) -> str:
    return f"{numbers.energy(cost.energy.low)} to {numbers.energy(cost.energy.high)}"
