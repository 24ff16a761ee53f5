"""Faults put into the RTL's source one at a time: the comparison with engine and model catches every one."""

import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest

from firstspike.rtl import emit
from firstspike.rtl.blocks import (
    array,
    buffer_switch,
    cursor,
    executor,
    fire,
    interfaces,
    lane,
    loader,
    memory_port,
    pe,
    pool,
    processor,
    sram,
    sums,
    transfer,
    unpacker,
    walker,
    weights,
)
from firstspike.verify import Simulator, ToolMissing, run
from firstspike.verify.simulator import Stalls
from studies.sorting import merge, spike_list
from verify import formal, functional

from .conftest import SETS
from .networks import draw

MODULES = (
    array,
    buffer_switch,
    cursor,
    emit,
    executor,
    fire,
    formal,
    functional,
    interfaces,
    lane,
    loader,
    memory_port,
    merge,
    pe,
    pool,
    processor,
    spike_list,
    sram,
    sums,
    transfer,
    unpacker,
    walker,
    weights,
)

MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "shift ignores the layer's fraction": (pe, "- (logarithm >> p.rho_bits)", "- (level >> p.rho_bits)"),
    "table ignores the layer's fraction": (pe, "logarithm[: p.rho_bits])", "level[: p.rho_bits])"),
    "zero weight adds": (pe, "zero.eq(level.all())", "zero.eq(0)"),
    "negative weight without its carry": (pe, "+ (negative & ~self.add)", ""),
    "a tie does not fire": (lane, "pe.membrane >= sweep.theta", "pe.membrane > sweep.theta"),
    "last crossing, not the first": (lane, " & (self.spike == NO_SPIKE)", ""),
    "threshold one step late": (fire, "sweep.step.eq(Mux(control.start, 0, request))", "sweep.step.eq(request)"),
    "stale bias": (sums, "Mux(control.slot, registers", "Mux(~control.slot, registers"),
    "weights always of bank 0": (executor, "self.weights.slot.eq(slot)", "self.weights.slot.eq(0)"),
    "stale weight row index": (weights, "m.d.sync += fill_row.eq(0)", "m.d.sync += fill_row.eq(fill_row)"),
    "rows above the map are read": (walker, "(here.y >= 0) & ", ""),
    "address stage ignores backpressure": (walker, "(active & room)", "active"),
    "a word on its way is overwritten": (walker, "reading & (keeping == advance)", "reading"),
    "a word that waits in the buffer is forgotten": (
        walker,
        "reading.eq(issue | (reading & ~moves))",
        "reading.eq(issue)",
    ),
    "words skip rows outside the map": (walker, "window.position_rows >> self.lane_bits", "0"),
    "pooling takes the latest": (pool, "new < old", "new > old"),
    "spike times are not cleared": (
        executor,
        "self.times.clear.eq(1), self.sweep.compare",
        "self.sweep.compare",
    ),
    "partial sums are not kept": (executor, "self.sums.write.eq(1)", "self.sums.write.eq(0)"),
    "residual stays at its first pixel": (cursor, "strides.residual_pixel", "0"),
    "threshold sweep one cycle longer": (fire, "control.done.eq(active & (request == steps))", "control.done.eq(0)"),
    "pipeline not drained": (executor, 'm.next = "DRAINED"', "self._after_walk(m, d)"),
    "one bias word too few": (loader, "[number <= bias", "[number < bias"),
    "request not held": (
        loader,
        'with m.If(request.ready):\n                m.next = "DESCRIPTOR"',
        'with m.If(1):\n                m.next = "DESCRIPTOR"',
    ),
    "store ignores backpressure": (transfer, "(~sending | dram.write.ready)", "1"),
    "word leaves before its last spike": (walker, "(spike.ready | ~waiting.any())", "1"),
    "spike dropped while held back": (walker, "with m.Elif(spike.ready):", "with m.Else():"),
    "operation taken before it is offered": (executor, "with m.If(self.operation.valid):", "with m.If(1):"),
    "offered operation dropped": (loader, "with m.If(self.operation.ready):", "with m.If(1):"),
}
BATCH_MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "every image reads the first one's map": (cursor, "strides.in_next", "0"),
    "every image writes over the first one": (cursor, "strides.out_next", "0"),
    "residual stays at its first image": (cursor, "strides.residual_next", "0"),
    "partial sums of all images in one place": (
        cursor,
        "maps.eq(maps + 1),",
        "maps.eq(maps + 1), self.pixel.eq(0),",
    ),
    "later images go on below the first": (
        cursor,
        "self.y.eq(strides.origin_y)",
        "self.y.eq(self.y + strides.stride_y)",
    ),
}
"""Faults in what batches need: run in batches of two images."""
FPGA_MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "a burst's last word is written elsewhere": (buffer_switch, "transferring | transfer.write", "transferring"),
    "a result's address counts before its write": (executor, "m.If(buffer.enable)", "m.If(self.reads | self.writes)"),
    "residual is read where results go": (executor, "address.eq(cursor.residual)", "address.eq(cursor.target)"),
    "a residual's words find the next lanes": (executor, "times.index.eq(index)", "times.index.eq(index + 1)"),
    "a residual's threshold a step late": (lane, "self.spike == sweep.following", "self.spike == sweep.step"),
    "columns beyond the map are inside": (walker, "(place < size - 1)", "(place < size)"),
    "rows are counted on from window to window": (
        walker,
        "held.kernel_y.eq(0), held.rows.eq(0)",
        "held.kernel_y.eq(0)",
    ),
}
"""Faults in what only FPGAs have (`Parameters.on_fpga`)."""
SWITCHED_MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "memories stay as the first operation had them": (
        executor,
        "self.awake.eq(new.awake)",
        "self.awake.eq(self.awake | new.awake)",
    ),
    "no memory wakes up": (executor, "(new.awake & ~self.awake).any()", "0"),
    "a memory wakes up a cycle too short": (executor, "waited == cycles - 1", "waited == cycles - 2"),
    "the other weight bank is on": (weights, "on.eq(self.needed)", "on.eq(~self.needed)"),
    "weight banks stay on": (weights, "m.d.sync += on.eq(self.needed)", "m.d.sync += on.eq(on)"),
    "a read takes its word from the bank of the next": (
        sram,
        "m.d.sync += read.eq(number)",
        "m.d.comb += read.eq(number)",
    ),
}
"""Faults in switching memories off."""
QUICK = ("a tie does not fire", "stale bias", "spike dropped while held back")


