"""Networks with few weights on the designs made for them: weights, zeros, energy, latency, area.

Number: the table of docs/results/lean.md.
n: --limit test images, spread evenly over the set, whole batches of 16.
Machine: any; energies are counted, not timed. Versions: the firstspike of the checkout, any numpy.

    python -m studies.lean vgg16-cifar10-lean=cifar10 vgg16-cifar10-narrow=cifar10 --data-root DIR
"""

import argparse
from dataclasses import replace

from firstspike import zoo
from firstspike.data import load as load_images
from firstspike.processor import cycles, designs, energy, technology
from firstspike.processor.cycles import Counts
from firstspike.processor.energy import Cost
from firstspike.processor.run import Processor
from firstspike.spec import Network
from firstspike.spiking import load

DESIGNS = ("default", "lean", "lean-batch")


def priced(counts: Counts, weight_bits: int, columns: list[tuple[str, str]]) -> list[Cost]:
    """What was counted, priced with memory cells (a name, or "" for those of [sram]) and a DRAM scenario each."""
    constants = technology.default()
    return [
        energy.cost(
            counts,
            weight_bits=weight_bits,
            technology=constants.of_cells(cells) if cells else constants,
            dram=dram,
        )
        for cells, dram in columns
    ]


def suited(processor: Processor, network: Network) -> Processor:
    """The design, with the network's accumulators where its membranes do not fit the design's."""
    try:
        replace(network, accumulator_bits=min(network.accumulator_bits, processor.accumulator_bits))
    except ValueError:
        return replace(processor, accumulator_bits=network.accumulator_bits)
    return processor


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "networks", nargs="+", metavar="NET=DATA", help="model files or networks of the zoo, and their data"
    )
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=48, help="images priced (%(default)s)")
    options = parser.parse_args()
    constants = technology.default()
    columns = [(cells, dram) for dram in constants.dram for cells in ("", "lstp")]
    heads = " | ".join(f"{dram}, {cells or '[sram]'}" for cells, dram in columns)
    print(f"| network | weights | zero | design | images | latency, ms | {heads} | mm² |")
    print("|---|--:|--:|---|--:|--:|" + "--:|" * (len(columns) + 1))
    for named in options.networks:
        name, _, data = named.partition("=")
        snn = load(zoo.file(name))
        layers, zero = snn.network.connections, snn.network.weights.zero_level
        weights = sum(layer.codes.size for layer in layers)
        zeros = sum(int((layer.codes & zero == zero).sum()) for layer in layers)
        images = load_images(data, split="test", data_root=options.data_root).limit(options.limit)
        times, bits = snn.trace(images.pixels(0, len(images))).times, snn.network.weights.bits
        for design in DESIGNS:
            processor = suited(designs.load(design), snn.network)
            counts = cycles.count(snn.network, times, processor)
            costs = priced(counts, bits, columns)
            energies = " | ".join(
                f"{cost.energy.value:.1f} ({cost.energy.low:.1f} to {cost.energy.high:.1f})" for cost in costs
            )
            print(
                f"| {name} | {weights / 1e6:.2f} M | {zeros / weights:.1%} | {design} | {processor.images} | "
                f"{costs[0].latency_us / 1e3:.2f} | {energies} | {costs[0].area.value:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
