"""`fit`: run a recipe to its end, a checkpoint every epoch, resumable at any moment."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import nn
from torch.utils import deterministic

from firstspike import files
from firstspike.arith import checks
from firstspike.cat.layers import Synapses
from firstspike.cat.models import vgg
from firstspike.cat.prepare import prepare
from firstspike.cat.prepared import Prepared
from firstspike.data import ImageSet, load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.messages import line
from firstspike.spec import Network
from firstspike.train import processes, threads
from firstspike.train.averaging import WeightAverage
from firstspike.train.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from firstspike.train.distillation import Teacher, Teachers
from firstspike.train.errors import TrainingError
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.progress import TrainingProgress
from firstspike.train.recipe import PLANS, Recipe
from firstspike.train.resume import REMEDY, check_resumable
from firstspike.train.warm_start import warm_start

CHECKPOINT = "last.ckpt"

WARM_START_IMAGES = 1000
"""Training images on which `warm_start` measures means and variances."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What training leaves: the network, and the last epoch's metrics (plain floats) with the number of epochs run."""

    network: Prepared
    metrics: dict[str, float]
    epochs: int


class _CheckpointFile(TorchCheckpointIO):
    """Lets Lightning write checkpoints by `write_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, path)


class _Checkpoint(Callback):
    """Saves a checkpoint after every epoch, with the epoch's metrics.

    Attributes:
        metrics: of the last epoch that a checkpoint was written after, also after reading one.
        started: whether training has begun, so that what was read of a checkpoint has been taken over.
    """

    def __init__(self, path: Path, *, resumed: bool) -> None:
        self.path = path
        self.metrics: dict[str, float] = {}
        self.started = False
        self._ours = resumed

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics = {str(name): float(value) for name, value in state_dict["metrics"].items()}

    @property
    def kept(self) -> str:
        """What there is to go on from, for errors."""
        if self._ours:
            return f"the checkpoint {str(self.path)!r} of the epoch before is kept"
        return (
            f"the older checkpoint {str(self.path)!r} is as it was"
            if self.path.exists()
            else "there is no checkpoint yet"
        )

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        for name, value in module.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise TrainingError(
                    f"{name} must be finite, not NaN or infinite, after epoch {trainer.current_epoch}; try a lower "
                    f"learning rate"
                )
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        try:
            trainer.save_checkpoint(self.path)
        except OSError as error:
            raise TrainingError(f"checkpoint {str(self.path)!r}: it could not be written ({error.strerror})") from error
        self._ours = True


def build_network(recipe: Recipe, *, shape: tuple[int, int, int], classes: int) -> Prepared:
    """The recipe's network, prepared; ``shape`` is (channels, height, width) of an image."""
    return prepare(_plain(recipe, shape, classes), code=recipe.code, weights=recipe.weights)


