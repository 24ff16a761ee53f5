"""Charts and numbers: heights, widths and pixels are those of the data, by another way of counting."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from firstspike.figures import bars, histogram, numbers, raster, svg
from tests.pages import example

RECT = re.compile(r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"(?: rx="2")? class="(\w+)"')


def decode(address: str) -> np.ndarray:
    head, data = address.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


TIMES = arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([*range(24), 255]))


@given(times=TIMES, rows=st.integers(1, 80))
def test_grid_keeps_every_spike_at_its_step(times, rows) -> None:
    shares = raster.grid(times, 24, rows)
    used = min(rows, times.size)
    assert shares.shape == (used, 24)
    members = [[i for i in range(times.size) if i * used // times.size == row] for row in range(used)]
    assert all(members)
    for row, neurons in enumerate(members):
        for step in range(24):
            assert shares[row, step] == sum(int(times[i]) == step for i in neurons) / len(neurons)


def test_raster_picture_is_opaque_where_neurons_fire() -> None:
    layer = example.trace().layers["conv1"]
    shares = raster.grid(layer.times[2], 24)
    pixels = decode(raster.png(shares))
    assert pixels.shape == (*shares.shape, 4)
    assert np.array_equal(pixels[..., 3] > 0, shares > 0)
    assert pixels[..., 3].max() == 255


def test_raster_puts_every_layer_in_its_window() -> None:
    run = example.trace()
    layers = [layer for layer in run.layers.values() if layer.neuron]
    bands = [raster.Band(name=layer.name, times=layer.times[0], window=place) for place, layer in enumerate(layers)]
    text = raster.raster(bands, 24, run.latency_steps)
    places = [
        (float(x), float(w)) for x, w in re.findall(r'<image href="[^"]*" x="([\d.]+)" y="\d+" width="([\d.]+)"', text)
    ]
    assert len(places) == 4
    for (left, width), (after, _) in pairwise(places):
        assert left + width == pytest.approx(after, abs=0.02)
    assert places[-1][0] + places[-1][1] == pytest.approx(svg.WIDTH, abs=0.02)
    for layer in layers:
        fired = int((layer.times[0] != 255).sum())
        assert f">{fired:,} of {layer.times[0].size:,}</text>" in text


def test_histogram_bars_are_the_counts() -> None:
    times = example.trace().layers["conv2"].times
    bars = re.findall(r'height="([\d.]+)" class="g0"', histogram.time_histogram("conv2", times, 24))
    counts = [sum(1 for t in times.reshape(-1).tolist() if t == step) for step in range(24)]
    expected = [count for count in counts if count]
    heights = np.array(bars, dtype=float)
    assert len(heights) == len(expected)
    assert heights / heights[0] == pytest.approx(np.array(expected) / expected[0], abs=0.01)


def test_silent_layer_has_a_histogram_without_bars() -> None:
    chart = histogram.time_histogram("silent", np.full((2, 5), 255, dtype=np.uint8), 24)
    assert 'class="g0"' not in chart
    assert "nan" not in chart


def test_component_bars_follow_the_energies() -> None:
    cost = example.cost()
    chart = bars.component_bars(cost)
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="16" rx="2"', chart)]
    values = sorted((part.value for part in cost.components.values() if part.high > 0), reverse=True)
    assert len(widths) == len(values)
    assert [w / widths[0] for w in widths if w > 1] == pytest.approx(
        [v / values[0] for v, w in zip(values, widths, strict=True) if w > 1], abs=1e-3
    )


def test_layer_bars_stack_to_the_layer_energy() -> None:
    cost = example.cost()
    chart = bars.layer_bars(cost)
    largest = max(layer.energy_uj for layer in cost.layers)
    for row, layer in enumerate(cost.layers):
        parts = re.findall(rf'y="{row * 26 + 5}" width="([\d.]+)" height="16"', chart)
        assert sum(map(float, parts)) == pytest.approx(530 * layer.energy_uj / largest, abs=0.3)


def test_swing_bars_meet_at_the_value() -> None:
    swings, value = example.swings(), example.cost().energy_uj
    rects = RECT.findall(bars.swing_bars(swings, value, most=5))
    lows = [(float(x), float(w)) for x, _, w, _, shade in rects if shade == "rest"]
    highs = [(float(x), float(w)) for x, _, w, _, shade in rects if shade == "g0"]
    assert len(lows) == len(highs) == 5
    for swing, (left, short), (middle, wide) in zip(swings, lows, highs, strict=False):
        assert left + short == pytest.approx(middle, abs=0.02)
        assert short / (wide or 1) == pytest.approx((value - swing.low_uj) / (swing.high_uj - value), rel=0.02)


def test_design_bars_stack_to_the_energy() -> None:
    designs = example.designs()
    chart = bars.cost_bars(designs)
    largest = max(cost.energy.high for cost in designs.values())
    for row, cost in enumerate(designs.values()):
        parts = re.findall(rf'y="{row * 26 + 5}" width="([\d.]+)" height="16"', chart)
        assert sum(map(float, parts)) == pytest.approx(530 * cost.energy_uj / largest, abs=0.3)


def test_logit_bars_point_away_from_zero() -> None:
    chart = histogram.logit_bars(np.array([-1.0, 3.0]), ["no", "yes"], predicted=1, truth=0)
    (left, _, short, _, shade), (right, _, wide, _, chosen) = RECT.findall(chart)
    assert float(left) + float(short) == pytest.approx(float(right), abs=0.02)
    assert float(wide) == pytest.approx(3 * float(short), abs=0.05)
    assert (shade, chosen) == ("rest", "g0")
    assert "no (true)" in chart


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 4, 5)])
def test_picture_keeps_the_pixels(shape) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    planes = image if image.ndim == 3 else image[None]
    expected = np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)
    assert np.array_equal(decode(raster.picture(image)), expected)
    assert np.array_equal(decode(raster.picture(image / 255)), expected)


def test_picture_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image must have shape \[height, width\] or .*, not \(2, 4, 4\)"):
        raster.picture(np.zeros((2, 4, 4)))


@given(st.floats(1e-6, 1e12))
def test_significant_is_within_half_a_percent(value) -> None:
    assert float(numbers.significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@given(st.floats(1e-4, 1e9))
def test_energy_and_time_keep_value_and_unit(value) -> None:
    units = {"J": 1e6, "mJ": 1e3, "µJ": 1, "nJ": 1e-3, "pJ": 1e-6, "s": 1e6, "ms": 1e3, "µs": 1}
    for text in (numbers.energy(value), numbers.time(value)):
        number, unit = text.split()
        assert float(number.replace(",", "")) * units[unit] == pytest.approx(value, rel=0.0051)
