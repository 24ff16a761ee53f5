"""`fit_teacher`: train a teacher by its recipe, a checkpoint every epoch, resumable at any moment."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from firstspike.data import ImageSet, load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.files import clear, locked
from firstspike.train.checkpoint import read_checkpoint, write_checkpoint
from firstspike.train.errors import TrainingError
from firstspike.train.teacher.network import TeacherNetwork
from firstspike.train.teacher.recipe import TeacherRecipe, TeacherTraining

CHECKPOINT = "last.ckpt"

MEASURED_IMAGES = 5000
"""Training images by which the first layer whitens."""

LOOK_AHEAD_STEPS = 5
LOOK_AHEAD_DECAY = 0.95
"""The slow copy keeps ``decay^steps * (share of all steps done)^3`` of itself, every so many steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTeacher:
    """What training leaves: the network, the classes' names, and the last epoch's metrics."""

    network: TeacherNetwork
    classes: tuple[str, ...]
    metrics: dict[str, float]
    epochs: int


def fit_teacher(
    recipe: TeacherRecipe,
    *,
    out: str | Path,
    data_root: str | Path | None = None,
    resume: bool = True,
    stop_after: int | None = None,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> FittedTeacher:
    """Train a teacher on the training images that a student's recipe does not hold out.

    Args:
        recipe: what to train.
        out: folder of the checkpoint; training goes on from one that is there unless ``resume`` is False.
        data_root: where named data sets lie.
        resume: go on from the checkpoint: the same numbers as if it had not stopped.
        stop_after: stop after so many epochs from the first.
        report: called with the metrics after every epoch.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint is damaged or of another recipe.
        FileNotFoundError, ValueError: the data cannot be read.
        OSError: the checkpoint cannot be written.
    """
    images = load(recipe.data.name, split="train", data_root=data_root, size=recipe.data.size or None)
    training, held_out = split_validation(images, count=recipe.data.validation, seed=recipe.data.seed)
    run = _Run(recipe, training, held_out)
    path = Path(out) / CHECKPOINT
    if resume and path.is_file():
        run.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    last = min(recipe.training.epochs, stop_after or recipe.training.epochs)
    with locked(path.parent):
        clear(path)
        while run.epoch < last:
            run.metrics = {**run.train(), **run.evaluate()}
            run.epoch += 1
            run.save(path)
            report({"epoch": run.epoch, **run.metrics})
    return FittedTeacher(network=run.network.eval(), classes=images.classes, metrics=run.metrics, epochs=run.epoch)


class _Run:
    """Network, optimiser and slow weights of a training in progress."""

    def __init__(self, recipe: TeacherRecipe, training: ImageSet, held_out: ImageSet) -> None:
        self.recipe, self.held_out = recipe, held_out
        settings = recipe.training
        augment = Augment(pad=recipe.data.pad, cutout=recipe.data.cutout)
        self.batches = Batches(
            training,
            batch_size=settings.batch_size,
            seed=settings.seed,
            augment=augment,
            alternate=True,
            drop_last=True,
        )
        torch.manual_seed(settings.seed)
        shape = recipe.network
        self.network = TeacherNetwork(
            classes=len(training.classes), widths=shape.widths, depth=shape.depth, side=training.shape[1]
        )
        self.network.measure(torch.from_numpy(training.limit(MEASURED_IMAGES).pixels()))
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = _optimiser(self.network, settings)
        self.slow = {name: value.detach().clone() for name, value in self._trained()}
        self.epoch = 0
        self.metrics: dict[str, float] = {}

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, value) for name, value in self.network.named_parameters() if value.requires_grad)

    def train(self) -> dict[str, float]:
        """One epoch; its mean loss."""
        settings = self.recipe.training
        self.batches.set_epoch(self.epoch)
        self.network.train()
        self.network.whiten.bias.requires_grad_(self.epoch < settings.whitening_epochs)  # type: ignore[union-attr]
        total = 0.0
        for index, (images, labels) in enumerate(self.batches):
            step = self.epoch * len(self.batches) + index
            done = step / (settings.epochs * len(self.batches))
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * rate(settings, done)
            with self._precision():
                logits = self.network(images)
            loss = functional.cross_entropy(
                logits.float(), labels, label_smoothing=settings.label_smoothing, reduction="sum"
            )
            if not bool(torch.isfinite(loss.detach())):
                raise TrainingError(
                    f"the loss must be finite, not {float(loss.detach())!r}, in epoch {self.epoch} step {index}; "
                    f"try a lower training.learning_rate"
                )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += float(loss.detach()) / len(labels)
            if (step + 1) % LOOK_AHEAD_STEPS == 0:
                self._look_ahead(LOOK_AHEAD_DECAY**LOOK_AHEAD_STEPS * done**3)
        return {"train_loss": total / len(self.batches)}

    def _look_ahead(self, kept: float) -> None:
        """Move the slow weights to the network's, all but the share ``kept``, and the network there."""
        with torch.no_grad():
            for name, value in self._trained():
                slow = self.slow.setdefault(name, value.detach().clone())
                value.copy_(slow.lerp_(value, 1 - kept))

    def evaluate(self) -> dict[str, float]:
        """Accuracy and loss on the images held out."""
        self.network.eval()
        hits, loss, count = 0, 0.0, len(self.held_out)
        with torch.no_grad(), self._precision():
            for images, labels in Batches(self.held_out, batch_size=500, shuffle=False):
                logits = self.network(images).float()
                hits += int((logits.argmax(1) == labels).sum())
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        return {"validation_accuracy": hits / count, "validation_loss": loss / count}

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.training.precision == "bf16-mixed")

    def save(self, path: Path) -> None:
        """Write all that `load` needs."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "slow": self.slow,
            "epoch": self.epoch,
            "metrics": self.metrics,
            "teacher_recipe": _values(self.recipe),
        }
        write_checkpoint(state, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        advice = "remove it, use another folder (--out), or begin anew (--restart)"
        try:
            state = read_checkpoint(path)
            if state["teacher_recipe"] != _values(self.recipe):
                raise TrainingError(f"checkpoint {str(path)!r}: it must be of this recipe; {advice}")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.slow, self.epoch = dict(state["slow"]), int(state["epoch"])
            self.metrics = dict(state["metrics"])
        except (TrainingError, OSError, MemoryError):
            raise
        except Exception as error:
            raise TrainingError(
                f"checkpoint {str(path)!r}: it is damaged or no teacher's checkpoint; {advice}"
            ) from error


def rate(settings: TeacherTraining, done: float) -> float:
    """The learning rate as a share of the peak, when the share ``done`` of all steps is done.

    >>> [round(rate(TeacherTraining(epochs=1), done), 3) for done in (0.0, 0.23, 1.0)]
    [0.2, 1.0, 0.07]
    """
    if done < settings.rise:
        return settings.first + (1 - settings.first) * done / settings.rise
    return 1 - (1 - settings.last) * (done - settings.rise) / (1 - settings.rise)


def _optimiser(network: TeacherNetwork, settings: TeacherTraining) -> torch.optim.SGD:
    """Nesterov momentum; weight decay is divided by each group's rate, so that it does not depend on it."""
    step_scale = 1024 * (1 + 1 / (1 - settings.momentum))
    weights = settings.learning_rate / step_scale
    biases = weights * settings.bias_rate
    decay = settings.weight_decay * settings.batch_size / step_scale
    norms = {id(p) for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trained if id(p) in norms],
            "lr": biases,
            "peak": biases,
            "weight_decay": decay / biases,
        },
        {
            "params": [p for p in trained if id(p) not in norms],
            "lr": weights,
            "peak": weights,
            "weight_decay": decay / weights,
        },
    ]
    return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=True)


def _values(recipe: TeacherRecipe) -> dict[str, Any]:
    """Every value by part and key, in types that a checkpoint may hold."""
    return {
        f"{part}.{key}": list(value) if isinstance(value, tuple) else value
        for part, table in asdict(recipe).items()
        for key, value in table.items()
    }
