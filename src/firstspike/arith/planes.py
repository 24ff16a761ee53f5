"""Input planes: eight binary neurons a pixel, one for each bit of 8 (numerics, section 6).

A pixel's planes are stored in one byte, ``255 - p``: bit ``7 - j`` is 0 if plane ``j`` fires, so 255 is no spike at all.
"""

from fractions import Fraction
from functools import cache

import numpy as np
from jaxtyping import Float, Integer, UInt8

from firstspike.arith.spike_time import NO_SPIKE, Code, first_crossing

PLANES = 8
"""Planes of a pixel."""


@cache
def _boundaries(dtype: np.dtype) -> np.ndarray:
    """The least value of a type that stands for pixel ``p = 1 .. 255``: not below ``(p - 1/2) / 255``.

    The only tie of ``round_half_even(255 x)`` is ``x = 1/2``, which goes to the even 128: the boundary itself.
    """
    least = []
    for pixel in range(1, 256):
        exact = Fraction(2 * pixel - 1, 510)
        value = np.nextafter(dtype.type(float(exact)), dtype.type(0))
        while Fraction(float(value)) < exact:
            value = np.nextafter(value, dtype.type(2))
        least.append(value)
    boundaries = np.array(least, dtype=dtype)
    boundaries.flags.writeable = False
    return boundaries


def pixel_boundaries(dtype: type | np.dtype) -> Float[np.ndarray, "255"]:
    """The least float of a type, float32 or float64, that each pixel ``p = 1 .. 255`` stands for, rising.

    >>> pixel_boundaries(np.float64)[[0, 127, 254]].tolist()
    [0.0019607843137254906, 0.5, 0.9980392156862745]
    """
    return _boundaries(np.dtype(dtype))


def encode_planes(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Stored planes of values in [0, 1], float32 or float64: ``255 - round_half_even(255 x)``, exact.

    >>> encode_planes(np.array([0.0, 0.5, np.nextafter(0.5, 0), 1.0])).tolist()
    [255, 127, 128, 0]
    """
    return first_crossing(values, pixel_boundaries(values.dtype))


def decode_planes(stored: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """What the network sees: ``p / 256`` as float64, exact.

    >>> decode_planes(np.array([255, 127, 0], dtype=np.uint8)).tolist()
    [0.0, 0.5, 0.99609375]
    """
    return (NO_SPIKE - stored.astype(np.float64)) / 256


def plane_times(stored: UInt8[np.ndarray, "n channels *size"]) -> UInt8[np.ndarray, "n planes *size"]:
    """Spike times of the single planes, channel ``8 c + j`` being plane ``j`` of channel ``c``: 0, or 255 for none.

    >>> plane_times(np.array([[250]], dtype=np.uint8)).tolist()    # p = 5
    [[255, 255, 255, 255, 255, 0, 255, 0]]
    """
    bits = np.unpackbits(stored[:, :, None], axis=2)
    return (bits * NO_SPIKE).reshape(len(stored), PLANES * stored.shape[1], *stored.shape[2:])


def planes_kernel(code: Code) -> Integer[np.ndarray, "256"]:
    """``p * 2^M`` for every stored byte (int64): ``p / 256`` in units of ``2^-(M + 8)``.

    >>> planes_kernel(Code(mantissa_bits=3, T=16))[[255, 254, 0]].tolist()
    [0, 8, 2040]
    """
    return (NO_SPIKE - np.arange(256, dtype=np.int64)) << code.mantissa_bits
