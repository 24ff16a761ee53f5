"""The logarithmic processing element beside what it replaces: area, delay, power, energy per operation.

Number: Table "processing elements" of docs/explanation/synthesis.md: ten elements, synthesised with clock gates and driven by the
spikes and weights of a real layer on a real image (netlist simulated gate by gate, product table checked).
n: one layer, one image, the cycles printed at the end of the run.
Machine: any; nothing is timed. Versions: of Yosys and OpenSTA, stated in docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]', OpenSTA for delays (apt-get install opensta), a network from `firstspike demo`.

    firstspike demo --out demo
    python -m studies.pe_variants demo/digits.safetensors --data digits --layer conv2 --liberty FILE ... --json out.json
"""

import argparse
from dataclasses import asdict

import numpy as np

from firstspike import records
from firstspike.arith import Code, LogWeights
from firstspike.gates.liberty import Library
from studies.elements.compare import measure, table
from studies.elements.stimulus import random_stimulus
from studies.elements.trained import layer_arguments, trained_stimulus
from studies.elements.variants import VARIANTS


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "network", nargs="?", help="model file with 5-bit weights, T=24, tau=4; without one: random spikes"
    )
    layer_arguments(parser, data="digits", layer=None, cycles=3000)
    parser.add_argument(
        "--zeros", type=float, default=0.0, help="share of weights, the least, set to zero (%(default)s)"
    )
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--node", type=float, help="node of the library in nm, if its name does not tell")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="an element by its name, may be repeated (all)")
    parser.add_argument("--json", help="file for the records")
    options = parser.parse_args()
    unknown = set(options.only or ()) - {variant.name for variant in VARIANTS}
    if unknown:
        parser.error(f"--only must be one of {', '.join(v.name for v in VARIANTS)}, not {', '.join(unknown)}")
    return options


def main() -> None:
    """Measure the elements and print one table."""
    options = arguments()
    if options.network:
        stimulus, source = trained_stimulus(options, zeros=options.zeros)
    else:
        stimulus = random_stimulus(Code(), LogWeights(), lanes=options.lanes, cycles=options.cycles)
        source = "random spikes and weights"
    library = Library(options.liberty)
    rows = []
    for variant in VARIANTS:
        if options.only and variant.name not in options.only:
            continue
        rows.append(measure(variant, library, stimulus, clock_ns=options.clock, node_nm=options.node))
        print(
            f"  {variant.name}: {rows[-1].area_um2:.1f} µm², {rows[-1].energy_fj[1]:.1f} fJ per operation", flush=True
        )
    late = float(np.mean(stimulus.times[stimulus.enable == 1]))
    zero = float(np.mean((stimulus.codes[stimulus.enable == 1] & 15) == 15))
    print(f"\n{library.name}, {library.voltage} V, {options.clock} ns; {source}")
    print(
        f"n = {len(stimulus.times)} cycles of {stimulus.lanes} lanes, {stimulus.windows} windows, "
        f"{stimulus.operations} operations; mean spike time {late:.1f}, zero weights {zero:.1%}\n"
    )
    print(table(rows))
    if options.json:
        record = {
            "source": source,
            "operations": stimulus.operations,
            "zeros": round(zero, 3),
            "elements": [asdict(row) for row in rows],
        }
        records.write(options.json, record)


if __name__ == "__main__":
    main()
