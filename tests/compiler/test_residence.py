"""Weight rows that stay: an operation that fetches none finds its own in its bank, which was on ever since."""

from itertools import pairwise

import pytest
from rtl.random_networks import random_network

from firstspike.arith import Code, LogWeights
from firstspike.compiler import mapping
from firstspike.compiler.channels import resolve
from firstspike.compiler.image import weight_rows
from firstspike.spec import Network, ProcessorSpec
from firstspike.spec.program import Convolve, Program

SMALL = ProcessorSpec(pes=16, accumulator_bits=40, activation_buffer_kib=4, weight_buffer_kib=2, membrane_rows=8)


def _check(network: Network, program: Program, processor: ProcessorSpec) -> int:
    """Operations that fetch no rows; the codes that each finds are its own, and a bank that is off has lost its own."""
    network = resolve(network)
    held: list[bytes | None] = [None, None]
    kept, previous = 0, -1
    for number, operation in enumerate(program.operations):
        if processor.switched:
            held = [rows if operation.weights_awake >> bank & 1 else None for bank, rows in enumerate(held)]
        if not isinstance(operation, Convolve):
            continue
        rows = weight_rows(network, operation, processor).tobytes()
        if operation.kept:
            assert held[operation.bank] == rows, number
            kept += 1
        else:
            assert operation.bank != previous, number  # which may still be read while this one is filled
            held[operation.bank] = rows
        if processor.switched:
            assert operation.weights_awake >> operation.bank & 1, number
        previous = operation.bank
    return kept


@pytest.mark.parametrize("banks", [1, 4])
@pytest.mark.parametrize("images", [1, 4])
def test_rows_are_where_an_operation_looks_for_them(images: int, banks: int) -> None:
    """Random networks of all kinds; and what is fetched is less, never more."""
    kept = []
    for seed in range(40):
        network = random_network(seed, Code(), LogWeights(), accumulator_bits=40)
        processor = ProcessorSpec(**{**vars(SMALL), "images": images, "banks": banks, "resident_weights": True})
        plain = ProcessorSpec(**{**vars(SMALL), "images": images, "banks": banks})
        try:
            program = mapping.program(network, processor)
        except ValueError:  # it does not fit
            continue
        before = mapping.program(network, plain)
        assert not any(isinstance(one, Convolve) and one.kept for one in before.operations)
        assert not any(operation.weights_awake for operation in before.operations)
        kept.append(_check(network, program, processor))
        fetched, all_rows = (
            sum(one.rows for one in each.operations if isinstance(one, Convolve) and not one.kept)
            for each in (program, before)
        )
        assert fetched <= all_rows
    assert len(kept) > 20 and sum(map(bool, kept)) > 4


def test_chunks_go_back_and_forth() -> None:
    """Three chunks of two blocks: the second block begins with what the first ended with, and finds two of three."""
    processor = ProcessorSpec(**{**vars(SMALL), "resident_weights": True})
    for seed in range(60):
        network = random_network(seed, Code(), LogWeights(), accumulator_bits=40)
        try:
            operations = mapping.program(network, processor).operations
        except ValueError:
            continue
        runs = [one for one in operations if isinstance(one, Convolve)]
        for first, second in pairwise(runs):
            if first.last and not first.first and second.first and first.weight_rows == second.weight_rows:
                assert second.kept and second.bank == first.bank
                return
    raise AssertionError("no network has a layer of several chunks and blocks")
