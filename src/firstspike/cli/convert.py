"""``firstspike convert``: a checkpoint becomes a model file of integers, proved equal on validation images."""

import argparse
from dataclasses import replace
from pathlib import Path

from firstspike.cli.common import write_json
from firstspike.cli.outputs import check_output
from firstspike.converter import convert
from firstspike.terminal import console
from firstspike.train.fit import load_network, training_images
from firstspike.train.recipe import find_recipe


def run(options: argparse.Namespace) -> None:
    """Convert, prove, write."""
    recipe = find_recipe(options.recipe)
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    check_output(options.save)
    _, validation = training_images(recipe, options.data_root)
    example = validation.limit(min(options.limit, len(validation)))
    network = load_network(recipe, options.checkpoint, shape=example.shape, classes=len(example.classes))
    network.accumulator_bits = options.accumulator_bits
    snn = convert(network, example=example.pixels(0, len(example)), classes=example.classes)
    snn.save(options.save, notes={"recipe": options.recipe, "dataset": example.name})
    size = Path(options.save).stat().st_size
    console.print(
        f"{options.save}: {len(snn.network.layers)} layers, {size:,} bytes; all spikes and logits equal the trained "
        f"network in float64 on {len(example)} validation images", soft_wrap=True,
    )  # fmt: skip
    write_json(options.json, {"network": options.save, "size_bytes": size, "layers": len(snn.network.layers),
                              "images_compared": len(example), "latency_steps": snn.latency_steps})  # fmt: skip
