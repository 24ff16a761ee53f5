"""ReLU networks by plain PyTorch: networks to convert without training, as people have them.

    python -m studies.relu_networks NAME --data-root FOLDER --out FOLDER
    python -m studies.relu_networks NAME --data-root FOLDER --out OTHER --initial FOLDER/NAME.pt \\
        --epochs 12 --small-epochs 8 --learning-rate 0.1

NAME is resnet20-cifar10, vgg16-cifar10 or vgg16-cifar100. ResNet-20 is that of `firstspike.cat.models`; VGG-16 is as in
Simonyan and Zisserman 2015 (arXiv 1409.1556, column D) with batch norm and one linear layer. Pixels in [0, 1]; nothing
of it knows of spikes. 2,000 training images are held out. Smaller crops come first, because they cost less.

Number: accuracy on the 2,000 held-out images, printed while it trains; test images are not looked at.
n: one run a network, seed 0. Machine: any; with bfloat16 instructions an epoch takes 45 to 230 s of one core.
Versions: the torch of the environment. It goes on from FOLDER/last.ckpt.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.cat.convolution import convolve
from firstspike.cat.models import VGG16, resnet20
from firstspike.data import load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.train.memory import keep_freed_memory

SMALL, BATCH, DECAY, MOMENTUM = 24, 128, 5e-4, 0.9
RISE = 0.15
"""Share of all steps in which the learning rate rises."""

AVERAGE = 0.999
"""Share of itself that the average of the weights keeps a step."""


class Conv(nn.Conv2d):
    """A convolution that multiplies matrices where maps are small: the same sums, sooner."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        return convolve(self, x, self.weight, self.bias)


def vgg16(classes: int) -> nn.Sequential:
    """Thirteen 3x3 convolutions with batch norm, the maximum of what is left of the image, one linear layer."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in VGG16[:-1]:
        if outputs == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def vgg16_cifar10() -> nn.Sequential:
    """VGG-16 for 10 classes."""
    return vgg16(10)


def vgg16_cifar100() -> nn.Sequential:
    """VGG-16 for 100 classes."""
    return vgg16(100)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is trained: its data, epochs on small crops and in all, highest learning rate, smoothed labels."""

    network: Callable[[], nn.Sequential]
    data: str
    small_epochs: int
    epochs: int
    learning_rate: float
    smoothing: float = 0.0

    def rate(self, done: float) -> float:
        """The learning rate when the share ``done`` of all steps is done: a line up, half a cosine down."""
        if done < RISE:
            return self.learning_rate * (0.1 + 0.9 * done / RISE)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE)))


PLANS = {
    "resnet20-cifar10": Plan(network=resnet20, data="cifar10", small_epochs=24, epochs=36, learning_rate=0.2),
    "vgg16-cifar10": Plan(
        network=vgg16_cifar10, data="cifar10", small_epochs=9, epochs=13, learning_rate=0.1, smoothing=0.1
    ),
    "vgg16-cifar100": Plan(
        network=vgg16_cifar100, data="cifar100", small_epochs=24, epochs=32, learning_rate=0.1, smoothing=0.1
    ),
}


def crop(images: Tensor, size: int, drawn: torch.Generator) -> Tensor:
    """One window of ``size`` pixels, the same for a whole batch."""
    top, left = (int(torch.randint(images.shape[2] - size + 1, (), generator=drawn)) for _ in range(2))
    return images[:, :, top : top + size, left : left + size]


def evaluate(network: nn.Module, batches: Batches) -> float:
    """Share of images classified rightly, in float32."""
    network.eval()
    with torch.no_grad():
        right = [(network(images).argmax(1) == labels).sum() for images, labels in batches]
    return float(torch.stack(right).sum()) / len(batches.labels)


def main() -> None:
    """Train, print a line an epoch, write the last or the averaged weights, whichever do better on held-out images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PLANS)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--initial", type=Path, help="weights that an earlier run gave, for a second cycle")
    parser.add_argument("--epochs", type=int, help="of that cycle")
    parser.add_argument("--small-epochs", type=int, default=0, help="of these, on small crops")
    parser.add_argument("--learning-rate", type=float, help="its highest")
    options = parser.parse_args()
    plan = PLANS[options.name]
    if options.initial:
        plan = replace(
            plan, small_epochs=options.small_epochs, epochs=options.epochs, learning_rate=options.learning_rate
        )
    keep_freed_memory()
    torch.manual_seed(0)
    training, held_out = split_validation(
        load(plan.data, split="train", data_root=options.data_root), count=2000, seed=0
    )
    batches = Batches(training, batch_size=BATCH, augment=Augment(pad=4), alternate=True, drop_last=True)
    judged = Batches(held_out, batch_size=250, shuffle=False)
    network = plan.network()
    if options.initial:
        network.load_state_dict(torch.load(options.initial, weights_only=True))
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv
        if isinstance(module, nn.MaxPool2d):
            # keeps the last row of the odd maps of small crops; of 32x32 pixels none is odd
            module.ceil_mode = True
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
    )
    optimiser = torch.optim.SGD(network.parameters(), plan.learning_rate, MOMENTUM, weight_decay=DECAY, nesterov=True)
    first, last = 0, options.out / "last.ckpt"
    options.out.mkdir(parents=True, exist_ok=True)
    if last.is_file():
        state = torch.load(last, weights_only=True)
        first = state["epoch"]
        for name, part in (("network", network), ("average", average), ("optimiser", optimiser)):
            part.load_state_dict(state[name])
    for epoch in range(first, plan.epochs):
        start, total = time.process_time(), 0.0
        network.train()
        batches.set_epoch(epoch)
        drawn = torch.Generator().manual_seed(epoch)
        for index, (images, labels) in enumerate(batches):
            optimiser.param_groups[0]["lr"] = plan.rate((epoch + index / len(batches)) / plan.epochs)
            x = crop(images, SMALL if epoch < plan.small_epochs else images.shape[2], drawn)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=plan.smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            average.update_parameters(network)
            total += float(loss.detach())
        state = {"network": network, "average": average, "optimiser": optimiser}
        saved = {"epoch": epoch + 1, **{name: part.state_dict() for name, part in state.items()}}
        torch.save(saved, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)
        print(
            f"epoch {epoch + 1}/{plan.epochs}: loss {total / len(batches):.3f}, held-out images "
            f"{100 * evaluate(network, judged):.2f} %, averaged weights {100 * evaluate(average, judged):.2f} %, "
            f"{time.process_time() - start:.0f} s of processor time",
            flush=True,
        )
    best = max((network, average.module), key=lambda one: evaluate(one, judged))
    torch.save(best.state_dict(), options.out / f"{options.name}.pt")


if __name__ == "__main__":
    main()
