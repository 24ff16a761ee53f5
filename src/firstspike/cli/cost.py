"""``firstspike cost``: cycles, memory traffic and energy of a model file on the processor."""

import argparse

from firstspike.cli.common import (
    CHUNK,
    chosen_images,
    chosen_network,
    chosen_processor,
    run_all,
    table,
    write_json,
)
from firstspike.processor import Interval, technology
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Count and print the table; without ``--limit``, 50 images are enough, in whole batches."""
    chosen = technology.load(options.technology) if options.technology else technology.default()
    chosen.memory(options.dram)
    processor = chosen_processor(options)
    snn = chosen_network(options.network)
    images = chosen_images(options, snn, limit=options.limit or -(-CHUNK // processor.images) * processor.images)
    trace = run_all(snn, images, "trace")
    cost = processor.price(snn.network, trace, technology=chosen, dram=options.dram)
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
    write_json(
        options.json,
        {"network": str(options.network), "dataset": images.name, **cost.record(), "layers": cost.layer_records()},
    )


def _interval(energy: Interval) -> list[str]:
    return [f"{energy.value:.3f}", f"{energy.low:.3f}", f"{energy.high:.3f}"]
