"""NumPy files as data sets."""

import numpy as np
import pytest

from firstspike.data import load
from firstspike.data.arrays import random_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 8, 6), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 3, 8, 6), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (RGB, RGB),
        (RGB.transpose(0, 2, 3, 1), RGB),
        (RGB / 255.0, RGB),
        ((RGB / np.float32(255)).astype(np.float32), RGB),
    ],
)
def test_layouts_and_types(tmp_path, array, expected):
    np.save(tmp_path / "x.npy", array)
    found = load(tmp_path / "x.npy")
    assert np.array_equal(found.images, expected)
    assert not found.labelled
    assert found.whole


def test_labels_and_splits(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY, labels=np.array([0, 2, 1, 0, 3]))
    found = load(tmp_path / "a.npz")
    assert found.labelled
    assert found.labels.tolist() == [0, 2, 1, 0, 3]
    assert found.classes == ("0", "1", "2", "3")
    np.savez(tmp_path / "b.npz", x_train=GREY, y_train=np.zeros(5, int), x_test=GREY[:2], y_test=np.ones((2, 1), int))
    assert len(load(tmp_path / "b.npz", split="train")) == 5
    assert load(tmp_path / "b.npz", split="test").labels.tolist() == [1, 1]


def test_a_shape_tells_the_axes_apart(tmp_path):
    both = RNG.integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", both)
    assert load(tmp_path / "x.npy", expect_shape=(3, 4, 3)).shape == (3, 4, 3)
    np.save(tmp_path / "x.npy", GREY)
    assert load(tmp_path / "x.npy", expect_shape=(3, 8, 6)).shape == (3, 8, 6)
    with pytest.raises(ValueError, match=r"must have the shape \(3, 9, 6\), not \(1, 8, 6\)|must have the shape"):
        load(tmp_path / "x.npy", expect_shape=(3, 9, 6))


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"images": GREY * 1.0}, r"must hold values in \[0, 1\], not 0..25\d; clip them or divide by 255"),
        ({"images": GREY.astype(int)}, "must hold uint8 or floats in .*, not int64"),
        ({"images": GREY[0]}, r"must hold images \[n, channels, height, width\], not shape \(8, 6\)"),
        ({"pictures": GREY}, r"must hold an array named 'images', not only \['pictures'\]"),
        ({"images": GREY, "labels": np.zeros(4, int)}, "labels must be 5 integers from 0"),
        ({"images": GREY, "labels": np.full(5, -1)}, "labels must be 5 integers from 0"),
        ({"images": np.array([{}])}, "must be an .npy or .npz file of numbers"),
    ],
)
def test_refuses(tmp_path, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=text):
        load(tmp_path / "a.npz")


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"must be an \.npy or \.npz file of numbers"):
        load(tmp_path / "a.npz")


def test_random_images_are_the_same_again():
    one, two = random_images(3, (3, 4, 5)), random_images(3, (3, 4, 5))
    assert np.array_equal(one.images, two.images)
    assert one.shape == (3, 4, 5)
    assert len(np.unique(one.images)) > 50
    with pytest.raises(ValueError, match=r"random images need a network of images .*, not of inputs \(7,\)"):
        random_images(3, (7,))
