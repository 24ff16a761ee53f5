"""Augmentation against loops over np.pad."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike.data.augment import Augment


def generator(seed):
    return torch.Generator().manual_seed(seed)


def oracle(images, augment, draw):
    """One image at a time: pad, crop, mirror, then blank pixel by pixel."""
    _, _, height, width = images.shape
    out = []
    for i, image in enumerate(images):
        sides = ((0, 0), (augment.pad, augment.pad), (augment.pad, augment.pad))
        if augment.padding == "reflect":
            padded = np.pad(image, sides, mode="reflect")
        else:
            padded = np.pad(image, sides, constant_values=augment.fill)
        top, left = int(draw.top[i]), int(draw.left[i])
        crop = padded[:, top : top + height, left : left + width]
        if augment.flip and draw.flip[i]:
            crop = crop[:, :, ::-1]
        crop = crop.copy()
        for y in range(height):
            for x in range(width):
                inside_y = 0 <= y - int(draw.cut_top[i]) < augment.cutout
                if inside_y and 0 <= x - int(draw.cut_left[i]) < augment.cutout:
                    crop[:, y, x] = augment.fill
        out.append(crop)
    return np.stack(out)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    padding=st.sampled_from(["reflect", "constant"]),
    flip=st.booleans(),
    cutout=st.integers(0, 6),
    fill=st.integers(0, 255),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_equals_the_loop(n, channels, height, width, padding, flip, cutout, fill, seed, data):
    pad = data.draw(st.integers(0, min(height, width) - 1 if padding == "reflect" else 12))
    augment = Augment(pad=pad, padding=padding, flip=flip, cutout=cutout, fill=fill)
    images = torch.randint(256, (n, channels, height, width), dtype=torch.uint8, generator=generator(seed))
    before = images.clone()
    draw = augment.draw(n, height, width, generator(seed + 1))
    out = augment.apply(images, draw)
    assert out.dtype == torch.uint8
    assert np.array_equal(out.numpy(), oracle(images.numpy(), augment, draw))
    assert torch.equal(images, before)
    assert torch.equal(augment(images, generator(seed + 1)), out)
    start = data.draw(st.integers(0, n - 1))
    assert torch.equal(augment.apply(images[start:], draw.part(start, n)), out[start:])


def test_draws_are_uniform():
    augment = Augment(pad=2, flip=True, cutout=3)
    draw = augment.draw(25_000, 6, 7, generator(0))
    offsets = torch.bincount(draw.top * 5 + draw.left, minlength=25)
    corners = torch.bincount((draw.cut_top + 1) * 7 + draw.cut_left + 1, minlength=42)
    assert len(offsets) == 25
    assert len(corners) == 42
    # chi-square: mean = degrees of freedom, deviation = sqrt(2 df); six deviations
    for counts in (offsets, corners, torch.bincount(draw.flip, minlength=2)):
        expected = 25_000 / len(counts)
        statistic = float(((counts - expected) ** 2 / expected).sum())
        freedom = len(counts) - 1
        assert statistic < freedom + 6 * (2 * freedom) ** 0.5


def test_nothing_asked_gives_an_equal_copy():
    images = torch.randint(256, (4, 3, 5, 5), dtype=torch.uint8, generator=generator(0))
    out = Augment()(images, generator(1))
    assert torch.equal(out, images)
    out[0] = 0
    assert not torch.equal(out, images)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"pad": -1}, ValueError, "pad must be at least 0, not -1"),
        ({"pad": 1.5}, TypeError, "pad must be an int, not 'float'"),
        ({"cutout": True}, TypeError, "cutout must be an int, not 'bool'"),
        ({"fill": 256}, ValueError, "fill must be at most 255, not 256"),
        ({"padding": "edge"}, ValueError, "padding must be 'reflect' or 'constant', not 'edge'"),
        ({"flip": 1}, TypeError, "flip must be a bool, not 'int'"),
    ],
)
def test_refuses_options(options, error, text):
    with pytest.raises(error) as caught:
        Augment(**options)
    assert str(caught.value) == text


def test_refuses_images():
    with pytest.raises(ValueError, match=r"^pad must be below the image's sides 4 and 6 to reflect, not 4$"):
        Augment(pad=4)(torch.zeros((1, 1, 4, 6), dtype=torch.uint8), generator(0))
    with pytest.raises(TypeError, match=r"^images must be a uint8 tensor, not torch\.float32$"):
        Augment(pad=1)(torch.zeros((1, 1, 4, 6)), generator(0))


def test_a_batch_costs_little():
    """256 images of 32 x 32 take about 3 ms on one core; 50 ms leaves room for a busy machine."""
    images = torch.zeros((256, 3, 32, 32), dtype=torch.uint8)
    augment, draws = Augment(pad=4, flip=True, cutout=8), generator(0)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        augment(images, draws)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
