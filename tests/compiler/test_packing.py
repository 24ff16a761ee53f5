"""Packed weight rows: what is stored is what the oracle reads, in as many words as are counted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.packing import unpack
from rtl.random_networks import random_network
from verify.networks import thinned

from firstspike.arith import LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.channels import resolve
from firstspike.compiler.image import assemble, weight_rows
from firstspike.compiler.packing import pack, weight_words
from firstspike.processor.cycles import EVENTS, count
from firstspike.spec import INPUT, Conv2d, Network, ProcessorSpec
from firstspike.spec.program import DESCRIPTOR, Convolve


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 16),
    word_bits=st.sampled_from([32, 64, 128]),
    bits=st.integers(2, 8),
    zeros=st.sampled_from([0.0, 0.3, 0.8, 0.97, 1.0]),
    bitmap=st.booleans(),
)
def test_rows_come_back(seed: int, word_bits: int, bits: int, zeros: float, bitmap: bool) -> None:
    rng = np.random.default_rng(seed)
    processor = ProcessorSpec(
        pes=8 * word_bits // 8 * int(rng.integers(1, 4)) // 2, word_bits=word_bits, packed_rows=True
    )
    weights = LogWeights(bits=bits, levels_per_octave=16 if bits > 6 else 2)
    outputs = int(rng.integers(1, processor.pes + 1))
    rows = rng.integers(0, 1 << bits, (int(rng.integers(1, 9)), processor.pes)).astype(np.uint8)
    rows[rng.random(rows.shape) < zeros] = weights.zero_level
    rows[:, outputs:] = weights.zero_level
    data = pack(rows, outputs, weights=weights, processor=processor, bitmap=bitmap)
    found = unpack(data, rows=len(rows), outputs=outputs, word_bits=word_bits, bits=bits, bitmap=bitmap)
    stored = len(found[0])
    wanted = np.full((len(rows), stored), weights.zero_level, dtype=np.uint8)
    wanted[:, : processor.pes] = rows[:, :stored]
    if bitmap:  # a negative zero is a zero
        wanted[wanted == (1 << bits) - 1] = weights.zero_level
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("word_bits", [32, 64])
@pytest.mark.parametrize("seed", range(6))
def test_payloads_are_the_shorter_form(seed: int, word_bits: int) -> None:
    """Every payload of a random network, dense or sparse: its length, its flag, its rows."""
    network = resolve(random_network(seed, weights=LogWeights(bits=4), octaves=2))
    network = thinned(network, seed) if seed % 2 else network
    processor = ProcessorSpec(
        pes=48, word_bits=word_bits, weight_buffer_kib=8, accumulator_bits=min(40, word_bits), packed_rows=True
    )
    network = replace(network, accumulator_bits=processor.accumulator_bits)
    program = mapping.program(network, processor)
    image = assemble(network, program, processor)
    width = word_bits // 8
    size = -(-sum(bits for _, bits in DESCRIPTOR) // word_bits)
    flags = set()
    for number, operation in enumerate(program.operations):
        if not isinstance(operation, Convolve):
            continue
        start = number * size * width
        fields = _fields(int.from_bytes(image.data[start : start + size * width], "little"))
        words, bitmap = weight_words(network, processor, operation)
        assert fields["bitmap"] == bitmap
        head = fields["bias_words"] + fields["theta_words"]
        assert fields["dram_words"] == head + words
        first = (fields["dram_address"] + head) * width
        found = unpack(
            image.data[first : first + words * width],
            rows=operation.rows,
            outputs=operation.outputs[1],
            word_bits=word_bits,
            bits=4,
            bitmap=bitmap,
        )
        rows = weight_rows(network, operation, processor)
        lanes = min(rows.shape[1], len(found[0]))
        stored = np.array(found)[:, :lanes]
        zero = rows[:, :lanes] % 8 == 7
        assert np.array_equal(stored % 8 == 7, zero)
        assert np.array_equal(stored[~zero], rows[:, :lanes][~zero])
        for other in (False, True):
            packed = pack(rows, operation.outputs[1], weights=network.weights, processor=processor, bitmap=other)
            assert len(packed) // width >= words
        flags.add(bitmap)
    assert flags <= {False, True}


def test_zeros_and_spare_lanes_are_not_fetched() -> None:
    """64 outputs on 128 lanes: half of a row; of eight tenths zeros two bits a weight; all other counts stay."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 15, (64, 64, 3, 3)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.8] = 15
    layer = Conv2d(
        name="a", source=INPUT, codes=codes, scale=8, bias=np.zeros(64, np.int64), padding=(1, 1), fires=False
    )
    sparse = Network(code=random_network(0).code, weights=LogWeights(), input_shape=(64, 4, 4), layers=(layer,))
    plain, packed = ProcessorSpec(), ProcessorSpec(packed_rows=True)
    times = {INPUT: rng.integers(0, 4, (1, 64, 4, 4)).astype(np.uint8)}
    counts = [count(sparse, times, processor) for processor in (plain, packed)]
    before, after = (counted.layers[-1] for counted in counts)
    weights = 64 * 64 * 9
    kept = int((codes != 15).sum())
    assert before.dram_read_bits[0] - after.dram_read_bits[0] == 2 * weights * 5 - weights - -(-kept * 5 // 64) * 64
    assert all(
        np.array_equal(getattr(before, event), getattr(after, event))
        for event in EVENTS
        if event not in ("cycles", "wait_cycles", "dram_read_bits", "unpacked_bits")
    )
    assert before.unpacked_bits[0] == 0
    assert after.unpacked_bits[0] == weights + -(-kept * 5 // 64) * 64
    spent = [sum(int(layer.cycles[0]) for layer in counted.layers) for counted in counts]
    assert spent[0] - spent[1] == (before.dram_read_bits[0] - after.dram_read_bits[0]) // 64


def _fields(value: int) -> dict[str, int]:
    fields = {}
    for name, bits in DESCRIPTOR:
        fields[name] = value & ((1 << bits) - 1)
        value >>= bits
    return fields
