"""One run of a recipe in a folder: the Lightning trainer, its checkpoint, and what its errors mean."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
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
from torch.utils import deterministic

from firstspike import files
from firstspike.data.batches import Batches
from firstspike.train import processes
from firstspike.train.averaging import WeightAverage
from firstspike.train.checkpoint import write_checkpoint
from firstspike.train.errors import TrainingError
from firstspike.train.module import ConversionAwareTraining
from firstspike.train.progress import TrainingProgress
from firstspike.train.pruning import Pruning
from firstspike.train.recipe import Recipe
from firstspike.train.resume import REMEDY, check_resumable

CHECKPOINT = "last.ckpt"
"""File of a run folder's checkpoint."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A run of a recipe in a folder.

    Attributes:
        recipe: what is trained.
        out: folder of this run; made if need be.
        resume: go on from the checkpoint in ``out``, if there is one.
        accelerator: Lightning's choice of device.
        stop_after: stop after so many epochs from the first; None: at the recipe's end.
    """

    recipe: Recipe
    out: Path
    resume: bool
    accelerator: str
    stop_after: int | None

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.out / CHECKPOINT

    @property
    def resumed(self) -> str | None:
        """The checkpoint to go on from, if there is one."""
        return str(self.checkpoint) if self.resume and self.checkpoint.is_file() else None

    def fit(self, module: ConversionAwareTraining, batches: Batches, held_out: Batches) -> tuple[dict[str, float], int]:
        """Train; the last epoch's metrics, and the number of epochs run.

        Raises:
            TrainingError: as `firstspike.train.fit.fit` says.
            OSError: another process trains in ``out``, or the folder cannot be made.
            ValueError: there is no such accelerator.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        resumed = self.resumed
        if resumed:
            check_resumable(self.checkpoint, module)
        saver, csv = _Checkpoint(self.checkpoint, resumed=bool(resumed)), CSVLogger(self.out, name="log")
        interrupt = signal.getsignal(signal.SIGINT)
        with _locked(self.out, processes.rank()), warnings.catch_warnings(), _quiet_lightning(), _switches_kept():
            warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            trainer = self._trainer(saver, csv)
            try:
                trainer.fit(module, batches, held_out, ckpt_path=resumed, weights_only=True if resumed else None)
            except SystemExit as error:  # what Lightning makes of an interrupt
                signal.signal(signal.SIGINT, interrupt)
                raise KeyboardInterrupt from error
            except TrainingError as error:
                raise TrainingError(f"{error}; {saver.kept}") from error
            except OSError as error:  # of a log: it names no file
                raise TrainingError(
                    f"run folder {str(self.out)!r}: a log could not be written ({error}); {saver.kept}"
                ) from error
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                if saver.started or not resumed:
                    raise
                raise TrainingError(
                    f"checkpoint {resumed!r}: its loops, schedule or callbacks are none of a run; {REMEDY}"
                ) from error
        return saver.metrics, int(trainer.current_epoch)

    def _trainer(self, saver: "_Checkpoint", csv: CSVLogger) -> lightning.Trainer:
        training = self.recipe.training
        callbacks: list[Callback] = [saver, TrainingProgress()]
        if self.recipe.averaging.start is not None:
            callbacks.insert(0, WeightAverage(self.recipe))
        if self.recipe.pruning.target or self.recipe.pruning.hold:  # behind the average, whose zeros it holds
            callbacks.insert(len(callbacks) - 2, Pruning(self.recipe))
        try:
            return lightning.Trainer(
                accelerator=self.accelerator,
                **_devices(processes.world_size()),
                precision=training.precision,
                max_epochs=min(training.epochs, self.stop_after or training.epochs),
                default_root_dir=self.out,
                logger=[csv, TensorBoardLogger(str(self.out), name="log", version=csv.version)],
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
            raise ValueError(
                f"accelerator {self.accelerator!r}: it must be a device of this machine ({error})"
            ) from error


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


@contextmanager
def _locked(out: Path, rank: int) -> Iterator[None]:
    """The run folder is one run's: of several processes of it, the first holds the lock."""
    with files.locked(out) if rank == 0 else nullcontext():
        if rank == 0:
            files.clear(out / CHECKPOINT)
        hook = threading.excepthook
        # TensorBoard's thread dies of a full disk with a traceback; its next call raises the error here too.
        threading.excepthook = lambda args: None if issubclass(args.exc_type, OSError) else hook(args)
        try:
            yield
        finally:
            threading.excepthook = hook


def _devices(world: int) -> dict[str, Any]:
    """Lightning's arguments for the processes that torchrun started; nothing for a single one."""
    if world == 1:
        return {}
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return {"devices": local, "num_nodes": world // local, "strategy": "ddp"}


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
