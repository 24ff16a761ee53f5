"""What the command line accepts. Nothing here loads more than argparse, so that help and usage errors come at once."""

import argparse
from typing import Any

from firstspike import __version__
from firstspike.cli.arguments import rtl, running, training
from firstspike.cli.arguments.parser import Parser


def parser() -> argparse.ArgumentParser:
    """The whole command line's parser."""
    top = Parser(
        prog="firstspike",
        description="Time-to-first-spike networks: train conversion-aware, convert, run bit-exactly, count cycles and energy.",
    )
    top.add_argument("--version", action="version", version=f"firstspike {__version__}")
    top.add_argument("--debug", action="store_true", help="show a traceback when something goes wrong")
    commands: Any = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    training.declare(commands)
    running.declare(commands)
    rtl.declare(commands)
    text = 'print the completions of a shell: `eval "$(firstspike completion bash)"`'
    shells = commands.add_parser("completion", help=text)
    shells.add_argument("shell", choices=("bash", "zsh"), help="the shell")
    shells.set_defaults(run="firstspike.cli.listing:completion", json=None, extra=None)
    return top
