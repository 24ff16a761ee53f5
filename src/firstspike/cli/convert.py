"""``firstspike convert``: a checkpoint becomes a model file of integers, proved equal on validation images."""

import argparse
from dataclasses import replace
from pathlib import Path

from firstspike.cli.common import check_output, positive, write_json
from firstspike.converter import convert
from firstspike.terminal import console
from firstspike.train.recipe import find_recipe

NAME = "convert"
HELP = "convert a trained checkpoint to a model file of integers and prove it on images"
EXAMPLE = "firstspike convert runs/digits/last.ckpt --recipe digits --out digits.safetensors"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint of `firstspike train`, in stage quantised")
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help="recipe it was trained by: a name or a TOML file"
    )
    parser.add_argument("--out", required=True, metavar="NET", help="model file to write (.safetensors)")
    parser.add_argument("--data", metavar="SPEC", help="data set (default: the recipe's)")
    parser.add_argument(
        "--data-root", metavar="DIR", help="where named data sets lie (default: FIRSTSPIKE_DATA or a cache)"
    )
    parser.add_argument(
        "--images", type=positive, default=16, metavar="N", help="validation images of the proof (default 16)"
    )
    parser.add_argument(
        "--accumulator-bits",
        type=positive,
        default=32,
        metavar="A",
        help="bits of a membrane, 8..48, for a network that outgrew 32 in training; nothing it computes changes (default 32)",
    )


def run(options: argparse.Namespace) -> None:
    """Convert, prove, write."""
    from firstspike.train.fit import load_network, training_images  # imports Lightning, which takes seconds

    recipe = find_recipe(options.recipe)
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    check_output(options.out)
    _, validation = training_images(recipe, options.data_root)
    example = validation.limit(min(options.images, len(validation)))
    network = load_network(recipe, options.checkpoint, shape=example.shape, classes=len(example.classes))
    network.accumulator_bits = options.accumulator_bits
    snn = convert(network, example=example.pixels(0, len(example)), classes=example.classes)
    snn.save(options.out, notes={"recipe": options.recipe, "dataset": example.name})
    size = Path(options.out).stat().st_size
    console.print(
        f"{options.out}: {len(snn.network.layers)} layers, {size:,} bytes; all spikes and logits equal the trained "
        f"network in float64 on {len(example)} validation images", soft_wrap=True,
    )  # fmt: skip
    write_json(options.json, {"network": options.out, "size_bytes": size, "layers": len(snn.network.layers),
                              "images_compared": len(example), "latency_steps": snn.latency_steps})  # fmt: skip
