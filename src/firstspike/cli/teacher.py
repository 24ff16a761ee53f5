"""``firstspike teacher``: train a float network for others to learn from."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from firstspike.cli.common import timed, write_json
from firstspike.terminal import console
from firstspike.train.memory import keep_freed_memory
from firstspike.train.teacher import find_teacher_recipe, fit_teacher, save_teacher

FILE = "teacher.safetensors"


def run(options: argparse.Namespace) -> None:
    """Train, print a line an epoch, and write the teacher's file when all epochs are done."""
    keep_freed_memory()
    recipe = find_teacher_recipe(options.recipe)
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    out = Path(options.out or Path("runs") / Path(options.recipe).stem)

    def report(metrics: dict[str, float]) -> None:
        console.print(
            f"epoch {metrics['epoch']}/{recipe.training.epochs}: loss {metrics['train_loss']:.3f}, "
            f"validation {100 * metrics['validation_accuracy']:.2f} %"
        )

    fitted, seconds = timed(
        lambda: fit_teacher(
            recipe,
            out=out,
            data_root=options.data_root,
            resume=not options.restart,
            stop_after=options.stop_after,
            report=report,
        )
    )
    finished = fitted.epochs == recipe.training.epochs
    if finished:
        save_teacher(fitted.network, out / FILE, classes=fitted.classes, recipe=str(asdict(recipe)))
        console.print(f"teacher: {out / FILE}", soft_wrap=True)
    write_json(
        options.json,
        {
            "recipe": options.recipe,
            "dataset": recipe.data.name,
            "epochs": fitted.epochs,
            "train_seconds": seconds,
            "teacher": str(out / FILE) if finished else None,
            **fitted.metrics,
        },
    )
