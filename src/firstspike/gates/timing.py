"""Static timing of a mapped netlist with OpenSTA, with the wires of a layout or before it."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL = "timing needs OpenSTA; install it with: apt-get install opensta"
"""What to tell a user without it."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The slowest path: its slack at the clock's period, the period it would allow, and its cells; times in ns."""

    slack_ns: float
    critical_ns: float
    path: tuple[str, ...]


def available() -> bool:
    """Whether OpenSTA is installed."""
    return shutil.which("sta") is not None


def analyse(
    verilog: str,
    top: str,
    liberty: Sequence[Path],
    *,
    clock_ns: float,
    time_unit_ns: float,
    spef: str | None = None,
    seconds: float = 300,
) -> Timing:
    """Worst path with an ideal clock ``clk`` and inputs that arrive with it, outputs due with it.

    Args:
        verilog: hierarchical netlist.
        top: its top module.
        liberty: plain or gzip files.
        clock_ns: period.
        time_unit_ns: time unit of the first library.
        spef: the wires of a layout; None: none, or what the library's own wire-load model guesses (IHP's has one).
        seconds: how long OpenSTA may take.

    Raises:
        RuntimeError: OpenSTA is not installed, or failed; the text says which.
    """
    sta = shutil.which("sta")
    if sta is None:
        raise RuntimeError(INSTALL)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "netlist.v").write_text(re.sub(r"\b(input|output|wire|reg) signed\b", r"\1", verilog))
        if spef is not None:
            (work / "wires.spef").write_text(spef)
        commands = [f"read_liberty {{{path}}}" for path in liberty]
        commands += [
            "read_verilog netlist.v",
            f"link_design {top}",
            f"create_clock -name clk -period {clock_ns / time_unit_ns} [get_ports clk]",
            "set_input_delay 0 -clock clk [all_inputs]",
            "set_output_delay 0 -clock clk [all_outputs]",
            *(["read_spef wires.spef"] if spef else []),
            "report_checks -path_delay max -digits 6",
            "exit",
        ]
        (work / "run.tcl").write_text("\n".join(commands))
        done = subprocess.run(
            [sta, "run.tcl"], cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    text = done.stdout + done.stderr
    slack = re.search(r"(-?[0-9.]+)\s+slack \(", text)
    if slack is None:
        tail = " ".join(text.strip().splitlines()[-4:])
        raise RuntimeError(f"OpenSTA found no path in {top}: {tail}")
    value = float(slack.group(1)) * time_unit_ns
    path = tuple(re.findall(r"[\^v] (\S+ \(\S+\))", text))
    return Timing(slack_ns=value, critical_ns=clock_ns - value, path=path)
