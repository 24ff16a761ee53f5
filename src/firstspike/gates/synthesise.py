"""Synthesis with Yosys to the cells of a Liberty library: area by block, timing, the same at 28 nm.

The hierarchy stays: flattened, identical registers of all lanes would merge into nets with hundreds of loads.
"""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from amaranth.back import rtlil
from amaranth.lib import wiring

from firstspike.gates import fanout, scaling, timing
from firstspike.gates import netlist as netlists
from firstspike.gates.liberty import Library, read_text
from firstspike.gates.netlist import Netlist
from firstspike.rtl import yosys
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.blocks.processor import ProcessorTop
from firstspike.rtl.blocks.sram import verilog as memories
from firstspike.rtl.parameters import Parameters
from firstspike.spec.interval import Interval

SECONDS = 3600.0
"""How long Yosys, and then OpenSTA, may take."""

DONT_USE = ("DFFHQx4_ASAP7_75t_R",)
"""Flip-flops that Yosys picks for their area though they are four times as strong."""

TOPS = ("pe", "lane", "processor")
"""Designs that `design` builds."""


class MacroCost(Protocol):
    """What a memory macro costs."""

    @property
    def area_mm2(self) -> Interval:
        """Area in mm²."""
        ...

    @property
    def read_pj(self) -> Interval:
        """Energy of a read in pJ."""
        ...

    @property
    def write_pj(self) -> Interval:
        """Energy of a write in pJ."""
        ...

    @property
    def leakage_mw(self) -> Interval:
        """Leakage in mW."""
        ...


class MacroTable(Protocol):
    """Prices memories; `firstspike.processor.sram.SramTable` is one."""

    def buffer(self, *, capacity_kib: float, width_bits: int) -> MacroCost:
        """The macro of that size."""
        ...


