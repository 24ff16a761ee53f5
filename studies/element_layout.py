"""What wires add to the energy of an element: ours and those of the designs it is compared with, each laid out alike.

Number: what docs/explanation/synthesis.md, "A lane with its wires", says of elements: that one factor serves all of them.
n: one layer on one image, 16 lanes; the cycles and operations printed.
Machine: any; nothing is timed. Versions: of Yosys, OpenSTA and KLayout, stated in docs/explanation/synthesis.md.
Needs: IHP's kit (docs/how-to/layout.md).

    python -m studies.element_layout zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --cycles 2000 \\
        --pdk IHP-Open-PDK --liberty FILE --json studies/records/element-wires-130.json
"""

import argparse
from pathlib import Path
from typing import Any

from firstspike import records
from firstspike.gates import power
from firstspike.gates.layout import flow, pdk
from firstspike.gates.liberty import Library
from studies.elements.compare import driven, smallest
from studies.elements.stimulus import Stimulus
from studies.elements.trained import layer_arguments, trained_stimulus
from studies.elements.variants import VARIANTS, Variant

CHOSEN = (
    "ours, 5 mantissa bits",
    "multiplier, 8-bit weight, 8-bit activation",
    "multiplier, 8-bit weight",
    "adder, 8-bit weight",
    "base-e kernel table, 8-bit weight",
)
"""Elements whose energies are in the technology file."""


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="model file with 5-bit weights, T=24, tau=4")
    layer_arguments(parser, data="cifar10", layer="conv2_1", cycles=2000)
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file of the kit's cells")
    parser.add_argument("--pdk", type=Path, required=True, help="checkout of IHP-Open-PDK")
    parser.add_argument("--utilisation", type=float, default=0.7, help="of the core (%(default)s)")
    parser.add_argument("--only", action="append", choices=CHOSEN, metavar="NAME", help="an element (all)")
    parser.add_argument("--json", help="file for the record")
    return parser.parse_args()


def laid_out(variant: Variant, library: Library, stimulus: Stimulus, options: argparse.Namespace) -> dict[str, Any]:
    """Energy of an operation in fJ without wires and with them, as in `studies.lane_layout`."""
    synthesis, _ = smallest(variant, library, 4.0)
    _, waves = driven(variant, synthesis, library, stimulus)
    layout = flow.lay_out(
        synthesis.netlist, library, pdk.ihp_sg13g2(options.pdk), flow.Options(utilisation=options.utilisation)
    )
    made = layout.record()
    record = {key: made[key] for key in ("cells", "nets", "nets_routed", "wire_mm", "violations", "opens", "shorts")}
    ground = made["wires_ground_ff"] / made["wires_ff"]
    nets = {int(name[1:]): tree.total_ff for name, tree in layout.trees.items() if name.startswith("n")}
    for name, share in (("without_wires", 0.0), ("neighbours_far", ground), ("with_wires", 1.0)):
        wires = {net: share * value for net, value in nets.items()}
        report = power.integrate(synthesis.netlist, library, waves, wires=wires)
        record[name] = report.per_cycle_fj()["total"] * report.cycles / stimulus.operations
    return record | {"factor": record["with_wires"] / record["without_wires"]}


def main() -> None:
    """Lay out the elements and print what wires add to each."""
    options = arguments()
    stimulus, source = trained_stimulus(options)
    library = Library(options.liberty)
    print(f"{source}: {len(stimulus.times)} cycles of {stimulus.lanes} lanes, {stimulus.operations} operations")
    elements = {}
    for variant in VARIANTS:
        if variant.name in (options.only or CHOSEN):
            elements[variant.name] = found = laid_out(variant, library, stimulus, options)
            print(
                f"{variant.name}: {found['nets_routed']} of {found['nets']} nets, {found['without_wires']:.1f} fJ, "
                f"with wires {found['with_wires']:.1f} fJ, x {found['factor']:.3f}",
                flush=True,
            )
    if options.json:
        records.write(
            options.json,
            {"library": library.name, "operations": stimulus.operations, "source": source, "elements": elements},
        )


if __name__ == "__main__":
    main()
