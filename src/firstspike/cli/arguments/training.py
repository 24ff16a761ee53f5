"""Arguments of the commands that make networks: demo, recipes, train, teacher, merge, convert, prune."""

import argparse
from pathlib import Path
from typing import Any

from firstspike import names
from firstspike.cli.arguments import common


def declare(commands: Any) -> None:
    """Add the commands."""
    common.command(
        commands,
        "demo",
        demo,
        run="demo:run",
        text="train, convert, run and cost a small VGG on handwritten digits, and write a report",
        example="firstspike demo --out demo --json demo/record.json",
    )
    common.command(
        commands,
        "recipes",
        nothing,
        run="listing:recipes",
        text="list the recipes of the package",
        example="firstspike recipes --json recipes.json",
    )
    common.command(
        commands,
        "train",
        train,
        run="train:run",
        text="train a network conversion-aware by a recipe",
        example="firstspike train vgg16 --data cifar10 --recipe vgg16-cifar10 --out runs/vgg16-cifar10",
    )
    common.command(
        commands,
        "teacher",
        teacher,
        run="teacher:run",
        text="train a float network for `firstspike train --teacher` to learn from",
        example="firstspike teacher --recipe teacher-cifar10 --out runs/teacher-cifar10",
    )
    common.command(
        commands,
        "merge",
        merge,
        run="merge:run",
        text="average runs of one recipe that differ in the order of batches, and convert the average",
        example="firstspike merge runs/a/last.ckpt runs/b/last.ckpt --recipe NAME --save average.safetensors",
    )
    common.command(
        commands,
        "convert",
        convert,
        run="convert:run",
        text="convert a trained checkpoint, or a network of one's own, to a model file of integers and prove it on images",
        example="firstspike convert runs/digits/last.ckpt --recipe digits --save digits.safetensors",
    )
    common.command(
        commands,
        "prune",
        prune,
        run="prune:run",
        text="take weights and channels from a trained network without training, by unlabelled images",
        example="firstspike prune digits.safetensors --data digits --zeros 0.8 --out digits-lean.safetensors",
    )


def nothing(parser: argparse.ArgumentParser) -> None:
    """A command without arguments of its own."""


def demo(parser: argparse.ArgumentParser) -> None:
    """``firstspike demo``."""
    parser.add_argument(
        "--out", default="demo", metavar="DIR", help="folder for model file, report and logs (%(default)s)"
    )


def _run(parser: argparse.ArgumentParser) -> None:
    """A run's folder, where it stops, and whether it begins anew."""
    add = parser.add_argument
    add("--out", metavar="DIR", help="folder of the run (default: runs/RECIPE)")
    add("--stop-after", type=int, metavar="EPOCHS", help="stop after so many epochs; run it again to go on")
    add("--restart", action="store_true", help="begin anew where DIR holds a checkpoint")


def teacher(parser: argparse.ArgumentParser) -> None:
    """``firstspike teacher``."""
    common.recipe(parser, "a teacher's recipe")
    common.data(parser, default="the recipe's")
    _run(parser)


def train(parser: argparse.ArgumentParser) -> None:
    """``firstspike train``."""
    add = parser.add_argument
    # Without choices: the value of an option that there is not would be called a wrong network.
    add("network", nargs="?", metavar="NETWORK", help=f"{' or '.join(names.PLANS)} (default: the recipe's)")
    common.model(parser)
    common.recipe(parser)
    common.data(parser, default="the recipe's")
    add("--seed", type=int, help="seed (default: the recipe's)")
    add("--order", type=int, help="batches in another order, from the same start (default: the recipe's)")
    add("--precision", choices=names.PRECISIONS, help="arithmetic (default: the recipe's)")
    add(
        "--initial",
        metavar="NET",
        nargs="+",
        help="start from the weights of this model file or network of the zoo, where layers agree; several: their average",
    )
    add(
        "--teacher",
        metavar="NET",
        nargs="+",
        help="learn from what these say too: model files, networks of the zoo, files of `firstspike teacher`, "
        "MODULE:FACTORY@WEIGHTS (a recipe with a table distillation)",
    )
    _run(parser)
    add("--accelerator", default="auto", help="Lightning's device name (default: auto)")


def merge(parser: argparse.ArgumentParser) -> None:
    """``firstspike merge``."""
    add = parser.add_argument
    add(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT",
        help="checkpoints that hold an average (table averaging), stopped in stage ttfs",
    )
    common.recipe(parser, "recipe they were trained by")
    common.data_root(parser)
    common.save(parser)
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="write the first run's checkpoint with the average of all; `firstspike train --out` goes on from there",
    )
    add("--initial", metavar="NET", help="network that the runs started from, with --share")
    add("--share", type=float, default=0.0, help="of its parameters, in [0, 1) (default: %(default)s)")


def convert(parser: argparse.ArgumentParser) -> None:
    """``firstspike convert``."""
    add = parser.add_argument
    add("checkpoint", nargs="?", metavar="CHECKPOINT", help="checkpoint of `firstspike train`, in stage quantised")
    add("--recipe", metavar="NAME", help="recipe it was trained by: a name (`firstspike recipes`) or a TOML file")
    common.model(parser, onnx=True)
    add("--calibrate", metavar="DATA", help="images by which --model is converted without training: as --data")
    add("--images", type=common.positive, default=256, metavar="N", help="how many of them (%(default)s)")
    add(
        "--adapt",
        action="store_true",
        help="change what has no exact counterpart in --model, and print what was changed",
    )
    add("--input", choices=("planes", "spike"), default="planes", help="how a pixel of --model is coded (%(default)s)")
    add(
        "--window", type=common.positive, default=24, metavar="T", help="time steps of a layer of --model (%(default)s)"
    )
    add(
        "--channel-scales",
        action="store_true",
        help="a weight scale for each output channel of --model, as depthwise layers need",
    )
    add("--save", "--out", required=True, metavar="NET", help="model file to write (.safetensors)")
    common.data(parser, default="the recipe's")
    add("--limit", type=common.positive, default=16, metavar="N", help="images of the proof (%(default)s)")
    add(
        "--accumulator-bits",
        type=common.positive,
        default=32,
        metavar="A",
        help="bits of a membrane, 8..48, for a network that outgrew 32 in training; nothing it computes changes "
        "(default 32)",
    )


def prune(parser: argparse.ArgumentParser) -> None:
    """``firstspike prune``."""
    add = parser.add_argument
    common.network(parser)
    common.data(parser, default="the network's notes")
    add(
        "--zeros", type=float, default=0.0, metavar="SHARE", help="share of all weights that becomes zero (%(default)s)"
    )
    add(
        "--channels",
        type=common.counts,
        metavar="LAYER=N,...",
        help="output channels that a layer keeps (default: all)",
    )
    add(
        "--images", type=common.positive, default=4000, metavar="N", help="training images it learns from (%(default)s)"
    )
    add("--window", type=common.positive, metavar="T", help="time steps of a layer (default: as they are)")
    add("--kernel-mantissa", type=int, metavar="M", help="mantissa bits of the kernel (default: as they are)")
    add("--weight-bits", type=common.positive, metavar="B", help="bits of a weight (default: as they are)")
    add("--weight-mantissa", type=int, metavar="M", help="mantissa bits of a weight (default: as they are)")
    add("--input", choices=("planes", "spike"), help="how a pixel is coded (default: as it is)")
    add(
        "--accumulator-bits", type=common.positive, metavar="A", help="bits of a membrane, 8..48 (default: as they are)"
    )
    add("--save", "--out", required=True, metavar="NET", help="model file to write (.safetensors)")
