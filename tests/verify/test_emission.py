"""The emitted folder runs without Python: Verilog testbench, memory images, expected logits and cycles."""

import subprocess
from pathlib import Path

import pytest

from firstspike.verify import ToolMissing, run, simulator

from .conftest import SETS
from .networks import draw


@pytest.mark.slow
def test_waveform(tmp_path: Path) -> None:
    """A window of cycles as VCD: two samples a cycle, none outside the window, and the run is still exact."""
    network, times = draw(3, SETS["small"])
    try:
        record = run(network, times[:1], SETS["small"].processor, waveform=(tmp_path / "w.vcd", 100, 199))
    except ToolMissing as error:
        pytest.skip(str(error))
    assert record.bit_exact and record.cycle_exact
    text = (tmp_path / "w.vcd").read_text()
    samples = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert samples == list(range(200, 400))
    assert "executor_state" in text


@pytest.mark.slow
def test_waveform_as_fst(tmp_path: Path) -> None:
    """The same as FST: its header block names the first and last time."""
    network, times = draw(3, SETS["narrow"])
    try:
        record = run(network, times[:1], SETS["narrow"].processor, waveform=(tmp_path / "w.fst", 100, 199))
    except ToolMissing as error:
        pytest.skip(str(error))
    assert record.bit_exact and record.cycle_exact
    data = (tmp_path / "w.fst").read_bytes()
    assert data[0] == 0 and int.from_bytes(data[1:9], "big") == 329  # block type and length of an FST header
    assert [int.from_bytes(data[at : at + 8], "big") for at in (9, 17)] == [200, 399]


def test_waveform_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file name that says neither VCD nor FST, and missing headers, are named."""
    network, times = draw(3, SETS["narrow"])
    with pytest.raises(ValueError, match="a waveform's format must be one of vcd, fst, not 'txt'"):
        run(network, times[:1], SETS["narrow"].processor, waveform=(tmp_path / "w.txt", 100, 199))
    done = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(simulator.subprocess, "run", lambda *words, **options: done)
    with pytest.raises(ToolMissing, match=r"need the headers of zlib and lz4 .* apt-get install zlib1g-dev liblz4-dev"):
        simulator._needs_headers("g++")
