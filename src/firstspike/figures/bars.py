"""Bars: energy by component, layer, design and group, and what each constant moves."""

from collections.abc import Mapping, Sequence
from html import escape

from firstspike.figures import numbers
from firstspike.figures.svg import WIDE, Frame, drawing, element, text
from firstspike.figures.view import Bounds, CostView, SwingView


def legend(groups: Sequence[str]) -> str:
    """Names of the groups beside their colours."""
    items = (f'<span><i class="g{index}"></i>{escape(group)}</span>' for index, group in enumerate(groups))
    return f'<p class="legend">{"".join(items)}</p>'


def component_bars(cost: CostView, frame: Frame = WIDE) -> str:
    """Energy per image by component, largest first, with the bounds as a whisker."""
    components = sorted(cost.components.items(), key=lambda item: -item[1].value)
    parts = [(key, part) for key, part in components if part.high > 0]
    groups = list(cost.groups)
    scale = frame.room / (max((part.high for _, part in parts), default=1.0) or 1.0)
    total = cost.energy.value or 1.0
    marks = []
    for row, (key, part) in enumerate(parts):
        name, group = cost.labels[key]
        label = f"{numbers.energy(part.value)} · {numbers.percent(part.value / total)}"
        bar = element(
            "rect",
            x=frame.label,
            y=frame.top(row),
            width=max(part.value * scale, 1),
            height=frame.bar,
            rx=2,
            class_=f"g{groups.index(group)}",
        )
        bounds = f"<title>{escape(f'{name}: {numbers.energy(part.low)} to {numbers.energy(part.high)}')}</title>"
        marks.append(element("g", bounds + frame.texts(row, name, label) + bar + _whisker(frame, row, part, scale)))
    return drawing(frame.width, len(parts) * frame.row + 2, marks, "Energy per image by component")


def _whisker(frame: Frame, row: int, part: Bounds, scale: float) -> str:
    left, right = frame.label + part.low * scale, frame.label + part.high * scale
    if right - left < 1:
        return ""
    middle = frame.top(row) + frame.bar / 2
    return element("path", d=f"M{left:.1f} {middle}H{right:.1f}M{right:.1f} {middle - 4}v8", class_="whisker")


def layer_bars(cost: CostView, frame: Frame = WIDE) -> str:
    """Energy per image by layer, each bar split by group of components."""
    rows = {layer.name: (layer.groups, layer.energy) for layer in cost.layers}
    return _stacked(rows, "Energy per image by layer", frame, bounds=False)


def cost_bars(costs: Mapping[str, CostView], frame: Frame = WIDE) -> str:
    """Energy per image of several costs, each bar split by group of components, with the bounds of the whole as a whisker."""
    rows = {name: (cost.groups, cost.energy) for name, cost in costs.items()}
    return _stacked(rows, "Energy per image", frame, bounds=True)


def _stacked(rows: Mapping[str, tuple[Mapping[str, Bounds], Bounds]], title: str, frame: Frame, *, bounds: bool) -> str:
    largest = max((whole.high if bounds else whole.value for _, whole in rows.values()), default=1.0) or 1.0
    scale = frame.room / largest
    marks = []
    for row, (name, (parts, whole)) in enumerate(rows.items()):
        marks.append(frame.texts(row, name, numbers.energy(whole.value)))
        left, top = float(frame.label), frame.top(row)
        for index, (group, part) in enumerate(parts.items()):
            width = part.value * scale
            note = f"<title>{escape(f'{name}, {group}: {numbers.energy(part.value)}')}</title>"
            if width > 0.05:
                marks.append(element("rect", note, x=left, y=top, width=width, height=frame.bar, class_=f"g{index}"))
            left += width
        if bounds:
            marks.append(_whisker(frame, row, whole, scale))
    return drawing(frame.width, len(rows) * frame.row + 2, marks, title)


def swing_bars(swings: Sequence[SwingView], value_uj: float, frame: Frame = WIDE, *, most: int = 10) -> str:
    """Energy with one constant at its low and high end, the widest ``most`` swings, around the energy ``value_uj``."""
    shown = swings[:most]
    low = min([swing.low_uj for swing in shown] + [value_uj])
    high = max([swing.high_uj for swing in shown] + [value_uj])
    scale = (frame.room - (0 if frame.above else 30)) / ((high - low) or 1.0)
    middle = frame.label + (value_uj - low) * scale
    marks = []
    for row, swing in enumerate(shown):
        below, above = frame.label + (swing.low_uj - low) * scale, frame.label + (swing.high_uj - low) * scale
        top, left, right = frame.top(row), max(middle - below, 0.0), max(above - middle, 0.0)
        marks += [
            frame.texts(row, swing.key, f"{numbers.energy(swing.low_uj)} to {numbers.energy(swing.high_uj)}"),
            element("rect", x=below, y=top, width=left, height=frame.bar, class_="rest"),
            element("rect", x=middle, y=top, width=right, height=frame.bar, class_="g0"),
            element("path", d=f"M{middle:.1f} {top - 3}v{frame.bar + 6}", class_="whisker"),
        ]
    return drawing(frame.width, len(shown) * frame.row + 2, marks, "Which constant decides")


def shares(groups: Mapping[str, Bounds], frame: Frame = WIDE) -> str:
    """One bar that is the whole energy, split by group."""
    total = sum(part.value for part in groups.values()) or 1.0
    marks, left = [], 0.0
    for index, (group, part) in enumerate(groups.items()):
        width = frame.width * part.value / total
        title = f"<title>{escape(f'{group}: {numbers.energy(part.value)}')}</title>"
        marks.append(element("rect", title, x=left, y=0, width=max(width - 2, 0), height=30, rx=2, class_=f"g{index}"))
        if width > 40:
            share = numbers.percent(part.value / total, 0)
            marks.append(text(left + width / 2 - 1, 20, share, anchor="middle", style="inside"))
        left += width
    return drawing(frame.width, 30, marks, "Energy per image by group")


def part_bars(rows: Mapping[str, Sequence[tuple[str, float, str]]], title: str, frame: Frame = WIDE) -> str:
    """Bars that are each a whole, split into (what, share, style class); the first part's share stands behind the name."""
    marks = []
    for row, (name, parts) in enumerate(rows.items()):
        marks.append(frame.texts(row, name, f"{parts[0][0]} {numbers.percent(parts[0][1])}"))
        left, top = float(frame.label), frame.top(row)
        for what, share, kind in parts:
            width = share * frame.room
            note = f"<title>{escape(f'{name}: {what} {numbers.percent(share)}')}</title>"
            marks.append(element("rect", note, x=left, y=top, width=width, height=frame.bar, class_=kind))
            left += width
    return drawing(frame.width, len(rows) * frame.row + 2, marks, title)
