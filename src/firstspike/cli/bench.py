"""``firstspike bench``: inference speed of the native engine against PyTorch on this machine."""

import argparse

from firstspike import zoo
from firstspike.bench.inference import run as measure
from firstspike.bench.random_vgg import random_vgg
from firstspike.cli.common import table, write_json
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Measure and print one table."""
    record = measure(
        zoo.find(options.network) if options.network else random_vgg(density=options.density),
        batch=options.batch,
        threads=options.threads,
        rounds=options.rounds,
    )
    title = f"inference, batch {options.batch}, median of {options.rounds} rounds"
    shown = table(title, ["engine"], ["images/s", "native is faster by"])
    shown.add_row("firstspike native, integers", f"{record['native_images_per_second']:.1f}", "")
    for name, key in (("PyTorch float32", "fp32"), ("PyTorch bfloat16", "bf16")):
        shown.add_row(name, f"{record[f'torch_{key}_images_per_second']:.1f}", f"{record[f'ratio_{key}']:.2f} x")
    console.print(shown)
    console.print(
        f"spikes per neuron {record['spikes_per_neuron']:.3f}; of the inputs of synapses, {record['density']:.3f} spike; "
        f"{record['threads']} threads",
        soft_wrap=True,
    )
    write_json(options.json, record)
