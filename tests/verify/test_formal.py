"""Proofs of the processing element, the encoder and the stream rules; faults put into the blocks are refuted."""

import types

import pytest

from firstspike.arith import Code, LogWeights
from firstspike.rtl.blocks import fire, lane, loader, pe, walker
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from firstspike.verify import ToolMissing
from studies.sorting import merge, spike_list
from verify import formal

from .test_mutants import injected

DEFAULT = Parameters(processor=ProcessorSpec(pes=8, word_bits=32), code=Code(), weights=LogWeights())
SMALL = Parameters(
    processor=ProcessorSpec(pes=8, word_bits=32, accumulator_bits=10),
    code=Code(T=5, tau=2, mantissa_bits=2),
    weights=LogWeights(bits=4, levels_per_octave=4, mantissa_bits=2),
)


def _holds(kind: type[formal.Property], parameters: Parameters) -> bool:
    encoder = kind.__name__ == "EncoderTakesTheFirstCrossing"
    try:
        holds, log = formal.prove(
            kind(parameters), steps=3 * parameters.code.T + 4 if encoder else 3, induction=not encoder
        )
    except ToolMissing as error:
        pytest.skip(str(error))
    print(log)
    return holds


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [DEFAULT, SMALL], ids=["default", "small"])
@pytest.mark.parametrize(
    "kind",
    [
        formal.LogPEAddsTheTable,
        formal.EncoderTakesTheFirstCrossing,
        formal.WalkerKeepsTheStreamRule,
        formal.LoaderKeepsTheStreamRules,
        formal.ListEncoderWritesTheSortedList,
        formal.MergeSorts,
    ],
)
def test_property_holds(kind: type[formal.Property], parameters: Parameters) -> None:
    """In every reachable cycle by induction; the encoder for every membrane and all thresholds of one sweep."""
    assert _holds(kind, parameters)


FAULTS: list[tuple[str, types.ModuleType, str, str]] = [
    ("LogPEAddsTheTable", pe, "- (logarithm >> p.rho_bits)", "- (level >> p.rho_bits)"),
    ("LogPEAddsTheTable", pe, "zero.eq(level.all())", "zero.eq(0)"),
    ("LogPEAddsTheTable", pe, "+ (negative & ~self.add)", "+ negative"),
    ("EncoderTakesTheFirstCrossing", lane, "pe.membrane >= sweep.theta", "pe.membrane > sweep.theta"),
    ("EncoderTakesTheFirstCrossing", lane, " & (self.spike == NO_SPIKE)", ""),
    (
        "EncoderTakesTheFirstCrossing",
        fire,
        "sweep.step.eq(Mux(control.start, 0, request))",
        "sweep.step.eq(Mux(control.start, 1, request))",
    ),
    ("WalkerKeepsTheStreamRule", walker, "(spike.ready | ~waiting.any())", "1"),
    ("WalkerKeepsTheStreamRule", walker, "with m.Elif(spike.ready):", "with m.Else():"),
    (
        "LoaderKeepsTheStreamRules",
        loader,
        'with m.If(request.ready):\n                m.next = "DESCRIPTOR"',
        'with m.If(1):\n                m.next = "DESCRIPTOR"',
    ),
    ("LoaderKeepsTheStreamRules", loader, "with m.If(self.operation.ready):", "with m.If(1):"),
    ("ListEncoderWritesTheSortedList", spike_list, "rest.eq(waiting & (waiting - 1))", "rest.eq(0)"),
    ("ListEncoderWritesTheSortedList", spike_list, "in reversed(range(self.neurons))", "in range(self.neurons)"),
    ("ListEncoderWritesTheSortedList", spike_list, "(~rest.any() & ~ending)", "~rest.any()"),
    ("MergeSorts", merge, "< Cat(left.time, left.end)", "<= Cat(left.time, left.end)"),
    ("MergeSorts", merge, "spikes.valid.eq(full.all())", "spikes.valid.eq(full.any())"),
    ("MergeSorts", merge, "(spikes.valid & spikes.ready & chosen)", "(spikes.valid & chosen)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module", "old", "new"), FAULTS)
def test_fault_is_refuted(name: str, module: types.ModuleType, old: str, new: str) -> None:
    """The proofs are not vacuous."""
    with injected(module, old, new):
        assert not _holds(getattr(formal, name), SMALL)
