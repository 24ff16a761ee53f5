"""Training step of every stage against the ReLU step: same network, same batch, same optimiser, interleaved in one run.

    python benchmarks/training.py --json training.json

Number: median seconds of a step (forward, backward, SGD) by stage, and its ratio to stage "relu".
n: --rounds after one warm-up round.
Machine, versions: printed, and in the record (--json).
The peer is the plain ReLU network itself, not prepared (`torch`). With --keep-memory the steps are measured
a second time, after the C library was told to keep freed memory as `firstspike train` does: "kept" is that time, and its
ratio to the time before. With --teacher each step asks a float teacher too (its loss at temperature 2, weight 0.7), and the
time of an epoch is given; the peer's convolutions, the teacher's included, are PyTorch's own.
"""

import argparse
import platform
import statistics
import time
from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional

import firstspike as fs
from firstspike import records
from firstspike.cat import convolution
from firstspike.cat.layers import STAGES
from firstspike.train.distillation import Teachers
from firstspike.train.memory import keep_freed_memory
from firstspike.train.teacher import TeacherNetwork

STEPS_PER_EPOCH = 375
"""Of 48,000 images of CIFAR-10, 128 a step."""


def step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: torch.Tensor,
    labels: torch.Tensor,
    half: bool,
    teachers: Teachers | None,
) -> None:
    """One optimiser step."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        logits = network(x)
        loss = functional.cross_entropy(logits.float(), labels)
        if teachers is not None:
            loss = 0.3 * loss + 0.7 * teachers.loss(x, logits, step=0, temperature=2.0)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--keep-memory", action="store_true", help="measure again with freed memory kept")
    parser.add_argument("--teacher", action="store_true", help="each step asks a float teacher too")
    parser.add_argument("--json")
    return parser.parse_args()


def built(options: argparse.Namespace) -> dict[str, nn.Module]:
    """The plain network and one prepared network for every stage, all with the same weights."""
    torch.manual_seed(0)
    plain = fs.models.vgg16(classes=10, width=options.width)
    networks: dict[str, nn.Module] = {"torch": plain}
    for stage in STAGES:
        networks[stage] = fs.prepare(deepcopy(plain))
        networks[stage].stage = stage
    for network in networks.values():
        network.to(options.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    return networks


def main() -> None:
    """Measure and print one table."""
    options = arguments()
    networks = built(options)
    x = torch.rand(options.batch, 3, 32, 32, device=options.device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,), device=options.device)
    optimisers = {
        name: torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=True)
        for name, network in networks.items()
    }

    teachers: Teachers | None = None
    if options.teacher:
        made = TeacherNetwork(classes=10, widths=(128, 384, 384))
        teachers = Teachers([made], shape=(3, 32, 32), classes=10)
        teachers.to(device=options.device, memory_format=torch.channels_last)
    sides = convolution.LARGEST_SIDE, convolution.LARGEST_WIDE_SIDE

    def measured() -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = {name: [] for name in networks}
        for turn in range(options.rounds + 1):
            for name, network in networks.items():
                convolution.LARGEST_SIDE, convolution.LARGEST_WIDE_SIDE = (0, 0) if name == "torch" else sides
                start = time.perf_counter()
                step(network, optimisers[name], x, labels, options.precision == "bfloat16", teachers)
                if turn:
                    seconds[name].append(time.perf_counter() - start)
        return seconds

    seconds = measured()
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {options.device}, torch {torch.__version__}"
    print(f"VGG-16 x{options.width:g}, batch {options.batch}, {options.precision}, n = {options.rounds}, {machine}")
    record: dict[str, object] = {name: getattr(options, name) for name in ("batch", "width", "rounds", "precision")}
    record["machine"] = machine
    for name, times in seconds.items():
        ratios = [t / r for t, r in zip(times, seconds["relu"], strict=True)]
        median, ratio = statistics.median(times), statistics.median(ratios)
        print(f"{name:10s} {median:8.3f} s  (min {min(times):.3f}, max {max(times):.3f})   {ratio:5.2f} x relu")
        if options.teacher:
            epochs = f"{STEPS_PER_EPOCH * median:8.0f} s"
            against = median / statistics.median(seconds["torch"])
            print(f"{'':10s} {epochs} an epoch of {STEPS_PER_EPOCH} steps, {against:5.2f} x torch")
        record[f"{name}_seconds"], record[f"{name}_ratio"] = median, ratio
    if options.keep_memory and keep_freed_memory():
        for name, times in measured().items():
            median = statistics.median(times)
            ratio = median / statistics.median(seconds[name])
            print(
                f"{name:10s} {median:8.3f} s kept  (min {min(times):.3f}, max {max(times):.3f})  {ratio:5.2f} x before"
            )
            record[f"{name}_kept_seconds"], record[f"{name}_kept_ratio"] = median, ratio
    elif options.keep_memory:
        print("--keep-memory: this C library is not glibc and has no such switch")
    if options.json:
        records.write(options.json, record)


if __name__ == "__main__":
    main()
