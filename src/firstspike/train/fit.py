"""`fit`: run a recipe to its end, a checkpoint every epoch, resumable at any moment."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from firstspike.train.data import Augment, Batches, ImageSet, load, split_validation
from firstspike.train.models import vgg
from firstspike.train.module import ConversionAwareTraining, TrainingError
from firstspike.train.prepare import prepare
from firstspike.train.prepared import Prepared
from firstspike.train.progress import TrainingProgress
from firstspike.train.recipe import PLANS, Recipe

CHECKPOINT = "last.ckpt"


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What training leaves: the network, and the last epoch's metrics (plain floats) with the number of epochs run."""

    network: Prepared
    metrics: dict[str, float]
    epochs: int


class _Checkpoint(Callback):
    """Writes the checkpoint to a temporary file and renames it, after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        temporary = self.path.with_suffix(".partial")
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                os.replace(temporary, self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise TrainingError(
                f"checkpoint {str(self.path)!r}: it could not be written ({error}); the one of the epoch before is kept"
            ) from error


def build_network(recipe: Recipe, *, shape: tuple[int, int, int], classes: int) -> Prepared:
    """The recipe's network, prepared; ``shape`` is (channels, height, width) of an image."""
    if shape[1] != shape[2]:
        raise ValueError(f"a VGG needs square images, not {shape[1]}x{shape[2]} pixels")
    plain = vgg(
        PLANS[recipe.network.plan],
        classes=classes,
        in_channels=shape[0],
        image_size=shape[1],
        hidden=recipe.network.hidden,
        width=recipe.network.width,
        dropout=recipe.network.dropout,
    )
    return prepare(plain, code=recipe.code, weights=recipe.weights)


def training_images(recipe: Recipe, data_root: str | Path | None = None) -> tuple[ImageSet, ImageSet]:
    """Training and validation images of a recipe: the training set only, split by the recipe's seed."""
    images = load(recipe.data.name, split="train", data_root=data_root, size=recipe.data.size or None)
    return split_validation(images, count=recipe.data.validation, seed=recipe.training.seed)


def fit(
    recipe: Recipe,
    *,
    out: str | Path,
    data_root: str | Path | None = None,
    resume: bool = True,
    initial: dict[str, torch.Tensor] | None = None,
    accelerator: str = "auto",
    progress: bool = True,
    stop_after: int | None = None,
) -> Fitted:
    """Train by a recipe; checkpoint and logs (CSV, TensorBoard) go to ``out``.

    Args:
        recipe: what to train.
        out: folder of this run; a checkpoint in it is resumed unless ``resume`` is False.
        data_root: where named data sets lie.
        resume: go on from the checkpoint in ``out``: the same numbers as if it had not stopped.
        initial: state to start from where names and shapes agree (for example another data set's network).
        accelerator: Lightning's choice of device.
        progress: show a progress bar.
        stop_after: stop after this epoch, to be resumed later.

    Raises:
        TrainingError: the loss is not finite or the checkpoint cannot be written; the last good one is kept.
        FileNotFoundError, ValueError: the data cannot be read.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    training, validation = training_images(recipe, data_root)
    lightning.seed_everything(recipe.training.seed, workers=False, verbose=False)
    network = build_network(recipe, shape=training.shape, classes=len(training.classes))
    if initial is not None:
        own = network.state_dict()
        network.load_state_dict({**own, **{k: v for k, v in initial.items() if k in own and own[k].shape == v.shape}})
        network.stage = "relu"
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    augment = Augment(pad=recipe.data.pad, flip=recipe.data.flip, cutout=recipe.data.cutout)
    seed, batch = recipe.training.seed, recipe.training.batch_size
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    batches = Batches(
        training, batch_size=batch, seed=seed, augment=augment, drop_last=True, rank=rank, world_size=world
    )
    checks = Batches(validation, batch_size=250 * world, shuffle=False, rank=rank, world_size=world)
    module = ConversionAwareTraining(network, recipe, steps_per_epoch=len(batches))
    checkpoint = out / CHECKPOINT
    with warnings.catch_warnings(), _quiet_lightning():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        callbacks: list[Callback] = [_Checkpoint(checkpoint)]
        if progress:
            callbacks.append(TrainingProgress())
        trainer = lightning.Trainer(
            accelerator=accelerator,
            precision=recipe.training.precision,
            max_epochs=min(recipe.training.epochs, stop_after or recipe.training.epochs),
            default_root_dir=out,
            logger=[CSVLogger(out, name="log", version=0), TensorBoardLogger(str(out), name="log", version=0)],
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            sync_batchnorm=world > 1,
            log_every_n_steps=20,
            deterministic=True,
            gradient_clip_val=None,
        )
        resumed: Any = str(checkpoint) if resume and checkpoint.is_file() else None
        trainer.fit(module, batches, checks, ckpt_path=resumed, weights_only=True if resumed else None)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    network.eval()
    return Fitted(network=network, metrics=metrics, epochs=int(trainer.current_epoch))


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's notices about devices and defaults are no news to a user of a recipe."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "network."
        network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    except Exception as error:
        raise ValueError(f"checkpoint {str(path)!r}: it must hold a network of this recipe: {error}") from error
    return network.eval()
