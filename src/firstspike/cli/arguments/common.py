"""Arguments that several commands share."""

import argparse
from collections.abc import Callable

from firstspike import names

Declare = Callable[[argparse.ArgumentParser], None]


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    declare: Declare,
    *,
    run: str,
    text: str,
    example: str,
    extra: str | None = None,
) -> None:
    """Add a command.

    Args:
        commands: where to add it.
        name: what the user types.
        declare: adds its arguments.
        run: ``module:function`` that runs it, imported only then.
        text: what it does, for the list of commands and for its own help.
        example: a call.
        extra: the extra that brings all that it needs.
    """
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    declare(parser)
    parser.add_argument("--json", metavar="FILE", help="write one record of the result; its keys carry units")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(run=f"firstspike.cli.{run}", extra=extra)


def positive(text: str) -> int:
    """An argument that must be a positive integer."""
    value = int(text) if text.lstrip("-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """An argument that must be numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, not {text!r}") from None


def counts(text: str) -> dict[str, int]:
    """An argument that must be names with a positive integer each, ``NAME=N,NAME=N``."""
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name and number.isdigit() and int(number) for name, _, number in parts):
        raise argparse.ArgumentTypeError(f"must be NAME=N,NAME=N with positive integers N, not {text!r}")
    return {name: int(number) for name, _, number in parts}


def network(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """``NET``."""
    parser.add_argument(
        "network",
        nargs="?" if optional else None,
        metavar="NET",
        help="model file, or a network of the zoo by name (`firstspike zoo`)",
    )


def recipe(parser: argparse.ArgumentParser, text: str = "recipe") -> None:
    """``--recipe``."""
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help=f"{text}: a name (`firstspike recipes`) or a TOML file"
    )


def data_root(parser: argparse.ArgumentParser) -> None:
    """``--data-root``."""
    parser.add_argument(
        "--data-root", metavar="DIR", help="where named data sets lie (default: FIRSTSPIKE_DATA or a cache)"
    )


def data(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """``--data`` and ``--data-root``; ``default`` says what is used where there is none, None that it or ``--random`` must be."""
    usual = f" (default: {default})" if default else ""
    parser.add_argument(
        "--data",
        metavar="SPEC",
        help=f"one of {', '.join(names.DATA_SETS)}, a folder or zip with one sub-folder per class, an .npy or .npz file{usual}",
    )
    if default is None:
        parser.add_argument("--random", type=positive, metavar="N", help="N images of random pixels in place of --data")
    data_root(parser)


def limit(parser: argparse.ArgumentParser, *, default: str = "all", value: int | None = None) -> None:
    """``--limit``."""
    parser.add_argument(
        "--limit",
        type=positive,
        default=value,
        metavar="N",
        help=f"use N images, spread evenly over the set (default: {default})",
    )


def processor(parser: argparse.ArgumentParser, *, default: str = "default") -> None:
    """``--processor``, and options that change one of its parameters."""
    parser.add_argument(
        "--processor",
        default=default,
        metavar="DESIGN",
        help=f"{', '.join(names.designs())}, or a TOML file of the processor's parameters (%(default)s)",
    )
    parser.add_argument("--pes", type=positive, metavar="N", help="processing elements (the design's)")
    parser.add_argument("--clock-mhz", type=float, metavar="F", help="clock in MHz (the design's)")
    parser.add_argument("--batch", type=positive, metavar="B", help="images that share fetched weights (the design's)")


def technology(parser: argparse.ArgumentParser) -> None:
    """``--technology``."""
    parser.add_argument("--technology", metavar="FILE", help="technology file (TOML; default: 28 nm of the package)")


def model(parser: argparse.ArgumentParser, *, onnx: bool = False) -> None:
    """``--model``, ``--weights`` and the normalisation of its images; ``onnx``: it may be a file."""
    file = ", or an ONNX file (FILE.onnx)" if onnx else ""
    parser.add_argument(
        "--model", metavar="MODULE:FACTORY", help=f"network of one's own: a function or class without arguments{file}"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="its state dict (.safetensors, or a file of torch.save, read as data only)"
    )
    parser.add_argument(
        "--mean",
        type=numbers,
        metavar="M,M,M",
        help="of each channel, of pixels in [0, 1]: the network reads (pixel - mean) / std",
    )
    parser.add_argument("--std", type=numbers, metavar="S,S,S", help="of each channel, with --mean")


def save(parser: argparse.ArgumentParser) -> None:
    """``--save``."""
    parser.add_argument("--save", required=True, metavar="NET", help="model file to write (.safetensors)")
