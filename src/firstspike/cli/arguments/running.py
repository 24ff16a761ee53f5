"""Arguments of the commands that run and price networks: zoo, inspect, evaluate, cost, export, reproduce, explore, bench."""

import argparse
import os
from typing import Any

from firstspike import names
from firstspike.cli.arguments import common
from firstspike.cli.arguments.training import nothing


def declare(commands: Any) -> None:
    """Add the commands."""
    _of_a_network(commands)
    _of_several(commands)


def _of_a_network(commands: Any) -> None:
    """Commands that take a network, or list them."""
    common.command(
        commands,
        "zoo",
        nothing,
        run="listing:networks",
        text="list the trained networks of the package",
        example="firstspike zoo --json zoo.json",
    )
    common.command(
        commands,
        "inspect",
        common.network,
        run="inspect:run",
        text="show the layers of a network: shapes, weights, scales, ranges, notes",
        example="firstspike inspect vgg16-cifar10",
    )
    common.command(
        commands,
        "evaluate",
        evaluate,
        run="evaluate:run",
        text="run a network bit-exactly on test images: accuracy, spikes, synaptic operations",
        example="firstspike evaluate digits.safetensors --data digits",
    )
    common.command(
        commands,
        "cost",
        cost,
        run="cost:run",
        text="map a network to the processor and count cycles, memory traffic and energy",
        example="firstspike cost digits.safetensors --data digits --limit 20",
    )
    common.command(
        commands,
        "report",
        report,
        run="report:run",
        text="write a page about networks on images: accuracy, spikes, saturation, energy in every DRAM scenario",
        example="firstspike report digits.safetensors --data digits --out report.html",
    )
    common.command(
        commands,
        "playground",
        playground,
        run="playground:run",
        text="write a page in which one draws an image and watches the network's spikes",
        example="firstspike playground digits.safetensors --data digits --out playground.html",
    )
    common.command(
        commands,
        "export",
        export,
        run="export:run",
        text="write a network as a file of another tool: ONNX, NIR",
        example="firstspike export digits.safetensors --format onnx --out digits.onnx",
    )


def _of_several(commands: Any) -> None:
    """Commands that run many networks."""
    common.command(
        commands,
        "reproduce",
        reproduce,
        run="reproduce:run",
        text="print the published accuracies and energies beside those of the zoo's networks",
        example="firstspike reproduce --quick --data-root data",
    )
    common.command(
        commands,
        "explore",
        explore,
        run="explore:run",
        text="search a space of codes, processors and networks: Pareto front of accuracy, energy, area and latency",
        example="firstspike explore examples/explore.yaml --out explore",
        extra="explore",
    )
    common.command(
        commands,
        "bench",
        bench,
        run="bench:run",
        text="measure inference against PyTorch's float32 and bfloat16 on the same network",
        example="firstspike bench inference --density 0.3 --batch 32",
    )


def evaluate(parser: argparse.ArgumentParser) -> None:
    """``firstspike evaluate``."""
    common.network(parser)
    common.data(parser)
    common.limit(parser)
    parser.add_argument("--engine", choices=names.ENGINES, help="engine that runs it (default: the fastest there is)")
    _places(parser)


def _places(parser: argparse.ArgumentParser) -> None:
    """Where images run; the numbers are the same everywhere."""
    add = parser.add_argument
    add("--workers", type=common.positive, default=1, metavar="N", help="processes that share the images (%(default)s)")
    add("--ray-address", metavar="ADDRESS", help="run on this Ray cluster, for example HOST:6379")


def cost(parser: argparse.ArgumentParser) -> None:
    """``firstspike cost``."""
    common.network(parser)
    common.data(parser)
    common.limit(parser, default="50, or the batches that hold as many")
    common.processor(parser)
    common.technology(parser)
    parser.add_argument(
        "--dram", default="flat-4pj", metavar="NAME", help="DRAM scenario of the technology (%(default)s)"
    )
    _places(parser)


def report(parser: argparse.ArgumentParser) -> None:
    """``firstspike report``."""
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="NET",
        help="model file, or a network of the zoo by name (`firstspike zoo`); several are compared side by side",
    )
    common.data(parser)
    common.limit(parser)
    common.processor(parser)
    common.technology(parser)
    parser.add_argument(
        "--dram", metavar="NAME", help="DRAM scenario of the headline (default: the technology's first)"
    )
    parser.add_argument("--shown", type=int, default=3, metavar="N", help="images that the page shows (%(default)s)")
    parser.add_argument("--image", type=int, action="append", metavar="I", help="show the image at this place; repeat")
    parser.add_argument("--out", dest="page", default="report.html", metavar="FILE", help="page to write (%(default)s)")


