"""`report`: a page about any network, or about several side by side, on one's own images."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from firstspike import __version__
from firstspike.arith import checks
from firstspike.engine.images import is_tensor
from firstspike.pages import Entry, Example, report_page
from firstspike.pages.page import Page
from firstspike.processor import Processor, Technology, cycles, energy, sensitivity, technology
from firstspike.spec.tally import Tally
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import track

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 64
"""Images that run between two steps of the progress bar."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made with.

    Attributes:
        title: what the images are called.
        processor, technology: what prices the networks; None for the default ones.
        priced: images that are priced, spread evenly over all, in whole batches of the processor.
        shown: how many images the page shows, spread evenly over all; or their places.
        provenance: more that the page says of where it comes from.

    Raises:
        TypeError, ValueError: nothing would be priced, or a place is none.
    """

    title: str = "my images"
    processor: Processor | None = None
    technology: Technology | None = None
    priced: int = 50
    shown: int | tuple[int, ...] = 3
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.integer("ReportOptions.priced", self.priced, low=1, high=1 << 24)
        for number in self.shown if isinstance(self.shown, tuple) else (self.shown,):
            checks.integer("ReportOptions.shown", number, low=0, high=1 << 24)

    def places(self, images: int) -> list[int]:
        """Places of the images that the page shows.

        Raises:
            ValueError: there is no such image.
        """
        if isinstance(self.shown, int):
            most = min(self.shown, images)
            return [place * images // most for place in range(most)]
        for place in self.shown:
            if place >= images:
                raise ValueError(f"ReportOptions.shown must hold places in 0..{images - 1}, not {place!r}")
        return list(self.shown)


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(Page):
    """A page about networks.

    Attributes:
        record: accuracy and cost of every network, by name; keys carry units.
    """

    record: Mapping[str, Any]


def report(
    networks: "SpikingNetwork | Mapping[str, SpikingNetwork]",
    images: "Tensor | np.ndarray",
    labels: "Tensor | np.ndarray | None" = None,
    options: ReportOptions | None = None,
) -> Report:
    """A page about a network, or about several by name, side by side.

    Args:
        networks: what `firstspike.convert` or `firstspike.load` gives, or several by name.
        images: in [0, 1] or uint8, ``[n, *shape]``, as every one of the networks takes them.
        labels: true classes, integers ``[n]``; None where they are not known.
        options: title, processor, technology, how many images are priced and shown.

    Raises:
        TypeError: a network is none.
        ValueError: there is no image, labels and images differ in number, or a network does not fit the processor.
    """
    chosen = options or ReportOptions()
    named = networks if isinstance(networks, Mapping) else {"network": networks}
    for name, snn in named.items():
        if not isinstance(snn, SpikingNetwork):
            raise TypeError(
                f"network {name!r} must be of firstspike.convert or firstspike.load, not {type(snn).__name__}"
            )
    count = len(images)
    if not count:
        raise ValueError("a report needs at least one image, not 0")
    truth = None if labels is None else np.asarray(labels.cpu() if is_tensor(labels) else labels).reshape(-1)
    if truth is not None and (len(truth) != count or not np.issubdtype(truth.dtype, np.integer)):
        raise ValueError(f"labels must be {count} integers, as many as images, not {len(truth)} of {truth.dtype}")
    entries = [_entry(name, snn, images, truth, chosen) for name, snn in named.items()]
    page = report_page(entries, title=chosen.title, provenance={**chosen.provenance, **_machine()})
    return Report(html=page, record={entry.name: _record(entry) for entry in entries})


def _entry(name: str, snn: SpikingNetwork, images: Any, labels: np.ndarray | None, options: ReportOptions) -> Entry:
    processor, constants = options.processor or Processor(), options.technology or technology.default()
    truth = np.zeros(len(images), dtype=np.int64) if labels is None else labels
    tally = sum_up(snn, images, truth, name)
    size = min(len(images), -(-options.priced // processor.images) * processor.images)
    trace = snn.trace(_taken(images, [place * len(images) // size for place in range(size)]))
    counts = cycles.count(snn.network, trace.times, processor)
    bits = snn.network.weights.bits
    costs = {dram: energy.cost(counts, weight_bits=bits, technology=constants, dram=dram) for dram in constants.dram}
    places = options.places(len(images))
    pixels = _taken(images, places)
    return Entry(
        name=name,
        network=snn.network,
        tally=tally,
        labelled=labels is not None,
        trace=trace,
        costs=costs,
        shown=[
            Example(image=pixels[at], index=at, label=None if labels is None else int(truth[place]))
            for at, place in enumerate(places)
        ],
        shown_trace=snn.trace(pixels) if places else None,
        swings=sensitivity.of_counts(counts, weight_bits=bits, technology=constants, dram=next(iter(costs))),
    )


def _taken(images: Any, places: list[int]) -> np.ndarray:
    return np.asarray(images[places].cpu() if is_tensor(images) else images[places])


def sum_up(snn: SpikingNetwork, images: Any, labels: np.ndarray, name: str) -> Tally:
    """The tally of a network on images, with a progress bar."""

    def parts() -> Iterator[Tally]:
        starts = range(0, len(images), CHUNK)
        for start in track(starts, name, len(starts)):
            yield Tally.of(snn.trace(images[start : start + CHUNK]), labels[start : start + CHUNK])

    made = parts()
    total = next(made)
    for part in made:
        total = total + part
    return total


def _record(entry: Entry) -> dict[str, Any]:
    trace = entry.trace
    return {
        "accuracy": entry.accuracy,
        "images": entry.images,
        "priced_images": trace.images,
        "latency_steps": trace.latency_steps,
        "spikes_per_neuron": trace.spikes_per_neuron,
        "sops_per_image": trace.sops_per_image,
        "costs": {name: cost.record() for name, cost in entry.costs.items()},
    }


def _machine() -> dict[str, str]:
    return {
        "firstspike": __version__,
        "Python": platform.python_version(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
