"""Numbers as readers want them: three digits, a prefix or a percent sign, a unit."""

import math

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float, digits: int = 3) -> str:
    """A number with about ``digits`` significant digits and no exponent.

    >>> significant(0.012345), significant(1234.5), significant(0), significant(99.96)
    ('0.0123', '1,234', '0', '100')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded if decimals > 0 else value:,.{min(max(decimals, 0), 9)}f}"


def count(value: float) -> str:
    """A count with a decimal prefix.

    >>> count(999), count(1234567), count(12_345)
    ('999', '1.23 M', '12.3 k')
    """
    for step, prefix in _STEPS:
        if abs(value) >= step:
            return f"{significant(value / step)} {prefix}"
    return significant(value)


def bits(value: float) -> str:
    """A number of bits.

    >>> bits(640), bits(1_234_567)
    ('640 bit', '1.23 Mbit')
    """
    text = count(value)
    return f"{text}bit" if text[-1].isalpha() else f"{text} bit"


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] in percent.

    >>> percent(0.9722, 2), percent(1.0)
    ('97.22 %', '100.0 %')
    """
    return f"{100 * share:.{digits}f} %"


def energy(microjoule: float) -> str:
    """An energy given in µJ, in the unit that suits it.

    >>> energy(1.6458), energy(0.0154), energy(1426.0), energy(0), energy(2_000_000)
    ('1.65 µJ', '15.4 nJ', '1.43 mJ', '0 µJ', '2.00 J')
    """
    for step, unit in ((1e6, "J"), (1e3, "mJ"), (1, "µJ"), (1e-3, "nJ"), (1e-6, "pJ")):
        if abs(microjoule) >= step:
            return f"{significant(microjoule / step)} {unit}"
    return "0 µJ" if microjoule == 0 else f"{significant(microjoule * 1e6)} pJ"


def time(microseconds: float) -> str:
    """A time given in microseconds, in the unit that suits it.

    >>> time(60.53), time(5012.0), time(0.25), time(2_500_000)
    ('60.5 µs', '5.01 ms', '0.250 µs', '2.50 s')
    """
    for step, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= step:
            return f"{significant(microseconds / step)} {unit}"
    return f"{significant(microseconds)} µs"
