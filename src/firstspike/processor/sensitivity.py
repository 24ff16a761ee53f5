"""Which constant decides: the energy with one constant at an end of its interval and all others at their values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from firstspike.processor import energy
from firstspike.processor.cycles import Counts
from firstspike.processor.technology import Constant, Technology

SRAM_KEYS = ("sram.energy", "sram.leakage")
"""The macro table's figures, moved together: their errors are the optimiser's."""


@dataclass(frozen=True, kw_only=True)
class Swing:
    """Energy per image in µJ with one constant at its low end and at its high end.

    Attributes:
        key: the constant's key in the technology file, or one of `SRAM_KEYS`.
        low_uj, high_uj: energy per image with it at its low and at its high end.
    """

    key: str
    low_uj: float
    high_uj: float

    @property
    def width_uj(self) -> float:
        """How far the constant moves the energy."""
        return self.high_uj - self.low_uj


def of_counts(counts: Counts, *, weight_bits: int, technology: Technology, dram: str = "flat-4pj") -> tuple[Swing, ...]:
    """Swings of the processor's energy on counted images, widest first; see `swings`."""

    def price(chosen: Technology) -> float:
        return energy.cost(counts, weight_bits=weight_bits, technology=chosen, dram=dram).energy_uj

    return swings(price, technology)


def swings(price: Callable[[Technology], float], technology: Technology) -> tuple[Swing, ...]:
    """Swings of any energy per image in µJ that is a function of the technology, widest first; none that moves nothing.

    Args:
        price: the energy per image in µJ in a technology, of which the values of the constants count.
        technology: the constants and their bounds.
    """
    keys = [key for key, constant in technology.constants().items() if constant.low < constant.high]
    found = [
        Swing(key=key, low_uj=price(at(technology, key, "low")), high_uj=price(at(technology, key, "high")))
        for key in (*keys, *SRAM_KEYS)
    ]
    return tuple(sorted((swing for swing in found if swing.width_uj), key=lambda swing: -abs(swing.width_uj)))


def at(technology: Technology, key: str, bound: str) -> Technology:
    """The technology with one constant's value moved to its ``"low"`` or ``"high"`` end.

    Raises:
        ValueError: there is no such constant or bound.

    >>> from firstspike.processor import technology
    >>> at(technology.default(), "dram.lpddr3.read", "low").dram["lpddr3"].read.value
    4.6
    """
    if bound not in ("low", "high"):
        raise ValueError(f"bound must be low or high, not {bound!r}")
    if key in SRAM_KEYS:
        return _sram_at(technology, key, bound)
    if key not in technology.constants():
        raise ValueError(f"key must be a constant of the technology, not {key!r}")
    part, _, name = key.partition(".")
    if part != "dram":
        moved = replace(getattr(technology, part), **{name: _moved(technology.constants()[key], bound)})
        return replace(technology, **{part: moved})
    scenario, _, name = name.rpartition(".")
    change: dict[str, Any] = {name: _moved(technology.constants()[key], bound)}
    memory = replace(technology.dram[scenario], **change)
    return replace(technology, dram={**technology.dram, scenario: memory})


def _moved(constant: Constant, bound: str) -> Constant:
    return replace(constant, value=getattr(constant, bound))


def _sram_at(technology: Technology, key: str, bound: str) -> Technology:
    sram = technology.sram
    moved = replace(sram, energy_at=bound) if key == "sram.energy" else replace(sram, leakage_at=bound)
    return replace(technology, sram=moved)
