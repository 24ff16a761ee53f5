"""The number system: time-to-first-spike code, logarithmic weights, exact tables (docs/reference/numerics.md)."""

from firstspike.arith.log_weight import (
    LogWeights,
    decode_weights,
    encode_weights,
    integer_weights,
    level_values,
    membrane_exponent,
    product_table,
    shift_base,
)
from firstspike.arith.planes import PLANES, decode_planes, encode_planes, pixel_boundaries, plane_times, planes_kernel
from firstspike.arith.spike_time import (
    NO_SPIKE,
    PIXEL_TOLERANCE,
    Code,
    decode,
    encode,
    fire,
    integer_kernel,
    kernel,
    thresholds,
)

__all__ = [
    "NO_SPIKE",
    "PIXEL_TOLERANCE",
    "PLANES",
    "Code",
    "LogWeights",
    "decode",
    "decode_planes",
    "decode_weights",
    "encode",
    "encode_planes",
    "encode_weights",
    "fire",
    "integer_kernel",
    "integer_weights",
    "kernel",
    "level_values",
    "membrane_exponent",
    "pixel_boundaries",
    "plane_times",
    "planes_kernel",
    "product_table",
    "shift_base",
    "thresholds",
]
