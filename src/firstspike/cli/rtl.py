"""``firstspike rtl``: simulate the processor's RTL on a network, or write its Verilog."""

import argparse
from importlib import import_module
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from firstspike.cli import gates
from firstspike.cli.common import (
    chosen_processor,
    data_arguments,
    positive,
    processor_arguments,
    test_images,
    write_json,
)
from firstspike.spiking import load
from firstspike.terminal import console

NAME = "rtl"
HELP = "run a model file on the processor's RTL, or write the RTL as Verilog"
EXAMPLE = "firstspike rtl run digits.safetensors --data digits --images 5 --pes 16"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        choices=("run", "emit", "synth", "power"),
        help="simulate and compare; write Verilog; map to gates; price",
    )
    parser.add_argument("network", nargs="?", metavar="NET", help="model file (.safetensors)")
    data_arguments(parser, required=False, limit=False)
    parser.add_argument("--images", type=positive, default=1, metavar="N", help="images to run (%(default)s)")
    processor_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="emit: folder for the Verilog files")
    parser.add_argument("--waveform", metavar="FILE", help="run: waveform, .vcd or .fst, of the cycles in --window")
    parser.add_argument(
        "--window", nargs=2, type=int, default=(0, 2000), metavar=("FIRST", "LAST"), help="cycles of the waveform"
    )
    parser.add_argument(
        "--stall",
        type=int,
        default=0,
        metavar="PERCENT",
        help="run: share of cycles in which each stream is held back at random (%(default)s)",
    )
    gates.arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Simulate, emit, map or price."""
    {"run": _run, "emit": _emit, "synth": gates.synth, "power": gates.power}[options.action](options)


def _run(options: argparse.Namespace) -> None:
    verify = import_module("firstspike.verify")
    if options.network is None or options.data is None:
        raise ValueError("rtl run needs a model file NET and --data SPEC")
    if not 0 <= options.stall < 100:
        raise ValueError(f"--stall must be in [0, 100) %, not {options.stall!r}")
    stalls = verify.Stalls(per_mille=10 * options.stall, inside=10 * options.stall)
    snn, processor = load(options.network), chosen_processor(options)
    images = test_images(options, snn, limit=options.images)
    times = snn.encode(images.pixels(0, len(images)))
    waveform = (Path(options.waveform), *options.window) if options.waveform else None
    columns = (TextColumn("rtl"), BarColumn(), TextColumn("{task.completed}/{task.total} images"),
               TextColumn("{task.fields[cycles]:,} cycles"), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
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
    table = Table(title=f"{options.network} in RTL, {processor.pes} processing elements", title_justify="left")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for key, value in record.json().items():
        if not isinstance(value, list):
            table.add_row(key, _figure(value))
    console.print(table)
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
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.3g}"


def _emit(options: argparse.Namespace) -> None:
    verify = import_module("firstspike.verify")
    if options.network is None or options.data is None or options.out is None:
        raise ValueError("rtl emit needs a model file NET, --data SPEC for the testbench's images, and --out DIR")
    snn = load(options.network)
    images = test_images(options, snn, limit=options.images)
    times = snn.encode(images.pixels(0, len(images)))
    files = verify.emit(snn.network, times, chosen_processor(options), Path(options.out))
    for file in files:
        console.print(f"{file}: {file.stat().st_size:,} bytes", soft_wrap=True)
    write_json(options.json, {"out": options.out, "files": sorted(file.name for file in files), "images": len(images)})
