"""Time-stepped simulators on the same network shape, each used as its own documentation shows."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn


def peer(name: str, dense: nn.Module, shape: tuple[int, ...], steps: int) -> Callable[[], Tensor]:
    """A call that runs one batch of ``shape`` through the simulator for ``steps`` time steps.

    Args:
        name: one of `PEERS`.
        dense: the network with ReLU, which becomes integrate-and-fire neurons.
        shape: ``(batch, channels, height, width)``.
        steps: time steps.

    Raises:
        ValueError: the network is no chain.
        ImportError: the simulator is not installed (extra "bench").
    """
    if not isinstance(dense, nn.Sequential):
        raise ValueError(f"network of the simulators must be a chain, not {type(dense).__name__}")
    x = torch.rand(shape)
    run = PEERS[name](deepcopy(dense), x, steps)

    def call() -> Tensor:
        with torch.inference_mode():
            return run()

    return call


def _spikingjelly(dense: nn.Sequential, x: Tensor, steps: int) -> Callable[[], Tensor]:
    # multi-step mode, https://spikingjelly.readthedocs.io (activation_based: basic conception)
    from spikingjelly.activation_based import functional, layer, neuron

    wrapped: list[nn.Module] = [
        neuron.IFNode(step_mode="m") if isinstance(module, nn.ReLU) else layer.SeqToANNContainer(module)
        for module in dense
    ]
    network = nn.Sequential(*wrapped)
    sequence = x.unsqueeze(0).repeat(steps, *[1] * x.ndim)

    def run() -> Tensor:
        functional.reset_net(network)
        return network(sequence).mean(0)  # type: ignore[no-any-return]

    return run


def _snntorch(dense: nn.Sequential, x: Tensor, steps: int) -> Callable[[], Tensor]:
    # hidden state in the neurons, a loop over time steps, https://snntorch.readthedocs.io (tutorial 6)
    import snntorch
    from snntorch import utils

    wrapped = [
        snntorch.Leaky(beta=0.9, init_hidden=True) if isinstance(module, nn.ReLU) else module for module in dense
    ]
    network = nn.Sequential(*wrapped)

    def run() -> Tensor:
        utils.reset(network)
        return torch.stack([network(x) for _ in range(steps)]).mean(0)

    return run


def _sinabs(dense: nn.Sequential, x: Tensor, steps: int) -> Callable[[], Tensor]:
    # conversion of a trained network, https://sinabs.readthedocs.io (tutorials: weight transfer to MNIST)
    from sinabs.from_torch import from_model

    network = from_model(dense, input_shape=tuple(x.shape[1:]), num_timesteps=steps, batch_size=len(x)).spiking_model
    sequence = x.repeat_interleave(steps, dim=0)  # batch and time share the first axis

    def run() -> Tensor:
        for module in network.modules():
            if hasattr(module, "reset_states"):
                module.reset_states()
        return network(sequence).unflatten(0, (len(x), steps)).mean(1)  # type: ignore[no-any-return]

    return run


PEERS: dict[str, Callable[[nn.Sequential, Tensor, int], Callable[[], Tensor]]] = {
    "spikingjelly": _spikingjelly,
    "snntorch": _snntorch,
    "sinabs": _sinabs,
}
"""Simulators by name."""
