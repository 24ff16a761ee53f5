"""``firstspike demo``: the whole path on handwritten digits: train, convert, run, cost, report."""

import argparse
import platform
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.text import Text

from firstspike import __version__, files
from firstspike.cli.common import accuracy, run_all, timed, write_json
from firstspike.converter import convert
from firstspike.data import ImageSet
from firstspike.data import load as load_images
from firstspike.pages import Example, demo_page, demo_table
from firstspike.processor import Cost, Processor, baselines, cycles, sensitivity, technology
from firstspike.spec import Trace
from firstspike.spiking import SpikingNetwork, load
from firstspike.terminal import console
from firstspike.train.fit import fit
from firstspike.train.recipe import find_recipe


def run(options: argparse.Namespace) -> None:
    """Run the whole path and print one table."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    recipe = find_recipe("digits")
    _step("1. train", "conversion-aware, in stages: clip, spikes, logarithmic weights")
    fitted, seconds = timed(lambda: fit(recipe, out=out / "run", resume=False))
    images = load_images(recipe.data.name, split="test")
    pixels, labels = images.pixels(0, len(images)), images.labels

    _step("2. convert", "to integers; every spike and logit must equal the trained network's")
    model = out / "digits.safetensors"
    convert(fitted.network, example=pixels, classes=images.classes).save(model, notes={"recipe": "digits"})
    snn = load(model)

    _step("3. run", f"{model} bit-exactly on {len(images)} held-out test images")
    trace = run_all(snn, images, "images")
    with torch.no_grad():
        trained = fitted.network(torch.from_numpy(pixels)).argmax(dim=1).numpy()

    _step("4. cost", "on the processor: cycles, memory traffic, energy")
    processor, constants = Processor(), technology.default()
    cost = processor.price(snn.network, trace, technology=constants)
    record = _record(images, trained, trace, snn, cost, seconds)
    console.print(demo_table(record, cost))
    counts = cycles.count(snn.network, trace.times, processor)
    page = demo_page(
        record,
        network=snn.network,
        trace=trace,
        cost=cost,
        example=Example(image=pixels[0], label=int(labels[0])),
        provenance=_provenance(),
        designs=baselines.compare(snn.network, trace, processor=processor, technology=constants),
        swings=sensitivity.of_counts(counts, weight_bits=snn.network.weights.bits, technology=constants),
    )
    report = out / "report.html"
    files.write(report, page)
    _step("5. report", str(report))
    write_json(options.json, record)


def _record(
    images: ImageSet, trained: np.ndarray, trace: Trace, snn: SpikingNetwork, cost: Cost, seconds: float
) -> dict[str, Any]:
    """What the demo found; ``trained`` are the classes by the trained network."""
    labels = images.labels
    return {
        "dataset": images.name,
        "test_images": len(images),
        "cat_accuracy": accuracy(trained, labels),
        "snn_accuracy": accuracy(trace.predictions, labels),
        "agreement": accuracy(trace.predictions, trained),
        "weight_bits": snn.network.weights.bits,
        "T": snn.network.code.T,
        "tau": snn.network.code.tau,
        "latency_steps": trace.latency_steps,
        "spikes_per_neuron": trace.spikes_per_neuron,
        "sops_per_image": trace.sops_per_image,
        "cycles_per_image": cost.cycles_per_image,
        "energy_uj_per_image": cost.energy_uj,
        "train_seconds": seconds,
    }


def _provenance() -> dict[str, str]:
    """What made the page."""
    return {
        "command": "firstspike demo",
        "firstspike": __version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "date": date.today().isoformat(),
    }


def _step(name: str, text: str) -> None:
    console.print(Text(name, style="bold"), text, soft_wrap=True)
