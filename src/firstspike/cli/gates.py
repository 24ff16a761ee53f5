"""``firstspike rtl synth`` and ``rtl power``: the RTL mapped to a Liberty library."""

import argparse
from dataclasses import replace
from typing import Any

from firstspike.arith import Code, LogWeights
from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, table, write_json
from firstspike.compiler import mapping
from firstspike.gates.budget import Workload, layer_power
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import design, synthesise
from firstspike.processor import technology
from firstspike.rtl.parameters import Parameters
from firstspike.terminal import console

FANOUT = 12
"""Most sinks of a net of the processor (docs/explanation/synthesis.md, "Broadcasts")."""


def synth(options: argparse.Namespace) -> None:
    """Area and timing by block."""
    library = Library(options.liberty)
    processor = chosen_processor(options)
    if options.network:
        parameters = Parameters.of(chosen_network(options.network).network, processor)
    else:
        parameters = Parameters(processor=processor, code=Code(), weights=LogWeights())
    fanout = FANOUT if options.top == "processor" else None
    mapped = _mapped(options.top, parameters, library, max_fanout=fanout)
    record = mapped.record(macros=technology.default().sram)
    title = f"{record['top']} in {record['library']}, {record['voltage']} V"
    shown = table(title, ["block"], ["area, µm²", "gate equivalents", "flip-flops"])
    for row in [*record["blocks"], {**record, "name": "all"}]:
        cells = (f"{row['area_um2']:,.1f}", f"{row['gate_equivalents']:,.0f}", f"{row['flipflops']:,}")
        shown.add_row(row["name"], *cells)
    console.print(shown)
    console.print(_timing(record, record["clock_ns"]) or record["timing"])
    scaled = record["at_28nm"]
    if scaled is not None:
        parts = [f"area {scaled['area_um2']:,.1f} µm²", _timing(scaled, record["clock_ns"])]
        text = ", ".join(part for part in parts if part)
        console.print(f"scaled from {scaled['from_nm']:g} nm to 28 nm: {text}")
    write_json(options.json, record)


def power(options: argparse.Namespace) -> None:
    """Energy by block on a real layer of a real image."""
    library = Library(options.liberty)
    snn, macros = chosen_network(options.network), technology.default().sram
    processor = replace(chosen_processor(options), images=1)
    times = snn.encode(chosen_images(options, snn, limit=1).pixels(0, 1))
    mapped = _mapped("processor", Parameters.of(snn.network, processor), library, max_fanout=FANOUT)
    work = Workload(
        network=snn.network,
        program=mapping.program(snn.network, processor),
        processor=processor,
        times=times,
        layer=options.layer,
        cycles=options.cycles,
    )
    record, _ = layer_power(mapped, library, work, macros=macros)
    title = f"{options.layer}: {record['cycles']} cycles, {library.name}, fJ per cycle"
    shown = table(title, ["block"], ["total", "of it clock", "at 28 nm"])
    for row in record["blocks"]:
        scaled = f"{row['at_28nm']:,.1f}" if "at_28nm" in row else "-"
        shown.add_row(row["name"], f"{row['total']:,.1f}", f"{row['clock']:,.1f}", scaled)
    whole = record["logic_fj_per_cycle_28nm"]
    shown.add_row(
        "all logic", f"{record['logic_fj_per_cycle']['total']:,.1f}", "", f"{whole[1]:,.1f}" if whole else "-"
    )
    console.print(shown)
    write_json(options.json, record)


def _timing(figures: dict[str, Any], clock_ns: float) -> str:
    """Critical path and slack as text; empty without OpenSTA."""
    if figures["slack_ns"] is None:
        return ""
    slack, critical = figures["slack_ns"], figures["critical_ns"]
    return f"critical path {critical:.2f} ns, slack {slack:.2f} ns at {clock_ns:g} ns ({1000 / clock_ns:g} MHz)"


def _mapped(top: str, parameters: Parameters, library: Library, **fields: Any) -> Any:
    return synthesise(design(top, parameters), library, clock_ns=1e3 / parameters.processor.clock_mhz, **fields)
