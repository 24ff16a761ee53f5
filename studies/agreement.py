"""Zero conversion loss: the last-stage network in PyTorch against the integer network, spike for spike.

Number: for each network the share of equal spike times (input and firing layers), of images with equal logits and of
equal classes, in float64 (must be 1, compared with ==), float32, and bfloat16 autocast.
n: --limit test images (256 by default, spread evenly).
Machine: any for float64; float32 and bfloat16 round as the processor does. Versions: any PyTorch that the package takes.

The PyTorch network is rebuilt from the model file; with --checkpoint and --recipe it is the
training run's own, its batch norm folded by training's last stage, and the integer network is converted from it anew.

    python -m studies.agreement vgg16-cifar10 --data-root DIR --json agreement.json
    python -m studies.agreement --checkpoint runs/NAME/last.ckpt --recipe NAME --data-root DIR
"""

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from firstspike import zoo
from firstspike.arith import NO_SPIKE, decode
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import rebuild
from firstspike.converter import convert
from firstspike.data import ImageSet
from firstspike.data import load as load_images
from firstspike.spec import INPUT
from firstspike.spiking import SpikingNetwork, load
from firstspike.terminal import track
from firstspike.train.fit import load_network
from firstspike.train.recipe import find_recipe

DATA = ("cifar10", "cifar100", "tiny-imagenet")
BATCH = 16


def stored_values(snn: SpikingNetwork, name: str, stored: np.ndarray) -> np.ndarray:
    """What the spikes of a map say: a pixel of input planes is the sum of its bits."""
    if snn.network.planes(name) > 1:
        return (NO_SPIKE - stored).astype(np.float64) / 256
    return decode(stored, snn.network.code)


def compare(prepared: Prepared, snn: SpikingNetwork, images: ImageSet, label: str) -> dict[str, object]:
    """One record per type of number."""
    networks = {
        "float64": deepcopy(prepared).double().eval(),
        "float32": deepcopy(prepared).float().eval(),
        "bfloat16": deepcopy(prepared).float().eval(),
    }
    last = snn.network.layers[-1].name
    firing = [INPUT, *(layer.name for layer in snn.network.synaptic if layer.fires)]
    total = {kind: {"spikes": 0, "neurons": 0, "logits": 0, "classes": 0} for kind in networks}
    for start in track(range(0, len(images), BATCH), label, -(-len(images) // BATCH)):
        pixels = images.pixels(start, min(start + BATCH, len(images)))
        given, times = torch.from_numpy(pixels), snn.encode(pixels)
        outputs = {INPUT: times, **snn.engine.layers(times)}
        logits = np.ldexp(outputs[last].reshape(len(pixels), -1).astype(np.float64), -snn.logit_exponent)
        for kind, network in networks.items():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
                values = network.spike_values(given.double() if kind == "float64" else given)
            found = values[last].double().numpy().reshape(len(pixels), -1)
            sums = total[kind]
            for name in firing:
                equal = values[name].double().numpy() == stored_values(snn, name, outputs[name])
                sums["spikes"] += int(equal.sum())
                sums["neurons"] += equal.size
            sums["logits"] += int((found == logits).all(axis=1).sum())
            sums["classes"] += int((found.argmax(axis=1) == logits.argmax(axis=1)).sum())
    n = len(images)
    record: dict[str, object] = {"images": n}
    for kind, sums in total.items():
        record[kind] = {
            "identical_spikes_share": sums["spikes"] / sums["neurons"],
            "different_spikes": sums["neurons"] - sums["spikes"],
            "identical_logits_share": sums["logits"] / n,
            "identical_classes_share": sums["classes"] / n,
        }
    exact = total["float64"]
    record["zero_conversion_loss"] = exact["spikes"] == exact["neurons"] and exact["logits"] == n
    return record


def main() -> int:
    """Compare, print, write; 1 where float64 is not the integer network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="networks of the zoo (all)")
    parser.add_argument("--checkpoint", help="a training run's checkpoint instead")
    parser.add_argument("--recipe", help="recipe of the checkpoint")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=256, help="test images (%(default)s)")
    parser.add_argument("--json", help="file for the records")
    options = parser.parse_args()
    found: dict[str, object] = {}
    if options.checkpoint:
        if not options.recipe:
            parser.error("--checkpoint needs --recipe")
        recipe = find_recipe(options.recipe)
        images = load_images(recipe.data.name, split="test", data_root=options.data_root).limit(options.limit)
        prepared = load_network(recipe, options.checkpoint, shape=images.shape, classes=len(images.classes))
        snn = convert(deepcopy(prepared).double(), example=images.limit(2).pixels())
        found[Path(options.checkpoint).parent.name] = compare(prepared, snn, images, "checkpoint")
    else:
        for name in options.networks or zoo.names():
            data = next((data for data in DATA if f"-{data}-" in f"{name}-"), None)
            if data is None:
                parser.error(f"network {name!r} must name one of {', '.join(DATA)}, its data set")
            images = load_images(data, split="test", data_root=options.data_root).limit(options.limit)
            snn = load(zoo.path(name))
            found[name] = compare(rebuild(snn.network), snn, images, name)
    for name, record in found.items():
        print(name, record)
    if options.json:
        records.write(options.json, {"networks": found, "torch": torch.__version__})
    return 0 if all(record["zero_conversion_loss"] for record in found.values()) else 1  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
