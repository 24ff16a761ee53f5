"""When the neurons of a layer fire, and the logits of one image."""

from collections.abc import Mapping, Sequence

import numpy as np

from firstspike.figures import numbers
from firstspike.figures.svg import drawing, element, text


def time_histogram(name: str, times: np.ndarray, steps: int) -> str:
    """Share of a layer's neurons that fire at each of ``steps`` time steps; ``times`` are its spike times, uint8."""
    return counted_histogram(name, np.bincount(times.reshape(-1), minlength=256), steps)


def counted_histogram(name: str, counts: np.ndarray, steps: int) -> str:
    """The same from ``counts`` of every stored spike time, int64 ``[256]``."""
    width, height, left, bottom, top = 280, 150, 40, 24, 12
    shares = counts[:steps] / max(1, int(counts.sum()))
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


def logit_bars(
    logits: np.ndarray, labels: Sequence[str], predicted: int, truth: int | None, *, width: float = 640
) -> str:
    """Logits of one image as bars left and right of zero; ``logits`` are real numbers ``[classes]``."""
    row, bar, left, value = 22, 13, 150 if width > 500 else 110, 70
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


def multiples(layers: Mapping[str, np.ndarray], steps: int, *, columns: int = 3) -> str:
    """The histograms of several layers in one drawing; ``layers`` holds spike times, uint8, by name."""
    width, height, gap = 280, 150, 20
    columns = max(1, min(columns, len(layers)))
    marks = []
    for place, (name, times) in enumerate(layers.items()):
        x, y = place % columns * (width + gap), place // columns * (height + gap + 20)
        share = numbers.percent(float((times < steps).mean()) if times.size else 0.0)
        marks.append(text(x, y + 14, f"{name} · {share} fire", style="strong"))
        inner = time_histogram(name, times, steps).replace("<svg ", f'<svg x="{x}" y="{y + 20}" ', 1)
        marks.append(inner)
    total = columns * (width + gap) - gap, -(-len(layers) // columns) * (height + gap + 20)
    return drawing(*total, marks, "Spike times")
