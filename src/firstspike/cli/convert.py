"""``firstspike convert``: a checkpoint, or a network of one's own, becomes a model file of integers, proved equal on images."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from firstspike.arith import Code
from firstspike.cat import own
from firstspike.cat.adapt import adapt
from firstspike.cat.calibrate import calibrate
from firstspike.cat.layers import WeightScale
from firstspike.cat.prepare import prepare
from firstspike.cli.common import write_json
from firstspike.converter import convert
from firstspike.data import load
from firstspike.spiking import SpikingNetwork
from firstspike.terminal import console, track
from firstspike.train.fit import load_network, training_images
from firstspike.train.recipe import find_recipe


def run(options: argparse.Namespace) -> None:
    """Convert, prove, write."""
    if options.model and not options.checkpoint and options.calibrate:
        _own(options)
    elif options.checkpoint and options.recipe and not options.model:
        _trained(options)
    else:
        raise ValueError(
            "convert needs CHECKPOINT and --recipe, or --model MODULE:FACTORY or FILE.onnx and --calibrate DATA"
        )


def _trained(options: argparse.Namespace) -> None:
    """A checkpoint of `firstspike train`."""
    recipe = find_recipe(options.recipe)
    if options.data:
        recipe = replace(recipe, data=replace(recipe.data, name=options.data))
    _, validation = training_images(recipe, options.data_root)
    example = validation.limit(min(options.limit, len(validation)))
    network = load_network(recipe, options.checkpoint, shape=example.shape, classes=len(example.classes))
    network.accumulator_bits = options.accumulator_bits
    snn = convert(network, example=example.pixels(0, len(example)), classes=example.classes)
    notes = {"recipe": options.recipe, "dataset": example.name}
    _write(options, snn, notes, f"{len(example)} validation images", {"images_compared": len(example)})


def _own(options: argparse.Namespace) -> None:
    """A trained network of one's own, calibrated on images in place of training."""
    net = _network(options)
    images = load(options.calibrate, split="train", data_root=options.data_root).limit(options.images)
    x = torch.from_numpy(images.pixels())
    if options.adapt:
        net, changes = adapt(net, example=x)
        console.print(str(changes), soft_wrap=True)
    code = Code(T=options.window, input=options.input)
    scale: WeightScale = "channel" if options.channel_scales else "layer"
    cat = prepare(net, example=x, code=code, accumulator_bits=options.accumulator_bits, weight_scale=scale)
    calibrate(cat, x, progress=lambda steps: track(steps, "calibrate", len(steps)))
    number = int(np.prod(cat.output_shape))
    classes = images.classes if len(images.classes) == number else ()
    snn = convert(cat, example=x[: options.limit].numpy(), classes=classes)
    with torch.no_grad():
        plain = torch.cat([net(part).flatten(1).argmax(1) for part in torch.split(x, 64)]).numpy()
    same = float(np.mean(plain == snn.classify(x.numpy())))
    console.print(f"{100 * same:.1f} % of {len(x)} images of {images.name} are classified as by {options.model}")
    compared = min(options.limit, len(x))
    record = {"images_compared": compared, "images_calibrated": len(x), "same_class": same}
    _write(options, snn, {"model": options.model, "dataset": images.name}, f"{compared} images", record)


def _network(options: argparse.Namespace) -> nn.Module:
    """The network that ``--model`` names: an ONNX file, or what a function makes."""
    if options.model.endswith(".onnx"):
        from firstspike.interop.onnx.read import from_onnx

        if options.weights:
            raise ValueError(f"--weights must not be given with --model {options.model}, which holds its own")
        return own.normalised(from_onnx(options.model), options.mean, options.std, subject="--mean and --std").eval()
    net = own.build(options.model)
    if options.weights:
        own.load_weights(net, options.weights)
    return own.normalised(net, options.mean, options.std, subject="--mean and --std").eval()


def _write(
    options: argparse.Namespace, snn: SpikingNetwork, notes: dict[str, str], proof: str, record: dict[str, Any]
) -> None:
    snn.save(options.save, notes=notes)
    size = Path(options.save).stat().st_size
    console.print(
        f"{options.save}: {len(snn.network.layers)} layers, {size:,} bytes; all spikes and logits equal the trained "
        f"network in float64 on {proof}",
        soft_wrap=True,
    )
    write_json(
        options.json,
        {
            "network": options.save,
            "size_bytes": size,
            "layers": len(snn.network.layers),
            "latency_steps": snn.latency_steps,
            **record,
        },
    )
