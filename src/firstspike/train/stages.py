"""`Stages`: a Lightning callback that takes one's own module through the stages of conversion-aware training.

The module is any ``LightningModule`` that holds one prepared network or more; its loss, optimiser and data stay its own.
"""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from firstspike.cat.prepared import Prepared
from firstspike.train.recipe import StagesRecipe


class Stages(Callback):
    """Sets the stage of every prepared network at the beginning of an epoch, and logs spikes and saturation of validation.

    Logged are ``spikes_per_neuron`` and ``saturated``, the share of membranes above 1 of the layer that has most of them; with
    several networks the module's name of each stands before. A resumed run goes on in its stage: the stage is part of the
    network's state, and is entered again only where it differs.

    Args:
        clip: epoch in which the stage of that name begins, from 0; None passes it over.
        input: the same of the stage in which only the input is encoded.
        ttfs: the same of the stage in which all fire.
        quantised: the same of the last stage.
        monitor: whether to log.

    Raises:
        TypeError, ValueError: the epochs do not rise in the order of the stages.

    >>> Stages(clip=0, ttfs=4, quantised=6).stage(5)
    'ttfs'
    """

    def __init__(
        self,
        *,
        clip: int | None = 0,
        input: int | None = None,
        ttfs: int | None = None,
        quantised: int | None = None,
        monitor: bool = True,
    ) -> None:
        self.stages = StagesRecipe(clip=clip, input=input, ttfs=ttfs, quantised=quantised)
        self.monitor = monitor
        self._handles: list[RemovableHandle] = []
        self._saturated: dict[str, dict[str, list[float]]] = {}
        self._spikes: dict[str, list[float]] = {}

    def stage(self, epoch: int) -> str:
        """The stage of an epoch."""
        return self.stages.at(epoch)

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Refuse a module without a prepared network.

        Raises:
            ValueError: it holds none.
        """
        if not networks(module):
            raise ValueError(
                f"Stages needs a module that holds a network made by firstspike.prepare, not {type(module).__name__} without one"
            )

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Enter the epoch's stage."""
        stage = self.stage(trainer.current_epoch)
        for network in networks(module).values():
            if network.stage != stage:
                network.set_stage(stage)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._stop()
        if not self.monitor:
            return
        for name, network in networks(module).items():
            network.observe(True, spikes=True)
            self._spikes[name], self._saturated[name] = [], {}
            for layer, fire in network.fires.items():
                if layer != "input":
                    self._handles.append(fire.register_forward_hook(self._count(self._saturated[name], layer)))

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch's spikes."""
        for name, network in networks(module).items() if self._handles else ():
            self._spikes[name].append(network.spikes_per_neuron())

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Log what was counted, and count no more."""
        for name, network in networks(module).items() if self._handles else ():
            start = f"{name}." if len(networks(module)) > 1 else ""
            shares = [sum(counted) / len(counted) for counted in self._saturated[name].values() if counted]
            if self._spikes[name]:
                spikes = sum(self._spikes[name]) / len(self._spikes[name])
                module.log(f"{start}spikes_per_neuron", spikes, prog_bar=True, sync_dist=True)
                module.log(f"{start}saturated", max(shares, default=0.0), sync_dist=True)
            network.observe(False)
        self._stop()

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave no hook behind."""
        self._stop()

    def _stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @staticmethod
    def _count(shares: dict[str, list[float]], layer: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            with torch.no_grad():
                shares.setdefault(layer, []).append(float((inputs[0] > 1).float().mean()))

        return hook


def networks(module: nn.Module) -> dict[str, Prepared]:
    """The prepared networks that a module holds, by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Prepared)}