@contextmanager
def injected(module: types.ModuleType, old: str, new: str) -> Iterator[None]:
    """The module's classes rebuilt from its source with one passage replaced, wherever they are used."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {module.__name__}"
    mutated = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new), module.__file__ or "", "exec"), mutated.__dict__)
    patches = [
        mock.patch.object(holder, name, getattr(mutated, name))
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
        for holder in MODULES
        if getattr(holder, name, None) is value
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def _caught(simulator: Simulator, images: int = 1) -> str | None:
    """How the comparison catches the fault in batches of some images, or None."""
    parameters = simulator.parameters
    processor = replace(parameters.processor, images=images)
    for seed in range(30 if images == 1 else 60):
        network, times = draw(seed, parameters)
        for stalls in (Stalls(), Stalls(per_mille=400, seed=seed), Stalls(inside=400, seed=seed)):
            try:
                record = run(network, times, processor, simulator=simulator, stalls=stalls)
            except RuntimeError as error:
                return str(error)
            if not record.bit_exact or (stalls == Stalls() and not record.cycle_exact):
                return record.differences[0]
    return None


def _check(name: str, images: int = 1, parameters: str = "small") -> None:
    with injected(*(MUTANTS | BATCH_MUTANTS | FPGA_MUTANTS | SWITCHED_MUTANTS)[name]):
        try:
            simulator = Simulator(SETS[parameters], holds=True, limit=images * 200_000)
        except ToolMissing as error:
            pytest.skip(str(error))
    how = _caught(simulator, images)
    print(f"{name}: {how}")
    assert how is not None, name


@pytest.mark.parametrize("name", QUICK)
def test_mutant_is_caught(name: str) -> None:
    """A few faults in the quick run."""
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in QUICK])
def test_every_mutant_is_caught(name: str) -> None:
    """All others."""
    _check(name)


@pytest.mark.parametrize("name", ["residual stays at its first image"])
def test_mutant_of_batches_is_caught(name: str) -> None:
    """A fault that images on their own cannot show."""
    _check(name, images=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCH_MUTANTS)
def test_every_mutant_of_batches_is_caught(name: str) -> None:
    """All of them."""
    _check(name, images=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", FPGA_MUTANTS)
def test_every_mutant_of_fpgas_is_caught(name: str) -> None:
    """Faults that the design for FPGAs alone can show."""
    _check(name, parameters="fpga")


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHED_MUTANTS)
def test_every_mutant_of_switches_is_caught(name: str) -> None:
    """Memories that are off too early, too late, or not at all."""
    _check(name, parameters="switched")


def test_sound_design_is_not_caught(simulator: Callable[[str], Simulator]) -> None:
    """The check itself passes the design as it is."""
    assert _caught(simulator("small")) is None


@pytest.mark.slow
def test_sound_design_for_fpgas_is_not_caught() -> None:
    """Neither that for FPGAs."""
    assert _caught(Simulator(SETS["fpga"], holds=True)) is None
