"""``firstspike bench``: inference speed of the native engine against PyTorch on this machine."""

import argparse

from rich.table import Table

from firstspike.cli.common import positive, write_json
from firstspike.terminal import console

NAME = "bench"
HELP = "measure inference against PyTorch's float32 and bfloat16 on the same network"
EXAMPLE = "firstspike bench inference --density 0.3 --batch 32"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("what", choices=("inference",), help="what to measure")
    parser.add_argument("--network", metavar="NET", help="model file (default: a VGG-16 of random codes)")
    parser.add_argument(
        "--density",
        type=float,
        default=0.3,
        metavar="D",
        help="share of spiking inputs of the random network (%(default)s)",
    )
    parser.add_argument("--batch", type=positive, default=32, metavar="N", help="images of one call (%(default)s)")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of both (default: one per processor)")
    parser.add_argument(
        "--rounds", type=positive, default=7, metavar="N", help="measured rounds, interleaved (%(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Measure and print one table."""
    from firstspike.bench.inference import run as measure

    record = measure(
        network=options.network,
        density=options.density,
        batch=options.batch,
        threads=options.threads,
        rounds=options.rounds,
    )
    table = Table(title=f"inference, batch {options.batch}, median of {options.rounds} rounds", title_justify="left")
    for heading in ("engine", "images/s", "native is faster by"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    table.add_row("firstspike native, integers", f"{record['native_images_per_second']:.1f}", "")
    for name, key in (("PyTorch float32", "fp32"), ("PyTorch bfloat16", "bf16")):
        table.add_row(name, f"{record[f'torch_{key}_images_per_second']:.1f}", f"{record[f'ratio_{key}']:.2f} x")
    console.print(table)
    console.print(
        f"spikes per neuron {record['spikes_per_neuron']:.3f}; of the inputs of synapses, {record['density']:.3f} spike; "
        f"{record['threads']} threads", soft_wrap=True,
    )  # fmt: skip
    write_json(options.json, record)
