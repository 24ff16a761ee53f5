"""Parser and error handling: bad input ends with one clear line and exit status 2, a traceback only with ``--debug``."""

import argparse
import sys
from collections.abc import Sequence

from firstspike.cli import bench, convert, cost, demo, evaluate, explore, inspect, merge, reproduce, rtl, teacher, train
from firstspike.cli.common import check_output
from firstspike.extras import needed
from firstspike.messages import line

COMMANDS = (demo, train, teacher, merge, convert, evaluate, inspect, cost, reproduce, explore, bench, rtl)


def parser() -> argparse.ArgumentParser:
    """The whole command line's parser."""
    top = argparse.ArgumentParser(
        prog="firstspike",
        description="Time-to-first-spike networks: train conversion-aware, convert, run bit-exactly, count cycles and energy.",
    )
    top.add_argument("--debug", action="store_true", help="show a traceback when something goes wrong")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(sub)
        sub.add_argument("--json", metavar="FILE", help="write one record of the result; its keys carry units")
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, what the command returns, 2 for bad input, 130 when interrupted."""
    options = parser().parse_args(arguments)
    try:
        check_output(options.json, made=getattr(options, "out", None))
        with needed(f"firstspike {options.command}"):
            status: int | None = options.run(options)
    except KeyboardInterrupt:
        print("firstspike: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ImportError) as error:
        if options.debug:
            raise
        print(f"firstspike {options.command}: error: {describe(error)}", file=sys.stderr)
        return 2
    return status or 0


def describe(error: BaseException) -> str:
    """One line that says what is wrong."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return line(f"{error.filename}: {error.strerror}")
    if isinstance(error, MemoryError):
        return line(f"not enough memory: {error}") if str(error) else "not enough memory"
    return line(str(error)) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
