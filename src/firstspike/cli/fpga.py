"""``firstspike rtl fpga`` and ``rtl board``: a board's bitstream, and a network on the board."""

import argparse
from pathlib import Path

from rich.table import Table

from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, run_all, table, write_json
from firstspike.data import ImageSet
from firstspike.processor import cycles
from firstspike.rtl.fpga import build
from firstspike.rtl.fpga.system import SystemParameters
from firstspike.rtl.parameters import Parameters
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import console
from firstspike.verify import board as boards
from firstspike.verify import fpga as netlists


def fpga(options: argparse.Namespace) -> None:
    """Build, and print one table: cells, clock, images a second by the cycle model; what the netlist does, if asked for.

    Raises:
        RuntimeError: a tool is missing or failed, the clock is not met, or a logit of the netlist differs.
    """
    snn, processor = chosen_network(options.network), chosen_processor(options)
    images = chosen_images(options, snn, limit=options.limit)
    system = SystemParameters(parameters=Parameters.of(snn.network, processor).on_fpga())
    out = Path(options.out)
    found = build.build(
        system,
        out,
        board=options.board,
        seed=options.seed,
        progress=lambda step: console.print(f"{step} ...", highlight=False),
    )
    counts = cycles.count(snn.network, run_all(snn, images, "trace").times, processor)
    rate = len(images) * 1e6 * processor.clock_mhz / float(counts.cycles.sum())
    shown = table(f"{options.network} on {options.board}, {processor.pes} processing elements", ["quantity"], ["value"])
    for name, (used, there) in found.cells.items():
        shown.add_row(build.CELLS[name], f"{used:,} of {there:,}")
    shown.add_row("clock, MHz", f"{found.clock_mhz:g}")
    shown.add_row("reached after routing, MHz", f"{found.reached_mhz:.1f}")
    shown.add_row(f"images/s, {len(images)} of {images.name}, by the cycle model", f"{rate:,.1f}")
    run = _simulated(snn, images, system, out, counts, shown) if options.simulate else None
    console.print(shown)
    record = found.record() | {"network": str(options.network), "board": options.board, "pes": processor.pes}
    record |= {"dataset": images.name, "images": len(images), "images_per_second": rate}
    write_json(options.json, record | ({"netlist": run.json()} if run else {}))
    if run and run.differences:
        raise RuntimeError(
            f"the netlist's logits must equal the engine's, not differ in {len(run.differences)} images, the first of them "
            f"{run.differences[0]}: Yosys or the design is at fault, so keep {out / 'top.json'} and report it"
        )
    if not found.met:
        raise RuntimeError(
            f"the design must reach its clock of {found.clock_mhz:g} MHz, not {found.reached_mhz:.1f}; take another --seed, "
            f"or --clock-mhz {int(found.reached_mhz) // 10 * 10}"
        )
    console.print(f"bitstream: {out / 'top.bit'}; load it with: openFPGALoader -b {options.board} {out / 'top.bit'}")


def _simulated(
    snn: SpikingNetwork, images: ImageSet, system: SystemParameters, out: Path, counts: cycles.Counts, shown: Table
) -> boards.BoardRun:
    """The images on the netlist; adds its rows to the table."""
    console.print("simulation of the netlist ...", highlight=False)
    whole = len(images) // system.parameters.processor.images * system.parameters.processor.images
    times, labels = snn.encode(images.pixels(0, whole)), images.labels[:whole]
    run = netlists.run_netlist(snn.network, times, labels, system, out)
    equal = run.images - len(run.differences)
    shown.add_row("images on the netlist with the engine's logits", f"{equal:,} of {run.images:,}")
    shown.add_row("cycles on the netlist over the cycle model's", f"{sum(run.cycles) / float(counts.cycles.sum()):.4f}")
    return run


def board(options: argparse.Namespace) -> None:
    """Load, run, compare.

    Raises:
        RuntimeError: the board does not answer, or a logit differs from the engine's.
    """
    snn, processor = chosen_network(options.network), chosen_processor(options)
    images = chosen_images(options, snn, limit=options.limit)
    whole = len(images) // processor.images * processor.images
    times = snn.encode(images.pixels(0, whole))
    record = boards.run(snn.network, times, images.labels[:whole], processor, boards.open_line(options.port))
    shown = table(f"{options.network} on the board at {options.port}", ["quantity"], ["value"])
    shown.add_row("images", f"{record.images:,}")
    shown.add_row("of the right class", f"{record.correct:,}")
    shown.add_row("with other logits than the engine's", f"{len(record.differences):,}")
    shown.add_row("loading the network, s", f"{record.load_seconds:.2f}")
    shown.add_row("images/s through the serial line", f"{record.images_per_second:,.1f}")
    shown.add_row("images/s of the processor", f"{record.processor_images_per_second:,.1f}")
    console.print(shown)
    write_json(options.json, {"network": str(options.network), "port": options.port, **record.json()})
    if record.differences:
        raise RuntimeError(
            f"the board's logits must equal the engine's, not differ in {len(record.differences)} images, "
            f"the first of them {record.differences[0]}; build for a slower clock with: firstspike rtl fpga --clock-mhz"
        )
