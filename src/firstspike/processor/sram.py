"""Energy, leakage and area of an on-chip buffer, put together from a table of memory macros."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from firstspike.spec.interval import Interval


@dataclass(frozen=True, kw_only=True)
class SramMacro:
    """One row of the macro table: a memory of ``capacity_kib`` and ``width_bits`` with a single read/write port."""

    capacity_kib: float
    width_bits: int
    read_pj: float
    write_pj: float
    leakage_low_mw: float
    leakage_mw: float
    area_mm2: float
    access_ns: float | None = None


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """What a buffer costs: per access of one word (pJ), all the time (mW), on the die (mm²), until its data (ns, if known)."""

    read_pj: Interval
    write_pj: Interval
    leakage_mw: Interval
    area_mm2: Interval
    access_ns: float | None = None

    def times(self, count: int) -> "Buffer":
        """So many of it, one of which is accessed at a time."""
        return replace(self, leakage_mw=self.leakage_mw.times(count), area_mm2=self.area_mm2.times(count))


@dataclass(frozen=True, kw_only=True)
class SramTable:
    """Macros of one technology and how far to trust them.

    A buffer is cut into equal macros. Words wider than the widest macro are spread over several macros side by side and
    all accessed; narrower words take the next wider macro. Where the capacity of one such macro exceeds the
    largest in the table, several are stacked and one of them is accessed. Between the tabulated capacities figures are
    interpolated, linear in the logarithms (linear where a bound is 0); below the smallest the smallest is taken.

    Attributes:
        source: where the numbers come from.
        low_factor, high_factor: bounds of every energy, leakage and area as multiples of the table's value.
        macros: the table; for each width the same number of capacities in any order.
        least: memories whose low bounds are this one's: energy, leakage and area that belong together; None: its own.
        energy_at, leakage_at: which of their bounds stand as values, ``"low"``, ``"value"`` or ``"high"``.
    """

    source: str
    low_factor: float
    high_factor: float
    macros: tuple[SramMacro, ...]
    least: "SramTable | None" = None
    energy_at: str = "value"
    leakage_at: str = "value"

    def buffer(self, *, capacity_kib: float, width_bits: int) -> Buffer:
        """A buffer of ``capacity_kib`` with words of ``width_bits``.

        Raises:
            ValueError: a size is not positive.
        """
        if not capacity_kib > 0 or not width_bits > 0:
            raise ValueError(
                f"a buffer needs a positive capacity and width, not {capacity_kib!r} KiB, {width_bits!r} bits"
            )
        widths = sorted({macro.width_bits for macro in self.macros})
        width = next((entry for entry in widths if entry >= width_bits), widths[-1])
        beside = -(-width_bits // width)
        column = sorted(
            (macro for macro in self.macros if macro.width_bits == width), key=lambda macro: macro.capacity_kib
        )
        # a word that does not fill its macros leaves bits unused, but as many words are needed
        capacity = capacity_kib * (beside * width / width_bits) / beside
        stacked = max(1.0, capacity / column[-1].capacity_kib)  # of the largest; a part of one has its share
        capacity = max(capacity, column[0].capacity_kib)

        def figure(name: str, count: float) -> float:
            return count * _interpolate([(macro.capacity_kib, getattr(macro, name)) for macro in column], capacity)

        known = all(macro.access_ns is not None for macro in column)
        floor = self.least.buffer(capacity_kib=capacity_kib, width_bits=width_bits) if self.least else None

        def bounded(name: str, count: float, *, at: str = "value", least: float | None = None) -> Interval:
            value = figure(name, count)
            low = value * self.low_factor if least is None else least
            low = low if floor is None else getattr(floor, name).low
            whole = Interval(low=min(low, value), value=value, high=value * self.high_factor)
            return replace(whole, value=getattr(whole, at))

        return Buffer(
            read_pj=bounded("read_pj", beside, at=self.energy_at),
            write_pj=bounded("write_pj", beside, at=self.energy_at),
            leakage_mw=bounded(
                "leakage_mw", beside * stacked, at=self.leakage_at, least=figure("leakage_low_mw", beside * stacked)
            ),
            area_mm2=bounded("area_mm2", beside * stacked),
            access_ns=figure("access_ns", 1) if known else None,
        )


def _interpolate(points: list[tuple[float, float]], x: float) -> float:
    """Piecewise linear through rising ``points`` in log-log, or linear where a value is 0; constant beyond the ends."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x == x1:
            return y1
        if x < x1:
            share = math.log(x / x0) / math.log(x1 / x0)
            if min(y0, y1) > 0:
                return math.exp((1 - share) * math.log(y0) + share * math.log(y1))
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]
