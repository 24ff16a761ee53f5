"""A campaign: numbered cases, run in child processes under limits, with a journal to go on from."""

import json
import mmap
import os
import resource
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 250
"""Cases of one child process and one line of the journal, at most."""

BLOCK_SECONDS = 60.0
"""A child begins no new case after this time."""

PATIENCE = 10
"""Machines have other work too: a case may take so many times its seconds by the clock."""

OUTCOME_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What a campaign runs.

    Attributes:
        name: of the journal and the command.
        case: runs the case of a seed and says how it ended, in a word; any exception is a failure.
        seconds: a case that computes for longer has hung; so has one that waits for `PATIENCE` times as long.
        megabytes: resident memory that a case may add to the process.
        setup: what all cases share; called before a child is forked.
    """

    name: str
    case: Callable[[int], str]
    seconds: float = 5.0
    megabytes: int = 1024
    setup: Callable[[], None] = lambda: None


@dataclass(kw_only=True)
class Totals:
    """How many cases ended how, and which failed, with what."""

    done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, block: "Totals") -> None:
        self.done += block.done
        self.outcomes += block.outcomes
        self.failures += block.failures


def run(
    campaign: Campaign, *, first: int, count: int, journal: Path | None = None, seconds: float | None = None
) -> Totals:
    """Run the seeds ``first .. first + count - 1`` that the journal does not hold; stop after so many seconds."""
    totals, begin = _read(journal, campaign.name, first)
    campaign.setup()
    start = time.monotonic()
    while begin < first + count and (seconds is None or time.monotonic() - start < seconds):
        block = _block(campaign, begin, min(BLOCK, first + count - begin))
        if journal is not None:
            with journal.open("a") as stream:
                record = {"campaign": campaign.name, "first": begin, "cases": block.done}
                stream.write(json.dumps({**record, "outcomes": block.outcomes, "failures": block.failures}) + "\n")
        totals.add(block)
        begin += block.done
    return totals


def _read(journal: Path | None, name: str, first: int) -> tuple[Totals, int]:
    """What the journal holds of a campaign, and the next seed; a last line that was cut counts for nothing."""
    totals, begin = Totals(), first
    if journal is None or not journal.exists():
        return totals, begin
    text = journal.read_text()
    journal.write_text(text[: text.rfind("\n") + 1])
    for line in text[: text.rfind("\n") + 1].splitlines():
        record = json.loads(line)
        if record["campaign"] == name and record["first"] == begin:
            failures = [(seed, why) for seed, why in record["failures"]]
            totals.add(Totals(done=record["cases"], outcomes=Counter(record["outcomes"]), failures=failures))
            begin += record["cases"]
    return totals, begin


def _block(campaign: Campaign, first: int, count: int) -> Totals:
    """Cases in one child. One that ends the child, hangs or takes too much memory is the block's last."""
    shared = mmap.mmap(-1, OUTCOME_BYTES)
    child = os.fork()
    if child == 0:
        try:
            _child(campaign, first, count, shared)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    done, length = struct.unpack("<qq", shared[:16])
    found = json.loads(shared[16 : 16 + length]) if length else {"outcomes": {}, "failures": []}
    block = Totals(done=done, outcomes=Counter(found["outcomes"]), failures=[(s, w) for s, w in found["failures"]])
    if status != 0:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        how = (
            f"hung for {campaign.seconds} s"
            if number in (signal.SIGALRM, signal.SIGPROF)
            else f"ended the process: signal {number}, status {status}"
        )
        block.failures.append((first + done, how))
        block.done += 1
    return block


def _child(campaign: Campaign, first: int, count: int, shared: mmap.mmap) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    outcomes: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    start = time.monotonic()
    for done in range(count):
        _limit(campaign.megabytes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, campaign.seconds)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE * campaign.seconds)
        try:
            outcomes[campaign.case(first + done)] += 1
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
            failures.append((first + done, text))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if grown > campaign.megabytes:
            failures.append((first + done, f"took {grown:.0f} MB"))
        content = json.dumps({"outcomes": outcomes, "failures": failures[:100]}).encode()
        shared[16 : 16 + len(content)] = content
        shared[:16] = struct.pack("<qq", done + 1, len(content))
        if time.monotonic() - start > BLOCK_SECONDS or len(failures) >= 100:
            return


def _limit(megabytes: int) -> None:
    """The address space ends well above what the process has: memory that runs away is an error, not the machine's end."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (4 * megabytes << 20), hard))
