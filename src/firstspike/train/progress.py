"""One progress bar for a whole training run, with the latest metrics beside it."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from firstspike.terminal import NotebookBar, Terminal, in_notebook

SHOWN = {"train_loss": "loss", "validation_accuracy": "validation", "train_spikes_per_neuron": "spikes/neuron"}


class TrainingProgress(Callback):
    """A bar over all steps of all epochs; a line an epoch where the output is no terminal."""

    def __init__(self) -> None:
        self.console = Terminal()
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.bar: NotebookBar | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Show the bar, a resumed run's finished part included."""
        steps = int(trainer.num_training_batches)
        if trainer.is_global_zero and in_notebook():
            self.bar = NotebookBar(trainer.max_epochs or 1)
            self.bar.show("epoch", trainer.current_epoch)
            return
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]} {task.fields[stage]}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self.console,
        )
        self.task = self.progress.add_task(
            "",
            total=steps * (trainer.max_epochs or 1),
            completed=steps * trainer.current_epoch,
            epoch="",
            stage="",
            metrics="",
        )
        self.progress.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        if self.progress is not None:
            self.progress.update(
                self.task,
                advance=1,
                epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
                stage=_stage(module),
                metrics=_metrics(trainer),
            )

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Advance a notebook's bar; print a line where there is none."""
        if self.bar is not None:
            self.bar.show("epoch", trainer.current_epoch + 1, f"{_stage(module)}: {_metrics(trainer)}")
        elif trainer.is_global_zero and self.progress is None:
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.console.print(f"epoch {epoch} {_stage(module)}: {_metrics(trainer)}", soft_wrap=True)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self._stop()

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def _stage(module: lightning.LightningModule) -> str:
    return str(getattr(getattr(module, "network", None), "stage", ""))


def _metrics(trainer: lightning.Trainer) -> str:
    metrics = trainer.callback_metrics
    return "  ".join(f"{short} {float(metrics[name]):.3f}" for name, short in SHOWN.items() if name in metrics)
