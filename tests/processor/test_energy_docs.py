"""The tables of the pages on energy and the technology file are the code's: same keys, values, bounds, units."""

import re
from pathlib import Path

from firstspike.processor import COMPONENTS, technology

DOCS = Path(__file__).parents[2] / "docs"
CONSTANTS = (DOCS / "reference" / "technology-file.md").read_text(encoding="utf-8")
EQUATIONS = (DOCS / "explanation" / "energy.md").read_text(encoding="utf-8")


def test_every_constant_stands_in_the_document() -> None:
    rows = re.findall(
        r"^\| `((?:logic|baseline|link|switches|dram)\.[^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|",
        CONSTANTS,
        re.M,
    )
    shown = {key: (float(value), float(low), float(high), unit) for key, value, low, high, unit in rows}
    held = {key: (c.value, c.low, c.high, c.unit) for key, c in technology.default().constants().items()}
    assert shown == held


def test_every_component_has_an_equation() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `.*` \|$", EQUATIONS, re.M)
    assert rows == list(COMPONENTS)
