"""``firstspike report``: one page about networks on images."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, table, write_json
from firstspike.processor import technology
from firstspike.reporter import ReportOptions, report
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Run the networks, write the page, print what it says first."""
    constants = technology.load(options.technology) if options.technology else technology.default()
    if options.dram is not None:
        constants.memory(options.dram)
        order = sorted(constants.dram, key=lambda name: name != options.dram)
        constants = replace(constants, dram={name: constants.dram[name] for name in order})
    processor = chosen_processor(options)
    paths = {Path(name).stem: chosen_network(name) for name in options.networks}
    if len(paths) < len(options.networks):
        raise ValueError(f"networks must have different names, not {options.networks!r}")
    sets = [chosen_images(options, snn, limit=options.limit) for snn in paths.values()]
    images = sets[0]
    made = report(
        paths,
        images.images,
        images.labels if images.labelled else None,
        ReportOptions(
            title=Path(images.name).name,
            processor=processor,
            technology=constants,
            shown=tuple(options.image) if options.image else options.shown,
            provenance={"command": "firstspike report " + shlex.join([*options.networks, "--data", images.name])},
        ),
    )
    made.save(options.page)
    shown = table(f"{images.name}: {len(images)} images", ["network"], ["accuracy", "SOPs", "energy, µJ", "DRAM"])
    for name, record in made.record.items():
        accuracy = "" if record["accuracy"] is None else f"{100 * record['accuracy']:.2f} %"
        for dram, cost in record["costs"].items():
            shown.add_row(
                name, accuracy, f"{record['sops_per_image']:,.0f}", f"{cost['energy_uj_per_image']:.3f}", dram
            )
    console.print(shown)
    console.print(f"wrote {options.page}")
    write_json(options.json, {"dataset": images.name, "networks": made.record})
