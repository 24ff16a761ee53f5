"""Charts as inline SVG: colours come from the page's style sheet, so they follow light and dark."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from firstspike.figures import numbers
from firstspike.figures.view import CostView, SwingView
from firstspike.spec.interval import Interval

WIDTH = 920
"""Width of full-width charts in SVG units."""

_LABEL = 240
_VALUE = 150
_ROW = 26
_BAR = 16


def element(tag: str, content: str = "", **attributes: float | str) -> str:
    """One SVG element; underscores in attribute names become hyphens.

    >>> element("rect", x=1, fill_opacity=0.5)
    '<rect x="1" fill-opacity="0.5"/>'
    >>> element("text", "a", y=2.123456)
    '<text y="2.12">a</text>'
    """
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"' for name, value in attributes.items())
    return f"<{tag}{given}>{content}</{tag}>" if content else f"<{tag}{given}/>"


def drawing(width: float, height: float, parts: Sequence[str], title: str, *, fill: bool = True) -> str:
    """An SVG image that scales with the page, with a title for screen readers."""
    head = f'<svg viewBox="0 0 {_text(width)} {_text(height)}" role="img" aria-label="{escape(title)}"'
    size = ' class="fill"' if fill else f' width="{_text(width)}" height="{_text(height)}"'
    return f"{head}{size}>" + "".join(parts) + "</svg>"


def text(x: float, y: float, content: str, *, anchor: str = "start", style: str = "") -> str:
    """A text, escaped."""
    kind = {"class_": style} if style else {}
    return element("text", escape(content), x=x, y=y, text_anchor=anchor, **kind)


def legend(groups: Sequence[str]) -> str:
    """Names of the groups beside their colours."""
    items = (f'<span><i class="g{index}"></i>{escape(group)}</span>' for index, group in enumerate(groups))
    return f'<p class="legend">{"".join(items)}</p>'


def component_bars(cost: CostView) -> str:
    """Energy per image by component, largest first, with the bounds as a whisker."""
    parts = sorted(
        ((key, part) for key, part in cost.components.items() if part.high > 0), key=lambda item: -item[1].value
    )
    groups = list(cost.groups)
    largest = max((part.high for _, part in parts), default=1.0) or 1.0
    total = cost.energy.value or 1.0
    scale = (WIDTH - _LABEL - _VALUE) / largest
    marks = []
    for row, (key, part) in enumerate(parts):
        name, group = cost.labels[key]
        top = row * _ROW + (_ROW - _BAR) / 2
        middle = row * _ROW + _ROW / 2
        label = f"{numbers.energy(part.value)} · {numbers.percent(part.value / total)}"
        bounds = f"{name}: {numbers.energy(part.low)} to {numbers.energy(part.high)}"
        marks.append(
            element(
                "g",
                f"<title>{escape(bounds)}</title>"
                + text(_LABEL - 12, middle + 4.5, name, anchor="end")
                + element(
                    "rect",
                    x=_LABEL,
                    y=top,
                    width=max(part.value * scale, 1),
                    height=_BAR,
                    rx=2,
                    class_=f"g{groups.index(group)}",
                )
                + _whisker(_LABEL + part.low * scale, _LABEL + part.high * scale, middle)
                + text(WIDTH, middle + 4.5, label, anchor="end", style="value"),
            )
        )
    return drawing(WIDTH, len(parts) * _ROW + 2, marks, "Energy per image by component")


def _whisker(left: float, right: float, middle: float) -> str:
    if right - left < 1:
        return ""
    return element("path", d=f"M{left:.1f} {middle}H{right:.1f}M{right:.1f} {middle - 4}v8", class_="whisker")


def layer_bars(cost: CostView) -> str:
    """Energy per image by layer, each bar split by group of components."""
    rows = {layer.name: (layer.groups, layer.energy) for layer in cost.layers}
    return _stacked(rows, list(cost.groups), "Energy per image by layer", bounds=False)


def design_bars(designs: Mapping[str, CostView]) -> str:
    """Energy per image by design, each bar split by group of components, with the bounds of the whole as a whisker."""
    rows = {name: (cost.groups, cost.energy) for name, cost in designs.items()}
    groups = list(next(iter(designs.values())).groups)
    return _stacked(rows, groups, "Energy per image by design", bounds=True)


def _stacked(
    rows: Mapping[str, tuple[Mapping[str, Interval], Interval]], groups: Sequence[str], title: str, *, bounds: bool
) -> str:
    largest = max((whole.high if bounds else whole.value for _, whole in rows.values()), default=1.0) or 1.0
    scale = (WIDTH - _LABEL - _VALUE) / largest
    marks = []
    for row, (name, (parts, whole)) in enumerate(rows.items()):
        top = row * _ROW + (_ROW - _BAR) / 2
        middle = row * _ROW + _ROW / 2
        marks.append(text(_LABEL - 12, middle + 4.5, name, anchor="end"))
        left = float(_LABEL)
        for index, group in enumerate(groups):
            value = parts[group].value
            width = value * scale
            note = f"<title>{escape(f'{name}, {group}: {numbers.energy(value)}')}</title>"
            if width > 0.05:
                marks.append(element("rect", note, x=left, y=top, width=width, height=_BAR, class_=f"g{index}"))
            left += width
        if bounds:
            marks.append(_whisker(_LABEL + whole.low * scale, _LABEL + whole.high * scale, middle))
        marks.append(text(WIDTH, middle + 4.5, numbers.energy(whole.value), anchor="end", style="value"))
    return drawing(WIDTH, len(rows) * _ROW + 2, marks, title)


def swing_bars(swings: Sequence[SwingView], value_uj: float, most: int = 10) -> str:
    """Energy with one constant at its low and high end, the widest ``most`` swings, around the energy ``value_uj``."""
    shown = swings[:most]
    low = min([swing.low_uj for swing in shown] + [value_uj])
    high = max([swing.high_uj for swing in shown] + [value_uj])
    scale = (WIDTH - _LABEL - _VALUE - 30) / ((high - low) or 1.0)
    middle_x = _LABEL + (value_uj - low) * scale
    marks = []
    for row, swing in enumerate(shown):
        top = row * _ROW + (_ROW - _BAR) / 2
        middle = row * _ROW + _ROW / 2 + 4.5
        below, above = _LABEL + (swing.low_uj - low) * scale, _LABEL + (swing.high_uj - low) * scale
        label = f"{numbers.energy(swing.low_uj)} to {numbers.energy(swing.high_uj)}"
        marks += [
            text(_LABEL - 12, middle, swing.key, anchor="end"),
            element("rect", x=below, y=top, width=max(middle_x - below, 0.0), height=_BAR, class_="rest"),
            element("rect", x=middle_x, y=top, width=max(above - middle_x, 0.0), height=_BAR, class_="g0"),
            text(WIDTH, middle, label, anchor="end", style="value"),
        ]
    marks.append(element("path", d=f"M{middle_x:.1f} 0V{len(shown) * _ROW}", class_="whisker"))
    return drawing(WIDTH, len(shown) * _ROW + 2, marks, "Which constant decides")


def time_histogram(name: str, times: np.ndarray, steps: int) -> str:
    """Share of a layer's neurons that fire at each of ``steps`` time steps; ``times`` are its spike times, uint8."""
    width, height, left, bottom, top = 280, 150, 40, 24, 12
    shares = np.bincount(times.reshape(-1), minlength=256)[:steps] / max(1, times.size)
    most = float(shares.max()) or 1.0
    ceiling = _round_up(most)
    step = (width - left) / steps
    marks = []
    for level in (0.0, ceiling / 2, ceiling):
        y = height - bottom - (height - bottom - top) * level / ceiling
        marks.append(element("path", d=f"M{left} {y:.1f}H{width}", class_="grid"))
        marks.append(text(left - 6, y + 4, f"{100 * level:.3g} %", anchor="end", style="axis"))
    for time, share in enumerate(shares):
        tall = (height - bottom - top) * float(share) / ceiling
        if share > 0:
            title = f"<title>t = {time}: {numbers.percent(float(share), 2)}</title>"
            x = left + time * step + 0.75
            marks.append(
                element("rect", title, x=x, y=height - bottom - tall, width=step - 1.5, height=tall, class_="g0")
            )
    marks += [
        text(left + (time + 0.5) * step, height - 8, str(time), anchor="middle", style="axis")
        for time in range(0, steps, max(1, -(-steps // 6)))
    ]
    return drawing(width, height, marks, f"Spike times of {name}")


def _round_up(share: float) -> float:
    """The next round number, at most 1.

    >>> _round_up(0.3), _round_up(0.051), _round_up(1.0)
    (0.3, 0.06, 1.0)
    """
    power = 10.0 ** np.floor(np.log10(share))
    return float(
        min(
            1.0,
            next(round(step * power, 12) for step in (1, 2, 3, 4, 5, 6, 8, 10) if share <= step * power * (1 + 1e-9)),
        )
    )


def logit_bars(logits: np.ndarray, labels: Sequence[str], predicted: int, truth: int | None) -> str:
    """Logits of one image as bars left and right of zero; ``logits`` are real numbers ``[classes]``."""
    width, row, bar, left, value = 640, 22, 13, 150, 70
    low, high = min(0.0, float(logits.min())), max(0.0, float(logits.max()))
    scale = (width - left - value) / ((high - low) or 1.0)
    zero = left - low * scale
    marks = [element("path", d=f"M{zero:.1f} 0V{row * len(logits)}", class_="grid")]
    for index, (logit, label) in enumerate(zip(logits, labels, strict=True)):
        middle = index * row + row / 2
        x = zero + min(float(logit), 0.0) * scale
        shade = "g0" if index == predicted else "rest"
        note = label + (" (true)" if index == truth else "")
        weight = "strong" if index == predicted else ""
        marks.append(text(left - 10, middle + 4.5, note, anchor="end", style=weight))
        wide = max(abs(float(logit)) * scale, 0.5)
        marks.append(element("rect", x=x, y=middle - bar / 2, width=wide, height=bar, rx=2, class_=shade))
        marks.append(text(width, middle + 4.5, f"{float(logit):.2f}", anchor="end", style=f"value {weight}"))
    return drawing(width, row * len(logits), marks, "Logits of the image")


def shares(groups: Mapping[str, Interval]) -> str:
    """One bar that is the whole energy, split by group."""
    total = sum(part.value for part in groups.values()) or 1.0
    marks, left = [], 0.0
    for index, (group, part) in enumerate(groups.items()):
        width = WIDTH * part.value / total
        title = f"<title>{escape(f'{group}: {numbers.energy(part.value)}')}</title>"
        marks.append(element("rect", title, x=left, y=0, width=max(width - 2, 0), height=30, rx=2, class_=f"g{index}"))
        if width > 70:
            share = numbers.percent(part.value / total, 0)
            marks.append(text(left + width / 2 - 1, 20, share, anchor="middle", style="inside"))
        left += width
    return drawing(WIDTH, 30, marks, "Energy per image by group")


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    return str(value) if isinstance(value, int) else f"{float(value):.2f}".rstrip("0").rstrip(".")
