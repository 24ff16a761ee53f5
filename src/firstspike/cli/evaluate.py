"""``firstspike evaluate``: accuracy, spikes and synaptic operations of a model file on test images."""

import argparse
import math

from firstspike.cli.common import arriving_images, chosen_network, chosen_places, sum_all, table, timed, write_json
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Evaluate and print one table."""
    snn = chosen_network(options.network, engine=options.engine)
    with arriving_images(options, snn) as arriving:
        images = arriving.limit(options.limit) if options.limit else arriving
        sums, seconds = timed(lambda: sum_all(snn, images, "evaluate", chosen_places(options)))
    record = {
        "network": str(options.network),
        "dataset": images.name,
        "engine": snn.engine.name,
        "accuracy": sums.accuracy if images.labelled else None,
        "images": len(images),
        "split": "all" if images.whole else "test",
        "images_per_second": len(images) / seconds,
        "spikes_per_neuron": sums.spikes_per_neuron,
        "sops_per_image": sums.sops_per_image,
        "sops_nonzero_per_image": sums.sops_nonzero_per_image,
        "latency_steps": sums.latency_steps,
        "layers": [
            {
                "name": layer.name,
                "spikes_per_neuron": layer.spikes / sums.images / math.prod(layer.shape) if layer.neuron else None,
                "sops_per_image": layer.sops / sums.images,
            }
            for layer in sums.layers.values()
        ],
    }
    title = f"{options.network} on {images.name}: {len(images)} {'' if images.whole else 'test '}images"
    shown = table(title, ["quantity"], ["value"])
    if images.labelled:
        shown.add_row("accuracy", f"{100 * sums.accuracy:.2f} %")
    shown.add_row("latency", f"{sums.latency_steps} steps")
    shown.add_row("spikes per neuron", f"{sums.spikes_per_neuron:.4f}")
    shown.add_row("synaptic operations", f"{sums.sops_per_image / 1e6:.3f} million/image")
    shown.add_row("speed", f"{len(images) / seconds:.1f} images/s (engine {snn.engine.name})")
    console.print(shown)
    if images.whole and images.labelled:
        console.print(
            f"{images.name} has no folders train and test, so these are all its images: this is a test only of a network "
            f"that was trained on none of them",
            soft_wrap=True,
        )
    write_json(options.json, record)
