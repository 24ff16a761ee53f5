"""Image sets, pixels and the validation split."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike.data import ImageSet, split_validation, to_pixels


def make(labels, *, classes=None, shape=(1, 2, 2)):
    """Image i holds the two bytes of i, so that a test can tell which image it got."""
    n = len(labels)
    images = np.zeros((n, *shape), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(n) % 256
    images[:, 0, 0, 1] = np.arange(n) // 256
    names = tuple(f"c{i}" for i in range(classes or max(labels, default=0) + 1))
    return ImageSet(images=images, labels=np.array(labels, dtype=np.int64), classes=names, name="made")


def ids(data):
    return (data.images[:, 0, 0, 0].astype(int) + 256 * data.images[:, 0, 0, 1].astype(int)).tolist()


def test_pixel_is_the_float32_nearest_to_value_over_255():
    pixels = to_pixels(np.arange(256, dtype=np.uint8))
    assert pixels.dtype == np.float32
    for value, pixel in enumerate(pixels):
        exact = Fraction(value, 255)
        error = abs(Fraction(float(pixel)) - exact)
        for neighbour in (np.nextafter(pixel, np.float32(-1)), np.nextafter(pixel, np.float32(2))):
            assert error < abs(Fraction(float(neighbour)) - exact)


def test_pixels_refuses_other_types():
    with pytest.raises(TypeError, match=r"^images must be a uint8 array, not dtype\('float64'\)$"):
        to_pixels(np.zeros(3))


def test_batch_pixels_and_subset_pick_the_same_images():
    data = make([0, 1, 0, 1, 2])
    assert len(data) == 5
    assert data.shape == (1, 2, 2)
    picked = data.subset([4, 0])
    assert ids(picked) == [4, 0]
    assert picked.labels.tolist() == [2, 0]
    assert picked.classes == data.classes
    assert np.array_equal(data.subset(np.array([1, 2])).pixels(), data.pixels(1, 3))
    assert np.array_equal(data.pixels(3), data.subset([3, 4]).pixels())
    assert data.pixels()[:, 0, 0, 0].tolist() == [np.float32(i) / np.float32(255) for i in range(5)]


def test_limit_spreads_over_the_set():
    data = make([i // 100 for i in range(1000)])
    assert ids(data.limit(10)) == list(range(0, 1000, 100))
    assert np.bincount(data.limit(20).labels).tolist() == [2] * 10
    assert ids(data.limit(3)) == [0, 333, 666]
    assert data.limit(1000) is data
    assert len(data.limit(5000)) == 1000
    with pytest.raises(ValueError, match=r"^limit must be at least 1, not 0$"):
        data.limit(0)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"images": np.zeros((2, 1, 2, 2))}, TypeError, "images must be of dtype uint8, not 'float64'"),
        ({"images": [[[[0]]]]}, TypeError, "images must be a NumPy array, not 'list'"),
        ({"images": np.zeros((2, 2, 2), np.uint8)}, ValueError, "images must have 4 dimensions, not 3"),
        ({"labels": np.zeros(2)}, TypeError, "labels must be of dtype int64, not 'float64'"),
        ({"labels": np.zeros(3, np.int64)}, ValueError, "labels must be as many as images (2), not 3"),
        ({"labels": np.array([0, 2])}, ValueError, "labels must lie in 0..1, not 2"),
        ({"labels": np.array([-1, 1])}, ValueError, "labels must lie in 0..1, not -1"),
    ],
)
def test_image_set_refuses(change, error, text):
    good = {
        "images": np.zeros((2, 1, 2, 2), np.uint8),
        "labels": np.array([0, 1]),
        "classes": ("a", "b"),
        "name": "n",
    }
    assert len(ImageSet(**good)) == 2
    with pytest.raises(error) as caught:
        ImageSet(**(good | change))
    assert str(caught.value) == text


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=200), data=st.data(), seed=st.integers(0, 2**32))
def test_split_is_a_stratified_partition(labels, data, seed):
    whole = make(labels, classes=5)
    count = data.draw(st.integers(1, len(labels) - 1))
    rest, validation = split_validation(whole, count=count, seed=seed)
    assert sorted(ids(rest) + ids(validation)) == list(range(len(labels)))
    assert ids(rest) == sorted(ids(rest))
    assert len(validation) == count
    for part in (rest, validation):
        assert part.labels.tolist() == [labels[i] for i in ids(part)]
    for label in range(5):  # within one image of the exact share
        share = Fraction(count * labels.count(label), len(labels))
        assert abs(validation.labels.tolist().count(label) - share) < 1
    again = split_validation(whole, count=count, seed=seed)
    assert ids(again[1]) == ids(validation)


def test_split_by_count_and_by_seed():
    whole = make([i % 10 for i in range(1000)])
    rest, validation = split_validation(whole, count=100, seed=3)
    assert len(rest) == 900
    assert np.bincount(validation.labels).tolist() == [10] * 10
    assert validation.name == "made-validation"
    assert ids(split_validation(whole, count=100, seed=4)[1]) != ids(validation)


def test_split_never_changes():
    """PCG64's raw words are promised by NumPy; these positions were derived from them by hand for seed 0."""
    words = np.random.PCG64(0).random_raw(8).tolist()
    by_word = sorted(range(8), key=lambda i: words[i])
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    expected = sorted([i for i in by_word if labels[i] == 0][:1] + [i for i in by_word if labels[i] == 1][:1])
    assert ids(split_validation(make(labels), count=2, seed=0)[1]) == expected


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"count": 4}, "count must lie between 1 and 3 for 4 images, not 4"),
        ({"count": 1, "seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_split_refuses(options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        split_validation(make([0, 0, 1, 1]), **({"seed": 0} | options))
    assert str(caught.value) == text
