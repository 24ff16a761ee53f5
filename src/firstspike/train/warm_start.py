"""Start training from trained integer networks: every layer computes what it computed there, with batch norm live again."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from firstspike.cat.layers import Synapses
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import real_weights
from firstspike.spec import Network
from firstspike.spec.network import Synaptic


def warm_start(prepared: Prepared, networks: Network | Sequence[Network], images: Tensor) -> tuple[str, ...]:
    """Give the layers of ``prepared`` the weights of a network where name and shape agree; returns their names.

    A network that shares no name with ``prepared``, but has as many layers with weights, gives them in order instead.

    An integer layer computes ``W x + b``; batch norm is folded into it. Here each filter of ``W`` is scaled to the norm
    that initialisation gave it, which batch norm undoes, so that the optimiser meets weights of the usual size; batch
    norm gets the mean and variance of its input on ``images`` as running statistics, and the factor and shift that make
    the layer compute ``W x + b`` with them. The network then stands in stage ``"ttfs"``.

    A linear layer that reads a convolution's channels there and, because images are larger, n pixels of each channel here
    takes a channel's weight for its average over the n pixels. The other way round, where the network has a global average
    folded into its weights, it takes the sum of a channel's weights.

    Several networks, ends of cycles of the learning rate that went on one from another, start as the average of the
    parameters that each would give (Izmailov et al. 2018, arXiv 1803.05407), with batch norm's statistics measured anew.

    Args:
        prepared: the network to be trained.
        networks: where to start: one, or several to average. Their codes and formats, that of the input too, may be others.
        images: ``[n, *shape]`` in [0, 1], a few hundred training images.

    Raises:
        ValueError: there is no network, no layer agrees in name and shape, or not the same ones in all networks.
    """
    networks = [networks] if isinstance(networks, Network) else list(networks)
    if not networks:
        raise ValueError("initial networks: there must be at least one")
    fresh = {name: value.clone() for name, value in prepared.state_dict().items()}
    states, taken = [], []
    for network in networks:
        prepared.load_state_dict(fresh)
        taken.append(_start(prepared, network, images))
        if taken[-1] != taken[0]:
            odd = sorted(set(taken[0]) ^ set(taken[-1]))
            raise ValueError(
                f"initial networks: the same layers must agree in all of them, not in some: {', '.join(odd)}"
            )
        states.append({name: value.clone() for name, value in prepared.state_dict().items()})
    if len(states) > 1:
        _load_average(prepared, states)
        measure_statistics(prepared, [images])
    return taken[0]


def without(prepared: Prepared, taken: Sequence[str]) -> str:
    """One line that names the layers with weights that are not among ``taken``, from `warm_start`; empty if all are."""
    names = [name for name, _ in prepared.synapses()]
    left = [name for name in names if name not in taken]
    if not left:
        return ""
    return (
        f"initial network: {len(left)} of {len(names)} layers with weights agree with none of its in name and shape, and start "
        f"from weights of their own (random without network.weights): {', '.join(left)}"
    )


def _load_average(prepared: Prepared, states: list[dict[str, Tensor]]) -> None:
    average = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    prepared.load_state_dict(average)


def measure_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set batch norm's running statistics to their mean over ``batches`` of images ``[n, *shape]`` in [0, 1]."""
    norms = [norm for norm in network.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    momenta, training = [norm.momentum for norm in norms], network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all
    try:
        network.train()
        with torch.no_grad():
            for images in batches:
                network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(training)


def _start(prepared: Prepared, network: Network, images: Tensor) -> tuple[str, ...]:
    known = _named(prepared, network)
    owners = {connection.name: layer for layer in network.synaptic for connection in layer.connections}
    before = dict(zip(known, [None, *known.values()], strict=False))
    prepared.set_stage("ttfs")
    taken, hooks = [], []
    for name, module in prepared.layers.items():
        layer = known.get(name)
        if not isinstance(module, Synapses) or layer is None:
            continue
        weight, bias = real_weights(owners[layer.name], layer, network)
        wanted = tuple(module.linear.weight.shape)
        pixels = _pixels(layer, before[name], wanted)
        if pixels == 0:
            continue
        if weight.dim() == 2 and weight.shape[1] > wanted[1]:
            weight = weight.reshape(len(weight), wanted[1], pixels).sum(dim=2)
        elif pixels > 1:
            weight = weight.repeat_interleave(pixels, dim=1) / pixels
        taken.append(name)
        if module.norm is None:
            _assign(module, weight, bias)
        else:
            hooks.append(module.norm.register_forward_pre_hook(_calibration(module, weight, bias)))
    try:
        if not taken:
            raise ValueError(
                f"initial network: a layer must agree in name and shape with {', '.join(prepared.layers)}; "
                f"it has {', '.join(known)}"
            )
        training = prepared.training
        with torch.no_grad():
            prepared.eval()(images)
            prepared.train(training)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(taken)


def _named(prepared: Prepared, network: Network) -> dict[str, Synaptic]:
    """The network's connections by the names of the layers that they are for."""
    found = {layer.name: layer for layer in network.connections}
    names = [name for name, module in prepared.layers.items() if isinstance(module, Synapses)]
    if len(names) == len(found) and not set(names) & set(found):
        return dict(zip(names, found.values(), strict=True))
    return found


def _pixels(layer: Synaptic, before: Synaptic | None, wanted: tuple[int, ...]) -> int:
    """How many pixels of a channel one of the two reads where the other reads one; 0 if shapes disagree."""
    found = layer.codes.shape
    if found == wanted:
        return 1
    if before is None or before.codes.ndim != 4 or len(found) != 2 or len(wanted) != 2 or found[0] != wanted[0]:
        return 0
    fewer, more = sorted((int(found[1]), wanted[1]))
    return 0 if fewer != before.codes.shape[0] or more % fewer else more // fewer


def _assign(module: Synapses, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        module.linear.weight.copy_(weight)
        if module.linear.bias is not None:
            module.linear.bias.copy_(bias)


def _calibration(module: Synapses, weight: Tensor, bias: Tensor):  # type: ignore[no-untyped-def]
    """A hook before batch norm that sees what the scaled filters yield, and sets batch norm by it."""
    usual = module.linear.weight.detach().double().square().mean().sqrt()
    size = weight.flatten(1).square().mean(dim=1).sqrt()
    factor = torch.where(size > 0, usual / size.clamp(min=1e-30), torch.ones_like(size))
    _assign(module, weight * factor.reshape(-1, *[1] * (weight.dim() - 1)), torch.zeros(len(weight)))

    def hook(norm: nn.BatchNorm2d | nn.BatchNorm1d, inputs: tuple[Tensor]) -> None:
        u = inputs[0].double()
        axes = [axis for axis in range(u.dim()) if axis != 1]
        mean, variance = u.mean(axes), u.var(axes, unbiased=False)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt() / factor)
        norm.bias.copy_(mean / factor + bias)

    return hook
