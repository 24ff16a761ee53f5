"""Zero weights as a Lightning callback: those of least score become zero gradually, or those there are stay zero."""

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared
from firstspike.cat.sparse import largest, ramp
from firstspike.train.recipe import Recipe


class Pruning(Callback):
    """Prunes by the recipe's table ``pruning``, after optimiser steps; what it set to zero, or found so, it holds there.

    Attributes:
        kept: by name of a layer, which weights are not zero; empty before the first update.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe.pruning
        self.kept: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.kept = dict(state_dict["kept"])

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Find the zeros to hold; hold those of an average that was taken in."""
        weights = self._weights(module)
        if self.recipe.hold and not self.kept:
            self.kept = {name: weight.detach() != 0 for name, weight in weights.items()}
        self._hold(weights)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Choose the zeros anew where an update is due, and hold them."""
        weights = self._weights(module)
        per_epoch: int = module.steps_per_epoch  # type: ignore[assignment]
        step, first, last = trainer.global_step, self.recipe.start * per_epoch, self.recipe.end * per_epoch
        due = step % self.recipe.every == 0 or step == last
        if self.recipe.target and first < step <= last and due:
            share = ramp((step - first) / (last - first)) * self.recipe.target
            self.kept = choose(weights, share, scope=self.recipe.scope)
        self._hold(weights)
        if step % per_epoch == 0 and weights:
            zeros = sum(int((weight == 0).sum()) for weight in weights.values())
            module.log("zero_weights", zeros / sum(weight.numel() for weight in weights.values()))

    def _weights(self, module: lightning.LightningModule) -> dict[str, nn.Parameter]:
        return prunable(module.network, 0 if self.recipe.hold else self.recipe.skip)  # type: ignore[arg-type]

    def _hold(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, kept in self.kept.items():
                weights[name].mul_(kept.to(weights[name].device))


def prunable(network: Prepared, skip: int) -> dict[str, nn.Parameter]:
    """Weights that may be pruned, by name of their layer: those that train, but of the first ``skip`` layers."""
    layers = [(name, layer) for name, layer in network.layers.items() if isinstance(layer, Synapses)]
    return {
        name: weight
        for name, layer in layers[skip:]
        if isinstance(weight := layer.linear.weight, nn.Parameter) and weight.requires_grad
    }


def choose(weights: Mapping[str, Tensor], share: float, *, scope: str) -> dict[str, Tensor]:
    """Which weights are kept, by name of their layer: bool tensors of their shapes; the rest is of the least score.

    Zeros are pruned first. A layer keeps one weight at least.

    Args:
        weights: of every layer.
        share: of zeros in all of them together, ``round(share * n)`` of ``n``.
        scope: ``"layer"`` takes the share of every layer, by magnitude; ``"global"`` ranks all weights by `scores`.

    >>> layers = {"a": torch.tensor([1.0, -2.0, 3.0, 4.0])}
    >>> choose(layers, 0.5, scope="layer")["a"].tolist()
    [False, False, True, True]
    """
    if scope == "layer":
        ranked = {name: weight.detach().abs().flatten() for name, weight in weights.items()}
        return {name: largest(score, share).view_as(weights[name]) for name, score in ranked.items()}
    flat = torch.cat([scores(weight) for weight in weights.values()])
    sizes = [weight.numel() for weight in weights.values()]
    kept = torch.split(largest(flat, share, least=len(weights)), sizes)
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), kept, strict=True)}


def scores(weight: Tensor) -> Tensor:
    """Square of a weight over the sum of the squares in its layer that are no smaller (Lee et al. 2021, arXiv 2010.07611).

    It compares weights of layers with other scales, and the largest of a layer has 1.

    >>> scores(torch.tensor([1.0, 2.0, 2.0])).tolist()
    [0.1111111119389534, 0.5, 1.0]
    """
    squares, order = weight.detach().double().flatten().square().sort(stable=True)
    above = squares.flip(0).cumsum(0).flip(0)
    found = torch.empty_like(squares)
    found[order] = squares / above.clamp(min=torch.finfo(torch.float64).tiny)
    return found.to(torch.float32)
