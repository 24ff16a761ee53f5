"""Energy of a lane with the wires of its layout, beside the same netlist without wires.

Three kinds of wires: as extracted (a neighbour that stands still), with no neighbour near (their share of all capacitance, the
same for every net), and with neighbours that always move the other way (what neighbours add counts twice).

Number: Table "A lane with its wires" of docs/explanation/synthesis.md.
n: one layer on one image, 16 lanes; the cycles and operations printed at the end.
Machine: any; nothing is timed. Versions: of Yosys, OpenSTA and KLayout, stated in docs/explanation/synthesis.md.
Needs: a layout by ``firstspike rtl layout`` from the same Liberty files.

    firstspike rtl layout --pdk IHP-Open-PDK --liberty FILE --out build/lane
    python -m studies.lane_layout build/lane --liberty FILE \\
        --network zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --json studies/records/lane-wires-130.json
    python -m studies.lane_layout --lef asap7_tech_1x_201209.lef --lef asap7sc7p5t_28_R_1x_220121a.lef --detour 1.12 \\
        --liberty FILE ... --network ... --json studies/records/lane-wires-7.json

The second needs no router: ASAP7's rules (self-aligned double patterning) are beyond ours, so its wires are lengths of the placed
cells' bounding boxes, times what they are longer in the first layout, times the flow scripts' constants for ASAP7.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstspike import records
from firstspike.arith import Code, LogWeights
from firstspike.gates import activity, power, scaling
from firstspike.gates.layout import estimate, flow, lef, parasitics
from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Netlist
from firstspike.gates.synthesise import design, synthesise
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from studies.elements.stimulus import Stimulus, random_stimulus
from studies.elements.trained import layer_arguments, trained_stimulus

KINDS = ("without_wires", "neighbours_far", "with_wires", "neighbours_against")
"""Of wires."""


@dataclass(frozen=True, kw_only=True)
class Wires:
    """Wires in fF by net, the share of them that is left with no neighbour near, and the worst path with them."""

    nets: dict[str, float]
    ground: float
    critical_ns: dict[str, float]

    @classmethod
    def of_layout(cls, folder: Path) -> "Wires":
        """Of a routed lane."""
        text = (folder / "firstspike_lane.spef").read_text(encoding="utf-8")
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        paths = {key: record[key].get("critical_ns") for key in ("before_layout", "with_wires")}
        ground = record["wires_ground_ff"] / record["wires_ff"]
        return cls(nets=parasitics.read_spef(text), ground=ground, critical_ns=paths)

    @classmethod
    def of_lef(cls, options: argparse.Namespace, netlist: Netlist, library: Library) -> "Wires":
        """Of a lane that is placed and not routed: length times constants, neighbours in them."""
        cells = lef.read([Path(name) for name in options.lef])
        lengths = estimate.EstimateOptions(
            site=options.site,
            utilisation=options.utilisation,
            ff_per_um=options.wire[0],
            ohm_per_um=options.wire[1],
            detour=options.detour,
        )
        made, plan, trees = estimate.placed_wires(netlist, library, cells, lengths)
        length = sum(tree.length_um for tree in trees.values())
        print(f"core {plan.width:.2f} x {plan.core_height:.2f} um, {length:.0f} um of wire")
        paths = {}
        for key, wires in (("before_layout", flow.bare(trees)), ("with_wires", trees)):
            path = flow.worst(made, wires, library, clock_ns=4.0)
            if path is not None:
                paths[key] = path.critical_ns
        nets = {name: tree.total_ff for name, tree in trees.items()}
        return cls(nets=nets, ground=1.0, critical_ns=paths)


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", nargs="?", help="folder that firstspike rtl layout wrote")
    parser.add_argument("--lef", action="append", help="instead: LEF of technology and cells, to place only")
    parser.add_argument("--site", type=float, default=0.054, help="its sites in um (%(default)s)")
    parser.add_argument("--wire", type=float, nargs=2, default=(0.16579, 26.5684), help="fF and ohm a um %(default)s")
    parser.add_argument("--detour", type=float, default=1.0, help="routed length over half perimeters (%(default)s)")
    parser.add_argument("--utilisation", type=float, default=0.7, help="of the core (%(default)s)")
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file of the layout")
    parser.add_argument("--network", help="model file; without one: random spikes")
    layer_arguments(parser, data="cifar10", layer="conv2_1", cycles=2000)
    parser.add_argument("--json", help="file for the record")
    return parser.parse_args()


def energies(netlist: Netlist, library: Library, waves: Any, made: Wires, stimulus: Stimulus) -> dict[str, Any]:
    """The record: energy of an operation in fJ for each kind of wires."""
    wires = {int(name[1:]): value for name, value in made.nets.items() if name.startswith("n")}
    factor = scaling.scaling(scaling.node_of(library.name) or 28.0, library.voltage).energy
    record: dict[str, Any] = {
        "library": library.name,
        "operations": stimulus.operations,
        "cycles": len(stimulus.times),
        "lanes": stimulus.lanes,
        "nets_with_wires": len(wires),
        "wires_ff": sum(wires.values()),
        "critical_ns": made.critical_ns,
    }
    shares = dict(zip(KINDS, (0.0, made.ground, 1.0, 2 - made.ground), strict=True))
    for name, share in shares.items():
        chosen = {net: share * value for net, value in wires.items()}
        report = power.integrate(netlist, library, waves, wires=chosen)
        cycle = report.per_cycle_fj()
        scale = report.cycles / stimulus.operations
        record[name] = {key: value * scale for key, value in cycle.items()}
        record[name]["pj_per_operation_28nm"] = cycle["total"] * scale * factor * 1e-3
    bare = record["without_wires"]["total"]
    record["factors"] = [record[name]["total"] / bare for name in KINDS[1:]]
    return record


def show(record: dict[str, Any]) -> None:
    """Print it."""
    bare = record["without_wires"]["total"]
    print(f"n = {record['cycles']} cycles of {record['lanes']} lanes, {record['operations']} operations")
    for name in KINDS:
        energy = record[name]
        parts = ", ".join(f"{key} {energy[key]:.1f}" for key in power.CATEGORIES)
        print(
            f"{name.replace('_', ' ')}: {energy['total']:.1f} fJ per operation ({parts}), x {energy['total'] / bare:.3f}"
        )


def main() -> None:
    """Print and write the energies."""
    options = arguments()
    stimulus = (
        trained_stimulus(options)[0]
        if options.network
        else random_stimulus(Code(), LogWeights(), lanes=options.lanes, cycles=options.cycles)
    )
    library = Library(options.liberty)
    parameters = Parameters(processor=ProcessorSpec(pes=16), code=Code(), weights=LogWeights())
    netlist = synthesise(design("lane", parameters), library, with_timing=False).netlist
    made = Wires.of_layout(Path(options.layout)) if options.layout else Wires.of_lef(options, netlist, library)
    planes = stimulus.planes(
        netlist,
        {
            "rst": stimulus.reset,
            "synapses__enable": stimulus.enable,
            "synapses__time": stimulus.times,
            "synapses__codes": stimulus.codes,
            "sums__load": stimulus.load,
            "sums__initial": stimulus.initial,
        },
    )
    waves = activity.simulate(netlist, library, planes, streams=stimulus.lanes)
    record = energies(netlist, library, waves, made, stimulus)
    show(record)
    if options.json:
        records.write(options.json, record)


if __name__ == "__main__":
    main()
