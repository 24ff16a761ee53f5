"""Line and toggle coverage of the RTL by the random networks of the tests: python -m verify.rtl_coverage

Every parameter set runs networks of its own, with five inputs each, once as they come and once with every stream held
back at random, and in batches of two. A table by block follows, and with --missed what was not reached.
"""

import argparse
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from firstspike.verify import Simulator, coverage, run
from firstspike.verify.simulator import Stalls

from .conftest import SETS
from .networks import draw


def cover(name: str, networks: int) -> dict[str, coverage.BlockCoverage]:
    """Coverage by block of one parameter set."""
    simulator = Simulator(SETS[name], holds=True, counting=True)
    for seed in range(networks):
        network, times = draw(seed, SETS[name])
        for images in (1, 2):
            processor = replace(SETS[name].processor, images=images)
            stalls = (Stalls(), Stalls(per_mille=300, inside=300, seed=seed))
            for stall in stalls:
                record = run(network, times, processor, simulator=simulator, stalls=stall)
                assert record.bit_exact, record.differences
    return coverage.blocks(simulator.covered)


def main() -> None:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=40, help="random networks of a parameter set (%(default)s)")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--missed", action="store_true", help="list what was not reached")
    options = parser.parse_args()
    console = Console(width=100)
    for name in options.sets:
        blocks = cover(name, options.networks)
        table = Table(title=f"parameter set {name}, {options.networks} networks", title_justify="left")
        for heading in ("block", "lines", "reached", "toggles", "reached"):
            table.add_column(heading, justify="left" if heading == "block" else "right")
        for block, found in sorted(blocks.items()):
            table.add_row(
                block, str(found.lines), f"{found.line_share:.1%}", str(found.toggles), f"{found.toggle_share:.1%}"
            )
        lines = sum(found.lines for found in blocks.values())
        toggles = sum(found.toggles for found in blocks.values())
        missed = sum(len(found.missed_lines) for found in blocks.values())
        still = sum(len(found.missed_toggles) for found in blocks.values())
        table.add_section()
        table.add_row("all", str(lines), f"{1 - missed / lines:.1%}", str(toggles), f"{1 - still / toggles:.1%}")
        console.print(table)
        if options.missed:
            for block, found in sorted(blocks.items()):
                console.print(
                    f"{block}: lines {found.missed_lines}; {' '.join(sorted(found.missed_toggles))}", markup=False
                )


if __name__ == "__main__":
    main()
