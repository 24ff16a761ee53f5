"""``firstspike merge``: runs of one recipe become one integer network, their average."""

import argparse

from firstspike import zoo
from firstspike.cli.common import write_json
from firstspike.converter import convert
from firstspike.terminal import console
from firstspike.train.merge import merge
from firstspike.train.recipe import find_recipe

PROOF = 16
"""Validation images on which the conversion is proved."""


def run(options: argparse.Namespace) -> None:
    """Average, convert, prove, write."""
    if not 0 <= options.share < 1:
        raise ValueError(f"--share must be in [0, 1), not {options.share!r}")
    if (options.share > 0) != (options.initial is not None):
        raise ValueError(f"--initial and --share belong together, not {options.initial} and {options.share}")
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
    snn.save(options.save, notes={"recipe": options.recipe, "dataset": example.name})
    console.print(options.save, soft_wrap=True)
    record = {f"accuracy_{stage}": share for stage, share in merged.accuracies.items()}
    write_json(options.json, {"network": options.save, "images": len(images), **record})
