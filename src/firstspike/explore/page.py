"""What a search found, as a table (CSV) and as one interactive page that loads nothing."""

import csv
import io
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from itertools import combinations
from typing import Any

from firstspike.explore.search import Found
from firstspike.explore.space import OBJECTIVES, Space, column

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the browser may load for the page: nothing from outside."""

LABELS = {
    "accuracy": ("accuracy", "%"),
    "energy_uj": ("energy", "uJ"),
    "area_mm2": ("area", "mm2"),
    "latency_us": ("latency", "us"),
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


def page(space: Space, found: Found, provenance: Mapping[str, str]) -> str:
    """The search as HTML: fronts of each pair of objectives, parallel coordinates, the front's designs."""
    axes, rows = _axes(space, found)
    content = json.dumps({"axes": axes, "rows": rows}, allow_nan=False).replace("<", "\\u003c")
    places = [index for index, axis in enumerate(axes) if axis["better"]]
    pairs = list(combinations(places, 2)) or [(places[0], places[0])]
    figures = "".join(f'<div data-x="{b}" data-y="{a}"></div>' for a, b in pairs)
    free = pairs[0]
    style = resources.files("firstspike.report").joinpath("style.css").read_text(encoding="utf-8")
    style += resources.files("firstspike.explore").joinpath("page.css").read_text(encoding="utf-8")
    script = resources.files("firstspike.explore").joinpath("page.js").read_text(encoding="utf-8")
    best = sum(point.front for point in found.points)
    data = space.data
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>firstspike: design space</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>Design space of {escape(', '.join(path.stem for path in space.networks.values()))}</h1>\n"
        f"<p>{len(found.points):,} designs; {best:,} are on the front: no other design is at least as good in every "
        f"objective and better in one. Accuracy is measured on {data.accuracy_images:,} validation images of "
        f"{escape(data.name)}, never on test images; energy, latency and cycles are means of {data.cost_images:,} of "
        "them. Codes and weight formats other than the model's own are applied after training.</p></header>\n"
        f"{_tiles(space, found)}\n"
        '<section><h2>Fronts</h2>\n<p class="key"><i style="background:var(--g0)"></i>on the front of all objectives '
        '&nbsp; <i style="background:var(--rest)"></i>other designs. Point at a design to read it.</p>\n'
        f'<div class="grid2">{figures}</div></section>\n'
        "<section><h2>Parallel coordinates</h2>\n<p>One line a design. Drag along an axis to choose a range, click on it "
        'to let go. <span id="chosen"></span></p>\n<div id="parallel"></div></section>\n'
        f'<section><h2>Any two</h2>\n<div class="controls">{_picker("y", axes, free[0])}{_picker("x", axes, free[1])}</div>\n'
        f'<div id="free" class="one" data-x="{free[1]}" data-y="{free[0]}"></div></section>\n'
        f"{_front(space, found)}\n{_provenance(space, found, provenance)}\n"
        '</main>\n<div id="tip" hidden></div>\n'
        f'<script type="application/json" id="data">{content}</script>\n<script>\n{script}</script>\n</body>\n</html>\n'
    )


def _axes(space: Space, found: Found) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Axes (parameters, then metrics of all objectives) and a row of numbers for each design."""
    axes: list[dict[str, Any]] = []
    for p in space.parameters:
        names = [str(v) for v in p.values] if p.values and isinstance(p.values[0], str | bool) else None
        varies = len({point.design[p.key] for point in found.points}) > 1
        words = p.key.removeprefix("processor.").replace(".", "_").split("_")
        label = " ".join(word for word in words if word not in ("mhz", "kib"))
        axes.append({"label": label, "unit": p.unit, "names": names, "parallel": varies, "better": ""})
    for name in OBJECTIVES:
        label, unit = LABELS[name]
        asked = name in space.objectives
        better = ("higher is better" if OBJECTIVES[name] == "maximize" else "lower is better") if asked else ""
        axes.append({"label": label, "unit": unit, "names": None, "parallel": asked, "better": better})
    rows = []
    for point in found.points:
        values: list[float] = []
        for p, axis in zip(space.parameters, axes, strict=False):
            value = point.design[p.key]
            values.append(axis["names"].index(str(value)) if axis["names"] else float(value))
        values += [float(point.result[name]) * (100 if name == "accuracy" else 1) for name in OBJECTIVES]
        rows.append({"t": point.trial, "f": int(point.front), "v": values})
    return axes, rows


def _shown(name: str, value: float) -> str:
    unit = LABELS[name][1]
    return f"{value:.2%}".replace("%", " %") if name == "accuracy" else f"{value:,.4g} {unit}"


def _tiles(space: Space, found: Found) -> str:
    tiles = []
    for name in space.objectives:
        pick = max if OBJECTIVES[name] == "maximize" else min
        best = pick(float(point.result[name]) for point in found.points)
        tiles.append(
            f'<div class="tile"><b>{_shown(name, best)}</b><span>best {LABELS[name][0]} of any design</span></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _picker(id_: str, axes: list[dict[str, Any]], chosen: int) -> str:
    options = "".join(
        f'<option value="{i}"{" selected" if i == chosen else ""}>{escape(axis["label"])}'
        f"{', ' + escape(axis['unit']) if axis['unit'] else ''}</option>"
        for i, axis in enumerate(axes)
    )
    return f'<label>{"across" if id_ == "x" else "upwards"} <select id="pick-{id_}">{options}</select></label>'


def _front(space: Space, found: Found) -> str:
    varying = [p for p in space.parameters if len({point.design[p.key] for point in found.points}) > 1]
    heads = [p.key + (f", {p.unit}" if p.unit else "") for p in varying]
    titles = "".join(
        f'<th class="n">{escape(head)}</th>' for head in [*(LABELS[n][0] for n in space.objectives), *heads]
    )
    first = space.objectives[0]
    points = sorted(
        (point for point in found.points if point.front),
        key=lambda point: (float(point.result[first]) * (-1 if OBJECTIVES[first] == "maximize" else 1), point.trial),
    )
    lines = []
    for point in points[:100]:
        cells = [_shown(name, float(point.result[name])) for name in space.objectives]
        cells += [str(point.design[p.key]) for p in varying]
        figures = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
        lines.append(f"<tr><td>{point.trial}</td>{figures}</tr>")
    note = "" if len(points) <= 100 else f" The first 100 of {len(points):,} are shown; the CSV has all."
    return (
        f"<section><h2>Designs on the front</h2>\n<p>Best {escape(LABELS[first][0])} first.{note}</p>\n"
        f'<div class="scroll"><table class="wide"><tr><th>design</th>{titles}</tr>{"".join(lines)}</table></div></section>'
    )


def _provenance(space: Space, found: Found, provenance: Mapping[str, str]) -> str:
    rows = {
        **provenance,
        "search": f"{space.search.method}, seed {space.search.seed}, generations of {space.search.population}",
        "trials": f"{found.trials:,}, of which {len(found.refused):,} were refused",
        "technology": space.technology.name,
    }
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in sorted(set(found.refused.values()))[:10])
    why = f"<p>Why designs were refused:</p><ul>{reasons}</ul>" if reasons else ""
    return f"<section><h2>Provenance</h2>\n<table>{cells}</table>{why}</section>"
