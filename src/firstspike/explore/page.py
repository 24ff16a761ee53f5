"""What a search found, as a table (CSV) and as one interactive page that loads nothing."""

import csv
import io
import json
from collections.abc import Mapping
from itertools import combinations
from math import sqrt
from typing import Any

from markupsafe import Markup

from firstspike.explore.evaluate import Result
from firstspike.explore.search import Found
from firstspike.explore.space import OBJECTIVES, Space, column
from firstspike.pages.templates import asset, render, style
from firstspike.processor import COMPONENTS
from firstspike.zoo.published import PUBLISHED

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the browser may load for the page: nothing from outside."""

SHOWN = 100
"""Most designs of the front in the table."""

LOGARITHMIC = ("energy_uj", "area_mm2", "latency_us", "frames_per_second")
"""Objectives whose axes are logarithmic."""

LABELS = {
    "accuracy": ("accuracy", "%"),
    "energy_uj": ("energy", "µJ"),
    "area_mm2": ("area", "mm²"),
    "latency_us": ("latency", "µs"),
    "latency_steps": ("latency", "steps"),
    "frames_per_second": ("frames", "1/s"),
}
"""Name and unit of an objective for readers."""


def table(space: Space, found: Found) -> str:
    """All distinct designs as CSV, units in the column names; the same designs give the same bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    metrics = list(found.points[0].result)
    writer.writerow(["trial", *(column(p.key) for p in space.parameters), *metrics, "front"])
    for point in found.points:
        values = [point.design[p.key] for p in space.parameters]
        writer.writerow([point.trial, *values, *(point.result[name] for name in metrics), int(point.front)])
    return stream.getvalue()


def record(space: Space, found: Found) -> dict[str, Any]:
    """The search as one record whose keys carry units; its front in full."""
    data = space.data
    return {
        "networks": list(space.networks),
        "technology": space.technology.name,
        "data": data.name,
        "split": "validation",
        "accuracy_images": data.accuracy_images,
        "cost_images": data.cost_images,
        "method": space.search.method,
        "seed": space.search.seed,
        "objectives": {name: OBJECTIVES[name] for name in space.objectives},
        "trials": found.trials,
        "designs": len(found.points),
        "refused": len(found.refused),
        "evaluated_now": found.evaluated,
        "front": [
            {"trial": point.trial} | {column(key): value for key, value in point.design.items()} | point.result
            for point in found.points
            if point.front
        ],
    }


def page(
    space: Space, found: Found, provenance: Mapping[str, str], defaults: Mapping[str, Result] | None = None
) -> str:
    """The search as HTML: fronts of each pair of objectives, parallel coordinates, the front's designs.

    Args:
        space: what was searched.
        found: what was found.
        provenance: lines about how the page was made.
        defaults: the processor as it is, by network: marks beside the designs, as are the published figures of networks
            of the zoo.
    """
    axes, rows = _axes(space, found)
    marks = _marks(space, defaults or {})
    drawn = {"axes": axes, "rows": rows, "marks": marks, "components": list(COMPONENTS.values())}
    content = json.dumps(drawn, allow_nan=False).replace("<", "\\u003c")
    places = [index for index, axis in enumerate(axes) if axis["better"]]
    made = {
        **provenance,
        "search": f"{space.search.method}, seed {space.search.seed}, generations of {space.search.population}",
        "trials": f"{found.trials:,}, of which {len(found.refused):,} were refused",
        "technology": space.technology.name,
        "DRAM": f"{space.drams[0]}; every design is priced in {', '.join(space.drams)}",
    }
    return render(
        "firstspike.explore",
        "explore.html",
        title="design space",
        policy=POLICY,
        style=style(asset("firstspike.explore", "page.css")),
        script=asset("firstspike.explore", "page.js"),
        content=Markup(content),
        networks=[path.stem for path in space.networks.values()],
        designs=len(found.points),
        best=sum(point.front for point in found.points),
        data=space.data,
        marks=bool(marks),
        late=sum(row["late"] for row in rows),
        headline=_headline(space, found),
        pairs=list(combinations(places, 2)) or [(places[0], places[0])],
        axes=axes,
        front=_front(space, found),
        provenance=list(made.items()),
        refused=sorted(set(found.refused.values()))[:10],
    )


