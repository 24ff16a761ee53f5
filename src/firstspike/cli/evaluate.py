"""``firstspike evaluate``: accuracy, spikes and synaptic operations of a model file on test images."""

import argparse
import math

from firstspike.cli.common import accuracy, chosen_images, chosen_network, run_all, table, timed, write_json
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Evaluate and print one table."""
    snn = chosen_network(options.network, engine=options.engine)
    images = chosen_images(options, snn, limit=options.limit)
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
    title = f"{options.network} on {images.name}: {len(images)} {'' if images.whole else 'test '}images"
    shown = table(title, ["quantity"], ["value"])
    shown.add_row("accuracy", f"{100 * accuracy(trace.predictions, images.labels):.2f} %")
    shown.add_row("latency", f"{trace.latency_steps} steps")
    shown.add_row("spikes per neuron", f"{trace.spikes_per_neuron:.4f}")
    shown.add_row("synaptic operations", f"{trace.sops_per_image / 1e6:.3f} million/image")
    shown.add_row("speed", f"{len(images) / seconds:.1f} images/s (engine {snn.engine.name})")
    console.print(shown)
    if images.whole:
        console.print(
            f"{images.name} has no folders train and test, so these are all its images: this is a test only of a network "
            f"that was trained on none of them", soft_wrap=True,
        )  # fmt: skip
    write_json(options.json, record)
