"""Faults put into the RTL's source one at a time: the comparison with engine and model catches every one."""

import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest

from firstspike.rtl import emit
from firstspike.rtl.blocks import array, executor, fire, lane, loader, pe, pool, processor, walker, weights
from firstspike.verify import Simulator, ToolMissing, run
from firstspike.verify.simulator import Stalls
from studies.sorting import merge, spike_list
from verify import formal

from .conftest import SETS
from .networks import draw

MODULES = (
    array, emit, executor, fire, lane, loader, merge, pe, pool, processor, spike_list, walker, weights, formal,
)  # fmt: skip

MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "shift ignores the layer's fraction": (pe, "- (logarithm >> p.rho_bits)", "- (level >> p.rho_bits)"),
    "table ignores the layer's fraction": (pe, "logarithm[: p.rho_bits])", "level[: p.rho_bits])"),
    "zero weight adds": (pe, "zero.eq(level.all())", "zero.eq(0)"),
    "negative weight without its carry": (pe, "+ (negative & ~self.add)", ""),
    "a tie does not fire": (lane, "self.membrane >= self.theta", "self.membrane > self.theta"),
    "last crossing, not the first": (lane, " & (self.spike == NO_SPIKE)", ""),
    "threshold one step late": (fire, "self.step.eq(Mux(self.start, 0, request))", "self.step.eq(request)"),
    "stale bias": (processor, "biases.select.eq(executor.slot)", "biases.select.eq(~executor.slot)"),
    "weights always of bank 0": (processor, "weights.select.eq(executor.slot)", "weights.select.eq(0)"),
    "stale weight row index": (weights, "m.d.sync += [index.eq(0), fill_row.eq(0)]", "m.d.sync += index.eq(0)"),
    "rows above the map are read": (walker, "(y >= 0) & ", ""),
    "address stage ignores backpressure": (walker, "active & advance & within", "active & within"),
    "words skip rows outside the map": (walker, "self.position_rows))", "0))"),
    "pooling takes the latest": (pool, "new < old", "new > old"),
    "spike times are not cleared": (executor, "self.fire_start.eq(1), self.spike_clear.eq(1)", "self.fire_start.eq(1)"),
    "partial sums are not kept": (executor, "self.membrane_write.eq(1)", "self.membrane_write.eq(0)"),
    "residual stays at its first pixel": (executor, "residual_address + d.residual_pixel", "residual_address"),
    "threshold sweep one cycle longer": (fire, "self.done.eq(self.active & (request == steps))", "self.done.eq(0)"),
    "pipeline not drained": (executor, 'm.next = "DRAINED"', 'self._after_sums(m, "RESIDUAL")'),
    "one bias word too few": (loader, "self.bias.eq(counter <= bias)", "self.bias.eq(counter < bias)"),
    "request not held": (loader, "                with m.If(request.ready):", "                with m.If(1):"),
    "store ignores backpressure": (executor, "(~sending | self.write.ready)", "1"),
    "word leaves before its last spike": (walker, "(spikes.ready | ~waiting.any())", "1"),
    "spike dropped while held back": (walker, "with m.Elif(spikes.ready):", "with m.Else():"),
    "operation taken before it is offered": (executor, "with m.If(self.operation.valid):", "with m.If(1):"),
    "offered operation dropped": (loader, "with m.If(self.operation.ready):", "with m.If(1):"),
}
BATCH_MUTANTS: dict[str, tuple[types.ModuleType, str, str]] = {
    "every image reads the first one's map": (executor, "in_base + d.in_next", "in_base"),
    "every image writes over the first one": (executor, "out_base + d.out_next", "out_base"),
    "residual stays at its first image": (executor, "residual_base + d.residual_next", "residual_base"),
    "partial sums of all images in one place": (
        executor,
        "repeat.eq(repeat + 1),",
        "repeat.eq(repeat + 1), pixel.eq(0),",
    ),
    "later images go on below the first": (executor, "y.eq(d.origin_y),", "y.eq(y + d.stride_y),"),
}
"""Faults in what batches need: run in batches of two images."""
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
    processor = replace(SETS["small"].processor, images=images)
    for seed in range(30 if images == 1 else 60):
        network, times = draw(seed, SETS["small"])
        for stalls in (Stalls(), Stalls(per_mille=400, seed=seed), Stalls(inside=400, seed=seed)):
            try:
                record = run(network, times, processor, simulator=simulator, stalls=stalls, limit=images * 200_000)
            except RuntimeError as error:
                return str(error)
            if not record.bit_exact or (stalls == Stalls() and not record.cycle_exact):
                return record.differences[0]
    return None


def _check(name: str, images: int = 1) -> None:
    with injected(*(MUTANTS | BATCH_MUTANTS)[name]):
        try:
            simulator = Simulator(SETS["small"], holds=True)
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


def test_sound_design_is_not_caught(simulator: Callable[[str], Simulator]) -> None:
    """The check itself passes the design as it is."""
    assert _caught(simulator("small")) is None
