"""ReLU networks by plain PyTorch: networks to convert without training, as people have them.

    python -m studies.relu_networks NAME --data-root FOLDER --out FOLDER
    python -m studies.relu_networks NAME --data-root FOLDER --out OTHER --initial FOLDER/NAME.pt \\
        --epochs 12 --small-epochs 8 --learning-rate 0.1
    python -m studies.relu_networks NAME --data-root FOLDER --out OTHER --initial FOLDER/NAME.pt \\
        --epochs 24 --learning-rate 0.05 --teacher FILE --cutout 8
    python -m studies.relu_networks vgg16-tiny-imagenet --data-root FOLDER --out OTHER --initial FILE \\
        --epochs 12 --small-epochs 2 --learning-rate 0.02 --cutmix 0.5 --frozen 4 --spikes 0.18 --unclip 1.5

NAME is resnet20-cifar10, vgg16-cifar10, vgg16-cifar100 or vgg16-tiny-imagenet. ResNet-20 is that of
`firstspike.cat.models`; VGG-16 is as in Simonyan and Zisserman 2015 (arXiv 1409.1556, column D) with batch norm and
one linear layer, or two hidden ones for Tiny-ImageNet, which begins with what `studies.clipped_start` writes. Pixels in
[0, 1]; nothing of it knows of spikes, but that `--spikes` makes values sparse. 2,000 training images are held out
(Tiny-ImageNet: 4,000). Smaller crops come first, because they cost less.

Number: accuracy on the 2,000 held-out images, printed while it trains; test images are not looked at.
n: one run a network and seed (--seed 0). Machine: any; with bfloat16 instructions an epoch takes 45 to 230 s of one core.
Versions: the torch of the environment. It goes on from FOLDER/last.ckpt.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from firstspike.cat.convolution import convolve
from firstspike.cat.models import VGG16, resnet20
from firstspike.data import load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.data.cutmix import cutmix
from firstspike.train.distillation import Teachers, find_teacher
from firstspike.train.memory import keep_freed_memory

SMALL, BATCH, DECAY, MOMENTUM = 0.75, 128, 5e-4, 0.9
THRESHOLD, PRESSURE, SAMPLE = 0.33, 10.0, 16
"""Of `Sparsity`: threshold, weight of the penalty for each unit of share above the target, images it looks at."""

TEMPERATURE, TAUGHT = 2.0, 0.7
"""Of a teacher's probabilities, and their share of the loss."""

RISE = 0.15
"""Share of all steps in which the learning rate rises."""

HIGHEST = 16.0
"""Where clips of activations end up, of `Clips`: far above what occurs."""

CHUNK = 8
"""Images that the frozen layers see at once."""

AVERAGE = 0.999
"""Share of itself that the average of the weights keeps a step."""


class Conv(nn.Conv2d):
    """A convolution that multiplies matrices where maps are small: the same sums, sooner."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        return convolve(self, x, self.weight, self.bias)


def vgg16(classes: int) -> nn.Sequential:
    """Thirteen 3x3 convolutions with batch norm, the maximum of what is left of the image, one linear layer."""
    return nn.Sequential(*_convolutions(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def _convolutions(*, clipped: int = 0) -> list[nn.Module]:
    """Of VGG-16, but for the last pooling layer; activations of the first ``clipped`` end at 1."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in VGG16[:-1]:
        if outputs == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)]
        layers.append(nn.Hardtanh(0, 1) if clipped > 0 else nn.ReLU())
        inputs, clipped = outputs, clipped - 1
    return layers


def vgg16_cifar10() -> nn.Sequential:
    """VGG-16 for 10 classes."""
    return vgg16(10)


def vgg16_cifar100() -> nn.Sequential:
    """VGG-16 for 100 classes."""
    return vgg16(100)


