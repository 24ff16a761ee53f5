"""What our element costs in narrower formats, on several layers and images.

Number: table "Narrower formats" of docs/explanation/synthesis.md; of the records of two libraries
`studies.technology_constants` makes ``logic.product_bit``, ``product_area``, ``membrane_bit`` and ``membrane_area``.
n: the layers and images below, --cycles cycles of 16 lanes each; every netlist's membranes are checked.
Machine: any; nothing is timed. Versions and date: docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]'.

    python -m studies.element_formats --data cifar10 --liberty FILE ... --json studies/records/formats-130.json
"""

import argparse
from typing import Any

import numpy as np

from firstspike import records, zoo
from firstspike.arith import product_table
from firstspike.data import load as load_images
from firstspike.gates import scaling
from firstspike.gates.liberty import Library
from firstspike.spec.network import Synaptic
from firstspike.spiking import load
from studies.elements.formats import FORMATS, drive
from studies.elements.stimulus import layer_stimulus

LAYERS = ("conv1_2", "conv2_1", "conv3_2", "conv4_2", "conv5_2")
NETWORKS = {"vgg16-cifar10": FORMATS[:1], "vgg16-cifar10-narrow": FORMATS}
"""The default's own network drives it alone: how far layers and images differ. The narrow one drives all, on the same spikes."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="test images (%(default)s)")
    parser.add_argument("--data-root", help="where named data sets lie")
    parser.add_argument("--images", type=int, default=2, help="how many (%(default)s)")
    parser.add_argument("--cycles", type=int, default=600, help="of each layer and image, about (%(default)s)")
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    parser.add_argument("--json", help="file for the records")
    return parser.parse_args()


def measure(options: argparse.Namespace, library: Library) -> list[dict[str, Any]]:
    """A record for each format, network, layer and image."""
    images = load_images(options.data, split="test", data_root=options.data_root)
    made = {one.name: one.synthesise(library, clock_ns=options.clock) for one in FORMATS}
    factor = scaling.scaling(scaling.node_of(library.name) or 28.0, library.voltage)
    rows: list[dict[str, Any]] = []
    for network, formats in NETWORKS.items():
        snn = load(zoo.path(network))
        net = snn.network
        largest = int(product_table(net.code, net.weights, 0).max())
        for image in range(options.images):
            times = snn.encode(images.pixels(image, image + 1))
            outputs = snn.engine.layers(times)
            for layer in (one for one in net.synaptic if one.name in LAYERS):
                assert isinstance(layer, Synaptic)
                stimulus = layer_stimulus(layer, outputs[layer.source][0], lanes=16, cycles=options.cycles)
                for chosen in formats:
                    synthesis = made[chosen.name]
                    driven = drive(
                        chosen,
                        synthesis,
                        library,
                        stimulus,
                        weights=net.weights,
                        largest=largest,
                        clock_ns=options.clock,
                    )
                    timing = synthesis.timing
                    rows.append(
                        {
                            "format": chosen.name,
                            "product_bits": chosen.parameters.product_bits,
                            "accumulator_bits": chosen.accumulator_bits,
                            "network": network,
                            "layer": layer.name,
                            "image": image,
                            "operations": stimulus.operations,
                            "zeros": round(driven.zeros, 4),
                            "area_um2": synthesis.area_um2 * factor.area,
                            "critical_ns": None if timing is None else timing.critical_ns * factor.delay,
                            "energy_fj": [value * factor.energy for value in driven.energy_fj],
                        }
                    )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Area, delay and energy at 28 nm of every format, mean and spread over layers and images."""
    lines = [
        "| element, network | product, membrane bits | area µm² | path ns | energy/op fJ | least, largest, deviation | zeros |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for key in dict.fromkeys((row["format"], row["network"]) for row in rows):
        some = [row for row in rows if (row["format"], row["network"]) == key]
        energies = [row["energy_fj"][1] for row in some]
        first, path = some[0], some[0]["critical_ns"]
        lines.append(
            f"| {', '.join(key)} | {first['product_bits']}, {first['accumulator_bits']} | {first['area_um2']:.0f} | "
            f"{'-' if path is None else f'{path:.2f}'} | {np.mean(energies):.0f} | "
            f"{min(energies):.0f}, {max(energies):.0f}, {np.std(energies, ddof=1):.0f} | "
            f"{np.mean([row['zeros'] for row in some]):.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the records."""
    options = arguments()
    library = Library(options.liberty)
    rows = measure(options, library)
    print(
        f"{library.name}, {library.voltage} V, {options.clock} ns, at 28 nm; {options.images} images, {', '.join(LAYERS)}; "
    )
    print(f"n = {sum(row['operations'] for row in rows)} operations\n\n{table(rows)}")
    if options.json:
        records.write(options.json, {"library": library.name, "elements": rows})


if __name__ == "__main__":
    main()