def playground(parser: argparse.ArgumentParser) -> None:
    """``firstspike playground``."""
    common.network(parser)
    common.data(parser, default="none: the visitor draws")
    parser.add_argument(
        "--samples", type=common.positive, default=10, metavar="N", help="images of it to choose from (%(default)s)"
    )
    common.processor(parser)
    common.technology(parser)
    parser.add_argument("--note", default="", metavar="TEXT", help="a sentence about the network")
    parser.add_argument(
        "--out", dest="page", default="playground.html", metavar="FILE", help="page to write (%(default)s)"
    )


def export(parser: argparse.ArgumentParser) -> None:
    """``firstspike export``."""
    add = parser.add_argument
    common.network(parser)
    add("--format", choices=("onnx", "nir"), required=True, help="ONNX of standard operators, or NIR")
    add("--out", dest="save", required=True, metavar="FILE", help="file to write (.onnx, .nir)")
    add(
        "--precision",
        choices=("float64", "float32"),
        default="float64",
        help="of an ONNX graph: float64 is the integer network, float32 what most tools take (%(default)s)",
    )
    add(
        "--quantisers", action="store_true", help="mark the grids of weights and activations by QONNX's Quant (float32)"
    )
    add(
        "--neurons",
        choices=("ttfs", "if"),
        default="ttfs",
        help="of a NIR graph: nodes that fire once, or integrate-and-fire nodes with a schedule (%(default)s)",
    )


def reproduce(parser: argparse.ArgumentParser) -> None:
    """``firstspike reproduce``."""
    add = parser.add_argument
    add("--quick", action="store_true", help="accuracy on 100 images, not on the whole test sets")
    add(
        "--data",
        action="append",
        default=[],
        metavar="SET=SPEC",
        help="take a set's test images from a folder or zip with one sub-folder per class, for example "
        "cifar10=cifar10-test.zip; repeat for several",
    )
    add(
        "--data-root",
        metavar="DIR",
        help="where the other data sets lie (default: FIRSTSPIKE_DATA or a cache); none is fetched",
    )
    add("--zoo", metavar="DIR", default=str(names.ZOO), help="folder of the networks (default: the package's)")
    add(
        "--processor",
        action="append",
        metavar="DESIGN",
        help=f"a row of costs: {', '.join(names.designs())} or a TOML file; repeat for several (default, batch)",
    )
    add("--cost-limit", type=common.positive, metavar="N", help="images whose cost is counted (96; quick: 32)")
    common.technology(parser)


def explore(parser: argparse.ArgumentParser) -> None:
    """``firstspike explore``."""
    add = parser.add_argument
    add("space", metavar="SPACE", help="space of designs (YAML)")
    add("--out", default="explore", metavar="DIR", help="folder for the page and the table (%(default)s)")
    add("--storage", metavar="FILE", help="journal of the search, to go on with (DIR/study.journal)")
    add("--cache", metavar="DIR", help="folder of traced spikes (DIR/traces)")
    add(
        "--workers",
        type=common.positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes on this machine (%(default)s)",
    )
    add("--ray-address", metavar="ADDRESS", help="evaluate on this Ray cluster, for example HOST:6379")


def bench(parser: argparse.ArgumentParser) -> None:
    """``firstspike bench``."""
    add = parser.add_argument
    add("what", choices=("inference",), help="what to measure")
    add(
        "--network",
        metavar="NET",
        help="model file or network of the zoo by name (default: a VGG-16 of random codes)",
    )
    add(
        "--density",
        type=float,
        default=0.3,
        metavar="D",
        help="share of spiking inputs of the random network (%(default)s)",
    )
    add("--batch", type=common.positive, default=32, metavar="N", help="images of one call (%(default)s)")
    add("--threads", type=common.positive, metavar="N", help="threads of all (default: one per processor)")
    add("--int8", action="store_true", help="measure OpenVINO int8 and ONNX Runtime int8 too (extra 'bench')")
    common.data(parser, default="random images")
    add("--rounds", type=common.positive, default=7, metavar="N", help="measured rounds, interleaved (%(default)s)")
