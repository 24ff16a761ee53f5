"""What each parameter of the lean designs saves: memories, widths and clock, one line a design.

Number: the tables of log/2026-11-30-lean-designs.md.
n: --limit test images, spread evenly over the set.
Machine: any; energies are counted, not timed. Versions: the firstspike of the checkout, any numpy.

    python -m studies.lean_parameters vgg16-cifar10-lean=cifar10 --design lean-batch --data-root DIR \
        --with accumulator_bits=24 --with accumulator_bits=24,pixel_groups=true
"""

import argparse
import tomllib
from dataclasses import replace

from firstspike import zoo
from firstspike.data import load as load_images
from firstspike.processor import cycles, designs, energy, technology
from firstspike.spiking import load


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="NET=DATA", help="model file or network of the zoo, and its data")
    parser.add_argument("--design", default="lean-batch", help="the design that is varied (%(default)s)")
    parser.add_argument(
        "--with", dest="variants", action="append", default=[], metavar="P=V,...", help="a variant, in TOML's spelling"
    )
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--limit", type=int, default=48, help="images priced (%(default)s)")
    options = parser.parse_args()
    name, _, data = options.network.partition("=")
    snn, design = load(zoo.file(name)), designs.load(options.design)
    images = load_images(data, split="test", data_root=options.data_root).limit(options.limit)
    times = snn.trace(images.pixels(0, len(images))).times
    print("| parameters | µJ | low to high | ms | leakage | DRAM reads | elements | mm² |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for variant in ["", *options.variants]:
        processor = replace(design, **tomllib.loads(variant.replace(",", "\n")))
        network = replace(snn.network, accumulator_bits=processor.accumulator_bits)
        cost = energy.cost(
            cycles.count(network, times, processor),
            weight_bits=network.weights.bits,
            technology=technology.default(),
            dram="flat-4pj",
        )
        parts = " | ".join(f"{cost.components[part].value:.1f}" for part in ("leakage", "dram_read", "pe"))
        print(
            f"| {variant or options.design} | {cost.energy.value:.1f} | {cost.energy.low:.1f} to {cost.energy.high:.1f} "
            f"| {cost.latency_us / 1000:.2f} | {parts} | {cost.area.value:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
