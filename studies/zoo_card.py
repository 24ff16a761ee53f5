"""Card of a network in zoo/: accuracy on a full test set by the integer engine, spikes, operations, cost, and how it was trained.

    python -m studies.zoo_card vgg16-cifar10 --data FOLDER_OR_ZIP --training training.md
    python -m studies.zoo_card vgg16-cifar10 --data FOLDER_OR_ZIP --cost     # the row of its energy alone, after another price

The section "Training" (data split, epochs, machine, hours, in short; each step stands in log/) is that file's text; without
--training it stays as it is.

Number: accuracy by the integer engine; cost on the default design or --processor, DRAM at 4 pJ/bit (docs/explanation/energy.md).
n: all test images (10,000 for CIFAR-10) for accuracy, the first 50 for cost; one run, exact, so repeating it gives the same.
Machine: any; the card names it. Versions: the firstspike of the checkout.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from firstspike import files, zoo
from firstspike.spec.file import read_notes

ROOT = Path(__file__).resolve().parents[1]
ENERGY = "| energy per image |"


def record(*arguments: str) -> dict[str, object]:
    """The record of a subcommand."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "record.json"
        subprocess.run([sys.executable, "-m", "firstspike.cli.main", *arguments, "--json", str(target)], check=True)
        result: dict[str, object] = json.loads(target.read_text(encoding="utf-8"))
        return result


def section(card: Path, title: str) -> str:
    """The text under a heading of the card that is there."""
    if not card.is_file():
        raise SystemExit(f"{card}: there is no card yet, so --training must say how the network was trained")
    _, found, rest = card.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    if not found:
        raise SystemExit(f"{card}: it must have a section {title!r}, or --training give one")
    return rest.partition("\n## ")[0]


def energy(cost: dict[str, object], processor: str) -> str:
    """The row of the energy, from the record of ``firstspike cost``."""
    design = "" if processor == "default" else f", processor {processor}"
    return (
        f"{ENERGY} {cost['energy_uj_per_image']:.1f} µJ ({cost['energy_uj_per_image_low']:.1f} to "
        f"{cost['energy_uj_per_image_high']:.1f}), {float(cost['cycles_per_image']) / 1e6:.3f} million cycles; "  # type: ignore[arg-type]
        f"mean of {cost['images']} images, DRAM {cost['dram']}{design} |"
    )


def main() -> None:
    """Evaluate, price, write ``zoo/NAME.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", required=True)
    parser.add_argument("--training", type=Path, help="Markdown file: how it was trained (default: as the card says)")
    parser.add_argument("--processor", default="default", help="design that is priced (%(default)s)")
    parser.add_argument("--cost", action="store_true", help="make only the row of the energy anew")
    options = parser.parse_args()
    model, card = zoo.path(options.name), ROOT / "zoo" / f"{options.name}.md"
    priced = ("cost", str(model), "--data", options.data, "--limit", "50", "--processor", options.processor)
    if options.cost:
        row = energy(record(*priced), options.processor)
        shown = card.read_text(encoding="utf-8").splitlines()
        files.write(card, "\n".join([row if line.startswith(ENERGY) else line for line in shown]) + "\n")
        print(row)
        return
    training = options.training.read_text(encoding="utf-8") if options.training else section(card, "Training")
    result = record("evaluate", str(model), "--data", options.data)
    cost = record(*priced)
    layers = record("inspect", str(model))
    zero = {row["name"]: row.get("zero_weights_share") for row in layers["layers"]}  # type: ignore[attr-defined]
    lines = [
        f"# {options.name}",
        "",
        "| | |",
        "|---|---|",
        f"| accuracy, integer engine | {100 * float(result['accuracy']):.2f} % of {result['images']:,} test images |",  # type: ignore[arg-type]
        f"| weights | {layers['weight_bits']} bits, {layers['levels_per_octave']} levels per octave |",
        f"| code | T = {layers['T']}, tau = {layers['tau']}, M = {layers['mantissa_bits']} |",
        f"| latency | {result['latency_steps']} steps |",
        f"| spikes per neuron | {result['spikes_per_neuron']:.4f} |",
        f"| SOPs per image | {float(result['sops_per_image']) / 1e6:.2f} million, zero weights included |",  # type: ignore[arg-type]
        energy(cost, options.processor),
        f"| file | {model.stat().st_size:,} bytes |",
        *(f"| {key} | {value} |" for key, value in read_notes(model).items()),
        f"| evaluated | {date.today().isoformat()}, {platform.machine()} |",
        "",
        "## Training",
        "",
        training.strip(),
        "",
        "## Layers",
        "",
        "| layer | spikes per neuron | zero weights | SOPs per image |",
        "|---|---|---|---|",
    ]
    for layer in result["layers"]:  # type: ignore[attr-defined]
        fires = "" if layer["spikes_per_neuron"] is None else f"{layer['spikes_per_neuron']:.4f}"
        share = zero.get(layer["name"])
        silent = "" if share is None else f"{100 * share:.1f} %"
        lines.append(f"| {layer['name']} | {fires} | {silent} | {layer['sops_per_image']:,.0f} |")
    lines += ["", f"Made by `python -m studies.zoo_card {options.name} --data ...`.", ""]
    files.write(card, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
