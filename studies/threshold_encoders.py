"""A comparator in every lane and a sweep of all thresholds, or a few shared encoders: area and energy at gate level.

Number: table "Thresholds" of docs/explanation/synthesis.md.
n: --rounds tiles of 128 membranes of which a share fires; both netlists are checked against `firstspike.arith.fire`.
Machine: any; nothing is timed. Versions and date: docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]'.

    python -m studies.threshold_encoders --liberty FILE ...
"""

import argparse

import numpy as np

from firstspike.arith import Code, fire, thresholds
from firstspike.gates import activity, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, component, synthesise
from studies.elements.encoders import Compared, Encoded

PES, GROUPS, EXPONENT = 128, 8, 18
"""Lanes; times of a word of the activation buffer; ``G`` of the layer."""

CASES = (("default", Code(), 32), ("narrow", Code(T=16, mantissa_bits=3), 24))
"""Name, code, bits of a membrane."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--rounds", type=int, default=8, help="tiles of 128 membranes (%(default)s)")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    return parser.parse_args()


def membranes(code: Code, rounds: int) -> np.ndarray:
    """Membranes of which about a quarter fire, int64 ``[rounds, PES]``: normal, so that 1 is 1.5 deviations out."""
    rng = np.random.default_rng(0)
    return np.rint(rng.normal(-0.4, 0.6, (rounds, PES)) * (1 << EXPONENT)).astype(np.int64)


def bits(values: np.ndarray, width: int) -> np.ndarray:
    """Bits of ``[cycles, lanes]`` numbers, lane 0 in the low ones, uint64 ``[cycles, lanes * width]``."""
    spread = (values[:, :, None] >> np.arange(width)) & 1
    return spread.reshape(len(values), -1).astype(np.uint64)


def compared(made: Synthesis, library: Library, code: Code, width: int, sums: np.ndarray, clock_ns: float) -> float:
    """Energy in fJ of the comparators of a lane, a tile: clear, then a step a cycle."""
    theta, steps = thresholds(code, EXPONENT), code.T
    cycles = len(sums) * (steps + 1)
    step = np.tile(np.arange(-1, steps), len(sums))
    ports = {
        "rst": np.zeros(cycles),
        "clear": step < 0,
        "compare": step >= 0,
        "step": np.maximum(step, 0),
        "theta": np.where(step < 0, theta[-1], theta[np.maximum(step, 0)]),
    }
    inputs = made.netlist.inputs
    streams = 64
    planes = {
        name: activity.pack(np.repeat(values.astype(np.int64)[:, None], streams, axis=1), len(inputs[name]))
        for name, values in ports.items()
        if name in inputs
    }
    planes["membrane"] = activity.pack(np.repeat(sums[:, :streams], steps + 1, axis=0), width)
    waves = activity.simulate(made.netlist, library, planes, streams=streams)
    # a register shows a cycle's step in the next one: the last step's in the clearing cycle
    seen = waves.word(made.netlist.outputs["spike"])[steps + 1 :: steps + 1]
    expected = fire(sums[:, :streams], theta)[:-1]
    if not np.array_equal(seen[: len(expected)], expected):
        raise RuntimeError("the comparators must fire as the contract says, but do not")
    report = power.integrate(made.netlist, library, waves, clock_ns=clock_ns, warmup=steps + 1)
    energy = report.per_cycle_fj()
    return (energy["total"] - energy["leakage"]) * (steps + 1)


def encoded(made: Synthesis, library: Library, code: Code, width: int, sums: np.ndarray, clock_ns: float) -> float:
    """Energy in fJ of all encoders, a tile: one word a cycle."""
    words = PES // GROUPS
    cycles = len(sums) * words
    index = np.tile(np.arange(words), len(sums))[:, None]
    inputs = made.netlist.inputs
    planes = {
        "index": bits(index, len(inputs["index"])),
        "exponent": bits(np.full((cycles, 1), EXPONENT), len(inputs["exponent"])),
        "membranes": np.repeat(bits(sums, width), words, axis=0),
    }
    waves = activity.simulate(made.netlist, library, planes, streams=1)
    expected = fire(sums, thresholds(code, EXPONENT)).reshape(cycles, GROUPS)
    for group in range(GROUPS):
        seen = waves.word(made.netlist.outputs["times"][8 * group : 8 * group + 8])[:, 0]
        if not np.array_equal(seen, expected[:, group]):
            raise RuntimeError("the encoders must fire as the contract says, but do not")
    report = power.integrate(made.netlist, library, waves, clock_ns=clock_ns, warmup=words)
    energy = report.per_cycle_fj()
    return (energy["total"] - energy["leakage"]) * words


def main() -> None:
    """Measure and print, at 28 nm."""
    options = arguments()
    library = Library(options.liberty)
    factor = scaling.scaling(scaling.node_of(library.name) or 28.0, library.voltage)
    print(f"{library.name}, at 28 nm; n = {options.rounds} tiles of {PES} membranes\n")
    print("| format | 128 comparators: area µm², pJ a tile | 8 encoders: area µm², pJ a tile, path ns | fire |")
    print("|---|--:|--:|--:|")
    for name, code, width in CASES:
        sums = membranes(code, options.rounds)
        one = synthesise(component(Compared(code, width), "compared"), library, clock_ns=options.clock)
        all_ = synthesise(
            component(Encoded(code, width, pes=PES, groups=GROUPS), "encoded"),
            library,
            clock_ns=options.clock,
            max_fanout=16,
        )
        lane = compared(one, library, code, width, sums, options.clock) * PES * factor.energy * 1e-3
        shared = encoded(all_, library, code, width, sums, options.clock) * factor.energy * 1e-3
        path = "-" if all_.timing is None else f"{all_.timing.critical_ns * factor.delay:.2f}"
        fires = float(np.mean(fire(sums, thresholds(code, EXPONENT)) != 255))
        print(
            f"| {name} | {one.area_um2 * PES * factor.area:.0f}, {lane:.1f} | "
            f"{all_.area_um2 * factor.area:.0f}, {shared:.1f}, {path} | {fires:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