def _axes(space: Space, found: Found) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Axes (parameters, then metrics of all objectives) and a row of numbers for each design."""
    axes: list[dict[str, Any]] = []
    for p in space.parameters:
        names = [str(v) for v in p.values] if p.values and isinstance(p.values[0], str | bool) else None
        varies = len({point.design[p.key] for point in found.points}) > 1
        words = p.key.removeprefix("processor.").replace(".", "_").split("_")
        label = " ".join(word for word in words if word not in ("mhz", "kib"))
        axes.append({"label": label, "unit": p.unit, "names": names, "parallel": varies, "better": "", "log": False})
    for name in OBJECTIVES:
        label, unit = LABELS[name]
        asked = name in space.objectives
        better = ("higher is better" if OBJECTIVES[name] == "maximize" else "lower is better") if asked else ""
        log = name in LOGARITHMIC and all(float(point.result[name]) > 0 for point in found.points)
        axes.append({"label": label, "unit": unit, "names": None, "parallel": asked, "better": better, "log": log})
    rows = []
    for point in found.points:
        values: list[float] = []
        for p, axis in zip(space.parameters, axes, strict=False):
            value = point.design[p.key]
            values.append(axis["names"].index(str(value)) if axis["names"] else float(value))
        values += _metrics(point.result)
        rows.append({"t": point.trial, "f": int(point.front), "v": values} | _details(space, point.result))
    return axes, rows


def _metrics(result: Result) -> list[float]:
    return [float(result[name]) * (100 if name == "accuracy" else 1) for name in OBJECTIVES]


def _details(space: Space, result: Result) -> dict[str, Any]:
    """What the page draws of a design beside its values.

    Bounds by axis (of accuracy its standard error), energies by component in µJ, by DRAM scenario, and whether the memories
    miss the clock.
    """
    first, bounds = len(space.parameters), {}
    for index, name in enumerate(OBJECTIVES):
        if f"{name}_low" in result:
            bounds[first + index] = [float(result[f"{name}_low"]), float(result[f"{name}_high"])]
        if name == "accuracy":
            share = float(result[name])
            error = sqrt(share * (1 - share) / space.data.accuracy_images)
            bounds[first + index] = [100 * (share - error), 100 * (share + error)]
    return {
        "e": bounds,
        "c": [float(result.get(f"{key}_uj", 0)) for key in COMPONENTS],
        "d": {dram: float(result[f"energy_uj_{dram}"]) for dram in space.drams if f"energy_uj_{dram}" in result},
        "late": int(result.get("meets_clock") is False),
    }


def _marks(space: Space, defaults: Mapping[str, Result]) -> list[dict[str, Any]]:
    """The processor as it is with every network, and what is published of a network of the zoo: null where nothing is."""
    unknown: list[float | None] = [None] * len(space.parameters)
    marks: list[dict[str, Any]] = [
        {"name": f"{space.networks[name].stem}, as it is", "kind": "default", "v": unknown + list(_metrics(result))}
        | _details(space, result)
        for name, result in defaults.items()
    ]
    stems = {path.stem for path in space.networks.values()}
    for one in PUBLISHED:
        if one.network in stems:
            known = {"accuracy": 100 * one.accuracy, "energy_uj": one.energy_uj}
            values = unknown + [known.get(name) for name in OBJECTIVES]
            marks.append({"name": f"published, {one.title}", "kind": "published", "v": values, "e": {}, "d": {}})
    return marks


def _shown(name: str, value: float) -> str:
    unit = LABELS[name][1]
    return f"{value:.2%}".replace("%", " %") if name == "accuracy" else f"{value:,.4g} {unit}"


def _headline(space: Space, found: Found) -> list[tuple[str, str]]:
    tiles = []
    for name in space.objectives:
        pick = max if OBJECTIVES[name] == "maximize" else min
        best = pick(float(point.result[name]) for point in found.points)
        tiles.append((_shown(name, best), f"best {LABELS[name][0]} of any design"))
    return tiles


def _front(space: Space, found: Found) -> dict[str, Any]:
    """The front's designs, best first, at most `SHOWN` of them."""
    varying = [p for p in space.parameters if len({point.design[p.key] for point in found.points}) > 1]
    first = space.objectives[0]
    points = sorted(
        (point for point in found.points if point.front),
        key=lambda point: (float(point.result[first]) * (-1 if OBJECTIVES[first] == "maximize" else 1), point.trial),
    )
    rows = []
    for point in points[:SHOWN]:
        metrics = [_shown(name, float(point.result[name])) for name in space.objectives]
        rows.append([str(point.trial), *metrics, *(str(point.design[p.key]) for p in varying)])
    parameters = [p.key + (f", {p.unit}" if p.unit else "") for p in varying]
    heads = ["design", *(LABELS[name][0] for name in space.objectives), *parameters]
    return {"first": LABELS[first][0], "number": len(points), "heads": heads, "rows": rows}
