"""A figure that is known between two bounds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A non-negative figure with its bounds, ``0 <= low <= value <= high``.

    Sums add bound to bound: all constants are taken to be wrong in the same direction at once, the widest reading.

    Raises:
        TypeError, ValueError: a bound is no finite number, or the order is broken.

    >>> Interval(low=1, value=2, high=4) + Interval(low=0, value=1, high=1)
    Interval(low=1, value=3, high=5)
    >>> Interval(low=1, value=2, high=4).times(3)
    Interval(low=3, value=6, high=12)
    """

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "value", "high"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise TypeError(f"{name} must be a number, not {bound!r}")
            if not math.isfinite(bound) or bound < 0:
                raise ValueError(f"{name} must be finite and not negative, not {bound!r}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low <= value <= high must hold, not {self.low!r} <= {self.value!r} <= {self.high!r}")

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(low=self.low + other.low, value=self.value + other.value, high=self.high + other.high)

    def times(self, factor: float) -> "Interval":
        """The interval scaled by an exact number ``factor >= 0``."""
        return Interval(low=self.low * factor, value=self.value * factor, high=self.high * factor)

    def by(self, other: "Interval") -> "Interval":
        """The product with another uncertain figure."""
        return Interval(low=self.low * other.low, value=self.value * other.value, high=self.high * other.high)


def plain(interval: Interval) -> Interval:
    """The bounds of a constant without its unit and source."""
    return Interval(low=interval.low, value=interval.value, high=interval.high)


ZERO = Interval(low=0, value=0, high=0)
"""Nothing, for certain."""


def total(parts: "list[Interval]") -> Interval:
    """Sum of intervals, in order, so that the same parts give the same bits."""
    result = ZERO
    for part in parts:
        result = result + part
    return result
