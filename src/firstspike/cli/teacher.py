"""``firstspike teacher``: train a float network for others to learn from."""

import argparse
from pathlib import Path

from firstspike.cli.common import timed, write_json
from firstspike.terminal import console

NAME = "teacher"
HELP = "train a float network for `firstspike train --teacher` to learn from"
EXAMPLE = "firstspike teacher --recipe teacher-cifar10 --out runs/teacher-cifar10"

FILE = "teacher.safetensors"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--recipe", required=True, metavar="NAME", help="a teacher's recipe by name, or a TOML file")
    parser.add_argument("--data", metavar="SPEC", help="data set (default: the recipe's)")
    parser.add_argument(
        "--data-root", metavar="DIR", help="where named data sets lie (default: FIRSTSPIKE_DATA or a cache)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/RECIPE)")
    parser.add_argument(
        "--stop-after", type=int, metavar="EPOCHS", help="stop after so many epochs; run it again to go on"
    )
    parser.add_argument("--restart", action="store_true", help="begin anew where DIR holds a checkpoint")


def run(options: argparse.Namespace) -> None:
    """Train, print a line an epoch, and write the teacher's file when all epochs are done."""
    from dataclasses import asdict, replace

    from firstspike.train.memory import keep_freed_memory
    from firstspike.train.teacher import find_teacher_recipe, fit_teacher, save_teacher

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
