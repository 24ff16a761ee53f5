"""The unpacker of packed weight rows at gate level: area, delay, energy of a word from DRAM.

Number: `logic.unpack_word` and `logic.unpacker_area` of src/firstspike/processor/technologies/28nm.toml: the netlist, with a word
every cycle, checked row for row.
n: the words printed at the end, of random codes with the zeros asked for.
Machine: any; nothing is timed. Versions: of Yosys and OpenSTA, stated in docs/explanation/synthesis.md.
Needs: pip install 'firstspike[rtl]', OpenSTA for the delay (apt-get install opensta).

    python -m studies.unpacker --liberty FILE ... --json studies/records/unpacker-NODE.json
"""

import argparse

import numpy as np

from firstspike import records
from firstspike.arith import Code, LogWeights
from firstspike.compiler.packing import pack
from firstspike.gates import activity, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import component, synthesise
from firstspike.rtl.blocks.unpacker import Unpacker
from firstspike.rtl.parameters import Parameters
from firstspike.spec.processor import ProcessorSpec

BEFORE = 4
"""Cycles before the first word: reset, then a payload is cleared."""

BEHIND = 4
"""Cycles after the last word, in which the last row comes."""

FANOUT = 16
"""Most sinks of a net, by trees of buffers, as in the processor."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    parser.add_argument("--zeros", type=float, default=0.8, help="share of zero codes (%(default)s)")
    parser.add_argument("--rows", type=int, default=100, help="weight rows (%(default)s)")
    parser.add_argument("--pes", type=int, default=128, help="processing elements (%(default)s)")
    parser.add_argument("--clock", type=float, default=4.0, help="period in ns (%(default)s)")
    parser.add_argument("--json", help="file for the record")
    return parser.parse_args()


def payload(processor: ProcessorSpec, weights: LogWeights, *, rows: int, zeros: float) -> tuple[np.ndarray, list[int]]:
    """Codes of random rows, uint8 ``[rows, pes]``, and their DRAM words."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << weights.bits, (rows, processor.pes)).astype(np.uint8)
    codes[(codes & weights.zero_level) == weights.zero_level] = 0
    codes[rng.random(codes.shape) < zeros] = weights.zero_level
    data = pack(codes, processor.pes, weights=weights, processor=processor, bitmap=True)
    size = processor.word_bits // 8
    return codes, [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]


def bits_of(values: list[int], bits: int) -> np.ndarray:
    """Stimulus of one stream, uint64 ``[cycles, bits]``, for ports of any width."""
    return np.array([[(value >> bit) & 1 for bit in range(bits)] for value in values], dtype=np.uint64)


def main() -> None:
    """Measure and print."""
    options = arguments()
    processor, weights = ProcessorSpec(pes=options.pes, packed_rows=True), LogWeights()
    library = Library(options.liberty)
    design = component(Unpacker(Parameters(processor=processor, code=Code(), weights=weights)), "unpacker")
    made = synthesise(design, library, clock_ns=options.clock, max_fanout=FANOUT)
    codes, words = payload(processor, weights, rows=options.rows, zeros=options.zeros)
    ports = {
        "rst": [1, 1, 0, 0, *[0] * (len(words) + BEHIND)],
        "payload__clear": [0, 0, 0, 1, *[0] * (len(words) + BEHIND)],
        "payload__push": [*[0] * BEFORE, *[1] * len(words), *[0] * BEHIND],
        "payload__word": [*[0] * BEFORE, *words, *[0] * BEHIND],
        "payload__bitmap": [1] * (BEFORE + len(words) + BEHIND),
        "payload__last_group": [(options.pes - 1) // processor.word_bits] * (BEFORE + len(words) + BEHIND),
    }
    inputs = made.netlist.inputs
    planes = {name: bits_of(values, len(inputs[name])) for name, values in ports.items() if name in inputs}
    waves = activity.simulate(made.netlist, library, planes, streams=1)
    pushed = np.flatnonzero(waves.word(made.netlist.outputs["rows__push"])[:, 0])
    pushed = pushed[pushed >= BEFORE]  # before the reset, registers hold anything
    seen = np.stack(
        [
            waves.word(made.netlist.outputs["rows__codes"][lane * weights.bits : (lane + 1) * weights.bits])[pushed, 0]
            for lane in range(options.pes)
        ],
        axis=1,
    )
    if not np.array_equal(seen, codes):
        raise RuntimeError("the netlist must give the rows that were packed, but does not")
    report = power.integrate(made.netlist, library, waves, clock_ns=options.clock, warmup=BEFORE)
    energy = {key: value * report.cycles / len(words) for key, value in report.per_cycle_fj().items()}
    quiet = {name: np.repeat(plane[-1:], 64, axis=0) for name, plane in planes.items()}
    idle = power.integrate(
        made.netlist,
        library,
        activity.simulate(made.netlist, library, quiet, streams=1),
        clock_ns=options.clock,
        warmup=8,
    ).per_cycle_fj()
    node = scaling.node_of(library.name)
    if node is None:
        raise ValueError(f"library {library.name!r} must have a node in its name")
    factor = scaling.scaling(node, library.voltage)
    critical = made.timing.critical_ns if made.timing is not None else None
    record = {
        "library": library.name,
        "rows": len(codes),
        "words": len(words),
        "word_bits": processor.word_bits,
        "zeros": options.zeros,
        "area_um2_at_28nm": made.area_um2 * factor.area,
        "critical_ns_at_28nm": None if critical is None else critical * factor.delay,
        "word_pj_at_28nm": [energy[key] * 1e-3 * factor.energy for key in ("low", "total", "high")],
        "idle_pj_at_28nm": idle["total"] * 1e-3 * factor.energy,
    }
    for key, value in record.items():
        print(f"{key}: {value}")
    if options.json:
        records.write(options.json, record)


if __name__ == "__main__":
    main()
