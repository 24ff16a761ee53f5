"""Dispatch and error handling: bad input ends with one clear line and exit status 2, a traceback only with ``--debug``.

A command's module is loaded once its arguments have been read.
"""

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from firstspike.cli.arguments import parser
from firstspike.cli.outputs import check_outputs
from firstspike.extras import needed
from firstspike.messages import line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, what the command returns, 2 for bad input, 130 when interrupted."""
    options = parser().parse_args(arguments)
    command = f"{options.command} {options.part}" if options.command == "rtl" else options.command
    try:
        check_outputs(
            options.json,
            getattr(options, "save", None),
            getattr(options, "page", None),
            folder=getattr(options, "out", None),
        )
        module, _, function = options.run.partition(":")
        with needed(command, options.extra), _warnings_in_a_line():
            status: int | None = getattr(import_module(module), function)(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("firstspike: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tells of it when it ends
        return 0
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ImportError) as error:
        if options.debug:
            raise
        print(f"firstspike {command}: error: {describe(error)}", file=sys.stderr)
        return 2
    return status or 0


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(
            f"firstspike: warning: {line(str(message))}", file=sys.stderr
        )
        yield


def describe(error: BaseException) -> str:
    """One line that says what is wrong."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return line(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return line(f"standard output or a log: {error.strerror}")  # every other file is named
    if isinstance(error, MemoryError):
        return line(f"not enough memory: {error}") if str(error) else "not enough memory"
    return line(str(error)) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
