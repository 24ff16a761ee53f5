"""``firstspike prune``: a trained network loses weights and channels without training, proved and judged on held-out images."""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.table import Table

from firstspike import zoo
from firstspike.cat.prune import LayerPruning, prune
from firstspike.cli.common import write_json
from firstspike.converter import convert
from firstspike.data import ImageSet, load, split_validation
from firstspike.spec.file import read_notes
from firstspike.spiking import SpikingNetwork
from firstspike.spiking import load as load_network
from firstspike.terminal import console, track

HELD_OUT = 2000
"""Training images, at most, that judge the result; a tenth of them where there are fewer."""

PROOF = 16
"""Of these, on how many the conversion is proved."""


def run(options: argparse.Namespace) -> None:
    """Prune, convert, prove, judge, write."""
    file = zoo.file(options.network)
    given = load_network(file)
    network, notes = given.network, read_notes(file)
    name = options.data or notes.get("dataset")
    if not name:
        raise ValueError("--data must name training images: the notes of the network do not")
    images = load(name, split="train", data_root=options.data_root)
    training, held_out = split_validation(images, count=min(HELD_OUT, len(images) // 10), seed=0)
    training = training.limit(options.images)
    code = replace(network.code, **_given(options, T="window", mantissa_bits="kernel_mantissa", input="input"))
    weights = replace(network.weights, **_given(options, bits="weight_bits", mantissa_bits="weight_mantissa"))
    pruned, layers = prune(
        network,
        torch.from_numpy(training.pixels()),
        zeros=options.zeros,
        channels=options.channels,
        code=None if code == network.code else code,
        weights=None if weights == network.weights else weights,
        accumulator_bits=options.accumulator_bits,
        progress=lambda steps: track(steps, "prune", len(steps)),
    )
    snn = convert(pruned, example=held_out.pixels(0, min(PROOF, len(held_out))), classes=network.classes)
    before, after = (_accuracy(one, held_out) for one in (given, snn))
    total = sum(layer.weights for layer in layers)
    zeros = sum(layer.zeros * layer.weights for layer in layers) / total
    snn.save(options.save, notes={**notes, "pruned": options.network})
    console.print(_table(layers))
    console.print(
        f"{options.save}: {total:,} weights, {100 * zeros:.1f} % zero; {100 * after:.2f} % of {len(held_out)} held-out "
        f"training images of {name}, {100 * before:.2f} % before",
        soft_wrap=True,
    )
    write_json(
        options.json,
        {
            "network": options.save,
            "weights": total,
            "zeros": zeros,
            "images": len(training),
            "images_held_out": len(held_out),
            "accuracy_before": before,
            "accuracy": after,
            "layers": [vars(layer) for layer in layers],
        },
    )


def _given(options: argparse.Namespace, **named: str) -> dict[str, Any]:
    """Fields by the options that are given."""
    values = {field: getattr(options, option) for field, option in named.items()}
    return {field: value for field, value in values.items() if value is not None}


def _accuracy(snn: SpikingNetwork, images: ImageSet) -> float:
    return float(np.mean(snn.classify(images.pixels()) == images.labels))


def _table(layers: tuple[LayerPruning, ...]) -> Table:
    table = Table("layer", "weights", "zero, %", "channels", "error, %")
    for layer in layers:
        cells = (
            f"{layer.weights:,}",
            f"{100 * layer.zeros:.1f}",
            str(layer.channels),
            "" if layer.error is None else f"{100 * layer.error:.2f}",
        )
        table.add_row(layer.name, *cells)
    return table
