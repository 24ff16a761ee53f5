"""``firstspike reproduce``: the published table beside ours, every cell with the command that makes it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from firstspike import zoo
from firstspike.cli.common import check_classes, run_all, sum_all, table, write_json
from firstspike.data import ImageSet, data_folder, load
from firstspike.names import meant, recipes
from firstspike.processor import Cost, Processor, designs, technology
from firstspike.processor.technology import Technology
from firstspike.spec import Trace
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import console
from firstspike.zoo.published import PAPER, PUBLISHED, Published

INCOMPLETE = 1
"""Exit status where a network or a data set is missing."""

NO_DATA = "no data"

QUICK = 100
"""Test images with ``--quick``."""

COST_IMAGES = 96
"""Images whose cost is counted: six batches of the design "batch"."""

QUICK_COST_IMAGES = 32

HEADLINE = "flat-4pj"
"""DRAM scenario of the record's energies: what the published figure is compatible with."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What one data set gave: ``costs`` by design and DRAM scenario; nothing but ``missing`` where something is missing."""

    published: Published
    missing: str | None = None
    make: str | None = None
    accuracy: float | None = None
    images: int = 0
    latency_steps: int | None = None
    costs: dict[str, dict[str, Cost]]


def run(options: argparse.Namespace) -> int:
    """Run what there is; status 1 where something is missing."""
    chosen = technology.load(options.technology) if options.technology else technology.default()
    chosen.memory(HEADLINE)
    options.data = _places(options.data)
    names = list(dict.fromkeys(options.processor or ["default", "batch"]))
    processors = {name: designs.load(name) for name in names}
    found = [_column(column, options, processors, chosen) for column in PUBLISHED]
    if any(ours.costs for ours in found):
        _accuracies(found, options)
        for name in names:
            for scenario in chosen.dram:
                _costs(found, name, processors[name], scenario, options)
        _ratios(found, names)
    write_json(options.json, {ours.published.key: _record(ours, names, options) for ours in found})
    missing = [f"{ours.published.title} ({ours.missing})" for ours in found if ours.missing]
    if missing:
        console.print(f"Incomplete: {', '.join(missing)}.", soft_wrap=True)
        if any(ours.missing == NO_DATA for ours in found):
            _what_to_put_where(data_folder(options.data_root))
        return INCOMPLETE
    return 0


def _places(given: Sequence[str]) -> dict[str, str]:
    """Where ``--data`` says that test sets lie, by name.

    Raises:
        ValueError: an entry has no set, or one that is not reproduced.
    """
    known = [column.data for column in PUBLISHED]
    places = {}
    for entry in given:
        name, _, place = entry.partition("=")
        if name not in known or not place:
            near = meant(name, known)
            raise ValueError(f"--data must be SET=SPEC with a set of {', '.join(known)}, not {entry!r}{near}")
        places[name] = place
    return places


def _what_to_put_where(folder: Path) -> None:
    """Three lines: the files that are looked for, how to name others, how to fetch the official ones."""
    files = ", ".join(f"{column.data}-test.zip" for column in PUBLISHED)
    _line(f"Put into {folder} (--data-root, FIRSTSPIKE_DATA): {files}, in each one sub-folder of images a class;")
    _line(f"or name them, each a folder or zip: firstspike reproduce --data {PUBLISHED[0].data}=FOLDER_OR_ZIP;")
    _line(
        f"or have the official archive fetched by its checksum: firstspike evaluate {PUBLISHED[0].network} "
        f"--data {PUBLISHED[0].data}"
    )


def _line(text: str) -> None:
    console.print(text, soft_wrap=True)


def _column(
    column: Published, options: argparse.Namespace, processors: dict[str, Processor], chosen: Technology
) -> Ours:
    folder = Path(options.zoo)
    if column.network not in zoo.names(folder):
        recipe = column.network if column.network in recipes() else "FILE.toml"
        target = Path(options.zoo) / f"{column.network}.safetensors"
        make = f"firstspike train --recipe {recipe} --data-root DIR --out OUT, its network to {target}"
        if recipe != column.network:
            make += f"  (the package has no recipe {column.network} yet: FILE.toml is to be written)"
        return Ours(published=column, missing="not trained", make=make, costs={})
    snn = zoo.load(column.network, folder=folder)
    try:
        place = options.data.get(column.data)
        images = load(place or column.data, split="test", data_root=options.data_root, download=False)
    except FileNotFoundError:
        if place:
            raise
        make = f"firstspike evaluate {_shown(options, column.network)} --data {column.data}  (fetches {column.data})"
        return Ours(published=column, missing=NO_DATA, make=make, costs={})
    _fits(snn, images, column)
    tested = images.limit(min(QUICK, len(images))) if options.quick else images
    sums = sum_all(snn, tested, f"{column.title}: accuracy")
    wanted = options.cost_limit or (QUICK_COST_IMAGES if options.quick else COST_IMAGES)
    priced = images.limit(min(wanted, len(images)))
    spikes = run_all(snn, priced, f"{column.title}: cost")
    return Ours(
        published=column,
        accuracy=sums.accuracy,
        images=len(tested),
        latency_steps=snn.latency_steps,
        costs={name: _priced(snn, spikes, processor, chosen) for name, processor in processors.items()},
    )


def _fits(snn: SpikingNetwork, images: ImageSet, column: Published) -> None:
    if snn.network.input_shape != images.shape:
        raise ValueError(
            f"network {column.network!r} must take the images of {column.data!r}, {images.shape!r}, "
            f"not {snn.network.input_shape!r}"
        )
    check_classes(snn, images, column.data)


