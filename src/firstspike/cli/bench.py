"""``firstspike bench``: inference speed of the native engine against PyTorch and int8 runtimes on this machine."""

import argparse

import numpy as np

from firstspike import zoo
from firstspike.bench.inference import run as measure
from firstspike.bench.int8 import RUNTIMES
from firstspike.bench.random_vgg import random_vgg
from firstspike.cli.common import table, write_json
from firstspike.data import load
from firstspike.spec import Network
from firstspike.terminal import console

TORCH = (("PyTorch float32", "fp32"), ("PyTorch bfloat16", "bf16"))
NAMES = {"openvino_int8": "OpenVINO int8", "onnxruntime_int8": "ONNX Runtime int8"}


def run(options: argparse.Namespace) -> None:
    """Measure and print one table."""
    network = zoo.find(options.network) if options.network else random_vgg(density=options.density)
    runtimes = tuple(RUNTIMES) if options.int8 else ()
    record = measure(
        network,
        batch=options.batch,
        threads=options.threads,
        rounds=options.rounds,
        images=_images(options, network),
        int8=runtimes,
    )
    title = f"inference, batch {options.batch}, {options.rounds} rounds"
    shown = table(title, ["engine"], ["ms/image, median", "fastest", "99 %", "native is faster by"])
    rows = [("firstspike native, integers", "native", ""), *((text, f"torch_{key}", key) for text, key in TORCH)]
    for text, name, ratio in [*rows, *((NAMES[name], name, name) for name in runtimes)]:
        times = [record[f"{name}_{kind}ms_per_image"] for kind in ("", "fastest_", "p99_")]
        faster = f"{record[f'ratio_{ratio}']:.2f} x" if ratio else ""
        shown.add_row(text, *(f"{milliseconds:.3f}" for milliseconds in times), faster)
    console.print(shown)
    console.print(
        f"spikes per neuron {record['spikes_per_neuron']:.3f}; of the inputs of synapses, {record['density']:.3f} spike; "
        f"{record['threads']} threads",
        soft_wrap=True,
    )
    write_json(options.json, record)


def _images(options: argparse.Namespace, network: Network) -> np.ndarray | None:
    """The first test images that the arguments name; None: random ones."""
    if options.data is None:
        return None
    shape = network.input_shape
    if len(shape) != 3:
        raise ValueError(f"network must read images for --data, not inputs of shape {shape!r}: leave it out")
    images = load(options.data, split="test", data_root=options.data_root, expect_shape=shape)
    return images.limit(options.batch).images
