"""Sparse values in the training of plain ReLU networks: the gradient against autograd's, and what it does."""

import pytest
import torch
from torch import nn

from studies import relu_networks
from studies.relu_networks import HIGHEST, PRESSURE, SAMPLE, THRESHOLD, Clips, Frozen, Sparsity


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*first, nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())


def test_the_gradient_is_that_of_the_values_over_their_root_mean_square() -> None:
    """Given to the shifts of the norms, the last one's by autograd; share and weight as the class says."""
    network, images = _network(), torch.rand(SAMPLE, 3, 12, 12)
    sparsity = Sparsity(network, 0.2)
    sparsity.share = 0.5
    values: list[torch.Tensor] = []
    for module in network:
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, __, y: values.append(y))
    (network(images).sum() * 0).backward()
    neurons = sum(y[0].numel() for y in values)
    shares = [(y > THRESHOLD * y.square().mean().sqrt()).float().sum() / SAMPLE / neurons for y in values]
    norm = network[5]
    assert isinstance(norm, nn.BatchNorm2d)
    values.clear()
    network(images)
    y = values[1]
    penalty = PRESSURE * (0.5 - 0.2) * y[0].numel() / neurons * y.mean() / y.detach().square().mean().sqrt()
    (wanted,) = torch.autograd.grad(penalty, norm.bias)
    sparsity.add_gradient()
    torch.testing.assert_close(norm.bias.grad, wanted)
    assert sparsity.share == pytest.approx(0.95 * 0.5 + 0.05 * float(sum(shares)))


def test_steps_press_the_share_to_the_target() -> None:
    network, images = _network(), torch.rand(SAMPLE, 3, 12, 12)
    sparsity = Sparsity(network, 0.1)
    optimiser = torch.optim.SGD(network.parameters(), 0.5)
    shares = []
    for _ in range(400):
        optimiser.zero_grad()
        (network(images).sum() * 0).backward()
        sparsity.add_gradient()
        optimiser.step()
        shares.append(sparsity.share)
    assert max(shares) > 0.2 and shares[-1] < 0.13


def test_crops_are_windows_of_the_images() -> None:
    images = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    found = relu_networks.crop(images, 6, torch.Generator().manual_seed(1))
    assert found.shape == (2, 3, 6, 6)
    assert any((images[:, :, y : y + 6, x : x + 6] == found).all() for y in range(3) for x in range(3))


@pytest.mark.parametrize(("convolutions", "end"), [(0, 0), (1, 4), (2, 7)])
def test_frozen_layers_compute_the_same_and_learn_nothing(convolutions: int, end: int) -> None:
    """Of 20 images, more than are computed at once; the pooling layer behind them belongs to them."""
    network, images = _network().train(), torch.rand(20, 3, 12, 12)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand_like(module.bias)
            module.running_var = 0.5 + torch.rand_like(module.bias)
            module.weight.data.uniform_(-1, 1)
    frozen = Frozen(network, convolutions)
    assert frozen.end == end
    network.train()
    assert [one.requires_grad for one in network[:end].parameters()] == [False] * len(list(network[:end].parameters()))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = frozen(images)
    if end < len(network):
        network[end:](first).sum().backward()
    learnt = [place for place, layer in enumerate(network) if any(one.grad is not None for one in layer.parameters())]
    assert learnt == [place for place in (0, 1, 4, 5) if place >= end]
    assert all(torch.equal(before[name], value) for name, value in network[:end].state_dict().items())
    torch.testing.assert_close(first, network[:end].eval()(images), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_clips_rise_in_all_networks_that_have_them() -> None:
    network, images = _network().eval(), 9 * torch.rand(2, 3, 12, 12)
    plain, other = network(images), _network().eval()
    other.load_state_dict(network.state_dict())
    clips = Clips(network, steps=4)
    clips.put(other)
    seen = []
    for step in (0, 2, 4, 9):
        clips.rise(step)
        assert torch.equal(network(images), other(images))
        seen.append(float(network[:3](images).max()))
    wanted = [min(HIGHEST**share, float(network[:2](images).max())) for share in (0, 0.5, 1, 1)]
    assert seen == pytest.approx(wanted) and seen[0] == 1 and seen[1] > 1
    assert torch.equal(network(images), plain)


def test_the_network_for_tiny_imagenet_is_vgg16_with_its_three_linear_layers() -> None:
    network = relu_networks.vgg16_tiny_imagenet().eval()
    kinds = [type(layer) for layer in network]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear), kinds.count(nn.Hardtanh)) == (13, 3, 4)
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 200)
