"""Convolutions that run strip by strip with the pooling behind them, in RTL: every strip, every spike, every cycle."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rtl.vgg import random_vgg

from firstspike.arith import encode
from firstspike.compiler import mapping
from firstspike.compiler.stages import stages
from firstspike.spec.program import Convolve, Pool
from firstspike.verify import Simulator, run

from .conftest import SETS

PLAN = (16, 16, "M", 32, 16, "M", 24, "M")


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(
    ("name", "size", "fuses"),
    [
        ("small", 26, False),
        ("small", 44, True),
        ("resident-small", 44, True),
        ("resident-switched", 8, False),
        ("resident-switched", 12, True),
        ("resident-switched", 14, True),
        ("resident-switched", 26, False),  # their strips do not fit together
    ],
)
def test_strips_with_their_pooling(
    name: str, size: int, fuses: bool, images: int, simulator: Callable[[str], Simulator]
) -> None:
    """Maps that fit and maps in DRAM on either side; less is moved than without, and spikes are the same."""
    plain = replace(SETS[name].processor, images=images)
    processor = replace(plain, fused_pooling=True)
    network = random_vgg(PLAN, (3, size, size))
    network = replace(network, code=SETS[name].code, accumulator_bits=plain.accumulator_bits)
    fused = {layer: pool for stage in stages(network, processor) for pool, layer in stage.layout.fused.items()}
    program = mapping.program(network, processor)
    assert bool(fused) == fuses
    for layer, pool in fused.items():
        assert f"map {layer}" not in program.regions
        order = [
            one.layer for one in program.operations if one.layer in (layer, pool) and isinstance(one, Convolve | Pool)
        ]
        assert order != sorted(order)  # they take turns
    moved = [sum(each.regions.values()) for each in (program, mapping.program(network, plain))]
    assert moved[0] < moved[1] or not fused
    times = encode(np.random.default_rng(size).random((images, 3, size, size)), network.code)
    record = run(network, times, processor, simulator=simulator(name))
    assert record.bit_exact and record.cycle_exact, record.differences
    assert record.layers_compared == 2 + len(network.layers) - 2 - (
        "input" not in {o.layer for o in program.operations}
    )