def _priced(snn: SpikingNetwork, spikes: Trace, processor: Processor, chosen: Technology) -> dict[str, Cost]:
    first = processor.price(snn.network, spikes, technology=chosen, dram=HEADLINE)
    others = {name: name for name in chosen.dram if name != HEADLINE}
    return {HEADLINE: first} | {
        name: processor.price(snn.network, spikes, technology=chosen, dram=name) for name in others
    }


def _table(title: str) -> Table:
    return table(title, ["quantity"], [column.title for column in PUBLISHED], ["by"])


def _shown(options: argparse.Namespace, name: str) -> str:
    """A network as a reader types it: by name, or a file of another zoo."""
    return name if Path(options.zoo) == zoo.FOLDER else str(Path(options.zoo) / f"{name}.safetensors")


def _legend(mark: str, command: str) -> None:
    """What the last column of a table stands for."""
    console.print(f"  {mark}: {command}", soft_wrap=True)


def _cells(found: list[Ours], show: Any) -> list[str]:
    return [ours.missing if ours.missing else show(ours) for ours in found]


def _accuracies(found: list[Ours], options: argparse.Namespace) -> None:
    shown = _table("Accuracy")
    shown.add_row("published", *(f"{100 * c.accuracy:.1f} %" for c in PUBLISHED), "p")
    limit = f" --limit {QUICK}" if options.quick else ""
    shown.add_row("ours", *_cells(found, lambda ours: f"{100 * ours.accuracy:.2f} %"), "a")
    shown.add_row("test images", *_cells(found, lambda ours: f"{ours.images:,}"), "a")
    shown.add_row("latency, steps", *_cells(found, lambda ours: f"{ours.latency_steps}"), "a")
    console.print(shown)
    _legend("p", PAPER)
    _legend("a", f"firstspike evaluate {_shown(options, 'vgg16-SET')} --data SET{limit}")
    for ours in found:
        if ours.missing:
            _legend(f"{ours.published.title}, {ours.missing}", ours.make or "")


def _costs(found: list[Ours], name: str, processor: Processor, scenario: str, options: argparse.Namespace) -> None:
    def cell(show: Any) -> list[str]:
        return _cells(found, lambda ours: show(ours.costs[name][scenario], ours.published))

    batch = f", {processor.images} images a batch" if processor.images > 1 else ""
    shown = _table(f"Cost: processor {name}{batch}, DRAM {scenario}")
    alone = processor.images == 1  # what is published is of one inference
    if alone:
        shown.add_row("published energy, µJ", *(f"{c.energy_uj:,.1f}" for c in PUBLISHED), "p")
    images = max((c.images for ours in found for designs in ours.costs.values() for c in designs.values()), default=0)
    count = images or options.cost_limit or (QUICK_COST_IMAGES if options.quick else COST_IMAGES)
    command = f"firstspike cost {_shown(options, 'vgg16-SET')} --data SET --limit {count}"
    command += f" --processor {name} --dram {scenario}"
    command += f" --technology {options.technology}" if options.technology else ""
    rows = (
        ("energy, µJ an image", lambda c, p: f"{c.energy.value:,.1f}"),
        ("interval, µJ", lambda c, p: f"{c.energy.low:,.1f} to {c.energy.high:,.1f}"),
        *((("published / ours", lambda c, p: f"{p.energy_uj / c.energy.value:.2f}"),) if alone else ()),
        ("latency, µs", lambda c, p: f"{c.latency_us:,.0f}"),
        ("frames/s", lambda c, p: f"{c.frames_per_second:,.1f}"),
        ("power, mW", lambda c, p: f"{c.power_mw:,.1f}"),
        ("area, mm²", lambda c, p: f"{c.area.value:.3f} ({c.area.low:.3f} to {c.area.high:.3f})"),
        ("SOPs, millions", lambda c, p: f"{c.sops_per_image / 1e6:,.2f}"),
        ("pJ/SOP", lambda c, p: f"{c.pj_per_sop:.2f}"),
        ("images priced", lambda c, p: f"{c.images}"),
    )
    for title, show in rows:
        shown.add_row(title, *cell(show), "c")
    console.print(shown)
    if alone:
        _legend("p", PAPER)
    _legend("c", command)


def _ratios(found: list[Ours], names: list[str]) -> None:
    """Energies relative to CIFAR-10: no constant of the technology that scales everything alike moves them."""
    shown = _table("Energy relative to CIFAR-10 (scale-free check)")
    shown.add_row("published", *(f"{c.energy_uj / PUBLISHED[0].energy_uj:.3f}" for c in PUBLISHED), "p / p")
    for name in names:
        for scenario in next((list(ours.costs[name]) for ours in found if ours.costs), []):
            first = found[0].costs[name][scenario].energy_uj if found[0].costs else None

            def ratio(ours: Ours, name: str = name, scenario: str = scenario, first: float | None = first) -> str:
                return "-" if first is None else f"{ours.costs[name][scenario].energy_uj / first:.3f}"

            shown.add_row(f"{name}, {scenario}", *_cells(found, ratio), "c / c")
    console.print(shown)


def _record(ours: Ours, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The record of one data set; null where something is missing."""
    head = ours.costs[names[0]][HEADLINE] if ours.costs else None
    return {
        "accuracy": ours.accuracy,
        "energy_uj": head and head.energy.value,
        "energy_uj_low": head and head.energy.low,
        "energy_uj_high": head and head.energy.high,
        "published_accuracy": ours.published.accuracy,
        "published_energy_uj": ours.published.energy_uj,
        "frames_per_second": head and head.frames_per_second,
        "latency_steps": ours.latency_steps,
        "missing": ours.missing,
        "make": ours.make,
        "accuracy_images": ours.images,
        "quick": bool(options.quick),
        "costs": [
            {"processor": name, **cost.record()} for name in names if ours.costs for cost in ours.costs[name].values()
        ],
    }
