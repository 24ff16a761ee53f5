"""What subcommands share: data arguments, progress, records."""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from firstspike import records
from firstspike.data import ImageSet, load, names
from firstspike.processor import Processor, designs
from firstspike.spec import Trace
from firstspike.spec.trace import join
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import track

Item = TypeVar("Item")

CHUNK = 50
"""Images evaluated between two steps of the progress bar."""


def positive(text: str) -> int:
    """An argument that must be a positive integer."""
    value = int(text) if text.lstrip("-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def data_arguments(
    parser: argparse.ArgumentParser, *, required: bool = True, limit: bool = True, default: str = "all"
) -> None:
    """``--data``, ``--data-root``, and with ``limit`` also ``--limit``, left out for ``default`` images."""
    parser.add_argument(
        "--data", required=required, metavar="SPEC",
        help=f"one of {', '.join(names())}, or a folder or zip with one sub-folder per class",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", metavar="DIR", help="where named data sets lie (default: FIRSTSPIKE_DATA or a cache)"
    )
    if limit:
        parser.add_argument(
            "--limit", type=positive, metavar="N", help=f"use N images, spread evenly over the set (default: {default})"
        )


def processor_arguments(parser: argparse.ArgumentParser) -> None:
    """``--processor``, and options that change one of its parameters."""
    parser.add_argument(
        "--processor", default="default", metavar="DESIGN",
        help=f"{', '.join(designs.names())}, or a TOML file of the processor's parameters (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--pes", type=positive, metavar="N", help=f"processing elements ({Processor().pes})")
    parser.add_argument("--clock-mhz", type=float, metavar="F", help=f"clock ({Processor().clock_mhz} MHz)")
    parser.add_argument(
        "--images-per-batch", type=positive, metavar="B", help="images that share fetched weights (the design's, or 1)"
    )


def chosen_processor(options: argparse.Namespace) -> Processor:
    """The processor that the arguments name."""
    given = {"pes": options.pes, "clock_mhz": options.clock_mhz, "images": options.images_per_batch}
    design = designs.load(options.processor)
    return replace(design, **{name: value for name, value in given.items() if value is not None})


def test_images(options: argparse.Namespace, snn: SpikingNetwork, *, limit: int | None) -> ImageSet:
    """The test images that the arguments name, of the network's shape; ``limit`` of them, None: all."""
    shape = snn.network.input_shape
    images = load(
        options.data,
        split="test",
        data_root=options.data_root,
        expect_shape=(shape[0], shape[1], shape[2]) if len(shape) == 3 else None,
    )
    check_classes(snn, images, options.data)
    return images.limit(limit) if limit else images


def check_classes(snn: SpikingNetwork, images: ImageSet, data: str) -> None:
    """Refuse images whose labels mean other classes than the network's logits: their accuracy would say nothing.

    Raises:
        ValueError: if the network names its classes and those of the images differ in number, name or order.
    """
    wanted = snn.network.classes
    if wanted and len(images.classes) != len(wanted):
        raise ValueError(f"data {data!r} must have the network's {len(wanted)} classes, not {len(images.classes)}")
    for index, (name, found) in enumerate(zip(wanted, images.classes, strict=False)):
        if name != found:
            raise ValueError(f"data {data!r} must name class {index} {name!r} as the network does, not {found!r}")


def run_all(snn: SpikingNetwork, images: ImageSet, label: str, *, times: bool) -> Trace:
    """Trace all images with a progress bar; without ``times``, only the counts are kept (spike times fill the memory)."""
    chunks = range(0, len(images), CHUNK)
    traces = []
    for start in track(chunks, label, len(chunks)):
        trace = snn.trace(images.pixels(start, min(start + CHUNK, len(images))))
        if not times:
            layers = {name: replace(layer, times=None) for name, layer in trace.layers.items()}
            trace = replace(trace, layers=layers)
        traces.append(trace)
    return join(traces)


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of equal entries."""
    return float(np.mean(predictions == labels)) if len(labels) else math.nan


def write_json(path: str | None, record: Mapping[str, Any]) -> None:
    """Write one record, if there is a path."""
    if path is not None:
        records.write(path, record)


def check_output(path: str | None, *, made: str | None = None) -> None:
    """Refuse a file that could not be written, before any work is done.

    Args:
        path: the file, or None for none.
        made: a folder that the command makes itself.

    Raises:
        OSError: the file is a folder, or its folder does not exist.
    """
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path!r}: it must be a file, not a folder")
    if not target.parent.is_dir() and (made is None or target.parent.resolve() != Path(made).resolve()):
        raise FileNotFoundError(f"{path!r}: its folder must exist")


def timed(function: Callable[[], Item]) -> tuple[Item, float]:
    """A result and the seconds it took."""
    start = perf_counter()
    result = function()
    return result, perf_counter() - start
