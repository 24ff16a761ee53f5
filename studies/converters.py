"""One trained ReLU network through three converters: `firstspike.calibrate`, SpikingJelly's ann2snn and sinabs' from_model.

    python -m studies.converters --model resnet:resnet20 --weights FILE --mean M,M,M --std S,S,S --data-root FOLDER
    python -m studies.converters --model studies.relu_networks:vgg16_cifar100 --weights FILE --data cifar100 --limit 0 \
        --only firstspike --data-root FOLDER

All three see the same calibration images and the same test images. The rivals keep float32 weights and analogue, normalised
pixels, repeated in every step, and get the network written with modules, which they need. Their neurons fire by rate,
sinabs' several times a step; their logits are summed over the steps, and read after each number of --steps. firstspike has
5-bit weights and one spike a neuron, and is run by the integer engine.

SpikingJelly: `RateCodingRecipe` with modes "Max" and "99.9%", `LocalThresholdBalancingRecipe`. sinabs takes what
`from_model` takes, once with its lower bound of a membrane and once without.

Number: accuracy in % on test images, and points lost to the ReLU network on the same images.
n: --limit test images, spread evenly over the set, or 0 for all. Machine and versions: printed with the table.
"""

import argparse
import json
import operator
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.fx.passes import shape_prop
from torch.nn import functional

import firstspike as fs
from firstspike.cat import own
from firstspike.cli.arguments.common import numbers
from firstspike.data import load

BATCH = 50
Accuracies = dict[int, float]
"""Accuracy in % by number of steps."""