@dataclass(frozen=True, kw_only=True)
class Design:
    """What to synthesise: RTLIL sources, one of which holds module ``top``, and Verilog of black boxes."""

    top: str
    sources: tuple[str, ...]
    black_boxes: str = ""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One instance of the hierarchy, without the blocks inside it, or several equal ones.

    Attributes:
        name: instance path; ``[n]`` stands for n numbered instances of one module.
        module: its module.
        instances: how many.
        cells, flipflops: of all of them.
        area_um2: of all of them.
        gate_equivalents: area over the library's smallest two-input NAND.
    """

    name: str
    module: str
    instances: int
    cells: int
    flipflops: int
    area_um2: float
    gate_equivalents: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Synthesis:
    """A mapped design.

    Attributes:
        top, library, voltage: what was mapped to what.
        netlist: library cells, for simulation and power.
        verilog: the hierarchical netlist.
        blocks: area by block, largest first.
        reference_gate: the unit of gate equivalents.
        clock_ns: period asked for.
        timing: worst path; None without OpenSTA.
    """

    top: str
    library: str
    voltage: float
    netlist: Netlist
    verilog: str
    blocks: tuple[Block, ...]
    reference_gate: str
    clock_ns: float
    timing: timing.Timing | None

    @property
    def area_um2(self) -> float:
        """Cell area of the logic, memories not counted."""
        return sum(block.area_um2 for block in self.blocks)

    @property
    def gate_equivalents(self) -> float:
        """Area in units of the smallest two-input NAND."""
        return sum(block.gate_equivalents for block in self.blocks)

    def record(self, *, macros: MacroTable | None = None) -> dict[str, Any]:
        """The result as plain data.

        Args:
            macros: prices the memories (28 nm); None: sizes only.
        """
        node = scaling.node_of(self.library)
        record: dict[str, Any] = {
            "top": self.top,
            "library": self.library,
            "voltage": self.voltage,
            "area_um2": self.area_um2,
            "gate_equivalents": self.gate_equivalents,
            "reference_gate": self.reference_gate,
            "cells": sum(block.cells for block in self.blocks),
            "flipflops": sum(block.flipflops for block in self.blocks),
            "clock_ns": self.clock_ns,
            "slack_ns": None if self.timing is None else self.timing.slack_ns,
            "critical_ns": None if self.timing is None else self.timing.critical_ns,
            "timing": timing.INSTALL if self.timing is None else "OpenSTA, pre-layout, ideal clock",
            "blocks": [asdict(block) for block in self.blocks],
            "memories": self._memories(macros),
            "at_28nm": None if node is None else self._scaled(node),
        }
        return record

    def _scaled(self, node: float) -> dict[str, Any]:
        factors = scaling.scaling(node, self.voltage)
        critical = None if self.timing is None else self.timing.critical_ns * factors.delay
        return {
            "from_nm": node,
            "factors": asdict(factors),
            "area_um2": self.area_um2 * factors.area,
            "critical_ns": critical,
            "slack_ns": None if critical is None else self.clock_ns - critical,
        }

    def _memories(self, macros: MacroTable | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for path, macro in self.netlist.memories.items():
            if "WIDTH" not in macro.parameters:
                continue
            width, depth = macro.parameters["WIDTH"], macro.parameters["DEPTH"]
            row: dict[str, Any] = {"name": _plain_name(path), "module": macro.module, "width": width, "depth": depth}
            if macros is not None:
                buffer = macros.buffer(capacity_kib=width * depth / 8192, width_bits=width)
                row["area_um2"] = [
                    bound * 1e6 for bound in (buffer.area_mm2.low, buffer.area_mm2.value, buffer.area_mm2.high)
                ]
                row["read_pj"] = [buffer.read_pj.low, buffer.read_pj.value, buffer.read_pj.high]
            rows.append(row)
        return rows


def design(top: str, parameters: Parameters) -> Design:
    """One of the designs `TOPS`.

    Raises:
        ValueError: there is none of that name.
    """
    if top == "pe":
        return component(LogPE(parameters), "firstspike_pe")
    if top == "lane":
        return component(Lane(parameters), "firstspike_lane")
    if top == "processor":
        whole = rtlil.convert(ProcessorTop(parameters, external=True), name="firstspike", emit_src=False)
        lane = rtlil.convert(Lane(parameters), name="firstspike_lane", emit_src=False)
        return Design(
            top="firstspike", sources=(whole, lane), black_boxes="".join(memories(parameters.processor).values())
        )
    raise ValueError(f"top must be one of {', '.join(TOPS)}, not {top!r}")


def component(top: wiring.Component, name: str) -> Design:
    """An Amaranth component as a design."""
    return Design(top=name, sources=(rtlil.convert(top, name=name, emit_src=False),))


def synthesise(
    design: Design,
    library: Library,
    *,
    clock_ns: float = 4.0,
    booth: bool = False,
    max_fanout: int | None = None,
    with_timing: bool = True,
) -> Synthesis:
    """Map a design to a library.

    Args:
        design: what to map.
        library: to what.
        clock_ns: period that the mapping aims at and the slack refers to.
        booth: Booth-encoded multipliers instead of arrays of adders.
        max_fanout: most sinks of a net inside a module, by trees of buffers; None: as mapped. For a whole processor:
            mapping works module by module and does not see what hangs on a broadcast.
        with_timing: run OpenSTA where it is installed.

    Raises:
        RuntimeError: Yosys is not installed or failed; the text ends with its last lines.
        LibertyError: the library has no two-input NAND.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = _plain(library, work)
        script = _script(design, library, files, work, clock_ns, booth)
        yosys.run(script, work, subject="synthesis", seconds=SECONDS)
        document = json.loads((work / "mapped.json").read_text())
        if max_fanout is not None and fanout.insert(document, library, max_fanout):
            (work / "mapped.json").write_text(json.dumps(document))
            write = ["read_json mapped.json", "write_verilog -noattr mapped.v"]
            yosys.run(write, work, subject="synthesis", seconds=SECONDS)
        mapped = netlists.read(document, design.top)
        verilog = (work / "mapped.v").read_text()
        result = None
        if with_timing and timing.available():
            result = timing.analyse(
                verilog, design.top, files, clock_ns=clock_ns, time_unit_ns=library.time_unit_ns, seconds=SECONDS
            )
    unmapped = sorted({instance.type for instance in mapped.instances if instance.type not in library})
    if unmapped:
        raise RuntimeError(f"library {library.name} must map all cells of {design.top}, but not {', '.join(unmapped)}")
    return Synthesis(
        top=design.top,
        library=library.name,
        voltage=library.voltage,
        netlist=mapped,
        verilog=verilog,
        blocks=_blocks(mapped, library),
        reference_gate=library.nand2.name,
        clock_ns=clock_ns,
        timing=result,
    )


def _plain(library: Library, work: Path) -> list[Path]:
    """Uncompressed copies: neither Yosys nor every OpenSTA reads gzip, and Yosys sees its working folder only."""
    files = []
    for index, path in enumerate(library.paths):
        files.append(work / f"{index}.lib")
        files[-1].write_text(read_text(path))
    return files


