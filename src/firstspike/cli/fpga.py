"""``firstspike rtl fpga`` and ``rtl board``: a board's bitstream, and a network on the board."""

import argparse
from dataclasses import replace
from pathlib import Path

from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, run_all, table, write_json
from firstspike.processor import cycles
from firstspike.rtl.fpga import build
from firstspike.rtl.fpga.system import SystemParameters
from firstspike.rtl.parameters import Parameters
from firstspike.terminal import console
from firstspike.verify import board as boards


def fpga(options: argparse.Namespace) -> None:
    """Build, and print one table: cells, clock, images a second by the cycle model.

    Raises:
        RuntimeError: a tool is missing or failed, or the clock is not met.
    """
    snn, processor = chosen_network(options.network), chosen_processor(options)
    images = chosen_images(options, snn, limit=options.limit)
    parameters = replace(Parameters.of(snn.network, processor), late_shift=True)
    out = Path(options.out)
    found = build.build(
        SystemParameters(parameters=parameters),
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
    console.print(shown)
    record = found.record() | {"network": str(options.network), "board": options.board, "pes": processor.pes}
    write_json(options.json, record | {"dataset": images.name, "images": len(images), "images_per_second": rate})
    if not found.met:
        raise RuntimeError(
            f"the design must reach its clock of {found.clock_mhz:g} MHz, not {found.reached_mhz:.1f}; take another --seed, "
            f"or --clock-mhz {int(found.reached_mhz) // 10 * 10}"
        )
    console.print(f"bitstream: {out / 'top.bit'}; load it with: openFPGALoader -b {options.board} {out / 'top.bit'}")


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
