"""`fit`: run a recipe to its end, a checkpoint every epoch, resumable at any moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import lightning
import torch
from torch import nn

from firstspike.arith import checks
from firstspike.cat.layers import Synapses
from firstspike.cat.models import vgg
from firstspike.cat.own import build, load_weights, normalised
from firstspike.cat.prepare import prepare
from firstspike.cat.prepared import Prepared
from firstspike.data import ImageSet, load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.messages import line
from firstspike.spec import Network
from firstspike.terminal import console
from firstspike.train import processes, threads
from firstspike.train.checkpoint import CheckpointError, read_checkpoint
from firstspike.train.distillation import Teacher, Teachers
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.recipe import PLANS, Recipe
from firstspike.train.run import TrainingRun
from firstspike.train.warm_start import warm_start, without

WARM_START_IMAGES = 1000
"""Training images on which `warm_start` measures means and variances."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What training leaves: the network, and the last epoch's metrics (plain floats) with the number of epochs run."""

    network: Prepared
    metrics: dict[str, float]
    epochs: int


def build_network(recipe: Recipe, *, shape: tuple[int, int, int], classes: int) -> Prepared:
    """The recipe's network, prepared; ``shape`` is (channels, height, width) of an image.

    Raises:
        ValueError: the network does not fit images or classes, or is none.
    """
    plain, chosen = _plain(recipe, shape, classes), recipe.network
    if chosen.weights:
        load_weights(plain, chosen.weights)
    plain = normalised(plain, chosen.mean, chosen.std, subject="network.mean and network.std")
    network = prepare(
        plain,
        example=torch.zeros(1, *shape),
        code=recipe.code,
        weights=recipe.weights,
        weight_scale=chosen.weight_scale,
    )
    logits = prod(network.output_shape)
    if logits != classes:
        raise ValueError(f"model {chosen.model!r} must have a logit for each of {classes} classes, not {logits}")
    if network.heads:
        raise ValueError(
            f"model {chosen.model!r} must have one output, not {', '.join(network.heads)}; train several in a loop of your "
            f"own, on cat.split(cat(x))"
        )
    return network


