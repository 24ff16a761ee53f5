"""Line and toggle coverage of the RTL, as Verilator counts it: what the runs of a simulator have reached."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True)
class BlockCoverage:
    """What was reached of one block.

    Attributes:
        lines, toggles: points there are: branches of the source; bits of its signals, each way.
        missed_lines: numbers of lines never reached.
        missed_toggles: signals and bits that never changed that way.
    """

    lines: int = 0
    toggles: int = 0
    missed_lines: list[int] = field(default_factory=list)
    missed_toggles: list[str] = field(default_factory=list)

    @property
    def line_share(self) -> float:
        """Reached lines over all, 0 to 1."""
        return 1 - len(self.missed_lines) / self.lines if self.lines else 1.0

    @property
    def toggle_share(self) -> float:
        """Reached toggles over all, 0 to 1."""
        return 1 - len(self.missed_toggles) / self.toggles if self.toggles else 1.0


def read(path: Path) -> Counter[str]:
    """Counts by point of a file that Verilator wrote; points never reached are there with 0."""
    counts: Counter[str] = Counter()
    for line in path.read_text(errors="replace").splitlines():
        found = re.fullmatch(r"C '(.*)' (\d+)", line)
        if found:
            counts[found[1]] = counts[found[1]] + int(found[2])
    return counts


def blocks(counts: Mapping[str, int]) -> dict[str, BlockCoverage]:
    """Coverage by block; instances of one module, such as the lanes, count together: reached is what any has reached.

    >>> point = "\x01f\x02firstspike.v\x01l\x027\x01page\x02v_line/firstspike.pool\x01o\x02case\x01h\x02TOP.pool"
    >>> blocks({point: 3})["pool"].line_share
    1.0
    """
    points: Counter[tuple[str, bool, int, str]] = Counter()
    for key, count in counts.items():
        fields = dict(part.split("\x02", 1) for part in key.split("\x01") if "\x02" in part)
        kind, _, module = fields["page"].partition("/")
        name = re.sub(r"\$\d+|__.*$", "", module.removeprefix("firstspike").lstrip("._")) or "processor"
        points[name, "toggle" in kind, int(fields["l"]), fields.get("o", "")] += count
    result: dict[str, BlockCoverage] = {}
    for (name, toggle, line, what), count in points.items():
        block = result.setdefault(name, BlockCoverage())
        if toggle:
            block.toggles += 1
            if not count:
                block.missed_toggles.append(what)
        else:
            block.lines += 1
            if not count:
                block.missed_lines.append(line)
    return result
