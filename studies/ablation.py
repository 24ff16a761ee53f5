"""The ablation that conversion-aware training stands on, for CIFAR-10, with VGG-16 at a quarter of its widths.

Rows, each with everything of the row before: ReLU; clip; TTFS on the input; TTFS in hidden layers; quantised weights. A
row's network is trained by the same recipe whose later stages are left out, then converted as it is: batch norm folded;
thresholds and kernel of the code; weights in the recipe's 5 bits and, to tell the two losses apart, in 8 bits with 16
levels per octave. The ReLU network is converted in three ways: activations normalised by a percentile of 500 training
images, chosen by spiking accuracy on the validation images; the same with every membrane enlarged by what a spike time
loses in the mean, its percentile chosen likewise; and `firstspike.calibrate` on the 500 images. Network accuracy is
PyTorch's in float32, spiking accuracy the integer engine's. With --teacher all rows learn from that network too, by the
recipe's table [distillation]; without, that table is left out.

Number: the tables of docs/results/ablation.md.
n: the whole test set (10,000 images; --test-limit for fewer), --seeds runs of each row.
Machine: stated in the page; training rounds differently on another. Versions: the same, of PyTorch.

    python -m studies.ablation --recipe studies/ablation-narrow.toml --data-root DIR --out runs/ablation
    python -m studies.ablation --recipe studies/ablation-narrow.toml --teacher FILE --data-root DIR --out runs/taught

Stopped at any moment, the same command goes on. It writes ablation.csv, ablation.json and ablation.png to --out.
"""

from argparse import Namespace
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from firstspike import zoo
from firstspike.arith import LogWeights
from firstspike.cat.calibrate import calibrate, gain
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import reformat
from firstspike.data import ImageSet
from firstspike.train.distillation import Teacher, find_teacher
from firstspike.train.fit import training_images
from firstspike.train.recipe import DistillationRecipe, Recipe
from studies.normalise import normalise
from studies.small import (
    Record,
    arguments,
    chosen_recipe,
    figure,
    kept,
    mean,
    network_accuracy,
    spiking,
    test_set,
    trained,
    write_table,
)

ROWS = {
    "relu": "ReLU + plain conversion",
    "gain": "ReLU + plain conversion, loss of spike times undone",
    "calibrated": "ReLU + calibration",
    "clip": "clip",
    "input": "+ TTFS on the input",
    "ttfs": "+ TTFS on hidden layers",
    "quantised": "+ quantised weights",
}
ORDER = list(ROWS)
OF_RELU = ORDER[:3]
"""Rows of the same network."""

FINE = LogWeights(bits=8, levels_per_octave=16, mantissa_bits=8)
FINE_ACCUMULATOR_BITS = 48
PERCENTILES = (100.0, 99.9, 99.5, 99.0, 98.0)


def row_recipe(recipe: Recipe, row: str, seed: int, *, taught: bool) -> Recipe:
    """The recipe without the stages after the row's, and without distillation where there is no teacher."""
    later = [stage for stage in ORDER[ORDER.index(row) + 1 :] if stage not in OF_RELU]
    stages = replace(recipe.stages, **dict.fromkeys(later))
    distillation = recipe.distillation if taught else DistillationRecipe()
    return replace(recipe, stages=stages, training=replace(recipe.training, seed=seed), distillation=distillation)


def run(recipe: Recipe, row: str, folder: Path, options: Namespace, teachers: list[Teacher]) -> Record:
    """Train, convert, evaluate one row of one seed."""
    start = perf_counter()
    network = trained(recipe, folder, options, teachers=teachers).network.float().eval()
    seconds = perf_counter() - start
    test, (training, validation) = test_set(options, recipe), training_images(recipe, options.data_root)
    accuracy, chosen = network_accuracy(deepcopy(network), test), None
    images = torch.from_numpy(training.limit(500).pixels())
    if row in ("relu", "gain"):
        enlarged = gain(network.code) if row == "gain" else 1.0
        network, chosen = normalised(network, images, validation.limit(1000), enlarged)
    coarse, finer = network, network
    if row != "quantised":
        coarse, finer = reformat(network, weights=recipe.weights), fine(network)
    if row == "calibrated":
        for one in (coarse, finer):
            one.set_stage("relu")
            calibrate(one, images)
    in_bits = spiking(deepcopy(coarse), test)
    in_fine = in_bits if row == "quantised" else spiking(finer, test)
    return {
        "network_accuracy": accuracy,
        "percentile": chosen,
        "spiking": in_bits,
        "spiking_fine": in_fine,
        "train_seconds": seconds,
    }


