"""Stochastic weight averaging as a Lightning callback: the stage "quantised" starts from the average of what training passed."""

from itertools import islice
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from firstspike.train.recipe import Recipe
from firstspike.train.warm_start import measure_statistics

MEASURED_BATCHES = 20
"""Training batches on which batch norm's statistics of an average are measured."""


class WeightAverage(Callback):
    """Averages parameters by the recipe's table ``averaging`` (Izmailov et al. 2018, arXiv 1803.05407).

    Attributes:
        count: states averaged so far.
        average: their mean by parameter name.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.count = 0
        self.average: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"count": self.count, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.count, self.average = int(state_dict["count"]), dict(state_dict["average"])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take every so many steps' state into the average."""
        start, every = self.recipe.averaging.start, self.recipe.averaging.every
        if start is None or trainer.current_epoch < start or self._quantised(trainer) or trainer.global_step % every:
            return
        self.count += 1
        for name, parameter in module.named_parameters():
            value = parameter.detach()
            if self.count == 1:
                self.average[name] = value.clone()
            else:
                self.average[name].lerp_(value, 1 / self.count)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Before the first epoch of stage "quantised", which then folds batch norm: the average goes into the network."""
        if not self.count or not self._quantised(trainer):
            return
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(self.average[name])
        loader: Any = trainer.train_dataloader
        batches = (images.to(module.device) for images, _ in islice(loader, MEASURED_BATCHES))
        measure_statistics(module, batches)
        for optimiser in trainer.optimizers:
            optimiser.state.clear()  # momentum of another place
        self.count, self.average = 0, {}

    def _quantised(self, trainer: lightning.Trainer) -> bool:
        return self.recipe.stages.at(trainer.current_epoch) == "quantised"
