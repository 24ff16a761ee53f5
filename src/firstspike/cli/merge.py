"""``firstspike merge``: runs of one recipe become one integer network, their average."""

import argparse
from pathlib import Path

from firstspike import zoo
from firstspike.cli.common import check_output, write_json
from firstspike.converter import convert
from firstspike.terminal import console
from firstspike.train.recipe import find_recipe

NAME = "merge"
HELP = "average runs of one recipe that differ in the order of batches, and convert the average"
EXAMPLE = "firstspike merge runs/a/last.ckpt runs/b/last.ckpt --recipe NAME --data-root DIR --out FILE"

PROOF = 16
"""Validation images on which the conversion is proved."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT",
        help="checkpoints that hold an average (table averaging), stopped in stage ttfs",
    )
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help="recipe they were trained by: a name or a TOML file"
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="where named data sets lie (default: FIRSTSPIKE_DATA or a cache)"
    )
    parser.add_argument("--out", required=True, metavar="NET", help="model file to write (.safetensors)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="write the first run's checkpoint with the average of all; `firstspike train --out` goes on from there",
    )
    parser.add_argument("--initial", metavar="FILE", help="network that the runs started from, with --share")
    parser.add_argument("--share", type=float, default=0.0, help="of its parameters, in [0, 1) (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Average, convert, prove, write."""
    from firstspike.train.merge import merge  # imports Lightning, which takes seconds

    if not 0 <= options.share < 1:
        raise ValueError(f"--share must be in [0, 1), not {options.share!r}")
    if (options.share > 0) != (options.initial is not None):
        raise ValueError(f"--initial and --share belong together, not {options.initial} and {options.share}")
    check_output(options.out)
    recipe = find_recipe(options.recipe)
    merged = merge(
        recipe,
        options.checkpoints,
        data_root=options.data_root,
        initial=None if options.initial is None else zoo.find(options.initial),
        share=options.share,
        checkpoint=options.checkpoint,
    )
    images = merged.validation
    for stage, share in merged.accuracies.items():
        console.print(f"{stage}: {share:.4f} of {len(images)} validation images")
    example = images.limit(min(PROOF, len(images)))
    snn = convert(merged.network, example=example.pixels(), classes=example.classes)
    snn.save(options.out, notes={"recipe": options.recipe, "dataset": example.name})
    console.print(options.out, soft_wrap=True)
    record = {f"accuracy_{stage}": share for stage, share in merged.accuracies.items()}
    write_json(options.json, {"network": options.out, "images": len(images), **record})
