"""One set of colours: what matplotlib's style says is what pages and notebooks say, and texts can be read on their ground."""

import re
from importlib import resources

import pytest

from firstspike.figures import palette


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_texts_and_bars_stand_out(colours) -> None:
    for ground in ("page", "card", "band"):
        assert contrast(colours["ink"], colours[ground]) > 7
        assert contrast(colours["soft"], colours[ground]) > 4.5
    for group in ("g0", "g1", "g2", "g3", "g4"):
        assert contrast(colours[group], colours["card"]) > 2.2
    assert colours.keys() == palette.LIGHT.keys() == palette.NOTEBOOK.keys()


def test_the_style_of_matplotlib_has_the_same_colours() -> None:
    text = resources.files("firstspike.figures").joinpath("plots.mplstyle").read_text(encoding="utf-8")
    (cycle,) = re.findall(r"axes\.prop_cycle: cycler\(\"color\", \[(.*)\]\)", text)
    light = palette.LIGHT
    assert re.findall(r"[0-9a-f]{6}", cycle) == [light[name][1:] for name in ("g0", "g1", "g2", "g3", "g4", "soft")]
    assert f"text.color: {light['ink'][1:]}" in text
    assert f"grid.color: {light['line'][1:]}" in text


def test_matplotlib_takes_the_style() -> None:
    style = pytest.importorskip("matplotlib.style", reason="needs pip install 'firstspike[studies]'")
    with style.context("firstspike.figures.plots"):
        import matplotlib as mpl

        assert mpl.rcParams["text.color"].lstrip("#") == "14140f"
        assert mpl.rcParams["axes.spines.top"] is False
