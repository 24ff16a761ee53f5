"""The accuracy-spikes curve for CIFAR-10: the ablation's network trained with several targets of spikes per neuron.

One run of the whole recipe for each of --targets (none: no penalty), evaluated on the integer engine, with the share of silent
(zero) weights.

Number: the curve "Sparsity" of docs/results/formats.md.
n: the whole test set (10,000 images; --test-limit for fewer), one seed.
Machine: stated in the page; training rounds differently on another. Versions: the same, of PyTorch.

    python -m studies.sparsity --data-root DIR --out runs/sparsity

Stopped at any moment, the same command goes on. It writes sparsity.csv, sparsity.json and sparsity.png to --out.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from firstspike.train.recipe import Recipe, SparsityRecipe
from studies.small import Record, arguments, chosen_recipe, figure, kept, spiking, test_set, trained, write_table

TARGETS = (0.0, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)


def main() -> None:
    """One run a target, then the curve."""
    parser = arguments(__doc__, out="runs/sparsity")
    parser.add_argument("--targets", type=float, nargs="+", default=TARGETS, help="spikes per neuron, 0: no penalty")
    parser.add_argument("--weight", type=float, default=0.1, help="initial factor of the penalty (%(default)s)")
    options = parser.parse_args()
    recipe, out, lines = chosen_recipe(options), Path(options.out), []
    for target in options.targets:
        print(f"target {target or 'none'}", flush=True)
        sparsity = SparsityRecipe(weight=options.weight, target=target) if target else SparsityRecipe()
        ours, folder = replace(recipe, sparsity=sparsity), out / f"target-{target}"

        def make(ours: Recipe = ours, folder: Path = folder) -> Record:
            return spiking(deepcopy(trained(ours, folder, options).network), test_set(options, ours))

        found = kept(folder / "result.json", {"recipe": ours.values(), "test_limit": options.test_limit}, make)
        lines.append({"target": target, **{name: value for name, value in found.items() if name != "key"}})
        write_table(out, "sparsity", lines, {"recipe": recipe.values()})
    good = sorted((line for line in lines if "accuracy" in line), key=lambda line: line["spikes_per_neuron"])
    if not good:
        return
    with figure(out / "sparsity.png", width=10, columns=2) as (left, right):
        spikes = [line["spikes_per_neuron"] for line in good]
        left.plot(spikes, [100 * line["accuracy"] for line in good], marker="o")
        left.set_ylabel("test accuracy (%)")
        right.plot(spikes, [100 * line["silent_weights_share"] for line in good], marker="o", color="C1")
        right.set_ylabel("silent weights (%)")
        for axes in (left, right):
            axes.set_xlabel("spikes per neuron")
            axes.margins(x=0.12, y=0.1)
            axes.set_title(
                f"{recipe.data.name}, {recipe.network.plan} at width {recipe.network.width}, {recipe.training.epochs} epochs, "
                f"n = {good[0]['images']}",
                fontsize=8,
            )
            for line in good:
                name = "accuracy" if axes is left else "silent_weights_share"
                text = f"target {line['target'] or 'none'}"
                place = (line["spikes_per_neuron"], 100 * line[name])
                axes.annotate(text, place, xytext=(0, 7), textcoords="offset points", ha="center", fontsize=7)


if __name__ == "__main__":
    main()
