"""``firstspike rtl run`` and ``rtl emit``: simulate the processor's RTL on a network, or write its Verilog."""

import argparse
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from firstspike import verify
from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, table, write_json
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Simulate and compare.

    Raises:
        RuntimeError: the RTL differs from the engine or from the cycle model.
    """
    if not 0 <= options.stall < 100:
        raise ValueError(f"--stall must be in [0, 100) %, not {options.stall!r}")
    stalls = verify.Stalls(per_mille=10 * options.stall, inside=10 * options.stall)
    snn, processor = chosen_network(options.network), chosen_processor(options)
    images = chosen_images(options, snn, limit=options.limit)
    times = snn.encode(images.pixels(0, len(images)))
    waveform = (Path(options.waveform), *options.window) if options.waveform else None
    columns = (
        TextColumn("rtl"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} images"),
        TextColumn("{task.fields[cycles]:,} cycles"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(images), cycles=0)

        def advance(done: int, cycles: int) -> None:
            progress.update(task, completed=done, cycles=cycles)

        record = verify.run(
            snn.network,
            times,
            processor,
            engine_name=snn.engine.name,
            stalls=stalls,
            waveform=waveform,
            progress=advance,
        )
    shown = table(f"{options.network} in RTL, {processor.pes} processing elements", ["quantity"], ["value"])
    for key, value in record.json().items():
        if not isinstance(value, list):
            shown.add_row(key, _figure(value))
    console.print(shown)
    for line in record.differences:
        console.print(line)
    write_json(options.json, record.json())
    if not record.bit_exact:
        raise RuntimeError(f"the RTL must equal the engine, not differ in {len(record.differences)} places")
    if not record.cycle_exact and not options.stall:
        raise RuntimeError(
            "without --stall the RTL must take the cycles of the cycle model; the lines above say where not"
        )


def _figure(value: bool | int | float) -> str:
    """A value of the record as text: counts in full, others with three digits at least."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.3g}"


def emit(options: argparse.Namespace) -> None:
    """Write the RTL and its testbench."""
    snn = chosen_network(options.network)
    images = chosen_images(options, snn, limit=options.limit)
    times = snn.encode(images.pixels(0, len(images)))
    files = verify.emit(
        snn.network, times, chosen_processor(options), Path(options.out), initial_values=options.initial_values
    )
    for file in files:
        console.print(f"{file}: {file.stat().st_size:,} bytes", soft_wrap=True)
    write_json(options.json, {"out": options.out, "files": sorted(file.name for file in files), "images": len(images)})
