"""What ablation, sweep and sparsity curve share: finished runs are kept, evaluation is the integer engine's."""

import csv
import io
import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstspike import files
from firstspike.cat.prepared import Prepared
from firstspike.conversion import ConversionError
from firstspike.converter import convert
from firstspike.data import ImageSet, load
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import track
from firstspike.train.fit import Fitted, fit
from firstspike.train.memory import keep_freed_memory
from firstspike.train.recipe import Recipe, load_recipe

Record = dict[str, Any]
BATCH = 100


def arguments(description: str | None, *, out: str) -> ArgumentParser:
    """Arguments that all three take."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recipe", default=str(Path(__file__).with_name("ablation.toml")), help="TOML file (%(default)s)"
    )
    parser.add_argument("--data", help="data set (the recipe's)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--out", default=out, help="folder of runs, tables and plots (%(default)s)")
    parser.add_argument("--epochs", type=int, help="epochs, the stages moved in proportion (the recipe's)")
    parser.add_argument("--test-limit", type=int, help="test images, spread evenly (all)")
    parser.add_argument("--accelerator", default="auto", help="Lightning's device name (%(default)s)")
    return parser


def chosen_recipe(options: Namespace) -> Recipe:
    """The recipe with what the arguments change."""
    recipe = load_recipe(options.recipe)
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    if options.epochs:
        recipe = with_epochs(recipe, options.epochs)
    return recipe


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe over other many epochs; a stage that would begin after the last epoch begins with it."""
    ratio = epochs / recipe.training.epochs
    starts = {
        stage: None if (start := getattr(recipe.stages, stage)) is None else min(round(start * ratio), epochs - 1)
        for stage in ("clip", "input", "ttfs", "quantised")
    }
    return replace(recipe, training=replace(recipe.training, epochs=epochs), stages=replace(recipe.stages, **starts))


def test_set(options: Namespace, recipe: Recipe) -> ImageSet:
    """The test images, for final figures only."""
    images = load(recipe.data.name, split="test", data_root=options.data_root, size=recipe.data.size or None)
    return images.limit(options.test_limit) if options.test_limit else images


def trained(recipe: Recipe, folder: Path, options: Namespace, **given: Any) -> Fitted:
    """The recipe's run in ``folder``, resumed or finished before."""
    keep_freed_memory()
    return fit(recipe, out=folder, data_root=options.data_root, accelerator=options.accelerator, **given)


def kept(path: Path, key: Record, make: Callable[[], Record]) -> Record:
    """The record in ``path`` if it was made for the same ``key``, else a new one, written whole."""
    key = json.loads(json.dumps(key))
    if path.is_file():
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        if record["key"] == key:
            return record
    record = {"key": key, **make()}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, json.dumps(record, indent=2) + "\n")
    return record


def network_accuracy(network: Prepared, images: ImageSet) -> float:
    """Share of right classes of the trained network in PyTorch, float32."""
    network = network.float().eval()
    right = 0
    with torch.inference_mode():
        for start in track(range(0, len(images), BATCH), "network", -(-len(images) // BATCH)):
            logits = network(torch.from_numpy(images.pixels(start, start + BATCH)))
            right += int((logits.argmax(dim=1).numpy() == images.labels[start : start + BATCH]).sum())
    return right / len(images)


def spiking(network: Prepared, images: ImageSet) -> Record:
    """Integer engine on images: accuracy, spikes per neuron, latency; or ``refused`` with the contract's words."""
    try:
        snn = convert(network.double(), example=images.limit(4).pixels(), classes=images.classes)
    except (ConversionError, ValueError) as error:
        return {"refused": str(error)}
    return {**counts(snn, images), "silent_weights_share": silent_share(snn)}


def counts(snn: SpikingNetwork, images: ImageSet) -> Record:
    """Accuracy, spikes per neuron, latency on images."""
    right, spikes = 0, 0.0
    for start in track(range(0, len(images), BATCH), "integer engine", -(-len(images) // BATCH)):
        trace = snn.trace(images.pixels(start, start + BATCH))
        right += int((trace.predictions == images.labels[start : start + BATCH]).sum())
        spikes += trace.spikes_per_neuron * trace.images
    n = len(images)
    return {"accuracy": right / n, "spikes_per_neuron": spikes / n, "latency_steps": snn.latency_steps, "images": n}


def silent_share(snn: SpikingNetwork) -> float:
    """Share of weights that are zero."""
    zero = snn.network.weights.zero_level
    codes = [layer.codes & zero for layer in snn.network.synaptic]  # the level without its sign
    return float(sum(int((part == zero).sum()) for part in codes) / sum(part.size for part in codes))


def write_table(folder: Path, name: str, rows: list[Record], head: Record) -> None:
    """``name.csv`` and ``name.json``."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    table = csv.DictWriter(stream, columns)
    table.writeheader()
    table.writerows(rows)
    files.write(folder / f"{name}.csv", stream.getvalue())
    files.write(folder / f"{name}.json", json.dumps({**head, "rows": rows}, indent=2) + "\n")


@contextmanager
def figure(path: Path, *, width: float = 7.0, height: float = 4.2, columns: int = 1) -> Iterator[Any]:
    """Axes of a PNG that is written at the end, whole."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.style.use("firstspike.figures.plots")

    drawn, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    yield axes[0] if columns > 1 else axes[0][0]
    with files.replacing(path) as stream:
        drawn.savefig(stream, dpi=150, format="png")
    plt.close(drawn)


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return float(np.mean(values))
