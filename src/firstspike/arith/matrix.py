"""Products of matrices of whole numbers in floating point, which holds them exactly."""

import numpy as np


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left @ right`` of finite floats, without a word of invalid values.

    OpenBLAS reads a little behind small matrices; what lies there can raise the flag, though it reaches no result.

    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    with np.errstate(invalid="ignore"):
        result: np.ndarray = left @ right
    return result