def _plain(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> nn.Module:
    if recipe.network.model:
        return build(recipe.network.model)
    if shape[1] != shape[2]:
        raise ValueError(f"a VGG needs square images, not {shape[1]}x{shape[2]} pixels")
    widths, plan = iter(recipe.network.widths), PLANS[recipe.network.plan]
    return vgg(
        [entry if entry == "M" else next(widths, entry) for entry in plan],
        classes=classes,
        in_channels=shape[0],
        image_size=shape[1],
        hidden=recipe.network.hidden,
        width=recipe.network.width,
        dropout=recipe.network.dropout,
    )


def training_images(recipe: Recipe, data_root: str | Path | None = None) -> tuple[ImageSet, ImageSet]:
    """Training and validation images of a recipe: the training set only, split by the recipe's seed."""
    images = load(recipe.data.name, split="train", data_root=data_root, size=recipe.data.size or None)
    try:
        training, validation = split_validation(images, count=recipe.data.validation, seed=recipe.training.seed)
    except ValueError as error:
        raise ValueError(f"data.validation: {error}") from error
    return training.limit(recipe.data.limit) if recipe.data.limit else training, validation


@threads.kept()
def fit(
    recipe: Recipe,
    *,
    out: str | Path,
    data_root: str | Path | None = None,
    resume: bool = True,
    initial: Network | Sequence[Network] | None = None,
    teachers: Sequence[Teacher] = (),
    accelerator: str = "auto",
    stop_after: int | None = None,
) -> Fitted:
    """Train by a recipe; checkpoint and logs (CSV, TensorBoard; one folder a start) go to ``out``.

    A bar is shown where there is a terminal, a line an epoch elsewhere.

    Args:
        recipe: what to train.
        out: folder of this run; a checkpoint in it is resumed unless ``resume`` is False.
        data_root: where named data sets lie.
        resume: go on from the checkpoint in ``out``: the same numbers as if it had not stopped.
        initial: trained integer network whose weights to start from, where names and shapes of layers agree (for example
            another data set's; see `warm_start`), or several, whose average to start from; a checkpoint in ``out`` goes
            before it.
        teachers: trained networks, integer or float, for the recipe's table ``distillation``; the same ones when resuming.
        accelerator: Lightning's choice of device.
        stop_after: stop after so many epochs from the first, at least 1, to be resumed later.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint or log cannot be written; the text says what is kept. Or the
            checkpoint to resume cannot be read, or another recipe or other teachers made it.
        OSError: another process trains in ``out``, or the folder cannot be made.
        FileNotFoundError, ValueError: the data cannot be read, ``initial`` does not fit the recipe's network, teachers do not
            fit its data, or the recipe asks for teachers where there are none or the other way round.
    """
    _check_arguments(recipe, teachers, stop_after)
    training, validation = training_images(recipe, data_root)
    shape, classes = training.shape, len(training.classes)
    taught = Teachers(teachers, shape=shape, classes=classes) if teachers else None
    with torch.device("meta"):
        size = _plain(recipe, shape, classes)
    threads.suit(size, shape, batch=recipe.training.batch_size)
    run = TrainingRun(recipe=recipe, out=Path(out), resume=resume, accelerator=accelerator, stop_after=stop_after)
    lightning.seed_everything(recipe.training.seed, workers=False, verbose=False)
    network = build_network(recipe, shape=shape, classes=classes)
    taken: Sequence[str] = ()
    if initial is not None:
        taken = warm_start(network, initial, torch.from_numpy(training.limit(WARM_START_IMAGES).pixels()))
        if processes.rank() == 0 and not run.resumed and (told := without(network, taken)):
            console.print(told, soft_wrap=True, highlight=False)
    _freeze(network, recipe.training.frozen, taken=None if run.resumed else taken)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if processes.world_size() > 1:
        processes.share_batch_norm(network)
    if taught is not None:
        taught.to(memory_format=torch.channels_last)
    batches, held_out = _batches(recipe, training, validation)
    module = ConversionAwareTraining(network, recipe, steps_per_epoch=len(batches), teachers=taught)
    metrics, epochs = run.fit(module, batches, held_out)
    network.eval()
    return Fitted(network=network, metrics=metrics, epochs=epochs)


def _check_arguments(recipe: Recipe, teachers: Sequence[Teacher], stop_after: int | None) -> None:
    if stop_after is not None:
        checks.integer("stop_after", stop_after, low=1, high=1 << 20)
    if bool(teachers) != (recipe.distillation.weight > 0):
        rule = "above 0 with teachers" if teachers else "0 without teachers (--teacher)"
        raise ValueError(f"distillation.weight must be {rule}, not {recipe.distillation.weight!r}")
    batch, world = recipe.training.batch_size, processes.world_size()
    if world > 1 and recipe.data.cutmix > 0 and batch % (2 * world):
        raise ValueError(
            f"training.batch_size must be even in each of {world} processes for data.cutmix, not {batch!r}"
        )


def _batches(recipe: Recipe, training: ImageSet, validation: ImageSet) -> tuple[Batches, Batches]:
    """Batches of the training images, augmented, and of the held-out ones; a process's part of each."""
    data = recipe.data
    share = processes.rank(), processes.world_size()
    batches = Batches(
        training,
        batch_size=recipe.training.batch_size,
        seed=recipe.training.stream,
        augment=Augment(pad=data.pad, flip=data.flip, cutout=data.cutout),
        drop_last=True,
        share=share,
    )
    return batches, Batches(validation, batch_size=250 * share[1], shuffle=False, share=share)


def _freeze(network: Prepared, count: int, *, taken: Sequence[str] | None) -> None:
    """Train only what comes after the first ``count`` layers with weights; ``taken`` have them from an initial network."""
    layers = {name: layer for name, layer in network.layers.items() if isinstance(layer, Synapses)}
    if count >= len(layers):
        raise ValueError(f"training.frozen must leave one of {len(layers)} layers to train, not be {count!r}")
    for name, layer in list(layers.items())[:count]:
        if taken is not None and name not in taken:
            raise ValueError(
                f"training.frozen must count layers that an initial network gives (--initial), not {count!r} with layer {name!r}"
            )
        layer.requires_grad_(False)


def load_network(recipe: Recipe, checkpoint: str | Path, *, shape: tuple[int, int, int], classes: int) -> Prepared:
    """The prepared network of a checkpoint, in its stage and in evaluation mode. The file is read as data only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint of this recipe.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r}: there is no such file")
    network = build_network(recipe, shape=shape, classes=classes)
    try:
        state = read_checkpoint(path)["state_dict"]
    except (CheckpointError, KeyError) as error:
        raise ValueError(f"checkpoint {str(path)!r}: it is damaged or no checkpoint of `firstspike train`") from error
    try:
        prefix = "network."
        network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    except Exception as error:
        reason = line(str(error))[:200]
        raise ValueError(f"checkpoint {str(path)!r}: it must hold a network of this recipe ({reason})") from error
    return network.eval()
