"""Layers whose codes are packed: read as an array, and kept where their user wants them."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from firstspike.spec import Linear, Synaptic
from firstspike.spec.codes import PackedCodes, pack


def layer(codes: np.ndarray | PackedCodes) -> Linear:
    return Linear(name="a", source="input", codes=codes, scale=0, bias=np.zeros(3, dtype=np.int64))


CODES = np.arange(15, dtype=np.uint8).reshape(3, 5)


def test_a_layer_of_packed_codes() -> None:
    packed = layer(PackedCodes(pack(CODES, 5), (3, 5), 5))
    assert np.array_equal(packed.codes, CODES)
    assert packed.codes.dtype == np.uint8
    assert packed.codes is not packed.codes  # a new array at every access: writing to it changes nothing
    assert (packed.weight_shape, packed.weight_count, packed.outputs) == ((3, 5), 15, 3)
    assert np.array_equal(packed.packed(5), pack(CODES, 5))
    assert np.array_equal(packed.packed(6), pack(CODES, 6))
    for other in (replace(packed, scale=1), copy.deepcopy(packed)):
        assert np.array_equal(other.codes, CODES)


def test_a_layer_of_an_array() -> None:
    array = CODES.copy()
    plain = layer(array)
    assert np.shares_memory(plain.codes, array)
    assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        plain.codes[0, 0] = 1
    plain.keep_codes_in(lambda: pack(np.zeros_like(CODES), 5), 5)
    assert np.array_equal(plain.codes, CODES)
    assert np.array_equal(plain.packed(5), pack(CODES, 5))


def test_codes_that_are_kept_elsewhere() -> None:
    packed: Synaptic = layer(PackedCodes(pack(CODES, 5), (3, 5), 5))
    packed.keep_codes_in(lambda: pack(CODES[::-1], 4), 4)  # of another width: no substitute
    assert np.array_equal(packed.codes, CODES)
    packed.keep_codes_in(lambda: pack(CODES[::-1], 5), 5)
    assert np.array_equal(packed.codes, CODES[::-1])
    assert np.array_equal(copy.deepcopy(packed).codes, CODES[::-1])


def test_codes_are_needed_and_have_a_shape() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'codes'"):
        Linear(name="a", source="input", scale=0, bias=np.zeros(3, dtype=np.int64))
    with pytest.raises(TypeError, match=r"codes must be a non-empty uint8 array with 2 axes, not uint8 \(15,\)"):
        layer(PackedCodes(pack(CODES, 5), (15,), 5))
