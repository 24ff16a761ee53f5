"""Memories that are switched off too early: the RTL fails exactly where a word is needed, and nowhere else."""

from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import pytest
from compiler.test_banks import check

from firstspike.compiler import mapping
from firstspike.spec import Network, ProcessorSpec
from firstspike.spec.program import Convolve, Program
from firstspike.verify import Simulator, run

from .conftest import SETS
from .networks import draw


def _needed(program: Program, processor: ProcessorSpec) -> bool:
    """Whether a word is accessed, or lost and read later, where its memory is off: word by word."""
    try:
        check(program, processor)
    except AssertionError:
        return True
    return False


def _fails(network: Network, times: object, processor: ProcessorSpec, program: Program, simulator: Simulator) -> bool:
    """Whether the RTL stops, or differs from engine or model."""
    with mock.patch.object(mapping, "program", return_value=program):
        try:
            record = run(network, times, processor, simulator=simulator)  # type: ignore[arg-type]
        except RuntimeError as error:
            return "ended by a memory" in str(error)
    return not (record.bit_exact and record.cycle_exact)


@pytest.mark.parametrize("seed", [5, 18])
def test_a_bank_that_is_off_too_early_shows(seed: int, simulator: Callable[[str], Simulator]) -> None:
    """Every memory of every operation off by itself: needed or not."""
    network, times = draw(seed, SETS["switched"])
    processor = SETS["switched"].processor
    program = mapping.program(network, processor)
    assert not _fails(network, times, processor, program, simulator("switched"))
    found = []
    for number, operation in enumerate(program.operations):
        for bit in range(processor.banks + 1):
            if operation.awake >> bit & 1:
                without = replace(operation, awake=operation.awake & ~(1 << bit))
                changed = (*program.operations[:number], without, *program.operations[number + 1 :])
                off = replace(program, operations=changed)
                needed = _needed(off, processor)
                assert _fails(network, times, processor, off, simulator("switched")) == needed, (number, bit)
                found.append(needed)
    assert sum(found) > 20 and not all(found)


def test_a_weight_bank_that_is_off_too_early_shows(simulator: Callable[[str], Simulator]) -> None:
    """Rows that a later operation does not fetch again are lost with any operation in which their bank is off."""
    processor = SETS["resident-switched"].processor
    found = 0
    for seed in range(16):
        network, times = draw(seed, SETS["resident-switched"])
        program = mapping.program(network, processor)
        for number, operation in enumerate(program.operations):
            own = operation.bank if isinstance(operation, Convolve) else None
            for bank in (0, 1):
                if bank == own or not operation.weights_awake >> bank & 1:
                    continue
                without = replace(operation, weights_awake=operation.weights_awake & ~(1 << bank))
                changed = (*program.operations[:number], without, *program.operations[number + 1 :])
                off = replace(program, operations=changed)
                assert _fails(network, times, processor, off, simulator("resident-switched")), (seed, number, bank)
                found += 1
        if found > 20:
            break
    assert found > 5
