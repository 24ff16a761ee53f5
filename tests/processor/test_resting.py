"""How long memories are off, by the cycle model: against a clock that steps through the operations."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from processor.test_cycles import SMALL, _network, _times

from firstspike.compiler import mapping
from firstspike.processor import cycles, planner
from firstspike.processor.plan import RESTING
from firstspike.spec import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Store, descriptor_words


def _stepped(processor: ProcessorSpec, taken: list[int], program: mapping.Program, payload: list[int]) -> list[int]:
    """Bank-cycles off, from the cycles in which operations are taken (the end last): one after the other."""
    burst = 1 + processor.dram_latency_cycles + descriptor_words(processor)
    off = [0, 0, 0]
    awake, weights, asked = 0, set[int](), 1 + burst
    wanted = {0: asked} if isinstance(program.operations[0], Convolve) else {}
    banks_of, last_use = _fetched(program, processor)
    operation = -1
    for cycle in range(1, taken[-1] + 1):
        banks = (awake & ((1 << processor.banks) - 1)).bit_count()
        off[0] += processor.banks - banks
        off[1] += 1 - (awake >> processor.banks)
        off[2] += 2 - len({banks_of[number] for number in weights})
        if cycle in wanted.values():  # its bank is on from the next cycle
            weights = weights | {number for number, when in wanted.items() if when == cycle}
        if cycle == taken[operation + 1]:
            operation += 1
            if operation == len(program.operations):
                break
            now = program.operations[operation]
            awake = now.awake
            weights = {number for number in weights if last_use[number] >= operation}
            after = operation + 1
            if after in banks_of:
                # A transfer keeps the loader waiting: both bursts lie before the next taking.
                moves = isinstance(now, Load | Store)
                total = burst + 1 + processor.dram_latency_cycles + payload[after]
                wanted[after] = (taken[after] - total if moves else cycle + 1) + burst
    return off


def _fetched(program: mapping.Program, processor: ProcessorSpec) -> tuple[dict[int, int], dict[int, int]]:
    """Operations that weight rows are fetched for: their bank, and the last operation that reads what they fetched."""
    banks: dict[int, int] = {}
    last: dict[int, int] = {}
    holder: dict[int, int] = {}
    for number, operation in enumerate(program.operations):
        if not isinstance(operation, Convolve):
            continue
        bank = operation.bank if processor.resident_weights else len(banks) % 2
        if not operation.kept:
            banks[number], holder[bank] = bank, number
        last[holder[bank]] = number
    return banks, last


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("images", [1, 2])
def test_memories_are_off_as_long_as_a_stepped_clock_says(images: int, resident: bool) -> None:
    network = _network()
    processor = replace(SMALL, banks=4, images=images, wake_cycles=7, resident_weights=resident)
    times = _times(network, 0.4, images=2 * images)
    program = mapping.program(network, processor)
    plan = planner.plan(network, processor, program)
    counts = cycles.count(network, times, processor, program, plan=plan)
    walks, _ = plan.walk(times)
    _, slots, fetch = plan._slots(walks, 0.0)
    payload = [int(words) - descriptor_words(processor) for words in plan.bursts[:, 1]]
    for run in range(2):
        taken = np.rint(fetch[0] + 1 + np.concatenate([[0], np.cumsum(slots[:, run] + 1)])).astype(int).tolist()
        assert taken[-1] == counts.cycles[run]
        found = [counts.total(name)[run] for name in RESTING]
        assert found == _stepped(processor, taken, program, payload)
        assert all(0 < each < banks * taken[-1] for each, banks in zip(found, (4, 1, 2), strict=True))


def test_waking_takes_cycles_and_bits() -> None:
    """Operations that need a memory more wait; designs with one bank have neither cycles nor counts of it."""
    network = _network()
    times = _times(network, 0.4)
    plain = cycles.count(network, times, SMALL)
    assert not any(plain.total(name).any() for name in (*RESTING, "woken_bits"))
    program = mapping.program(network, replace(SMALL, banks=4))
    masks = [0, *(operation.awake for operation in program.operations)]
    rises = [after & ~before for before, after in pairwise(masks)]
    waits = sum(map(bool, rises))
    counted = {wake: cycles.count(network, times, replace(SMALL, banks=4, wake_cycles=wake)) for wake in (0, 20)}
    # Waits for DRAM may hide some of it.
    assert 0 < (counted[20].cycles - counted[0].cycles).max() <= 20 * waits
    weights = sum(isinstance(one, Convolve) for one in program.operations) * SMALL.weight_rows(network.weights) * 16 * 5
    banks = sum((rise & 15).bit_count() for rise in rises) * 2 * 8192
    membranes = sum(rise >> 4 for rise in rises) * 8 * 16 * 32
    assert set(counted[0].total("woken_bits").tolist()) == {banks + membranes + weights}
