"""What a shift for each output channel costs: a lane with and without it, and the registers that hold the shifts.

Number: table "A shift for each channel" of docs/explanation/synthesis.md.
n: --rounds windows of 64 lanes, each from its first sum to its last threshold; every spike is checked.
Machine: any; nothing is timed. Versions and date: docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]'.

    python -m studies.channel_shifts --liberty FILE ...
"""

import argparse
from dataclasses import replace

import numpy as np

from firstspike.arith import Code, LogWeights, fire, thresholds
from firstspike.gates import activity, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, component, synthesise
from firstspike.rtl.blocks.lane import Lane
from firstspike.rtl.blocks.shifts import ChannelShifts
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec
from firstspike.spec.layers import MAX_SHIFT

LANES, EXPONENT = 64, 22
"""Lanes simulated at once; ``G`` of the layer."""

PLAIN = Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights())
SHIFTED = replace(PLAIN, channel_shifts=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--rounds", type=int, default=8, help="windows of 64 lanes (%(default)s)")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    return parser.parse_args()


def windows(made: Synthesis, library: Library, membranes: np.ndarray, shifts: np.ndarray, clock_ns: float) -> float:
    """Energy in fJ of a window of a lane, without leakage: load, halvings, clear, every threshold.

    Args:
        made: a lane.
        library: of its cells.
        membranes: int64 ``[windows, LANES]``.
        shifts: to the right, likewise; a lane that cannot halve has the cycles all the same, idle.
        clock_ns: period.
    """
    steps, bits = PLAIN.code.T, PLAIN.processor.accumulator_bits
    theta, inputs = thresholds(PLAIN.code, EXPONENT), made.netlist.inputs
    phase = np.tile(np.arange(-2 - MAX_SHIFT, steps), len(membranes))  # load, halve, clear, compare
    period = steps + 2 + MAX_SHIFT
    ports = {
        "sums__load": phase == -2 - MAX_SHIFT,
        "spike_clear": phase == -1,
        "sweep__compare": phase >= 0,
        "sweep__step": np.maximum(phase, 0),
        "sweep__theta": np.where(phase < 0, theta[-1], theta[np.maximum(phase, 0)]),
    }
    planes = {}
    for name, values in ports.items():
        every = np.repeat(values.astype(np.int64)[:, None], LANES, axis=1)
        planes[name] = activity.pack(every, len(inputs[name]))
    planes["sums__initial"] = activity.pack(np.repeat(membranes, period, axis=0), bits)
    final = membranes
    if "halve" in inputs:
        due = np.repeat(shifts, period, axis=0) > (phase + 1 + MAX_SHIFT)[:, None]
        halving = (phase > -2 - MAX_SHIFT) & (phase < -1)
        planes["halve"] = activity.pack((due & halving[:, None]).astype(np.int64), 1)
        final = membranes >> shifts
    waves = activity.simulate(made.netlist, library, planes, streams=LANES)
    seen = waves.word(made.netlist.outputs["spike"])[period::period]
    if not np.array_equal(seen, fire(final, theta)[: len(seen)]):
        raise RuntimeError("a lane must fire as the contract says, but does not")
    energy = power.integrate(made.netlist, library, waves, clock_ns=clock_ns, warmup=period).per_cycle_fj()
    return (energy["total"] - energy["leakage"]) * period


def main() -> None:
    """Measure and print, in the library and at 28 nm."""
    options = arguments()
    library = Library(options.liberty)
    factor = scaling.scaling(scaling.node_of(library.name) or 28.0, library.voltage)
    rng = np.random.default_rng(0)
    sums = np.rint(rng.normal(-0.4, 0.6, (options.rounds, LANES)) * (1 << EXPONENT)).astype(np.int64)
    shifts = rng.integers(0, 8, sums.shape)
    lanes = {"one scale": (PLAIN, sums), "shifts": (SHIFTED, sums << shifts), "shifts, all 0": (SHIFTED, sums)}
    print(f"{library.name}; n = {options.rounds} windows of {LANES} lanes\n")
    print("| lane | GE | area at 28 nm, µm² | path at 28 nm, ns | energy a window at 28 nm, pJ |")
    print("|---|--:|--:|--:|--:|")
    for name, (parameters, loaded) in lanes.items():
        made = synthesise(component(Lane(parameters), "lane"), library, clock_ns=options.clock)
        right = shifts if name == "shifts" else np.zeros_like(shifts)
        energy = windows(made, library, loaded, right, options.clock)
        path = "-" if made.timing is None else f"{made.timing.critical_ns * factor.delay:.2f}"
        area = f"{made.area_um2 / library.nand2.area:.0f} | {made.area_um2 * factor.area:.0f}"
        print(f"| {name} | {area} | {path} | {energy * factor.energy * 1e-3:.2f} |", flush=True)
    held = synthesise(component(ChannelShifts(SHIFTED), "shifts"), library, clock_ns=options.clock)
    each = held.area_um2 / SHIFTED.processor.pes
    print(f"| its shift registers | {each / library.nand2.area:.0f} | {each * factor.area:.0f} | | |")


if __name__ == "__main__":
    main()
