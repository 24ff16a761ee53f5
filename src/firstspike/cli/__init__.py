"""The command line: one subcommand a stage."""

from firstspike.cli.main import main

__all__ = ["main"]
