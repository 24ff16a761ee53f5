"""The demo's record as a table in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from firstspike.figures import numbers
from firstspike.figures.view import CostView
from firstspike.messages import visible

KEYS = (
    "dataset",
    "test_images",
    "cat_accuracy",
    "snn_accuracy",
    "agreement",
    "weight_bits",
    "T",
    "tau",
    "latency_steps",
    "spikes_per_neuron",
    "sops_per_image",
    "cycles_per_image",
    "energy_uj_per_image",
    "train_seconds",
)
"""Keys every demo record has; accuracies and agreement are shares in [0, 1]."""


def check_record(record: Mapping[str, Any]) -> None:
    """Refuse a record that lacks a key.

    Raises:
        ValueError: naming the keys that are missing.
    """
    missing = [key for key in KEYS if key not in record]
    if missing:
        raise ValueError(f"a demo record must have the keys {', '.join(KEYS)}, not lack {', '.join(missing)}")


def summary(record: Mapping[str, Any], cost: CostView) -> list[tuple[str, list[tuple[str, str]]]]:
    """The record as sections of (name, value) rows, formatted for readers.

    Raises:
        ValueError: the record lacks a key.
    """
    check_record(record)
    totals, energy = cost.record(), cost.energy
    return [
        (
            "Accuracy",
            [
                ("trained network", numbers.percent(record["cat_accuracy"], 2)),
                ("spiking network", numbers.percent(record["snn_accuracy"], 2)),
                ("same class in both", numbers.percent(record["agreement"], 2)),
                ("test images", f"{record['test_images']:,} ({record['dataset']})"),
                ("training", f"{numbers.significant(record['train_seconds'])} s"),
            ],
        ),
        (
            "Spikes",
            [
                ("time steps a window, T", str(record["T"])),
                ("time steps an octave, tau", str(record["tau"])),
                ("bits of a weight", str(record["weight_bits"])),
                ("time steps to the logits", f"{record['latency_steps']:,}"),
                ("spikes per neuron", numbers.significant(record["spikes_per_neuron"])),
                ("operations per image", numbers.count(record["sops_per_image"])),
            ],
        ),
        (
            "Processor, per image",
            [
                ("cycles", numbers.count(record["cycles_per_image"])),
                (f"time at {numbers.significant(totals['clock_mhz'])} MHz", numbers.time(totals["latency_us"])),
                ("images per second", numbers.count(totals["frames_per_second"])),
                ("DRAM traffic", numbers.bits(totals["dram_bits_per_image"])),
                ("energy with DRAM", numbers.energy(energy.value)),
                ("its bounds", f"{numbers.energy(energy.low)} to {numbers.energy(energy.high)}"),
                ("mean power", f"{numbers.significant(totals['power_mw'])} mW"),
                ("energy per operation", f"{numbers.significant(totals['pj_per_sop'])} pJ"),
                ("technology, DRAM", f"{cost.technology}, {cost.dram}"),
            ],
        ),
    ]


def energy_rows(cost: CostView) -> list[tuple[str, str, str, str]]:
    """Energy by component that is not zero: name, energy, its bounds, share of the whole."""
    whole = cost.energy.value or 1.0
    return [
        (
            cost.labels[key][0],
            numbers.energy(part.value),
            f"{numbers.energy(part.low)} to {numbers.energy(part.high)}",
            numbers.percent(part.value / whole),
        )
        for key, part in cost.components.items()
        if part.high > 0
    ]


def demo_table(record: Mapping[str, Any], cost: CostView) -> Table:
    """One table: accuracy, spikes, cost, and energy by component.

    Raises:
        ValueError: the record lacks a key.
    """
    table = Table(title=_text(f"firstspike on {record.get('dataset', '?')}"), title_justify="left", show_header=False)
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for heading, rows in summary(record, cost):
        table.add_section()
        table.add_row(Text(heading, style="bold"), "")
        for name, value in rows:
            table.add_row(f"  {name}", _text(value))
    table.add_section()
    table.add_row(Text("Energy by component, per image", style="bold"), "")
    for name, value, _, share in energy_rows(cost):
        table.add_row(f"  {name}", f"{value}  {share:>7}")
    return table


def plain(rows: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """Any list of records with the same keys as a table: keys are the headings, numbers stand right.

    Raises:
        ValueError: there is no row, or a row has other keys than the first.
    """
    if not rows:
        raise ValueError("a table needs at least one row, not []")
    table = Table(title=_text(title) if title else None, title_justify="left")
    keys = list(rows[0])
    for key in keys:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        if list(row) != keys:
            raise ValueError(f"every row must have the keys {', '.join(keys)}, not {', '.join(row)}")
        table.add_row(*(_text(_cell(row[key])) for key in keys))
    return table


def _text(foreign: str) -> Text:
    """Names come from outside: on no console are they markup, or anything that it obeys."""
    return Text(visible(foreign))


def _cell(value: object) -> str:
    return numbers.significant(value, 4) if isinstance(value, float) else str(value)
