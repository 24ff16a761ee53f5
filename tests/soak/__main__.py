"""The command line: ``python -m soak NAME`` in the folder tests/, or ``make soak`` for all of it."""

import argparse
import os
import sys
from pathlib import Path

from soak import commands, inputs, models, networks, stream
from soak.campaign import Campaign, Totals, run

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (models.CAMPAIGN, *networks.CAMPAIGNS, stream.CAMPAIGN, *inputs.CAMPAIGNS, *commands.CAMPAIGNS)
}

COUNTS = {
    "models": 100_000,
    "networks": 1_000,
    "matrices": 500,
    "forks": 200,
    "stream": 3,
    "archives": 20_000,
    "checkpoints": 20_000,
    "configurations": 500,
    "full-disk": 290,
    "kills": 100,
}
"""Cases of a whole campaign."""


def main(arguments: list[str]) -> int:
    """Run campaigns; status 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"campaigns, of {', '.join(CAMPAIGNS)} (default: all)")
    parser.add_argument(
        "--journal", type=Path, default=Path("soak.jsonl"), help="what was done, to go on from (%(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="first seed (%(default)s)")
    parser.add_argument("--count", type=int, metavar="N", help="cases of each campaign (default: its own)")
    parser.add_argument("--seconds", type=float, help="stop each campaign after this time")
    parser.add_argument(
        "--only", type=int, metavar="SEED", help="run one case in this process, and show where it fails"
    )
    options = parser.parse_args(arguments)
    names = options.names or list(CAMPAIGNS)
    if unknown := sorted(set(names) - set(CAMPAIGNS)):
        parser.error(f"campaigns must be of {', '.join(CAMPAIGNS)}, not {unknown[0]!r}")
    if {"full-disk", "kills"} & set(names) and commands.LIBRARY not in os.environ:
        return commands.with_full_disk(arguments)
    if options.only is not None:
        CAMPAIGNS[names[0]].setup()
        print(CAMPAIGNS[names[0]].case(options.only))
        return 0
    failed = False
    for name in names:
        campaign, count = CAMPAIGNS[name], options.count or COUNTS[name]
        totals = run(campaign, first=options.first, count=count, journal=options.journal, seconds=options.seconds)
        report(name, options.first, totals)
        failed |= bool(totals.failures)
    return int(failed)


def report(name: str, first: int, totals: Totals) -> None:
    """How the cases ended, and the first failures."""
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(totals.outcomes.items()))
    print(f"{name}: {totals.done:,} cases, seeds {first} to {first + totals.done - 1}: {outcomes or 'none ended well'}")
    print(f"  {len(totals.failures)} failures", flush=True)
    for seed, why in totals.failures[:20]:
        print(f"  seed {seed}: {why}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
