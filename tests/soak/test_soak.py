"""The campaign in small: a few cases of each kind, and the machinery that must notice what goes wrong."""

import mmap
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from firstspike.cli.arguments import parser
from soak import commands, inputs, models, networks
from soak.campaign import Campaign, run

pytest.importorskip("firstspike._native", reason="the extension is not built")
pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("yaml", reason="the extra 'explore' is not installed")

CASES = {
    "models": 300,
    "archives": 40,
    "checkpoints": 40,
    "networks": 1,
    "matrices": 1,
    "forks": 1,
    "configurations": 1,
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_few_cases(name: str) -> None:
    campaigns = {campaign.name: campaign for campaign in (models.CAMPAIGN, *networks.CAMPAIGNS, *inputs.CAMPAIGNS)}
    totals = run(campaigns[name], first=0, count=CASES[name])
    assert totals.failures == []
    assert totals.done == CASES[name] == totals.outcomes.total()
    if name == "models":
        assert totals.outcomes["ran, equal"] > 20  # not all is refused before it reaches an engine


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_commands_of_the_campaign_are_commands(name: str) -> None:
    options = parser().parse_args(commands.COMMANDS[name])
    assert options.json or name == "emit"


def bad(seed: int) -> str:
    """Each way to go wrong."""
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 2:
        while True:
            pass
    if seed == 3:
        # of the system's memory: an earlier test may have left as much on the heap, already counted
        np.frombuffer(mmap.mmap(-1, 120 << 20), dtype=np.uint8)[:] = 1
    if seed == 4:
        raise KeyError("x")
    if seed == 5:
        return str(len(np.empty(1 << 40, dtype=np.uint8)))
    return "well"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_crashes_hangs_memory_and_errors_are_failures(tmp_path: Path) -> None:
    campaign = Campaign(name="bad", case=bad, seconds=1.0, megabytes=40)
    totals = run(campaign, first=0, count=7, journal=tmp_path / "journal")
    assert totals.done == 7
    found = dict(totals.failures)
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert "signal 9" in found[1]
    assert found[2] == "hung for 1.0 s"
    assert found[3].startswith("took ")
    assert found[4].startswith("KeyError: 'x'")
    assert found[5].startswith("MemoryError") or "ArrayMemoryError" in found[5]
    again = run(campaign, first=0, count=7, journal=tmp_path / "journal")
    assert again == totals  # from the journal alone: the case that hangs would take a second
    with (tmp_path / "journal").open("a") as stream:
        stream.write('{"campaign": "bad", "fir')  # cut by a kill
    assert run(campaign, first=0, count=8, journal=tmp_path / "journal").done == 8
