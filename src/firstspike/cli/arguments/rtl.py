"""Arguments of ``firstspike rtl run``, ``emit``, ``synth``, ``power``, ``layout``, ``fpga`` and ``board``."""

import argparse
from typing import Any

from firstspike.cli.arguments import common


def declare(commands: Any) -> None:
    """Add the commands."""
    text = (
        "run a network on the processor's RTL, write the RTL as Verilog, map it to gates, price it, lay it out, "
        "put it on an FPGA"
    )
    parser = commands.add_parser("rtl", help=text, description=text[0].upper() + text[1:] + ".")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    common.command(
        parts,
        "run",
        run,
        run="rtl:run",
        text="simulate the RTL and compare every spike, logit and cycle",
        example="firstspike rtl run digits.safetensors --data digits --limit 5 --pes 16",
    )
    common.command(
        parts,
        "emit",
        emit,
        run="rtl:emit",
        text="write the RTL as Verilog with a testbench",
        example="firstspike rtl emit digits.safetensors --data digits --out verilog",
    )
    common.command(
        parts,
        "synth",
        synth,
        run="gates:synth",
        text="map a block to a Liberty library: area and timing by block",
        example="firstspike rtl synth --top pe --liberty cells.lib",
    )
    common.command(
        parts,
        "power",
        power,
        run="gates:power",
        text="energy by block on a real layer of a real image, at gate level",
        example="firstspike rtl power digits.safetensors --data digits --layer conv2_1 --liberty cells.lib",
    )
    _hardware(parts)


def _hardware(parts: Any) -> None:
    """Add the commands that lay out a block and put a network on a board."""
    common.command(
        parts,
        "layout",
        layout,
        run="layout:run",
        text="place, route and check a block in an open process",
        example="firstspike rtl layout --pdk IHP-Open-PDK --out lane",
    )
    common.command(
        parts,
        "fpga",
        fpga,
        run="fpga:fpga",
        text="make a board's bitstream for a network: cells, clock, images a second",
        example="firstspike rtl fpga digits.safetensors --data digits --board ulx3s --out fpga",
        extra="fpga",
    )
    common.command(
        parts,
        "board",
        board,
        run="fpga:board",
        text="run images on a board behind a serial port and compare every logit",
        example="firstspike rtl board digits.safetensors --data digits --port /dev/ttyUSB0",
        extra="fpga",
    )


def fpga(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl fpga``."""
    _images(parser, processor="ulx3s")
    add = parser.add_argument
    add("--board", choices=("ulx3s",), default="ulx3s", help="which board (%(default)s, with its LFE5U-85F)")
    add("--out", required=True, metavar="DIR", help="folder for bitstream, netlist, constraints and logs")
    add("--seed", type=common.positive, default=1, metavar="N", help="of place and route (%(default)s)")
    add("--simulate", action="store_true", help="run the images on the netlist too, in simulation (takes minutes)")


def board(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl board``."""
    _images(parser, processor="ulx3s", limit="all")
    parser.add_argument("--port", required=True, metavar="DEV", help="serial port, or a URL that pyserial knows")


def run(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl run``."""
    _images(parser)
    add = parser.add_argument
    add("--waveform", metavar="FILE", help="waveform, .vcd or .fst, of the cycles in --window")
    add("--window", nargs=2, type=int, default=(0, 2000), metavar=("FIRST", "LAST"), help="cycles of the waveform")
    add(
        "--stall",
        type=int,
        default=0,
        metavar="PERCENT",
        help="share of cycles in which each stream is held back at random (%(default)s)",
    )


def emit(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl emit``."""
    _images(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the Verilog files")
    parser.add_argument(
        "--initial-values", action="store_true", help="registers begin with their reset value, not with X"
    )


def synth(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl synth``."""
    common.network(parser, optional=True)
    common.processor(parser)
    _liberty(parser)
    parser.add_argument("--top", choices=("pe", "lane", "processor"), default="pe", help="what to map (%(default)s)")


def power(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl power``."""
    common.network(parser)
    common.data(parser)
    common.processor(parser)
    _liberty(parser)
    parser.add_argument("--layer", required=True, metavar="NAME", help="layer whose first cycles are priced")
    parser.add_argument(
        "--cycles", type=common.positive, default=3000, metavar="N", help="how many cycles (%(default)s)"
    )


def layout(parser: argparse.ArgumentParser) -> None:
    """``firstspike rtl layout``."""
    common.processor(parser)
    add = parser.add_argument
    add("--top", choices=("pe", "lane"), default="lane", help="what to lay out (%(default)s)")
    add("--pdk", required=True, metavar="DIR", help="checkout of https://github.com/IHP-GmbH/IHP-Open-PDK")
    add("--out", required=True, metavar="DIR", help="folder for GDS, DEF, SPEF, netlist, picture and record")
    add("--liberty", action="append", metavar="FILE", help="Liberty of the kit's cells (the kit's own)")
    add(
        "--utilisation",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="share of the core that cells cover (%(default)s)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the placement (%(default)s)")


def _images(parser: argparse.ArgumentParser, *, processor: str = "default", limit: str = "1") -> None:
    common.network(parser)
    common.data(parser)
    common.limit(parser, default=limit, value=None if limit == "all" else int(limit))
    common.processor(parser, default=processor)


def _liberty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--liberty",
        action="append",
        required=True,
        metavar="FILE",
        help="Liberty file; repeat for the parts of one library",
    )
