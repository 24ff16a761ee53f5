"""Simulators shared by the tests of this folder, one per parameter set."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from firstspike.arith import Code, LogWeights
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from firstspike.verify import Simulator, ToolMissing

SETS = {
    "small": Parameters(
        processor=ProcessorSpec(
            pes=16, accumulator_bits=40, activation_buffer_kib=32, weight_buffer_kib=2, membrane_rows=8
        ),
        code=Code(T=12, tau=4),
        weights=LogWeights(),
    ),
    "narrow": Parameters(
        processor=ProcessorSpec(
            pes=8,
            accumulator_bits=32,
            word_bits=32,
            activation_buffer_kib=1,
            weight_buffer_kib=1,
            membrane_rows=5,
            dram_latency_cycles=0,
            dram_cycles_per_word=3,
        ),
        code=Code(T=17, tau=2, mantissa_bits=3),
        weights=LogWeights(bits=4, levels_per_octave=1, mantissa_bits=0),
    ),
    "wide": Parameters(
        processor=ProcessorSpec(
            pes=32,
            accumulator_bits=36,
            word_bits=128,
            activation_buffer_kib=2,
            weight_buffer_kib=8,
            membrane_rows=16,
            dram_latency_cycles=7,
        ),
        code=Code(T=24, tau=8, mantissa_bits=6),
        weights=LogWeights(bits=6, levels_per_octave=4, mantissa_bits=5),
    ),
    "planes": Parameters(
        processor=ProcessorSpec(
            pes=16, accumulator_bits=32, activation_buffer_kib=4, weight_buffer_kib=2, membrane_rows=8
        ),
        code=Code(T=16, tau=4, mantissa_bits=3, input="planes"),
        weights=LogWeights(mantissa_bits=2),
        largest_shift=18,
    ),
    "packed": Parameters(
        processor=ProcessorSpec(
            pes=96,
            accumulator_bits=32,
            activation_buffer_kib=4,
            weight_buffer_kib=12,
            membrane_rows=8,
            packed_rows=True,
        ),
        code=Code(T=16, tau=4, mantissa_bits=3),
        weights=LogWeights(mantissa_bits=2),
    ),
    "packed-narrow": Parameters(
        processor=ProcessorSpec(
            pes=40,
            accumulator_bits=32,
            word_bits=32,
            activation_buffer_kib=2,
            weight_buffer_kib=3,
            membrane_rows=5,
            dram_latency_cycles=0,
            dram_cycles_per_word=2,
            packed_rows=True,
        ),
        code=Code(T=9, tau=2, mantissa_bits=4),
        weights=LogWeights(bits=3, levels_per_octave=2, mantissa_bits=3),
        largest_shift=12,
    ),
    "sources": Parameters(
        processor=ProcessorSpec(
            pes=8, accumulator_bits=32, word_bits=32, activation_buffer_kib=1, weight_buffer_kib=1, membrane_rows=5
        ),
        code=Code(T=9, tau=2, mantissa_bits=4),
        weights=LogWeights(bits=4, levels_per_octave=2, mantissa_bits=3),
        largest_shift=12,
    ),
}
"""Parameter sets of the random networks: word widths, array sizes, memories, codes, weight formats."""

SETS["shifts"] = replace(SETS["small"], channel_shifts=True)
SETS["shifts-packed"] = replace(SETS["packed-narrow"], channel_shifts=True)
SETS["switched"] = replace(
    SETS["small"], processor=replace(SETS["small"].processor, activation_buffer_kib=2, banks=4, wake_cycles=3)
)
SETS["switched-packed"] = replace(
    SETS["packed-narrow"], processor=replace(SETS["packed-narrow"].processor, banks=8, wake_cycles=0)
)
SETS["switched-sources"] = replace(
    SETS["sources"], processor=replace(SETS["sources"].processor, banks=16, wake_cycles=20), channel_shifts=True
)
for _name in ("small", "packed-narrow", "sources", "switched", "switched-packed", "switched-sources"):
    SETS[f"resident-{_name}"] = replace(SETS[_name], processor=replace(SETS[_name].processor, resident_weights=True))
SETS["resident-chunks"] = replace(
    SETS["small"],
    processor=replace(
        SETS["small"].processor, resident_weights=True, weight_buffer_kib=1, membrane_rows=1, dram_latency_cycles=60
    ),
)
"""Many chunks and short operations: the fetch of one without payload is waited for."""
SETS["fpga"] = SETS["sources"].on_fpga()
SETS["shifts-fpga"] = replace(SETS["fpga"], channel_shifts=True)


@pytest.fixture(scope="session")
def simulator() -> Callable[[str], Simulator]:
    """A compiled simulator of a parameter set; skips where a tool is missing, with its install command.

    That of ``"small"`` can stall the streams inside, which it does on command only; the others are the design as emitted.
    """

    @cache
    def build(name: str) -> Simulator:
        try:
            return Simulator(SETS[name], holds=name == "small")
        except ToolMissing as error:
            pytest.skip(str(error))

    return build
