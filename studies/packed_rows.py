"""What packed rows save at a share of zero weights, with the spikes of the network as it is: an estimate before any training.

Number: table "Packed rows, before any training" of docs/explanation/energy.md.
n: --limit test images. The least weights of all layers but the first become zero; accuracy is not looked at, and a trained
sparse network has spikes of its own.
Machine: any; energies are counted, not timed. Versions: the firstspike of the checkout, any numpy.

    python -m studies.packed_rows zoo/vgg16-cifar10.safetensors --data cifar10 --data-root DIR
"""

import argparse

from firstspike.conversion.recode import thin
from firstspike.data import load as load_images
from firstspike.processor import cycles, designs, technology
from firstspike.spiking import load
from studies.lean import priced, suited


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file")
    parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=16, help="images priced (%(default)s)")
    parser.add_argument("--zeros", type=float, nargs="*", default=[0, 0.5, 0.8, 0.9], help="shares (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Print one table."""
    options = arguments()
    constants, snn = technology.default(), load(options.network)
    images = load_images(options.data, split="test", data_root=options.data_root).limit(options.limit)
    times, bits = snn.trace(images.pixels(0, len(images))).times, snn.network.weights.bits
    columns = [(cells, dram) for cells in ("", "lstp") for dram in constants.dram]
    print(
        "| zeros | design | latency, ms | "
        + " | ".join(f"{cells or '[sram]'}, {dram}" for cells, dram in columns)
        + " |"
    )
    print("|--:|---|--:|" + "--:|" * len(columns))
    for share in options.zeros:
        network = thin(snn.network, share)
        for name in ("default", "lean", "batch", "lean-batch"):
            counts = cycles.count(network, times, suited(designs.load(name), network))
            costs = priced(counts, bits, columns)
            energies = " | ".join(f"{cost.energy_uj:.1f}" for cost in costs)
            print(f"| {share:.0%} | {name} | {costs[0].latency_us / 1e3:.2f} | {energies} |", flush=True)


if __name__ == "__main__":
    main()
