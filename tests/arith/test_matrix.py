"""Products of whole numbers in floating point: exact, and without a word."""

import warnings

import numpy as np
import pytest

from firstspike.arith.matrix import product


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_the_product_of_integers(dtype: type) -> None:
    drawn = np.random.default_rng(0)
    left, right = drawn.integers(0, 100, (7, 30)), drawn.integers(0, 100, (30, 5))
    assert np.array_equal(product(left.astype(dtype), right.astype(dtype)), left @ right)


def test_says_nothing_of_invalid_values() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(
            product(np.array([[np.inf]]), np.array([[0.0]]))
        )  # raises the flag that memory behind may raise
