"""``firstspike rtl layout``: a block placed, routed and checked in an open process."""

import argparse
from pathlib import Path
from typing import Any

from firstspike.arith import Code, LogWeights
from firstspike.cli.common import chosen_processor, table, write_json
from firstspike.gates import scaling
from firstspike.gates.layout import flow, pdk, picture
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, design, synthesise
from firstspike.gates.timing import INSTALL
from firstspike.rtl.parameters import Parameters
from firstspike.terminal import console

TIMED = {"before_layout": "none", "by_wire_load_model": "model", "with_wires": "layout"}
"""Keys of the record, and the wires that the worst path is given for each."""


def run(options: argparse.Namespace) -> None:
    """Lay out and check.

    Raises:
        RuntimeError: a tool is missing, not all nets are routed, or the metal has a short or an open.
    """
    kit = pdk.ihp_sg13g2(Path(options.pdk))
    library = Library(options.liberty or [kit.liberty])
    parameters = Parameters(processor=chosen_processor(options), code=Code(), weights=LogWeights())
    clock_ns = 1e3 / parameters.processor.clock_mhz
    mapped = synthesise(design(options.top, parameters), library, clock_ns=clock_ns)
    chosen = flow.Options(utilisation=options.utilisation, seed=options.seed)
    layout = flow.lay_out(
        mapped.netlist,
        library,
        kit,
        chosen,
        progress=lambda text: console.print(text, soft_wrap=True),
    )
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    name = layout.block.name
    layout.drawn.write(str(out / f"{name}.gds"))
    (out / f"{name}.def").write_text(layout.definition(), encoding="utf-8")
    (out / f"{name}.v").write_text(layout.block.verilog(), encoding="utf-8")
    (out / f"{name}.spef").write_text(flow.spef(layout.block, library, layout.trees), encoding="utf-8")
    picture.render(kit, out / f"{name}.gds", out / f"{name}.png")
    record = _record(layout, mapped, library, clock_ns)
    _show(record)
    write_json(str(out / "record.json"), record)
    write_json(options.json, record)
    wrong = layout.connections
    if wrong.opens or wrong.shorts:
        raise RuntimeError(
            f"the metal must connect what the netlist says, but has {len(wrong.opens)} opens "
            f"and {len(wrong.shorts)} shorts; {out / 'record.json'} lists them"
        )


def _record(layout: flow.BlockLayout, mapped: Synthesis, library: Library, clock_ns: float) -> dict[str, Any]:
    """The layout's figures beside those before it."""
    record = layout.record() | {
        "library": library.name,
        "clock_ns": clock_ns,
        "cell_area_um2": sum(library.cell(kind).area for kind in layout.block.cells.values()),
        "before_layout": {"cell_area_um2": mapped.area_um2},
    }
    for key, wires in TIMED.items():
        timed = flow.time(layout, library, clock_ns=clock_ns, wires=wires)
        figures = {} if timed is None else {"slack_ns": timed.slack_ns, "critical_ns": timed.critical_ns}
        record[key] = record.get(key, {}) | figures
    node = scaling.node_of(library.name)
    if node is not None:
        factors = scaling.scaling(node, library.voltage)
        core = record["core_um"][0] * record["core_um"][1]
        record["at_28nm"] = {
            "core_um2": core * factors.area,
            "delay_factor": factors.delay,
            "energy_factor": factors.energy,
        }
    return record


def _show(record: dict[str, Any]) -> None:
    shown = table(f"{record['block']} in {record['library']}", ["quantity"], ["value"])
    width, height = record["core_um"]
    rows = {
        "cells": f"{record['cells']:,}",
        "nets routed": f"{record['nets_routed']:,} of {record['nets']:,}",
        "core, µm": f"{width:.1f} x {height:.1f}",
        "cells' area, µm²": f"{record['cell_area_um2']:,.0f}",
        "wire, half perimeters, mm": f"{record['wire_mm']:.2f}, {record['half_perimeters_mm']:.2f}",
        "vias": f"{record['vias']:,}",
        "wires, fF a sink": f"{record['wires_ff_per_sink']:.2f}",
        "design rules checked, violated": f"{record['design_rules']}, {sum(record['violations'].values())}",
        "pins looked up": f"{record['pins_checked']:,}",
        "opens, shorts": f"{len(record['opens'])}, {len(record['shorts'])}",
    }
    labels = ("without wires", "by the library's wire-load model", "with its wires")
    for key, label in zip(TIMED, labels, strict=True):
        if "critical_ns" in record[key]:
            figures = record[key]
            text = f"{figures['critical_ns']:.2f}, slack {figures['slack_ns']:.2f} at {record['clock_ns']:g}"
            rows[f"critical path {label}, ns"] = text
    for label, value in rows.items():
        shown.add_row(label, value)
    console.print(shown)
    if "critical_ns" not in record["with_wires"]:
        console.print(INSTALL)
    for rule, count in record["violations"].items():
        console.print(f"design rule {rule}: {count} violations")
