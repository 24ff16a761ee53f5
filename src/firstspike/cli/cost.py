"""``firstspike cost``: cycles, memory traffic and energy of a model file on the processor."""

import argparse
from typing import Any

from rich.table import Table

from firstspike.cli.common import (
    CHUNK,
    chosen_images,
    chosen_network,
    chosen_places,
    chosen_processor,
    run_all,
    table,
    write_json,
)
from firstspike.processor import Interval, Processor, cycles, energy, technology
from firstspike.processor.cycles import Counts
from firstspike.processor.energy import Cost
from firstspike.processor.rates import memory_ns
from firstspike.processor.technology import Technology
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Count and print the table; without ``--limit``, 50 images are enough, in whole batches."""
    chosen = technology.load(options.technology) if options.technology else technology.default()
    chosen.memory(options.dram)
    processor = chosen_processor(options)
    snn = chosen_network(options.network)
    images = chosen_images(options, snn, limit=options.limit or -(-CHUNK // processor.images) * processor.images)
    trace = run_all(snn, images, "trace", chosen_places(options))
    counts = cycles.count(snn.network, trace.times, processor)
    bits = snn.network.weights.bits
    cost = energy.cost(counts, weight_bits=bits, technology=chosen, dram=options.dram)
    title = f"{options.network} on {images.name}: mean of {len(images)} images"
    shown = table(title, ["layer", "kind"], ["cycles", "SOPs", "DRAM, kbit", "energy, µJ", "low", "high"])
    for layer in cost.layers:
        traffic = (layer.events["dram_read_bits"] + layer.events["dram_write_bits"]) / 1e3
        cells = [f"{layer.events['cycles']:,.0f}", f"{layer.events['sops']:,.0f}", f"{traffic:,.1f}"]
        shown.add_row(layer.name, layer.kind, *cells, *_interval(layer.energy), end_section=layer is cost.layers[-1])
    cells = [f"{cost.cycles_per_image:,.0f}", f"{cost.sops_per_image:,.0f}", f"{cost.dram_bits / 1e3:,.1f}"]
    shown.add_row("all", "", *cells, *_interval(cost.energy), end_section=True)
    for key, part in cost.components.items():
        shown.add_row(cost.labels[key][0], cost.labels[key][1], "", "", "", *_interval(part))
    console.print(shown)
    scenarios = _scenarios(counts, bits, chosen)
    console.print(_beside(scenarios, chosen, processor))
    size = min(processor.images, len(images))
    per = "per image" if processor.images == 1 else f"per batch of {size} images"
    if len(images) % processor.images:
        console.print(
            f"{len(images)} images do not fill batches of {processor.images}: energy and images/s are of the last, smaller "
            f"batch too; use a multiple",
            soft_wrap=True,
        )
    console.print(
        f"{cost.latency_us:,.1f} µs {per} at {processor.clock_mhz:g} MHz, {cost.frames_per_second:,.1f} images/s, "
        f"{cost.power_mw:.1f} mW, "
        f"{cost.pj_per_sop:.2f} pJ/SOP, {cost.area.value:.3f} mm²; DRAM scenario {cost.dram}, technology {cost.technology}",
        soft_wrap=True,
    )
    if processor.switched:
        console.print(_memories_on(cost, processor), soft_wrap=True)
    write_json(
        options.json,
        {
            "network": str(options.network),
            "dataset": images.name,
            **cost.record(),
            "scenarios": scenarios,
            "layers": cost.layer_records(),
        },
    )


def _memories_on(cost: Cost, processor: Processor) -> str:
    """How much of the memories is on, on average."""
    parts = (
        ("activation", "activation buffer", processor.banks),
        ("membrane", "membrane memory", 1),
        ("weight", "weight buffer", 2),
    )
    shares = [
        f"{name} {1 - cost.event(f'{key}_off_cycles') / (banks * cost.cycles_per_image):.1%}"
        for key, name, banks in parts
    ]
    return f"Memories on: {', '.join(shares)}; {cost.event('woken_bits') / 8192:,.0f} KiB switched on an image"


def _scenarios(counts: Counts, bits: int, chosen: Technology) -> list[dict[str, Any]]:
    """The energy with the memories of the technology and of each of its cell families, in every DRAM scenario."""
    found = []
    for cells in ("", *chosen.cells):
        priced = chosen.of_cells(cells) if cells else chosen
        slowest = memory_ns(counts.processor, bits, priced)
        for dram in chosen.dram:
            total = energy.cost(counts, weight_bits=bits, technology=priced, dram=dram).energy
            found.append(
                {
                    "cells": cells,
                    "dram": dram,
                    "energy_uj_per_image": total.value,
                    "energy_uj_per_image_low": total.low,
                    "energy_uj_per_image_high": total.high,
                    "memory_ns": slowest,
                    "meets_clock": None if slowest is None else slowest * counts.processor.clock_mhz <= 1e3,
                }
            )
    return found


def _beside(scenarios: list[dict[str, Any]], chosen: Technology, processor: Processor) -> Table:
    """All scenarios in one table: a row for each kind of memory cells, a column for each DRAM."""
    made = table(
        "µJ an image, in every scenario", ["memory cells"], [f"DRAM {name}" for name in chosen.dram], ["slowest path"]
    )
    for cells in dict.fromkeys(row["cells"] for row in scenarios):
        rows = [row for row in scenarios if row["cells"] == cells]
        energies = [
            f"{row['energy_uj_per_image']:.1f} ({row['energy_uj_per_image_low']:.1f} to {row['energy_uj_per_image_high']:.1f})"
            for row in rows
        ]
        slowest, clock = rows[0]["memory_ns"], f"{processor.clock_mhz:g} MHz"
        said = "" if slowest is None else f"{slowest:.2f} ns" + ("" if rows[0]["meets_clock"] else f", misses {clock}")
        made.add_row(cells or "as [sram]", *energies, said)
    return made


def _interval(energy: Interval) -> list[str]:
    return [f"{energy.value:.3f}", f"{energy.low:.3f}", f"{energy.high:.3f}"]
