"""One weight scale a layer, or one for each output channel: a depthwise network on digits.

Trained as a ReLU network and converted without training; or, with --through, trained through the stages: accuracy before the
weights are rounded, when they are, and after three more epochs.

Number: tables of "A scale for each channel" of docs/results/formats.md.
n: --seeds networks, each trained here; accuracy and logits on all 360 test images.
Machine: any; nothing is timed. Versions and date: docs/results/formats.md.
Needs: pip install 'firstspike[train,data]'.

    python -m studies.channel_scales
    python -m studies.channel_scales --through --seeds 2 --bits 4 3
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import firstspike as fs
from firstspike.cat.layers import WeightScale
from firstspike.cat.prepared import Prepared
from firstspike.data import load

EPOCHS, BATCH, CALIBRATED = 12, 64, 300
"""Of training; images by which a network is calibrated."""

STAGES = (("clip", 6, 0.1), ("ttfs", 4, 0.03), ("quantised", 3, 0.005))
"""Of training through the stages: name, epochs, learning rate."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="networks (%(default)s)")
    parser.add_argument("--bits", type=int, nargs="+", default=[5, 4, 3], help="bits of a weight (%(default)s)")
    parser.add_argument("--through", action="store_true", help="train through the stages")
    return parser.parse_args()


def network() -> nn.Sequential:
    """Four depthwise separable blocks with batch norm."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        return [depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), pointwise, nn.BatchNorm2d(outputs), nn.ReLU()]

    first = [nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    late = [*block(48, 64), *block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*first, *block(32, 32), *block(32, 48), nn.MaxPool2d(2), *late)


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and labels."""
    images = load("digits", split=split)
    return torch.from_numpy(images.pixels()), torch.from_numpy(images.labels)


def trained(seed: int, x: Tensor, y: Tensor) -> nn.Sequential:
    """A network trained by Adam, in evaluation mode."""
    torch.manual_seed(seed)
    net = network()
    optimiser = torch.optim.Adam(net.parameters())
    steps = EPOCHS * len(torch.arange(len(x)).split(BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[index]), y[index]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def converted(net: nn.Module, bits: int, way: WeightScale, x: Tensor, *, search: bool) -> fs.SpikingNetwork:
    """The network calibrated; without ``search`` scales are those of least error on the weights, and nothing is made good."""
    weights = fs.LogWeights(bits=bits)
    cat = fs.prepare(net, example=x[:1], code=fs.Code(input="planes"), weights=weights, weight_scale=way)
    fs.calibrate(cat.eval(), x[:CALIBRATED], search=search, compensate=search)
    return fs.convert(cat, example=x[:4].numpy())


def through(seed: int, bits: int, way: WeightScale, x: Tensor, y: Tensor) -> Iterator[Prepared]:
    """The network before its weights are rounded, when they are, and after training on."""
    torch.manual_seed(seed)
    weights = fs.LogWeights(bits=bits)
    cat = fs.prepare(network(), example=x[:1], code=fs.Code(input="planes"), weights=weights, weight_scale=way)
    optimiser = torch.optim.SGD(cat.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    epoch = 0
    for stage, epochs, rate in STAGES:
        if stage == "quantised":
            yield cat
        cat.set_stage(stage)
        if stage == "quantised":
            yield cat
        for group in optimiser.param_groups:
            group["lr"] = rate
        for _ in range(epochs):
            cat.train()
            torch.manual_seed(100 * seed + epoch)
            for index in torch.randperm(len(x)).split(BATCH):
                optimiser.zero_grad()
                functional.cross_entropy(cat(x[index]), y[index]).backward()
                optimiser.step()
            epoch += 1
    yield cat


def trained_through(seeds: int, every: list[int], x: Tensor, y: Tensor, images: Tensor, labels: Tensor) -> None:
    """Train, print."""
    print("| bits | scale | network | before, % | rounded, % | trained on, % | largest shift of the layers |")
    print("|--:|---|--:|--:|--:|--:|---|")
    for bits, seed, way in product(every, range(seeds), get_args(WeightScale)):
        right = []
        for cat in through(seed, bits, way, x, y):
            with torch.no_grad():
                right.append(100 * float((cat.eval()(images).argmax(1) == labels).float().mean()))
        shifts = [0 if layer.shifts is None else int(layer.shifts.max()) for _, layer in cat.synapses()]
        shown = " | ".join(f"{value:.2f}" for value in right)
        print(f"| {bits} | {way} | {seed} | {shown} | {', '.join(map(str, shifts))} |", flush=True)


def main() -> None:
    """Train, calibrate, print."""
    options = arguments()
    x, y = digits("train")
    images, labels = digits("test")
    if options.through:
        trained_through(options.seeds, options.bits, x, y, images, labels)
        return
    rows: dict[tuple[int, bool, str], list[tuple[float, float]]] = {}
    plain = []
    for seed in range(options.seeds):
        net = trained(seed, x, y)
        with torch.no_grad():
            wanted = net(images)
        plain.append(float((wanted.argmax(1) == labels).float().mean()))
        for bits in options.bits:
            for search in (False, True):
                for way in get_args(WeightScale):
                    snn = converted(net, bits, way, x, search=search)
                    logits = torch.from_numpy(np.ldexp(snn(images.numpy()).astype(np.float64), -snn.logit_exponent))
                    right = float((logits.argmax(1) == labels).float().mean())
                    error = float((logits - wanted).norm() / wanted.norm())
                    rows.setdefault((bits, search, way), []).append((right, error))
    print(f"n = {options.seeds} networks, {100 * np.mean(plain):.2f} % of {len(labels)} images before conversion\n")
    print("| bits | rounding | scale | accuracy, % | error of the logits, % |")
    print("|--:|---|---|--:|--:|")
    for (bits, search, way), found in rows.items():
        right, error = 100 * np.mean(found, axis=0)
        print(f"| {bits} | {'compensated' if search else 'nearest'} | {way} | {right:.2f} | {error:.1f} |")


if __name__ == "__main__":
    main()