def with_modules(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """The same network written with modules alone, which is what the rivals take: they refuse or pass over functions.

    ReLUs, the global average and its flattening become modules; a shortcut that takes every second pixel and pads channels
    becomes a 1x1 convolution of zeros and ones; a global maximum becomes a pool of the map's size.
    """
    traced = fx.symbolic_trace(network)
    shape_prop.ShapeProp(traced).propagate(example)
    for index, node in enumerate(list(traced.graph.nodes)):
        module: nn.Module
        source = node.args[0] if node.args else None
        if node.target in (operator.iadd, operator.add):
            node.target = operator.add
            continue
        if node.target in (functional.relu, torch.relu):
            module = nn.ReLU()
        elif node.target is functional.avg_pool2d and node.meta["tensor_meta"].shape[2:] == (1, 1):
            module = nn.AdaptiveAvgPool2d(1)
        elif node.op == "call_module" and isinstance(traced.get_submodule(node.target), nn.AdaptiveMaxPool2d):
            module = nn.MaxPool2d(tuple(source.meta["tensor_meta"].shape[2:]))
        elif node.op == "call_method" and node.target == "view" and len(node.meta["tensor_meta"].shape) == 2:
            module = nn.Flatten()
        elif node.target is functional.pad:
            sliced = source
            source = sliced.args[0]
            inputs, outputs = source.meta["tensor_meta"].shape[1], node.meta["tensor_meta"].shape[1]
            stride = source.meta["tensor_meta"].shape[2] // node.meta["tensor_meta"].shape[2]
            before = node.args[1][4]
            module = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            weight = torch.zeros(outputs, inputs)
            weight[before : before + inputs] = torch.eye(inputs)
            module.weight.data.copy_(weight[:, :, None, None])
        else:
            continue
        traced.add_submodule(f"module_{index}", module)
        with traced.graph.inserting_after(node):
            made = traced.graph.call_module(f"module_{index}", (source,))
        made.meta = node.meta
        node.replace_all_uses_with(made)
        traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    torch.testing.assert_close(traced.eval()(example), network(example))
    return traced


def right(logits: Tensor, labels: Tensor) -> int:
    """How many images are classified rightly."""
    return int((logits.argmax(1) == labels).sum())


def accuracies(
    steps: list[int], x: Tensor, labels: Tensor, batch: int, logits: Callable[[Tensor], Iterator[Tensor]]
) -> Accuracies:
    """Accuracy after each number of steps; ``logits`` yields those of a batch, one step after the other."""
    hits = dict.fromkeys(steps, 0)
    for images, wanted in zip(x.split(batch), labels.split(batch), strict=True):
        total = torch.zeros(())
        for step, found in zip(range(1, max(steps) + 1), logits(images), strict=False):
            total = total + found
            if step in hits:
                hits[step] += right(total, wanted)
    return {step: 100 * hit / len(x) for step, hit in hits.items()}


def spikingjelly(network: nn.Module, recipe: str, calibration: Tensor) -> Callable[[Tensor], Iterator[Tensor]]:
    """Logits step by step of SpikingJelly's converted network."""
    from spikingjelly.activation_based import ann2snn
    from spikingjelly.activation_based import functional as spiking
    from spikingjelly.activation_based.ann2snn.recipes import LocalThresholdBalancingRecipe, RateCodingRecipe

    batches = [(part,) for part in calibration.split(64)]
    chosen = LocalThresholdBalancingRecipe(batches) if recipe == "balanced" else RateCodingRecipe(batches, mode=recipe)
    snn = ann2snn.Converter(chosen).convert(with_modules(network, calibration[:2])).eval()

    def logits(images: Tensor) -> Iterator[Tensor]:
        spiking.reset_net(snn)
        while True:
            yield snn(images)

    return logits


def sinabs(
    network: nn.Module, calibration: Tensor, lowest: float | None, steps: int
) -> Callable[[Tensor], Iterator[Tensor]]:
    """Logits step by step of sinabs' converted network, all steps of a batch computed at once."""
    from sinabs.from_torch import from_model

    snn = from_model(
        with_modules(network, calibration[:2]), num_timesteps=steps, min_v_mem=lowest, synops=False
    ).spiking_model.eval()  # type: ignore[arg-type]

    def logits(images: Tensor) -> Iterator[Tensor]:
        for module in snn.modules():
            if hasattr(module, "reset_states"):
                module.reset_states()
        out = snn(images.repeat_interleave(steps, dim=0)).unflatten(0, (len(images), steps))
        yield from out.unbind(1)

    return logits


def firstspike(network: nn.Module, calibration: Tensor, x: Tensor, labels: Tensor, windows: list[int]) -> Accuracies:
    """Accuracy by the time steps of a layer, of the integer engine."""
    found = {}
    for window in windows:
        cat = fs.prepare(network, example=calibration, code=fs.Code(T=window, input="planes"))
        fs.calibrate(cat, calibration)
        snn = fs.convert(cat.eval(), example=x[:2])
        found[window] = 100 * sum(
            right(torch.as_tensor(snn(part)), wanted)
            for part, wanted in zip(x.split(BATCH), labels.split(BATCH), strict=True)
        ) / len(x)  # fmt: skip
    return found


def main() -> None:
    """Run all converters and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--mean", type=numbers)
    parser.add_argument("--std", type=numbers)
    parser.add_argument("--data", default="cifar10", help="name of a data set")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--only", default="", help="names of converters begin with this")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--images", type=int, default=512, help="for calibration")
    parser.add_argument("--steps", type=lambda text: [*map(int, text.split(","))], default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--windows", type=lambda text: [*map(int, text.split(","))], default=[16, 24])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    plain = own.load_weights(own.build(options.model), options.weights).eval()
    network = own.normalised(plain, options.mean, options.std).eval()
    test = load(options.data, split="test", data_root=options.data_root)
    test = test.limit(options.limit or len(test))
    x, labels = torch.from_numpy(test.pixels()), torch.from_numpy(test.labels)
    training = load(options.data, split="train", data_root=options.data_root).limit(options.images)
    calibration = torch.from_numpy(training.pixels())
    spread = [
        torch.tensor(values or default)[:, None, None]
        for values, default in ((options.mean, [0.0]), (options.std, [1.0]))
    ]
    normal, normal_x = ((images - spread[0]) / spread[1] for images in (calibration, x))
    rows: dict[str, Accuracies] = {}
    with torch.no_grad():
        relu = 100 * sum(
            right(network(part), wanted) for part, wanted in zip(x.split(BATCH), labels.split(BATCH), strict=True)
        ) / len(x)  # fmt: skip
        machine = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
        names = ["torch", "firstspike", *(name for name in ("spikingjelly", "sinabs") if find_spec(name))]
        print(f"{len(x)} test images, ReLU {relu:.2f} %; {machine.partition(': ')[2] or platform.machine()}; "
              f"{', '.join(f'{name} {version(name)}' for name in names)}", flush=True)  # fmt: skip
        rivals: dict[str, Callable[[], Callable[[Tensor], Iterator[Tensor]]]] = {
            "SpikingJelly, 99.9%": lambda: spikingjelly(plain, "99.9%", normal),
            "sinabs": lambda: sinabs(plain, normal, -1.0, max(options.steps)),
            "SpikingJelly, balanced": lambda: spikingjelly(plain, "balanced", normal),
            "sinabs, no lower bound": lambda: sinabs(plain, normal, None, max(options.steps)),
            "SpikingJelly, Max": lambda: spikingjelly(plain, "Max", normal),
        }
        if "firstspike".startswith(options.only):
            rows["firstspike"] = firstspike(network, calibration, x, labels, options.windows)
            show("firstspike", rows["firstspike"], relu)
        for name, made in rivals.items():
            if not name.startswith(options.only):
                continue
            batch = 2 if name.startswith("sinabs") else BATCH
            rows[name] = accuracies(options.steps, normal_x, labels, batch, made())
            show(name, rows[name], relu)
    if options.json:
        record = {"model": options.model, "images": len(x), "relu": relu, "accuracy": rows}
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


def show(name: str, found: Accuracies, relu: float) -> None:
    """A line of the table: accuracies by steps, and the least loss."""
    cells = ", ".join(f"{steps}: {accuracy:.2f}" for steps, accuracy in found.items())
    print(f"{name}: {cells}; least loss {relu - max(found.values()):.2f} points", flush=True)


if __name__ == "__main__":
    main()
