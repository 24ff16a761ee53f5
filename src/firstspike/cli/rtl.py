"""``firstspike rtl``: simulate the processor's RTL on a network, or write its Verilog."""

import argparse
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from firstspike.cli.common import console, data_arguments, positive, test_images, write_json
from firstspike.processor import Processor
from firstspike.spiking import load

NAME = "rtl"
HELP = "run a model file on the processor's RTL, or write the RTL as Verilog"
EXAMPLE = "firstspike rtl run digits.safetensors --data digits --images 5 --pes 16"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("run", "emit"), help="simulate and compare; or write Verilog files")
    parser.add_argument("network", nargs="?", metavar="NET", help="model file (.safetensors)")
    data_arguments(parser, required=False)
    parser.add_argument("--images", type=positive, default=1, metavar="N", help="images to run (%(default)s)")
    parser.add_argument("--pes", type=positive, default=Processor().pes, metavar="N", help="processing elements (%(default)s)")
    parser.add_argument("--out", metavar="DIR", help="emit: folder for the Verilog files")
    parser.add_argument("--waveform", metavar="FILE", help="run: write a VCD of the cycles in --window")
    parser.add_argument("--window", nargs=2, type=int, default=(0, 2000), metavar=("FIRST", "LAST"), help="cycles of the VCD")


def run(options: argparse.Namespace) -> None:
    """Simulate or emit."""
    if options.action == "emit":
        _emit(options)
    else:
        _run(options)


def _run(options: argparse.Namespace) -> None:
    from firstspike.verify.run import run as verify

    if options.network is None or options.data is None:
        raise ValueError("rtl run needs a model file NET and --data SPEC")
    snn = load(options.network)
    options.limit = options.images
    images = test_images(options, snn)
    times = snn.encode(images.pixels(0, len(images)))
    waveform = (Path(options.waveform), *options.window) if options.waveform else None
    columns = (TextColumn("rtl"), BarColumn(), TextColumn("{task.completed}/{task.total} images"),
               TextColumn("{task.fields[cycles]:,} cycles"), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(images), cycles=0)

        def advance(done: int, cycles: int) -> None:
            progress.update(task, completed=done, cycles=cycles)

        record = verify(
            snn.network, times, Processor(pes=options.pes), engine_name=snn.engine.name, waveform=waveform, progress=advance
        )
    table = Table(title=f"{options.network} in RTL, {options.pes} processing elements", title_justify="left")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for key, value in record.json().items():
        if key != "differences":
            table.add_row(key, f"{value:,.0f}" if isinstance(value, float) else f"{value:,}" if value > 1 else str(value))  # type: ignore[operator]
    console.print(table)
    for line in record.differences:
        console.print(line, markup=False)
    write_json(options.json, record.json())
    if not record.bit_exact:
        raise RuntimeError(f"the RTL differs from the engine in {len(record.differences)} places")


def _emit(options: argparse.Namespace) -> None:
    from firstspike.rtl import emit
    from firstspike.rtl.parameters import Parameters

    if options.out is None or options.network is None:
        raise ValueError("rtl emit needs a model file NET (its formats fix the processor's tables) and --out DIR")
    network = load(options.network).network
    files = emit.verilog_files(Parameters.of(network, Processor(pes=options.pes)))
    emit.write(Path(options.out), dict(files))
    for name, text in files.items():
        console.print(f"{Path(options.out) / name}: {len(text.splitlines()):,} lines", soft_wrap=True)
    write_json(options.json, {"files": sorted(files), "out": options.out})
