"""What a library says of a cell: tables, pins, power, flip-flops, clock gates."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LookupTable:
    """A look-up table over input transition (ps) and output load (fF); an empty axis does not matter.

    Attributes:
        slews, loads: axes, rising.
        values: row per slew, column per load; energies in fJ, times in ps.
    """

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, slew: float, load: float) -> float:
        """Bilinear between entries, linear beyond the last ones.

        >>> LookupTable(slews=(0, 10), loads=(), values=((1,), (3,))).at(5, 99)
        2.0
        """
        row, y = _place(self.slews, slew)
        column, x = _place(self.loads, load)
        low = self.values[row]
        high = self.values[min(row + 1, len(self.values) - 1)]
        right = min(column + 1, len(low) - 1)
        return (low[column] * (1 - x) + low[right] * x) * (1 - y) + (high[column] * (1 - x) + high[right] * x) * y


@dataclass(frozen=True, kw_only=True)
class Power:
    """An ``internal_power`` group: fJ per rising and falling transition, in the state ``when`` ("" for any other)."""

    related: str
    when: str
    supply: str
    rise: LookupTable | None
    fall: LookupTable | None


@dataclass(frozen=True, kw_only=True)
class Arc:
    """The output transition times (ps) of a ``timing`` group."""

    related: str
    rise: LookupTable | None
    fall: LookupTable | None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A pin: capacitance in fF, Boolean function of an output, internal power, transition times."""

    name: str
    direction: str
    capacitance: float
    function: str
    powers: tuple[Power, ...]
    arcs: tuple[Arc, ...]


@dataclass(frozen=True, kw_only=True)
class FlipFlop:
    """An ``ff`` group; empty texts where it has no clear or preset."""

    state: str
    inverse: str
    clock: str
    next_state: str
    clear: str
    preset: str


@dataclass(frozen=True, kw_only=True)
class ClockGate:
    """Pins of an integrated clock gate: a latch transparent while the clock is low, then AND; ``test`` pins are tied low."""

    clock: str
    enable: str
    output: str
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A library cell: area in µm², leakage in nW (all supplies, mean over states)."""

    name: str
    area: float
    leakage: float
    pins: dict[str, Pin]
    flipflop: FlipFlop | None
    clock_gate: ClockGate | None

    @property
    def inputs(self) -> tuple[Pin, ...]:
        """Input pins, in order."""
        return tuple(pin for pin in self.pins.values() if pin.direction == "input")

    @property
    def outputs(self) -> tuple[Pin, ...]:
        """Output pins, in order."""
        return tuple(pin for pin in self.pins.values() if pin.direction == "output")


def _place(axis: Sequence[float], value: float) -> tuple[int, float]:
    if len(axis) < 2:
        return 0, 0.0
    index = min(max(bisect_right(axis, value) - 1, 0), len(axis) - 2)
    return index, max((value - axis[index]) / (axis[index + 1] - axis[index]), 0.0)
