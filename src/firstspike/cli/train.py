"""``firstspike train``: run a recipe, a checkpoint every epoch, resumable at any moment."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from firstspike import zoo
from firstspike.cli.common import timed, write_json
from firstspike.terminal import console
from firstspike.train import processes
from firstspike.train.distillation import find_teacher
from firstspike.train.fit import fit
from firstspike.train.memory import keep_freed_memory
from firstspike.train.recipe import Recipe, find_recipe
from firstspike.train.run import CHECKPOINT

BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
"""Names by which `torch.cpu.get_capabilities` tells of bfloat16 instructions."""


def with_overrides(options: argparse.Namespace) -> Recipe:
    """The recipe that the arguments name, with what they change."""
    recipe = find_recipe(options.recipe)
    if options.network:
        recipe = replace(recipe, network=replace(recipe.network, plan=options.network))
    if options.model:
        network = replace(
            recipe.network,
            model=options.model,
            weights=options.weights or "",
            mean=options.mean or (),
            std=options.std or (),
        )
        recipe = replace(recipe, network=network)
    elif options.weights or options.mean or options.std:
        raise ValueError(
            "--weights, --mean and --std are those of a network of one's own: give --model MODULE:FACTORY too"
        )
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    if options.seed is not None:
        recipe = replace(recipe, training=replace(recipe.training, seed=options.seed))
    if options.order is not None:
        recipe = replace(recipe, training=replace(recipe.training, order=options.order))
    if options.precision:
        recipe = replace(recipe, training=replace(recipe.training, precision=options.precision))
    return recipe


def slow_arithmetic(recipe: Recipe, accelerator: str) -> bool:
    """Whether this CPU would compute the recipe's bfloat16 by way of float32; False where PyTorch does not say."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if recipe.training.precision != "bf16-mixed" or not on_cpu or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return not any(capabilities.get(name) for name in BFLOAT16)


def run(options: argparse.Namespace) -> None:
    """Train and print the last epoch's metrics."""
    keep_freed_memory()
    recipe = with_overrides(options)
    out = Path(options.out or Path("runs") / Path(options.recipe).stem)
    if slow_arithmetic(recipe, options.accelerator):
        console.print(
            "note: this CPU has no bfloat16 instructions, and training is slow in it; --precision 32-true is faster"
        )
    initial = [zoo.find(name) for name in options.initial] if options.initial else None
    fitted, seconds = timed(
        lambda: fit(
            recipe,
            out=out,
            data_root=options.data_root,
            resume=not options.restart,
            initial=initial,
            teachers=[find_teacher(name) or zoo.find(name) for name in options.teacher or ()],
            accelerator=options.accelerator,
            stop_after=options.stop_after,
        )
    )
    if processes.rank() > 0:  # under torchrun the first process reports
        return
    for name, value in sorted(fitted.metrics.items()):
        console.print(f"{name}: {value:.4f}")
    console.print(f"checkpoint: {out / CHECKPOINT}", soft_wrap=True)
    write_json(
        options.json,
        {
            "recipe": options.recipe,
            "dataset": recipe.data.name,
            "epochs": fitted.epochs,
            "train_seconds": seconds,
            "checkpoint": str(out / CHECKPOINT),
            **fitted.metrics,
        },
    )
