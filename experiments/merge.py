"""Integer network of the average of runs of one recipe: siblings that differ in --order, each averaged by table `averaging`.

    python experiments/merge.py runs/a/last.ckpt runs/b/last.ckpt --recipe NAME --data-root DIR --out FILE

For runs that end in stage ttfs, or were stopped there (`firstspike train --stop-after`): the runs' averages are averaged, batch
norm is measured anew on training images, weights take the nearest logarithmic levels without training (so accuracy falls),
and the network is converted and proven as by `firstspike convert`. For a start to train on (`firstspike train --initial FILE`).

With ``--checkpoint DIR/last.ckpt`` the first run's checkpoint is written there too, its average replaced by that of all: where
the recipe goes on with stage quantised, `firstspike train --recipe NAME --out DIR` does so from the merged average.

With ``--initial FILE --share S`` the average is moved back by S towards the network that the runs started from (Wortsman et al.
2022, arXiv 2109.01903): S of its parameters, 1 - S of the average's.

Number: validation accuracy in stage ttfs and quantised, all held-out images.
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch

from firstspike.cli.train import find_network
from firstspike.spiking import convert
from firstspike.train.averaging import MEASURED_BATCHES
from firstspike.train.data import Augment, Batches, ImageSet
from firstspike.train.fit import WARM_START_IMAGES, build_network, load_network, training_images, write_checkpoint
from firstspike.train.prepared import Prepared
from firstspike.train.recipe import find_recipe
from firstspike.train.warm_start import measure_statistics, warm_start


def accuracy(network: Prepared, images: ImageSet) -> float:
    """Share of images that the network classifies as labelled, in its stage."""
    network.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in Batches(images, batch_size=250, shuffle=False):
            logits = network(pixels.contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(dim=1) == labels).sum())
    return right / len(images)


def averaged(checkpoint: dict[str, Any], path: str) -> dict[str, Any]:
    """The state of weight averaging in a run's checkpoint: ``count``, and ``average``, parameters by name."""
    averages = [state for state in checkpoint["callbacks"].values() if state.get("count")]
    if not averages:
        raise SystemExit(f"{path}: the checkpoint must hold an average (table averaging, an epoch in stage ttfs)")
    found: dict[str, Any] = averages[0]
    return found


def started(network: Prepared, initial: str, training: ImageSet) -> dict[str, torch.Tensor]:
    """Parameters that `firstspike train --initial` starts from, by the names of an average."""
    warm_start(network, find_network(initial), training.limit(WARM_START_IMAGES).pixels())
    return {f"network.{name}": parameter.detach().clone() for name, parameter in network.named_parameters()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", type=Path, help="where to write the first run's checkpoint with the average of all"
    )
    parser.add_argument("--initial", metavar="FILE", help="network that the runs started from, with --share")
    parser.add_argument("--share", type=float, default=0.0, help="of its parameters, in [0, 1) (default: %(default)s)")
    options = parser.parse_args()
    if not 0 <= options.share < 1:
        raise SystemExit(f"--share must be in [0, 1), not {options.share}")
    if (options.share > 0) != (options.initial is not None):
        raise SystemExit(f"--initial and --share belong together, not {options.initial} and {options.share}")
    recipe = find_recipe(options.recipe)
    training, validation = training_images(recipe, options.data_root)
    shape, classes = training.shape, len(training.classes)
    network = load_network(recipe, options.checkpoints[0], shape=shape, classes=classes)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoints = [torch.load(path, map_location="cpu", weights_only=True) for path in options.checkpoints]
    states = [averaged(*found) for found in zip(checkpoints, options.checkpoints, strict=True)]
    merged = {
        name: torch.stack([state["average"][name] for state in states]).mean(dim=0) for name in states[0]["average"]
    }
    if options.initial is not None:
        lightning.seed_everything(recipe.training.seed, workers=False, verbose=False)
        start = started(build_network(recipe, shape=shape, classes=classes), options.initial, training)
        merged = {name: value.lerp(start[name], options.share) for name, value in merged.items()}
    if options.checkpoint:
        states[0].update(average=merged, count=sum(state["count"] for state in states))
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(checkpoints[0], options.checkpoint)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(merged[f"network.{name}"])
    network.stage = "ttfs"
    data = recipe.data
    augment = Augment(pad=data.pad, flip=data.flip, cutout=data.cutout)
    batches = Batches(training, batch_size=recipe.training.batch_size, seed=recipe.training.seed, augment=augment)
    measure_statistics(network, (images for images, _ in islice(batches, MEASURED_BATCHES)))
    print(f"ttfs: {accuracy(network, validation):.4f} of {len(validation)} validation images", flush=True)
    network.stage = "quantised"
    print(f"quantised: {accuracy(network, validation):.4f}", flush=True)
    example = validation.limit(16)
    snn = convert(network, example=example.pixels(), classes=example.classes)
    snn.save(options.out, notes={"recipe": options.recipe, "dataset": example.name})


if __name__ == "__main__":
    main()
