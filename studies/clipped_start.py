"""A trained spiking network as the beginning of a plain one: its weights, activations that end at 1, norms from a few images.

    python -m studies.clipped_start vgg16-tiny-imagenet --data tiny-imagenet --data-root FOLDER --out FILE.pt
    python -m studies.relu_networks vgg16-tiny-imagenet --initial FILE.pt --unclip 1.5 ...

A spike time stands for the next smaller kernel value, so what a layer reads is in the mean a share of what a plain activation
gives: the weights are multiplied by it (`firstspike.cat.calibrate.gain`). The plain network has norms; each gets the mean and
the variance that it sees, and scale and shift that undo them. The weights of each channel get the size of random ones,
which says how far a step of the optimiser goes.

Number: none; `studies.relu_networks` prints the accuracy on held-out images.
n: 384 training images, drawn with seed 0. Machine: any. Versions: the torch of the environment.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from firstspike import zoo
from firstspike.cat.calibrate import gain
from firstspike.cat.rebuild import real_weights
from firstspike.data import load, split_validation
from firstspike.spec import Network
from studies.relu_networks import PLANS

IMAGES = 384


@torch.no_grad()
def begin(plain: nn.Sequential, trained: Network, images: Tensor) -> None:
    """Give ``plain`` the weights of ``trained``, in place, and norms that change nothing on ``images``; it stays in evaluation.

    Args:
        plain: a chain whose layers with weights, but the last, have a norm behind them.
        trained: as many layers with weights, of the same shapes.
        images: ``[n, C, H, W]`` in [0, 1].

    Raises:
        ValueError: the layers do not agree.
    """
    layers = [layer for layer in plain if isinstance(layer, nn.Conv2d | nn.Linear)]
    given = list(trained.synaptic)
    shapes = [tuple(layer.weight.shape) for layer in layers]
    weights = [real_weights(layer, layer, trained) for layer in given]
    found = [tuple(weight.shape) for weight, _ in weights]
    if shapes != found:
        raise ValueError(f"both networks must have the same weights, not {shapes} and {found}")
    left, x, shift, factor = iter(weights), images, torch.zeros(0), torch.ones(0)
    for module in plain.eval():
        if isinstance(module, nn.Conv2d | nn.Linear):
            real, shift = (one.float() for one in next(left))
            real = real / gain(trained.code)
            size = real.flatten(1).square().mean(1).sqrt()
            usual = module.weight.square().mean().sqrt()
            factor = torch.where(size > 0, usual / size.clamp(min=1e-30), torch.ones_like(size))
            if module is layers[-1]:
                module.weight.copy_(real)
                module.bias.copy_(shift)
                continue
            module.weight.copy_(real * factor.reshape(-1, *[1] * (real.dim() - 1)))
        x = module(x) if not isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) else x
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3) if x.dim() == 4 else 0, unbiased=False)
            module.running_mean.copy_(mean)  # type: ignore[union-attr]
            module.running_var.copy_(variance)  # type: ignore[union-attr]
            module.weight.copy_((variance + module.eps).sqrt() / factor)
            module.bias.copy_(mean / factor + shift)
            x = module(x)
        if isinstance(module, nn.ReLU | nn.Hardtanh):
            x = x.clamp(max=1)


def main() -> None:
    """Write the state dict of the plain network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PLANS, help="of the plain network, and of the spiking one in the zoo")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = PLANS[options.name]
    torch.manual_seed(0)
    training, _ = split_validation(
        load(options.data, split="train", data_root=options.data_root), count=plan.held_out, seed=0
    )
    drawn = np.random.default_rng(0).choice(len(training.images), IMAGES, replace=False)
    plain = plan.network()
    with torch.autocast("cpu", torch.bfloat16):
        begin(plain, zoo.load(options.name).network, torch.from_numpy(training.images[drawn]).float() / 255)
    torch.save(plain.state_dict(), options.out)


if __name__ == "__main__":
    main()