def _script(
    design: Design,
    library: Library,
    files: Sequence[Path],
    work: Path,
    clock_ns: float,
    booth: bool,
) -> list[str]:
    script = []
    for index, source in enumerate(design.sources):
        (work / f"source{index}.il").write_text(source)
        script.append(f"read_rtlil source{index}.il")
    if design.black_boxes:
        (work / "black_boxes.v").write_text(design.black_boxes)
        script.append("read_verilog -lib black_boxes.v")
    liberty = " ".join(f"-liberty {path.name}" for path in files)
    sequential = " ".join(f"-liberty {path.name}" for path in files if re.search(r"\bff\s*\(", path.read_text()))
    avoided = " ".join(f"-dont_use {name}" for name in DONT_USE if name in library)
    script += [
        f"hierarchy -top {design.top}",
        f"synth -top {design.top} -noabc{' -booth' if booth else ''}",
        # a synchronous reset into the data, its enable kept, so that one clock gate serves the register
        "dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01 -cell $_SDFF_PP?_ 01 -cell $_SDFFCE_PP?P_ 01",
        "dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01",
        "opt_merge",
        "opt_clean",
    ]
    gate = library.clock_gate
    if gate is not None:
        (work / "gate.lib").write_text(_gate_liberty(library))
        script.append("clockgate -liberty gate.lib -min_net_size 4")
    script += [
        "dfflegalize -cell $_DFF_P_ 01",
        f"dfflibmap {sequential} {avoided}",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        f"abc {liberty} -D {clock_ns * 1000:.0f}",
        "opt_clean -purge",
        "write_json mapped.json",
        "write_verilog -noattr mapped.v",
    ]
    return script


def _gate_liberty(library: Library) -> str:
    """The chosen clock gate alone: some libraries mark theirs as not to be used by mapping."""
    cell = library.clock_gate
    assert cell is not None and cell.clock_gate is not None
    gate = cell.clock_gate
    pins = [
        f"pin ({gate.clock}) {{ direction : input; clock : true; clock_gate_clock_pin : true; }}",
        f"pin ({gate.enable}) {{ direction : input; clock_gate_enable_pin : true; }}",
        f"pin ({gate.output}) {{ direction : output; clock_gate_out_pin : true; }}",
        *(f"pin ({name}) {{ direction : input; clock_gate_test_pin : true; }}" for name in gate.test),
    ]
    kind = "latch_posedge_precontrol" if gate.test else "latch_posedge"
    body = f'area : {cell.area}; clock_gating_integrated_cell : "{kind}"; {" ".join(pins)}'
    return f"library (gate) {{ cell ({cell.name}) {{ {body} }} }}\n"


def _blocks(mapped: Netlist, library: Library) -> tuple[Block, ...]:
    """Area by block; numbered instances of one module (``lane0``, ``lane1``, ...) are one block."""
    members: dict[tuple[str, str], set[str]] = {}
    for path, module in mapped.modules.items():
        pattern = re.sub(r"\d+(?=\.|$)", "#", _plain_name(path))
        members.setdefault((pattern, _family(module)), set()).add(path)
    counts: dict[str, Counter[str]] = {}
    for (path, kind), number in mapped.count().items():
        counts.setdefault(path, Counter())[kind] += number
    blocks = []
    for (pattern, module), paths in members.items():
        cells: Counter[str] = Counter()
        for path in paths:
            cells.update(counts.get(path, Counter()))
        if not cells:
            continue
        area = sum(library.cell(kind).area * number for kind, number in cells.items())
        name = _plain_name(next(iter(paths))) if len(paths) == 1 else pattern.replace("#", f"[{len(paths)}]", 1)
        blocks.append(
            Block(
                name=name or mapped.top,
                module=module,
                instances=len(paths),
                cells=cells.total(),
                flipflops=sum(n for kind, n in cells.items() if library.cell(kind).flipflop is not None),
                area_um2=area,
                gate_equivalents=area / library.nand2.area,
            )
        )
    return tuple(sorted(blocks, key=lambda block: -block.area_um2))


def block_name(path: str, synthesis: Synthesis) -> str:
    """Name in `Synthesis.blocks` of the block that an instance path belongs to."""
    pattern = re.sub(r"\d+(?=\.|$)", "#", _plain_name(path))
    for block in synthesis.blocks:
        if re.sub(r"\[\d+\]", "#", block.name) == pattern or block.name == (_plain_name(path) or synthesis.top):
            return block.name
    return _plain_name(path)


def _plain_name(path: str) -> str:
    """Instance path without the numbers that keep names apart in RTLIL (``pool$155``)."""
    return re.sub(r"\$\d+", "", path)


def _family(module: str) -> str:
    """Module name without the numbers that generators append."""
    return re.sub(r"(\$\d+|\d+)$", "", module)
