"""Training in several processes (torchrun): batch norm and figures over the whole batch, on any device."""

import os
from typing import Any

import torch
from torch import Tensor, distributed, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared


def rank() -> int:
    """This process's number, as torchrun sets it."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes, as torchrun sets it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without gradient; itself in a single one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


class _Sum(torch.autograd.Function):
    """Sum over the processes; so is the gradient, as every process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm by the mean and variance of the batches of all processes; PyTorch's own of this kind refuses the CPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm needs [n, channels, ...], not shape {tuple(input.shape)!r}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[n, channels, ...]`` by the statistics of all processes' batches, in evaluation by the running ones."""
        if not (self.training and distributed.is_initialized()):
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        x = input.float()
        axes, shape = [axis for axis in range(x.dim()) if axis != 1], (1, -1, *[1] * (x.dim() - 2))
        count = x.new_tensor([x.numel() // x.shape[1]])
        distributed.all_reduce(count)
        mean = _Sum.apply(x.sum(axes)) / count  # type: ignore[no-untyped-call]
        centred = x - mean.reshape(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), share)
        factor = (variance + self.eps).rsqrt()
        if self.affine:
            factor = factor * self.weight
        y = centred * factor.reshape(shape)
        normalised: Tensor = y + self.bias.reshape(shape) if self.affine else y
        return normalised.to(input.dtype)


def share_batch_norm(network: Prepared) -> None:
    """Let every batch norm of a network see the whole batch, in place; parameters, statistics and their names stay."""
    for layer in network.layers.values():
        if isinstance(layer, Synapses) and layer.norm is not None:
            norm = layer.norm
            shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            shared.load_state_dict(norm.state_dict())
            shared.train(norm.training)
            layer.norm = shared  # type: ignore[assignment]
