"""Argument checks whose messages name the subject, the rule and the value."""

from typing import Any


def integer(subject: str, value: Any, *, low: int, high: int) -> int:
    """Return ``value`` if it is an ``int`` in ``low..high``.

    Raises:
        TypeError: ``value`` is not an ``int`` (``bool`` is refused too).
        ValueError: ``value`` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{subject} must be an int, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{subject} must be in {low}..{high}, not {value!r}")
    return value


def power_of_two(subject: str, value: Any, *, high: int) -> int:
    """Return ``value`` if it is a power of two in ``1..high``.

    Raises:
        TypeError: ``value`` is not an ``int``.
        ValueError: ``value`` is no power of two or out of range.
    """
    integer(subject, value, low=1, high=high)
    if value & (value - 1):
        raise ValueError(f"{subject} must be a power of two, not {value!r}")
    return int(value)
