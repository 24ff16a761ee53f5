"""Spike raster of one image: every layer in its own window, so the wave of first spikes is seen moving through."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from firstspike.figures.svg import WIDE, Frame, drawing, element, text

ROWS = 64
"""Rows of a layer's raster at most; more neurons share rows."""

_COLOUR = (58, 135, 229)
_BAND = 64
_GAP = 8
_AXIS = 38


def grid(times: np.ndarray, steps: int, rows: int = ROWS) -> np.ndarray:
    """Share of the neurons of a row that fire at a step, float ``[rows', steps]``.

    Args:
        times: spike times of one image in one layer, uint8, any shape; neurons in C order.
        steps: ``T``.
        rows: rows at most; with no more neurons than rows, every neuron has its own.

    >>> grid(np.array([0, 2, 255], dtype=np.uint8), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    >>> grid(np.array([0, 0, 1, 255], dtype=np.uint8), 2, rows=2).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    flat = times.reshape(-1)
    used = min(rows, flat.size)
    row = np.arange(flat.size) * used // flat.size
    fired = flat < steps
    shares = np.zeros((used, steps))
    np.add.at(shares, (row[fired], flat[fired]), 1.0)
    return shares / np.bincount(row, minlength=used)[:, None]


def png(shares: np.ndarray) -> str:
    """A picture of a raster as a data address: one colour, more opaque where more neurons of the row fire."""
    opacity = np.where(shares > 0, 0.4 + 0.6 * np.minimum(shares / (shares.max() or 1.0), 1.0), 0.0)
    pixels = np.empty((*shares.shape, 4), dtype=np.uint8)
    pixels[..., :3] = _COLOUR
    pixels[..., 3] = np.rint(255 * opacity)
    return data_address(pixels)


def picture(image: np.ndarray) -> str:
    """An image as a data address.

    Args:
        image: ``[height, width]`` or ``[channels, height, width]`` with 1 or 3 channels, in [0, 1] or uint8.

    Raises:
        ValueError: the shape is another.
    """
    planes = image if image.ndim == 3 else image[None]
    if planes.ndim != 3 or planes.shape[0] not in (1, 3):
        raise ValueError(f"image must have shape [height, width] or [1 or 3, height, width], not {image.shape!r}")
    if planes.dtype != np.uint8:
        planes = np.rint(255 * np.clip(planes.astype(np.float64), 0, 1)).astype(np.uint8)
    return data_address(np.repeat(planes, 3 // len(planes), axis=0).transpose(1, 2, 0))


def data_address(pixels: np.ndarray) -> str:
    """A PNG as ``data:`` address; ``pixels`` is uint8 ``[height, width, 3 or 4]``."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A layer in the raster of one image.

    Attributes:
        name: the layer's.
        times: its spike times, uint8, any shape.
        window: the window in which it fires, 0 for the input.
    """

    name: str
    times: np.ndarray
    window: int


def raster(bands: Sequence[Band], steps: int, total: int, frame: Frame = WIDE) -> str:
    """The raster as SVG.

    Args:
        bands: layers that fire, in order of execution.
        steps: ``T``.
        total: time steps from the first input step to the logits.
        frame: how the chart stands.
    """
    left, above = (0.0, 20.0) if frame.above else (150.0, 0.0)
    step = (frame.width - left) / total
    height = len(bands) * (above + _BAND + _GAP)
    every = max(1, -(-(total // steps) * 34 // int(frame.width - left)))
    marks = []
    for window in range(total // steps + 1):
        x = left + window * steps * step
        marks.append(element("path", d=f"M{x:.1f} 0V{height}", class_="grid"))
        if window % every == 0:
            anchor = "end" if window == total // steps else "start" if x == 0 else "middle"
            marks.append(text(x, height + 16, str(window * steps), anchor=anchor, style="axis"))
    for row, band in enumerate(bands):
        top = row * (above + _BAND + _GAP) + above
        marks += _band(band, steps, left + band.window * steps * step, top, steps * step, frame)
    marks.append(text(left + (frame.width - left) / 2, height + _AXIS - 5, "time step", anchor="middle", style="axis"))
    return drawing(frame.width, height + _AXIS, marks, "Spike raster of one image")


def _band(band: Band, steps: int, x: float, top: float, width: float, frame: Frame) -> list[str]:
    times, first = band.times, band.window * steps
    fired = int((times < steps).sum())
    share = f"{fired:,} of {times.size:,}"
    note = f"{band.name}: {fired} of {times.size} neurons fire, steps {first} to {first + steps - 1}"
    if frame.above:
        texts = [
            text(0, top - 5, band.name, style="strong"),
            text(frame.width, top - 5, share, anchor="end", style="axis"),
        ]
    else:
        texts = [
            text(138, top + _BAND / 2 - 3, band.name, anchor="end", style="strong"),
            text(138, top + _BAND / 2 + 13, share, anchor="end", style="axis"),
        ]
    return [
        *texts,
        element("rect", x=x, y=top, width=width, height=_BAND, class_="band"),
        f'<image href="{png(grid(times, steps))}" x="{x:.2f}" y="{top:g}" width="{width:.2f}" '
        f'height="{_BAND}" preserveAspectRatio="none"><title>{escape(note)}</title></image>',
    ]
