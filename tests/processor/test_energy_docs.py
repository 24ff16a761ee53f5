"""The tables of docs/explanation/energy.md are the technology file's: same keys, values, bounds and units."""

import re
from pathlib import Path

from firstspike.processor import COMPONENTS, technology

DOCUMENT = (Path(__file__).parents[2] / "docs" / "explanation" / "energy.md").read_text(encoding="utf-8")


def test_every_constant_stands_in_the_document() -> None:
    rows = re.findall(
        r"^\| `((?:logic|baseline|link|dram)\.[^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", DOCUMENT, re.M
    )
    shown = {key: (float(value), float(low), float(high), unit) for key, value, low, high, unit in rows}
    held = {key: (c.value, c.low, c.high, c.unit) for key, c in technology.default().constants().items()}
    assert shown == held


def test_every_component_has_an_equation() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `.*` \|$", DOCUMENT, re.M)
    assert rows == list(COMPONENTS)
