"""A ReLU ResNet-20 for CIFAR-10 by plain PyTorch: a network to convert without training, as people have them.

    python -m studies.relu_resnet20 --data-root FOLDER --out FOLDER

Residual blocks as in He et al. 2016 (arXiv 1512.03385, section 4.2), projection shortcuts, pixels in [0, 1]. Nothing of
it knows of spikes. 2,000 training images are held out. Crops of 24x24 pixels come first, because they cost half.

Number: accuracy on the 2,000 held-out images, printed while it trains; test images are not looked at.
n: one run, seed 0. Machine: any; with bfloat16 instructions 65 s of one core an epoch of 24x24, 100 s one of 32x32.
Versions: the torch of the environment. It goes on from FOLDER/last.ckpt.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstspike.data import load, split_validation
from firstspike.data.augment import Augment
from firstspike.data.batches import Batches
from firstspike.train.memory import keep_freed_memory

EPOCHS, SMALL_EPOCHS = 36, 24
SMALL, BATCH, RATE, DECAY, MOMENTUM = 24, 128, 0.2, 5e-4, 0.9
RISE = 0.15
"""Share of all steps in which the learning rate rises."""

AVERAGE = 0.999
"""Share of itself that the average of the weights keeps a step."""


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected by a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[n, outputs, H / stride, W / stride]`` of maps ``[n, inputs, H, W]``."""
        y = self.relu1(self.norm1(self.conv1(x)))
        result: Tensor = self.relu2(self.norm2(self.conv2(y)) + self.shortcut(x))
        return result


def resnet20() -> nn.Sequential:
    """The network, for 10 classes and images of any size."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            layers.append(Block(inputs, outputs, stride if index == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def rate(done: float) -> float:
    """The learning rate when the share ``done`` of all steps is done: a line up, half a cosine down."""
    if done < RISE:
        return RATE * (0.1 + 0.9 * done / RISE)
    return RATE * 0.5 * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE)))


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
    """Train, print a line an epoch, write the averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    training, held_out = split_validation(
        load("cifar10", split="train", data_root=options.data_root), count=2000, seed=0
    )
    batches = Batches(training, batch_size=BATCH, augment=Augment(pad=4), alternate=True, drop_last=True)
    judged = Batches(held_out, batch_size=250, shuffle=False)
    network = resnet20().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
    )
    optimiser = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    first, last = 0, options.out / "last.ckpt"
    options.out.mkdir(parents=True, exist_ok=True)
    if last.is_file():
        state = torch.load(last, weights_only=True)
        first = state["epoch"]
        for name, part in (("network", network), ("average", average), ("optimiser", optimiser)):
            part.load_state_dict(state[name])
    for epoch in range(first, EPOCHS):
        start, total = time.process_time(), 0.0
        network.train()
        batches.set_epoch(epoch)
        drawn = torch.Generator().manual_seed(epoch)
        for index, (images, labels) in enumerate(batches):
            optimiser.param_groups[0]["lr"] = rate((epoch + index / len(batches)) / EPOCHS)
            x = crop(images, SMALL if epoch < SMALL_EPOCHS else images.shape[2], drawn)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), labels)
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
            f"epoch {epoch + 1}/{EPOCHS}: loss {total / len(batches):.3f}, held-out images "
            f"{100 * evaluate(network, judged):.2f} %, averaged weights {100 * evaluate(average, judged):.2f} %, "
            f"{time.process_time() - start:.0f} s of processor time",
            flush=True,
        )
    torch.save(average.module.state_dict(), options.out / "resnet20.pt")


if __name__ == "__main__":
    main()
