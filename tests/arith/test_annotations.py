"""The shapes and types that the array functions of `firstspike.arith` state are the ones they take and give."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from firstspike import arith
from firstspike.arith import Code, LogWeights

CODE, WEIGHTS = Code(T=12, tau=2), LogWeights(bits=4)
TIMES = np.array([[0, 3, 255]], dtype=np.uint8)
CODES = np.array([[0, 9, 7]], dtype=np.uint8)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "decode": (TIMES, CODE),
    "decode_planes": (TIMES,),
    "decode_weights": (CODES, WEIGHTS, 1),
    "encode": (np.array([[0.5, 0.0]], dtype=np.float32), CODE),
    "encode_planes": (np.array([[0.5, 0.0]], dtype=np.float32),),
    "encode_weights": (np.array([[0, 7]]), np.array([[True, False]]), WEIGHTS),
    "fire": (np.array([[5, -1]]), arith.thresholds(CODE, 3)),
    "integer_kernel": (CODE,),
    "integer_weights": (WEIGHTS, -1),
    "kernel": (CODE,),
    "level_values": (WEIGHTS, 2),
    "membrane_exponent": (CODE, WEIGHTS, 0),
    "pixel_boundaries": (np.float32,),
    "plane_times": (TIMES,),
    "planes_kernel": (CODE,),
    "product_table": (CODE, WEIGHTS, 0),
    "shift_base": (CODE, WEIGHTS),
    "thresholds": (CODE, 9),
}


def checked(name: str) -> Callable[..., Any]:
    return jaxtyped(getattr(arith, name), typechecker=beartype)


def test_every_function_is_here() -> None:
    assert {name for name in arith.__all__ if inspect.isfunction(getattr(arith, name))} == set(ARGUMENTS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_function_keeps_to_its_annotations(name: str) -> None:
    checked(name)(*ARGUMENTS[name])


def test_another_type_is_found() -> None:
    with pytest.raises(TypeCheckError, match="decode"):
        checked("decode")(TIMES.astype(np.int32), CODE)