def vgg16_tiny_imagenet() -> nn.Sequential:
    """VGG-16 for 200 classes and 64x64 pixels, with the zoo network's two hidden linear layers and four clipped ones."""
    hidden: list[nn.Module] = []
    for inputs in (4 * 512, 512):
        hidden += [nn.Linear(inputs, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU()]
    return nn.Sequential(*_convolutions(clipped=4), nn.MaxPool2d(2), nn.Flatten(), *hidden, nn.Linear(512, 200))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is trained: its data, epochs on small crops and in all, highest learning rate, smoothed labels."""

    network: Callable[[], nn.Sequential]
    data: str
    small_epochs: int
    epochs: int
    learning_rate: float
    smoothing: float = 0.0
    held_out: int = 2000
    pad: int = 4

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
    "vgg16-tiny-imagenet": Plan(
        network=vgg16_tiny_imagenet,
        data="tiny-imagenet",
        small_epochs=12,
        epochs=18,
        learning_rate=0.1,
        smoothing=0.1,
        held_out=4000,
        pad=8,
    ),
}


class Frozen(nn.Module):
    """The first convolutions of a network as they are, up to the pooling layer behind them: norms lie in the weights.

    It works on a few images at a time, so that their maps stay in the cache.

    Args:
        network: as of `vgg16`; its layers of this part stop to learn.
        convolutions: how many of them.
    """

    def __init__(self, network: nn.Sequential, convolutions: int) -> None:
        super().__init__()
        places = [place for place, layer in enumerate(network) if isinstance(layer, nn.Conv2d)]
        self.end = (places[convolutions - 1] + 3) if convolutions else 0
        while self.end and self.end < len(network) and isinstance(network[self.end], nn.MaxPool2d):
            self.end += 1
        part = network[: self.end].requires_grad_(False)
        layers: list[nn.Module] = []
        for layer in part.eval():
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = torch.nn.utils.fuse_conv_bn_eval(layers[-1], layer)
            else:
                layers.append(layer)
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the part gives, ``[n, C, H, W]``."""
        return torch.cat([self.layers(some) for some in x.split(CHUNK)]) if self.end else x


class Clips:
    """ReLUs that end at 1 at first and higher from step to step: a network trained with clipped activations loses its clips.

    Args:
        network: its ReLUs are exchanged.
        steps: in which the end rises to `HIGHEST`.
    """

    def __init__(self, network: nn.Sequential, steps: int) -> None:
        self.steps = steps
        self.clips = {place: nn.Hardtanh(0, 1) for place, layer in enumerate(network) if isinstance(layer, nn.ReLU)}
        self.put(network)

    def put(self, network: nn.Sequential) -> None:
        """Into another network with the same layers, too."""
        for place, clip in self.clips.items():
            network[place] = clip

    def rise(self, step: int) -> None:
        """Before the step with this number."""
        for clip in self.clips.values():
            clip.max_val = HIGHEST ** min(1.0, step / self.steps)


class Sparsity:
    """Presses the norms' shifts down while more values than wanted lie above a spike's threshold.

    The threshold is `THRESHOLD` of a layer's root mean square, about where the last spike of T = 16 steps lies after
    `firstspike convert --calibrate`. The gradient is that of the sum of the values, each divided by that root, but it is
    given to the shifts alone.

    Args:
        network: its ReLUs follow the norms.
        target: share of values above the threshold.
    """

    def __init__(self, network: nn.Sequential, target: float) -> None:
        self.target, self.share = target, target
        self._seen: dict[nn.BatchNorm2d, Tensor] = {}
        for norm, relu in itertools.pairwise(network):
            if isinstance(norm, nn.BatchNorm2d) and isinstance(relu, nn.ReLU | nn.Hardtanh):
                relu.register_forward_hook(lambda relu, _, y, norm=norm: self._see(relu, norm, y))

    def _see(self, relu: nn.Module, norm: nn.BatchNorm2d, y: Tensor) -> None:
        if relu.training:
            self._seen[norm] = y.detach()[:SAMPLE]

    def add_gradient(self) -> None:
        """Between ``backward`` and the optimiser's step."""
        neurons = sum(y[0].numel() for y in self._seen.values())
        weight = PRESSURE * max(0.0, self.share - self.target)
        above = 0.0
        for norm, y in self._seen.items():
            root = y.float().square().mean().sqrt().clamp(min=1e-6)
            above += float((y > THRESHOLD * root).sum()) / (len(y) * neurons)
            if norm.bias.grad is not None:
                positive = (y > 0).float().mean(dim=(0, 2, 3))
                norm.bias.grad += weight * positive * y[0, 0].numel() / (neurons * root)
        self.share = 0.95 * self.share + 0.05 * above


def crop(images: Tensor, size: int, drawn: torch.Generator) -> Tensor:
    """One window of ``size`` pixels, the same for a whole batch."""
    top, left = (int(torch.randint(images.shape[2] - size + 1, (), generator=drawn)) for _ in range(2))
    return images[:, :, top : top + size, left : left + size]


def evaluate(network: nn.Module, batches: Batches) -> float:
    """Share of images classified rightly, in bfloat16."""
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
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
    parser.add_argument("--teacher", nargs="+", default=[], help="float networks to learn from, besides the labels")
    parser.add_argument("--cutout", type=int, default=0, help="side of a blank square in each training image")
    parser.add_argument("--cutmix", type=float, default=0.0, help="share of the batches whose images are mixed")
    parser.add_argument(
        "--frozen", type=int, default=0, help="first convolutions, with their norms, that stay as they are"
    )
    parser.add_argument("--spikes", type=float, help="share of values that may become spikes, for `Sparsity`")
    parser.add_argument(
        "--unclip", type=float, default=0.0, help="epochs in which activations that end at 1 rise above it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and crops (%(default)s)")
    options = parser.parse_args()
    plan = PLANS[options.name]
    if options.initial:
        plan = replace(
            plan, small_epochs=options.small_epochs, epochs=options.epochs, learning_rate=options.learning_rate
        )
    keep_freed_memory()
    torch.manual_seed(options.seed)
    training, held_out = split_validation(
        load(plan.data, split="train", data_root=options.data_root), count=plan.held_out, seed=0
    )
    batches = Batches(
        training,
        batch_size=BATCH,
        augment=Augment(pad=plan.pad, cutout=options.cutout),
        seed=options.seed,
        alternate=True,
        drop_last=True,
    )
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
    frozen = Frozen(network, options.frozen)
    clips = Clips(network, round(options.unclip * (len(training) // BATCH))) if options.unclip else None
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
    )
    if clips:
        clips.put(average.module)
    optimiser = torch.optim.SGD(
        [one for one in network.parameters() if one.requires_grad],
        plan.learning_rate,
        MOMENTUM,
        weight_decay=DECAY,
        nesterov=True,
        fused=True,
    )
    sparsity = Sparsity(network, options.spikes) if options.spikes else None
    print(f"at first: held-out images {100 * evaluate(network, judged):.2f} %", flush=True)
    teachers = None
    if options.teacher:
        found = [teacher for name in options.teacher if (teacher := find_teacher(name)) is not None]
        teachers = Teachers(found, shape=training.images.shape[1:], classes=len(training.classes))
        teachers.to(memory_format=torch.channels_last)
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
        drawn = torch.Generator().manual_seed((options.seed << 20) + epoch)
        for index, (images, labels) in enumerate(batches):
            optimiser.param_groups[0]["lr"] = plan.rate((epoch + index / len(batches)) / plan.epochs)
            mixed = cutmix(images, labels, probability=options.cutmix, generator=drawn)
            side = images.shape[2]
            x = crop(mixed.images, int(SMALL * side) if epoch < plan.small_epochs else side, drawn)
            step = epoch * len(batches) + index
            if clips:
                clips.rise(step)
            with torch.autocast("cpu", torch.bfloat16):
                x = x.contiguous(memory_format=torch.channels_last)
                logits = network[frozen.end :](frozen(x))
                loss = mixed.loss(logits, label_smoothing=plan.smoothing)
                if teachers:
                    taught = teachers.loss(x, logits, step=step, temperature=TEMPERATURE)
                    loss = (1 - TAUGHT) * loss + TAUGHT * taught
            optimiser.zero_grad()
            loss.backward()
            if sparsity:
                sparsity.add_gradient()
            optimiser.step()
            average.update_parameters(network)
            total += float(loss.detach())
        state = {"network": network, "average": average, "optimiser": optimiser}
        saved = {"epoch": epoch + 1, **{name: part.state_dict() for name, part in state.items()}}
        torch.save(saved, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)
        spikes = f"{100 * sparsity.share:.1f} % of values above the threshold, " if sparsity else ""
        print(
            f"epoch {epoch + 1}/{plan.epochs}: loss {total / len(batches):.3f}, held-out images "
            f"{100 * evaluate(network, judged):.2f} %, averaged weights {100 * evaluate(average, judged):.2f} %, "
            f"{spikes}{time.process_time() - start:.0f} s of processor time",
            flush=True,
        )
    best = max((network, average.module), key=lambda one: evaluate(one, judged))
    torch.save(best.state_dict(), options.out / f"{options.name}.pt")


if __name__ == "__main__":
    main()