def normalised(
    network: Prepared, images: torch.Tensor, validation: ImageSet, enlarged: float
) -> tuple[Prepared, float]:
    """The network normalised by the percentile that serves the validation images best, and that percentile."""
    networks = {}
    for percentile in PERCENTILES:
        networks[percentile] = deepcopy(network)
        normalise(networks[percentile], images, percentile=percentile, enlarged=enlarged)
    found = {percentile: spiking(fine(net), validation).get("accuracy", 0.0) for percentile, net in networks.items()}
    chosen = max(found, key=lambda percentile: found[percentile])
    return networks[chosen], chosen


def fine(network: Prepared) -> Prepared:
    """The network with 8-bit weights: what the code alone costs."""
    return reformat(network, weights=FINE, accumulator_bits=FINE_ACCUMULATOR_BITS)


def table_row(row: str, seed: int, record: Record) -> Record:
    """One line of the table; losses in percentage points."""
    fine_, coarse, network = record["spiking_fine"], record["spiking"], 100 * record["network_accuracy"]
    line: Record = {"row": ROWS[row], "stage": row, "seed": seed, "network_accuracy_percent": network}
    for name, found in (("fine", fine_), ("recipe_bits", coarse)):
        if "refused" in found:
            line[f"refused_{name}"] = found["refused"]
            continue
        line[f"spiking_accuracy_{name}_percent"] = 100 * found["accuracy"]
        line[f"loss_{name}_points"] = network - 100 * found["accuracy"]
    shown = coarse if "refused" not in coarse else fine_
    line |= {key: shown.get(key) for key in ("spikes_per_neuron", "latency_steps", "images", "silent_weights_share")}
    return line | {"percentile": record["percentile"], "train_seconds": record["train_seconds"]}


def plot(path: Path, lines: list[Record], title: str) -> None:
    """Accuracies by row, means over seeds."""
    series = {
        "network_accuracy_percent": "network",
        "spiking_accuracy_fine_percent": "spiking, 8-bit weights",
        "spiking_accuracy_recipe_bits_percent": "spiking, weights in the recipe's bits",
    }
    rows = [row for row in ORDER if any(line["stage"] == row for line in lines)]
    with figure(path, width=9.0) as axes:
        for index, (key, label) in enumerate(series.items()):
            for position, row in enumerate(rows):
                values = [line[key] for line in lines if line["stage"] == row and line.get(key) is not None]
                if values:
                    bar = axes.bar(
                        position + 0.27 * (index - 1),
                        mean(values),
                        0.25,
                        color=f"C{index}",
                        label=label if position == 0 else None,
                    )
                    axes.bar_label(bar, fmt="%.1f", fontsize=7)
        axes.set_xticks(range(len(rows)), [ROWS[row] for row in rows], fontsize=8)
        axes.set_ylabel("accuracy (%)")
        axes.set_title(title, fontsize=9)
        axes.set_ylim(0, 115)
        axes.legend(fontsize=7, ncols=3, loc="upper center")


def main() -> None:
    """All rows, one after the other; the table grows with each."""
    parser = arguments(__doc__, out="runs/ablation")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each row (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ORDER, default=ORDER, help="rows (all)")
    parser.add_argument("--teacher", help="network of the zoo, or file of a float one, that all rows learn from")
    options = parser.parse_args()
    recipe, out, lines = chosen_recipe(options), Path(options.out), []
    teachers: list[Teacher] = [find_teacher(options.teacher) or zoo.find(options.teacher)] if options.teacher else []
    for seed in range(recipe.training.seed, recipe.training.seed + options.seeds):
        for row in options.rows:
            print(f"{ROWS[row]}, seed {seed}", flush=True)
            ours = row_recipe(recipe, row, seed, taught=bool(teachers))
            folder = out / f"{'relu' if row in OF_RELU else row}-seed{seed}"
            key = {"recipe": ours.values(), "test_limit": options.test_limit}

            def make(ours: Recipe = ours, row: str = row, folder: Path = folder) -> Record:
                return run(ours, row, folder, options, teachers)

            lines.append(table_row(row, seed, kept(out / f"{row}-seed{seed}.json", key, make)))
            write_table(out, "ablation", lines, {"recipe": recipe.values(), "seeds": options.seeds})
            n, epochs = lines[-1]["images"], recipe.training.epochs
            title = (
                f"{recipe.data.name}, {recipe.network.plan} at width {recipe.network.width}, {epochs} epochs, "
                f"n = {n} test images, seeds: {options.seeds}"
            )
            plot(out / "ablation.png", lines, title)
    for line in lines:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in line.items()})


if __name__ == "__main__":
    main()
