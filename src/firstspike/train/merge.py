"""Average of runs of one recipe: siblings that differ in the order of batches, each averaged by the table `averaging`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from firstspike.cat.prepared import Prepared
from firstspike.data import ImageSet
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.spec import Network
from firstspike.train.averaging import MEASURED_BATCHES
from firstspike.train.checkpoint import read_checkpoint, write_checkpoint
from firstspike.train.fit import WARM_START_IMAGES, build_network, load_network, training_images
from firstspike.train.recipe import Recipe
from firstspike.train.warm_start import measure_statistics, warm_start


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What `merge` made.

    Attributes:
        network: the average in stage "quantised", in evaluation mode.
        accuracies: share of validation images classified as labelled, by stage.
        validation: those images.
    """

    network: Prepared
    accuracies: dict[str, float]
    validation: ImageSet


def merge(
    recipe: Recipe,
    checkpoints: Sequence[str | Path],
    *,
    data_root: str | Path | None = None,
    initial: Network | None = None,
    share: float = 0.0,
    checkpoint: Path | None = None,
) -> Merged:
    """The average of runs that end in stage ttfs, or were stopped there.

    The runs' averages are averaged, batch norm is measured anew on training images, and weights take the nearest
    logarithmic levels without training, so accuracy falls.

    Args:
        recipe: what the runs were trained by.
        checkpoints: theirs.
        data_root: where named data sets lie.
        initial: the network that the runs started from; the average moves back towards it by ``share`` (Wortsman et
            al. 2022, arXiv 2109.01903).
        share: share of its parameters, in [0, 1).
        checkpoint: where to write the first run's checkpoint with the average of all in place of its own; training
            goes on from there.

    Raises:
        ValueError: a checkpoint holds no average or is none of this recipe, or ``initial`` and ``share`` do not belong
            together.
    """
    if not 0 <= share < 1 or (share > 0) != (initial is not None):
        raise ValueError(f"share must be in [0, 1), above 0 with an initial network and 0 without, not {share!r}")
    training, validation = training_images(recipe, data_root)
    shape, classes = training.shape, len(training.classes)
    network = load_network(recipe, checkpoints[0], shape=shape, classes=classes)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    runs = [read_checkpoint(path) for path in checkpoints]
    states = [_averaged(run, path) for run, path in zip(runs, checkpoints, strict=True)]
    average: dict[str, Tensor] = {
        name: torch.stack([state["average"][name] for state in states]).mean(dim=0) for name in states[0]["average"]
    }
    if initial is not None:
        lightning.seed_everything(recipe.training.seed, workers=False, verbose=False)
        start = _started(build_network(recipe, shape=shape, classes=classes), initial, training)
        average = {name: value.lerp(start[name], share) for name, value in average.items()}
    if checkpoint is not None:
        states[0].update(average=average, count=sum(state["count"] for state in states))
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(runs[0], checkpoint)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(average[f"network.{name}"])
    network.set_stage("ttfs")
    data = recipe.data
    augment = Augment(pad=data.pad, flip=data.flip, cutout=data.cutout)
    batches = Batches(training, batch_size=recipe.training.batch_size, seed=recipe.training.seed, augment=augment)
    measure_statistics(network, (images for images, _ in islice(batches, MEASURED_BATCHES)))
    accuracies = {"ttfs": _accuracy(network, validation)}
    network.set_stage("quantised")
    accuracies["quantised"] = _accuracy(network, validation)
    return Merged(network=network, accuracies=accuracies, validation=validation)


def _averaged(run: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The state of weight averaging in a run's checkpoint: ``count``, and ``average``, parameters by name."""
    averages = [state for state in run["callbacks"].values() if state.get("count")]
    if not averages:
        raise ValueError(f"{path}: the checkpoint must hold an average (table averaging, an epoch in stage ttfs)")
    state: dict[str, Any] = averages[0]
    return state


def _started(network: Prepared, initial: Network, training: ImageSet) -> dict[str, Tensor]:
    """Parameters that `firstspike train --initial` starts from, by the names of an average."""
    warm_start(network, initial, torch.from_numpy(training.limit(WARM_START_IMAGES).pixels()))
    return {f"network.{name}": parameter.detach().clone() for name, parameter in network.named_parameters()}


def _accuracy(network: Prepared, images: ImageSet) -> float:
    network.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in Batches(images, batch_size=250, shuffle=False):
            logits = network(pixels.contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(dim=1) == labels).sum())
    return right / len(images)
