"""Sweeps of the number formats: (T, tau) of the spike code; bits, levels per octave and mantissa bits of the weights.

Post-training: a trained network in another format, no training after it. The network is a run of the ablation's row "ttfs"
(--checkpoint; float weights that never saw a quantiser), or a model file or network of the zoo (--network; its weights lie on
its own levels, so finer formats than its own cannot gain).
Trained (--trained): the same, then --fine-tune epochs (2) through the format's quantiser at --rate (0.01): every code,
every bits x levels with the recipe's mantissa, every mantissa with the recipe's bits and levels.
Accuracy is the integer engine's, on validation images: these figures are for choices, the test set is not touched. A format
that the contract refuses has the contract's words in column "refused". Where membranes outgrow 32 bits, they are 40 or 48 bits
wide (column "accumulator_bits"): that changes nothing in what the network computes.

Number: tables and pictures of docs/results/formats.md.
n: --limit validation images, spread evenly (400); one run of each cell.
Machine: any without --trained; with it stated in the page, as training rounds differently. Versions: the same, of PyTorch.

    python -m studies.sweep --checkpoint runs/ablation/ttfs-seed0/last.ckpt --trained --data-root DIR --out runs/sweep
    python -m studies.sweep --network vgg16-cifar10 --data-root DIR --out runs/sweep-vgg16

Stopped at any moment, the same command goes on. It writes sweep.csv, sweep.json, and one PNG for each plot to --out.
"""

import hashlib
from argparse import Namespace
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from firstspike import zoo
from firstspike.arith import Code, LogWeights
from firstspike.cat.prepared import Prepared
from firstspike.cat.rebuild import rebuild, reformat
from firstspike.converter import convert
from firstspike.data import ImageSet
from firstspike.spec import Network
from firstspike.spiking import load
from firstspike.train.fit import load_network, training_images
from firstspike.train.recipe import Recipe, StagesRecipe
from studies.small import Record, arguments, chosen_recipe, figure, kept, spiking, trained, write_table

CODES = ((8, 2), (12, 2), (16, 4), (24, 4), (32, 4), (48, 8))
BITS, LEVELS, MANTISSAS = range(3, 8), (1, 2, 4), range(2, 9)
FINE = LogWeights(bits=8, levels_per_octave=16, mantissa_bits=8)

MEMBRANES = (32, 40, 48)
MEASURED = ("spikes_per_neuron", "latency_steps", "silent_weights_share", "accumulator_bits")

Cell = dict[str, int]


def cells(recipe: Recipe, *, whole: bool) -> list[Cell]:
    """The formats, as numbers; ``whole`` for all of the weights' grid, else its two sections."""
    code, weights = recipe.code, recipe.weights
    usual = {
        "T": code.T,
        "tau": code.tau,
        "bits": weights.bits,
        "levels": weights.levels_per_octave,
        "mantissa": weights.mantissa_bits,
    }
    found = [{**usual, "T": T, "tau": tau} for T, tau in CODES]
    for bits in BITS:
        for levels in LEVELS:
            for mantissa in MANTISSAS:
                section = mantissa == weights.mantissa_bits or (
                    bits == weights.bits and levels == weights.levels_per_octave
                )
                if whole or section:
                    found.append({**usual, "bits": bits, "levels": levels, "mantissa": mantissa})
    return [cell for index, cell in enumerate(found) if cell not in found[:index]]


def formats(cell: Cell, recipe: Recipe) -> tuple[Code, LogWeights]:
    """Code and weight format of a cell; ValueError where the contract refuses them."""
    code = replace(recipe.code, T=cell["T"], tau=cell["tau"])
    weights = LogWeights(bits=cell["bits"], levels_per_octave=cell["levels"], mantissa_bits=cell["mantissa"])
    return code, weights


def after_training(cell: Cell, recipe: Recipe, network: Prepared, images: ImageSet) -> Record:
    """Accuracy in the cell's format without further training."""
    try:
        code, weights = formats(cell, recipe)
        return widened(reformat(network, code=code, weights=weights), images)
    except ValueError as error:
        return {"refused": str(error)}


def fine_tuned(
    cell: Cell, recipe: Recipe, start: Network, images: ImageSet, folder: Path, options: Namespace
) -> Record:
    """Accuracy in the cell's format after training through it."""
    try:
        code, weights = formats(cell, recipe)
    except ValueError as error:
        return {"refused": str(error)}
    training = replace(recipe.training, epochs=options.fine_tune, learning_rate=options.rate, quantised_rate=1.0)
    ours = replace(recipe, code=code, weights=weights, training=training, stages=StagesRecipe(quantised=0))
    network = trained(ours, folder, options, initial=start).network
    return widened(network, images)


def widened(network: Prepared, images: ImageSet) -> Record:
    """The integer engine's figures, with membranes as wide as they must be."""
    found: Record = {}
    for bits in MEMBRANES:
        copy = deepcopy(network)
        copy.accumulator_bits = bits
        found = spiking(copy, images)
        if "refused" not in found:
            return {**found, "accumulator_bits": bits}
    return found


