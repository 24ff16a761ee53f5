"""What subcommands share: networks, data, tables, progress, records."""

import argparse
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from time import perf_counter
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
from rich.table import Table

from firstspike import records, zoo
from firstspike.cli import workers
from firstspike.cluster import Cluster
from firstspike.data import ImageSet, ImageStream, stream
from firstspike.data.arrays import is_array, random_images
from firstspike.processor import Processor, designs
from firstspike.spec import Trace
from firstspike.spec.trace import Sums, join
from firstspike.spiking import SpikingNetwork
from firstspike.spiking import load as load_network
from firstspike.terminal import track

Item = TypeVar("Item")

Images = ImageSet | ImageStream
"""Decoded, or being decoded."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where images run: in this process, in so many of this machine, or on a Ray cluster."""

    workers: int = 1
    address: str | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether other processes run them."""
        return self.workers > 1 or self.address is not None


HERE = Places()

CHUNK = 50
"""Images evaluated between two steps of the progress bar."""


def chosen_network(name: str, *, engine: str | None = None) -> SpikingNetwork:
    """The network of a model file, or of the zoo by name."""
    return load_network(zoo.file(name), engine=engine)


def table(title: str, left: Iterable[str], right: Iterable[str], last: Iterable[str] = ()) -> Table:
    """An empty table in the one style: columns of words, of numbers, and of words again."""
    made = Table(title=title or None, title_justify="left")
    for heading in left:
        made.add_column(heading)
    for heading in right:
        made.add_column(heading, justify="right")
    for heading in last:
        made.add_column(heading)
    return made


def chosen_processor(options: argparse.Namespace) -> Processor:
    """The processor that the arguments name."""
    given = {"pes": options.pes, "clock_mhz": options.clock_mhz, "images": options.batch}
    design = designs.load(options.processor)
    return replace(design, **{name: value for name, value in given.items() if value is not None})


def chosen_places(options: argparse.Namespace) -> Places:
    """Where the arguments say that images run."""
    return Places(workers=options.workers, address=options.ray_address)


def chosen_images(options: argparse.Namespace, snn: SpikingNetwork, *, limit: int | None) -> ImageSet:
    """The test images that the arguments name, of the network's shape; ``limit`` of them, None: all."""
    with arriving_images(options, snn) as images:
        found = images if isinstance(images, ImageSet) else images.decoded()
        return found.limit(limit) if limit else found


@contextmanager
def arriving_images(options: argparse.Namespace, snn: SpikingNetwork) -> Iterator[Images]:
    """The test images that the arguments name, of the network's shape; those that are not decoded yet come as they are."""
    shape = snn.network.input_shape
    if (options.data is None) == (options.random is None):
        raise ValueError("images must be given by --data SPEC, or by --random N")
    if options.random is not None:
        yield random_images(options.random, shape)
        return
    wanted = (shape[0], shape[1], shape[2]) if len(shape) == 3 else None
    with stream(options.data, split="test", data_root=options.data_root, shape=wanted) as images:
        if not is_array(options.data):
            check_classes(snn, images, options.data)
        elif len(images.classes) < len(snn.network.classes):  # numbers name no classes
            images = replace(images, classes=tuple(map(str, range(len(snn.network.classes)))))
        yield images


def check_classes(snn: SpikingNetwork, images: Images, data: str) -> None:
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


def run_all(snn: SpikingNetwork, images: Images, label: str, places: Places = HERE) -> Trace:
    """Trace all images with a progress bar; spike times of all of them are kept."""
    if places.elsewhere:
        found = dict(_shared(snn, images, label, places, workers.trace))
        return join([found[number] for number in range(len(found))])
    return join([trace for trace, _ in _traced(snn, images, label)])


def sum_all(snn: SpikingNetwork, images: Images, label: str, places: Places = HERE) -> Sums:
    """Run all images with a progress bar and keep sums only: the memory does not grow with their number."""
    if places.elsewhere:
        return reduce(operator.add, (sums for _, sums in _shared(snn, images, label, places, workers.sums)))
    return reduce(operator.add, (Sums.of(trace, labels) for trace, labels in _traced(snn, images, label)))


def _shared(
    snn: SpikingNetwork,
    images: Images,
    label: str,
    places: Places,
    function: Callable[[workers.Job, workers.Part], Item],
) -> Iterator[tuple[int, Item]]:
    """Number and result of every part of the images, as workers give them."""
    starts = range(0, len(images), CHUNK)
    parts = (
        (images.pixels(start, stop), np.asarray(images.labels[start:stop]))
        for start, stop in ((start, min(start + CHUNK, len(images))) for start in starts)
    )
    job = workers.Job(key=uuid4().hex, network=snn.network, engine=snn.engine.name)
    with Cluster(job, function, workers=places.workers, address=places.address) as cluster:
        yield from track(cluster.run(parts), label, len(starts))


def _traced(snn: SpikingNetwork, images: Images, label: str) -> Iterator[tuple[Trace, np.ndarray]]:
    chunks = range(0, len(images), CHUNK)
    for start in track(chunks, label, len(chunks)):
        stop = min(start + CHUNK, len(images))
        yield snn.trace(images.pixels(start, stop)), np.asarray(images.labels[start:stop])


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of equal entries."""
    return float(np.mean(predictions == labels)) if len(labels) else math.nan


def write_json(path: str | None, record: Mapping[str, Any]) -> None:
    """Write one record, if there is a path."""
    if path is not None:
        records.write(path, record)


def timed(function: Callable[[], Item]) -> tuple[Item, float]:
    """A result and the seconds it took."""
    start = perf_counter()
    result = function()
    return result, perf_counter() - start
