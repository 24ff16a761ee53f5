"""``firstspike evaluate``: accuracy, spikes and synaptic operations of a model file on test images."""

import argparse
import math

from rich.table import Table

from firstspike.cli.common import accuracy, data_arguments, run_all, test_images, timed, write_json
from firstspike.engine import NAMES
from firstspike.spiking import load
from firstspike.terminal import console

NAME = "evaluate"
HELP = "run a model file bit-exactly on test images: accuracy, spikes, synaptic operations"
EXAMPLE = "firstspike evaluate digits.safetensors --data digits"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("network", metavar="NET", help="model file (.safetensors)")
    data_arguments(parser)
    parser.add_argument("--engine", choices=NAMES, help="engine that runs it (default: the fastest there is)")


def run(options: argparse.Namespace) -> None:
    """Evaluate and print one table."""
    snn = load(options.network, engine=options.engine)
    images = test_images(options, snn, limit=options.limit)
    trace, seconds = timed(lambda: run_all(snn, images, "evaluate", times=False))
    record = {
        "network": str(options.network),
        "dataset": images.name,
        "engine": snn.engine.name,
        "accuracy": accuracy(trace.predictions, images.labels),
        "images": len(images),
        "split": "all" if images.whole else "test",
        "images_per_second": len(images) / seconds,
        "spikes_per_neuron": trace.spikes_per_neuron,
        "sops_per_image": trace.sops_per_image,
        "sops_nonzero_per_image": trace.sops_nonzero_per_image,
        "latency_steps": trace.latency_steps,
        "layers": [
            {
                "name": layer.name,
                "spikes_per_neuron": float(layer.spikes.mean()) / math.prod(layer.shape) if layer.neuron else None,
                "sops_per_image": float(layer.sops.mean()),
            }
            for layer in trace.layers.values()
        ],
    }
    table = Table(
        title=f"{options.network} on {images.name}: {len(images)} {'' if images.whole else 'test '}images",
        title_justify="left",
    )
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_row("accuracy", f"{100 * accuracy(trace.predictions, images.labels):.2f} %")
    table.add_row("latency", f"{trace.latency_steps} steps")
    table.add_row("spikes per neuron", f"{trace.spikes_per_neuron:.4f}")
    table.add_row("synaptic operations", f"{trace.sops_per_image / 1e6:.3f} million/image")
    table.add_row("speed", f"{len(images) / seconds:.1f} images/s (engine {snn.engine.name})")
    console.print(table)
    if images.whole:
        console.print(
            f"{images.name} has no folders train and test, so these are all its images: this is a test only of a network "
            f"that was trained on none of them", soft_wrap=True,
        )  # fmt: skip
    write_json(options.json, record)