def heat(axes, grid: np.ndarray, rows: list[str], columns: list[str], x: str, y: str, title: str) -> None:  # type: ignore[no-untyped-def]
    """One heat map with its values: negative where the contract refuses the format, NaN where nothing was measured."""
    axes.imshow(np.ma.masked_where(~(grid >= 0), grid), aspect="auto", cmap="viridis", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(grid):
        text, colour = f"{value:.1f}", "white" if value < 60 else "black"
        if not value >= 0:
            text, colour = ("refused" if value < 0 else ""), "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=9)


def plots(out: Path, lines: list[Record], recipe: Recipe, n: int) -> None:
    """Accuracy over codes; bits by mantissa for each number of levels, for what is there."""
    kinds = [kind for kind in ("post-training", "trained") if any(line["kind"] == kind for line in lines)]
    weights = recipe.weights

    def find(kind: str, **cell: int) -> float:
        for line in lines:
            if line["kind"] == kind and all(line[key] == value for key, value in cell.items()):
                return float(line.get("accuracy_percent", -1.0))
        return float("nan")

    own = {"bits": weights.bits, "levels": weights.levels_per_octave, "mantissa": weights.mantissa_bits}
    usual = {"T": recipe.code.T, "tau": recipe.code.tau}
    with figure(out / "sweep-codes.png") as axes:
        for kind in kinds:
            found = [find(kind, T=T, tau=tau, **own) for T, tau in CODES]
            values = [value if value >= 0 else np.nan for value in found]
            axes.plot(range(len(CODES)), values, marker="o", label=kind)
        axes.set_xticks(range(len(CODES)), [f"({T}, {tau})" for T, tau in CODES])
        axes.set_xlabel("(T in steps, tau in steps per octave)")
        axes.set_ylabel("validation accuracy (%)")
        axes.set_title(f"spike code; n = {n} validation images", fontsize=9)
        axes.legend()
    for kind in kinds:
        with figure(out / f"sweep-weights-{kind}.png", width=12, columns=len(LEVELS)) as panels:
            for axes, levels in zip(panels, LEVELS, strict=True):
                grid = np.array(
                    [[find(kind, bits=b, levels=levels, mantissa=m, **usual) for m in MANTISSAS] for b in BITS]
                )
                heat(
                    axes,
                    grid,
                    [str(b) for b in BITS],
                    [str(m) for m in MANTISSAS],
                    "mantissa (bits)",
                    "weight (bits)",
                    f"{kind}, accuracy (%), {levels} levels per octave, n = {n}",
                )


def main() -> None:
    """All cells; table and plots grow with them."""
    parser = arguments(__doc__, out="runs/sweep")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="trained in stage ttfs by the recipe")
    source.add_argument("--network", help="model file or network of the zoo")
    parser.add_argument("--limit", type=int, default=400, help="validation images (%(default)s)")
    parser.add_argument("--trained", action="store_true", help="fine-tune too")
    parser.add_argument("--fine-tune", type=int, default=2, help="epochs (%(default)s)")
    parser.add_argument("--rate", type=float, default=0.01, help="peak learning rate (%(default)s)")
    options = parser.parse_args()
    if options.trained and options.network:
        parser.error("--trained needs --checkpoint: the recipe's network")
    recipe, out = chosen_recipe(options), Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    training, validation = training_images(recipe, options.data_root)
    images = validation.limit(options.limit)
    if options.checkpoint:
        file = Path(options.checkpoint)
        network = load_network(recipe, file, shape=training.shape, classes=len(training.classes))
    else:
        file = Path(options.network) if Path(options.network).is_file() else zoo.path(options.network)
        network = rebuild(load(file).network)
        recipe = replace(recipe, code=network.code, weights=network.weights)
    source_hash = hashlib.sha256(file.read_bytes()).hexdigest()
    lines: list[Record] = []
    for kind in ("post-training", "trained") if options.trained else ("post-training",):
        todo = cells(recipe, whole=kind == "post-training")
        start = None
        if kind == "trained":
            fine = reformat(network, weights=FINE, accumulator_bits=48)
            start = convert(fine.double(), example=images.limit(2).pixels()).network
        for number, cell in enumerate(todo, 1):
            name = "-".join(f"{key}{value}" for key, value in cell.items())
            print(f"{kind} {number}/{len(todo)}: {name}", flush=True)
            folder = out / kind / name
            key: Record = {
                "source": source_hash,
                "images": len(images),
                "recipe": recipe.values(),
                "membranes": MEMBRANES,
            }
            if kind == "trained":
                key |= {"epochs": options.fine_tune, "rate": options.rate}

            def make(cell: Cell = cell, folder: Path = folder, start: Network | None = start) -> Record:
                if start is None:
                    return after_training(cell, recipe, network, images)
                return fine_tuned(cell, recipe, start, images, folder, options)

            found = kept(folder / "result.json", key, make)
            line: Record = {"kind": kind, **cell}
            if "refused" in found:
                line["refused"] = found["refused"]
            else:
                line["accuracy_percent"] = 100 * found["accuracy"]
                line |= {key: found[key] for key in MEASURED}
            lines.append(line)
            write_table(out, "sweep", lines, {"source": file.name, "images": len(images), "split": "validation"})
    plots(out, lines, recipe, len(images))


if __name__ == "__main__":
    main()
