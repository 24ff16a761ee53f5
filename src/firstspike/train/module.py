"""Conversion-aware training as a Lightning module: stages by epoch, one-cycle schedule, spike penalty."""

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.cat.prepared import Prepared
from firstspike.data.augment import generator
from firstspike.data.cutmix import cutmix
from firstspike.train.distillation import Teachers
from firstspike.train.errors import TrainingError
from firstspike.train.processes import mean_over_processes
from firstspike.train.recipe import Recipe


class ConversionAwareTraining(lightning.LightningModule):
    """Trains a prepared network by a recipe. The state of a checkpoint is all that resuming needs.

    Attributes:
        network: the prepared network.
        penalty_weight: current factor of the mean activation in the loss.
        steps_per_epoch: optimiser steps in an epoch.
        teachers: networks of the recipe's table ``distillation``; no part of the state.
    """

    penalty_weight: Tensor

    def __init__(
        self, network: Prepared, recipe: Recipe, *, steps_per_epoch: int, teachers: Teachers | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.teachers = teachers
        self.steps_per_epoch = steps_per_epoch
        self.register_buffer("penalty_weight", torch.tensor(recipe.sparsity.weight, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images in [0, 1]."""
        logits: Tensor = self.network(x)
        return logits

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the recipe and the teachers, so that another run is refused."""
        checkpoint["recipe"] = self.recipe.values()
        checkpoint["teachers"] = self.teachers.fingerprints if self.teachers is not None else []

    def on_fit_start(self) -> None:
        """Move the teachers to the device."""
        if self.teachers is not None:
            self.teachers.to(device=self.device)

    def on_train_epoch_start(self) -> None:
        """Set the seed and the stage of the epoch."""
        torch.manual_seed(
            self.recipe.training.stream * 100_003 + self.current_epoch
        )  # dropout, the same after a resume
        stage = self.recipe.stages.at(self.current_epoch)
        if self.network.stage != stage:
            self.network.set_stage(stage)
        self.network.train()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch: labels, teachers, spikes.

        Raises:
            TrainingError: the loss is not finite.
        """
        step = self.current_epoch * self.steps_per_epoch + index
        drawn = generator(step, self.recipe.training.stream)  # a step is one word: no two pairs are alike
        mixed = cutmix(*batch, probability=self.recipe.data.cutmix, generator=drawn)
        images = _layout(mixed.images)
        sparsity = self.recipe.sparsity
        steer = sparsity.target > 0 and index % 10 == 0
        self.network.observe(sparsity.weight > 0, spikes=steer)
        logits = self(images)
        loss = mixed.loss(logits, label_smoothing=self.recipe.training.label_smoothing)
        self.log("train_loss", loss, prog_bar=True, sync_dist=True)
        loss = self._taught(loss, images, logits, step)
        if sparsity.weight > 0:
            loss = loss + self.penalty_weight.to(loss.dtype) * self.network.activity()
            if steer:
                self._steer_spikes()
        if not bool(torch.isfinite(loss.detach())):
            raise TrainingError(
                f"the loss must be finite, not {float(loss.detach())!r}, in epoch {self.current_epoch} step {index}; "
                f"try a lower learning rate"
            )
        self.network.observe(False)
        return loss

    def _taught(self, loss: Tensor, images: Tensor, logits: Tensor, step: int) -> Tensor:
        """The loss with the teachers' part, from the epoch on that the recipe says."""
        recipe = self.recipe.distillation
        if self.teachers is None or self.current_epoch < recipe.start:
            return loss
        soft = self.teachers.loss(images, logits, step=step, temperature=recipe.temperature, relations=recipe.relations)
        return (1 - recipe.weight) * loss + recipe.weight * soft

    def _steer_spikes(self) -> None:
        """Change the penalty's weight by how far the spikes per neuron of this step are from the target."""
        recipe = self.recipe.sparsity
        spikes = float(mean_over_processes(torch.tensor(self.network.spikes_per_neuron(), device=self.device)))
        change = math.exp(recipe.gain * (spikes / recipe.target - 1))
        self.penalty_weight.mul_(change).clamp_(1e-6, recipe.limit)
        self.log("train_spikes_per_neuron", spikes, prog_bar=True)
        self.log("penalty_weight", self.penalty_weight.float())

    def on_validation_epoch_start(self) -> None:
        """Begin to count spikes."""
        self.network.observe(True, spikes=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log loss, accuracy and spikes of one batch."""
        images, labels = batch
        logits = self(_layout(images))
        self.log(
            "validation_loss", functional.cross_entropy(logits.float(), labels), batch_size=len(labels), sync_dist=True
        )
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log("validation_accuracy", accuracy, prog_bar=True, batch_size=len(labels), sync_dist=True)
        self.log(
            "validation_spikes_per_neuron", self.network.spikes_per_neuron(), batch_size=len(labels), sync_dist=True
        )

    def on_validation_epoch_end(self) -> None:
        """Count no more."""
        self.network.observe(False)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the learning rate of every step."""
        recipe = self.recipe.training
        decayed, plain = _parameter_groups(self.network)
        optimiser = torch.optim.SGD(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: rate(self.recipe, step, self.steps_per_epoch)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step as a share of the peak.

    >>> from firstspike.train.recipe import find_recipe
    >>> [round(rate(find_recipe("vgg16-cifar10"), step, 10), 3) for step in (0, 19, 75, 119, 120, 129)]
    [0.05, 1.0, 0.5, 0.101, 0.018, 0.002]
    """
    training, averaging = recipe.training, recipe.averaging
    total = max(1, training.epochs * steps_per_epoch)
    rise = max(1, round(total * training.warmup))
    quantised = recipe.stages.at(step // steps_per_epoch) == "quantised"
    if averaging.start is None:
        high, start, low, end = 1.0, rise, training.final, total
    elif quantised:
        high, start, low, end = averaging.rate, (recipe.stages.quantised or 0) * steps_per_epoch, training.final, total
    else:
        high, start, low, end = 1.0, rise, averaging.rate, averaging.start * steps_per_epoch
    if step < rise:
        return (step + 1) / rise
    fall = low if step >= end else max(low, high - (high - low) * (step - start) / (end - start))
    return fall * (training.quantised_rate if quantised else 1.0)


def _layout(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def _parameter_groups(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights, which decay, and the rest (biases, batch norm), which does not."""
    parameters = list(network.parameters())
    return [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