def _plain(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    if shape[1] != shape[2]:
        raise ValueError(f"a VGG needs square images, not {shape[1]}x{shape[2]} pixels")
    return vgg(
        PLANS[recipe.network.plan],
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
    progress: bool = True,
    stop_after: int | None = None,
) -> Fitted:
    """Train by a recipe; checkpoint and logs (CSV, TensorBoard; one folder a start) go to ``out``.

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
        progress: show a progress bar.
        stop_after: stop after so many epochs from the first, at least 1, to be resumed later.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint or log cannot be written; the text says what is kept. Or the
            checkpoint to resume cannot be read, or another recipe or other teachers made it.
        OSError: another process trains in ``out``, or the folder cannot be made.
        FileNotFoundError, ValueError: the data cannot be read, ``initial`` does not fit the recipe's network, teachers do not
            fit its data, or the recipe asks for teachers where there are none or the other way round.
    """
    out = Path(out)
    if stop_after is not None:
        checks.integer("stop_after", stop_after, low=1, high=1 << 20)
    if bool(teachers) != (recipe.distillation.weight > 0):
        rule = "above 0 with teachers" if teachers else "0 without teachers (--teacher)"
        raise ValueError(f"distillation.weight must be {rule}, not {recipe.distillation.weight!r}")
    stream, batch = recipe.training.stream, recipe.training.batch_size
    rank, world = processes.rank(), processes.world_size()
    if world > 1 and recipe.data.cutmix > 0 and batch % (2 * world):
        raise ValueError(
            f"training.batch_size must be even in each of {world} processes for data.cutmix, not {batch!r}"
        )
    training, validation = training_images(recipe, data_root)
    taught = Teachers(teachers, shape=training.shape, classes=len(training.classes)) if teachers else None
    with torch.device("meta"):
        size = _plain(recipe, training.shape, len(training.classes))
    threads.suit(size, training.shape, batch=batch)
    lightning.seed_everything(recipe.training.seed, workers=False, verbose=False)
    network = build_network(recipe, shape=training.shape, classes=len(training.classes))
    checkpoint = out / CHECKPOINT
    resumed = str(checkpoint) if resume and checkpoint.is_file() else None
    measured = torch.from_numpy(training.limit(WARM_START_IMAGES).pixels())
    taken = warm_start(network, initial, measured) if initial is not None else ()
    _freeze(network, recipe.training.frozen, taken=None if resumed else taken)
    out.mkdir(parents=True, exist_ok=True)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    augment = Augment(pad=recipe.data.pad, flip=recipe.data.flip, cutout=recipe.data.cutout)
    if world > 1:
        processes.share_batch_norm(network)
    batches = Batches(
        training, batch_size=batch, seed=stream, augment=augment, drop_last=True, rank=rank, world_size=world
    )
    held_out = Batches(validation, batch_size=250 * world, shuffle=False, rank=rank, world_size=world)
    if taught is not None:
        taught.to(memory_format=torch.channels_last)
    module = ConversionAwareTraining(network, recipe, steps_per_epoch=len(batches), teachers=taught)
    if resumed:
        check_resumable(checkpoint, module)
    saver, csv = _Checkpoint(checkpoint, resumed=bool(resumed)), CSVLogger(out, name="log")
    interrupt = signal.getsignal(signal.SIGINT)
    with _locked(out, rank), warnings.catch_warnings(), _quiet_lightning(), _switches_kept():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        callbacks: list[Callback] = [WeightAverage(recipe), saver] if recipe.averaging.start is not None else [saver]
        if progress:
            callbacks.append(TrainingProgress())
        try:
            trainer = lightning.Trainer(
                accelerator=accelerator,
                **_devices(world),
                precision=recipe.training.precision,
                max_epochs=min(recipe.training.epochs, stop_after or recipe.training.epochs),
                default_root_dir=out,
                logger=[csv, TensorBoardLogger(str(out), name="log", version=csv.version)],
                callbacks=callbacks,
                plugins=[_CheckpointFile()],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
                log_every_n_steps=20,
                deterministic=True,
                gradient_clip_val=None,
            )
        except MisconfigurationException as error:
            raise ValueError(f"accelerator {accelerator!r}: it must be a device of this machine ({error})") from error
        try:
            trainer.fit(module, batches, held_out, ckpt_path=resumed, weights_only=True if resumed else None)
        except SystemExit as error:  # what Lightning makes of an interrupt
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from error
        except TrainingError as error:
            raise TrainingError(f"{error}; {saver.kept}") from error
        except OSError as error:  # of a log: it names no file
            raise TrainingError(
                f"run folder {str(out)!r}: a log could not be written ({error}); {saver.kept}"
            ) from error
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if saver.started or not resumed:
                raise
            raise TrainingError(
                f"checkpoint {resumed!r}: its loops, schedule or callbacks are none of a run; {REMEDY}"
            ) from error
    network.eval()
    return Fitted(network=network, metrics=saver.metrics, epochs=int(trainer.current_epoch))


@contextmanager
def _locked(out: Path, rank: int) -> Iterator[None]:
    """The run folder is one run's: of several processes of it, the first holds the lock."""
    with files.locked(out) if rank == 0 else nullcontext():
        if rank == 0:
            files.clear(out / CHECKPOINT)
        yield


def _devices(world: int) -> dict[str, Any]:
    """Lightning's arguments for the processes that torchrun started; nothing for a single one."""
    if world == 1:
        return {}
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return {"devices": local, "num_nodes": world // local, "strategy": "ddp"}


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


@contextmanager
def _switches_kept() -> Iterator[None]:
    """Deterministic algorithms, which Lightning switches on for all that follows, are for this run alone.

    With them PyTorch fills every new tensor with NaN, which costs time; nothing here reads memory that it did not write, so
    that is off meanwhile.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    fill = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(enabled)


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
