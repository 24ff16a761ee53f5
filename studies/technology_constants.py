"""Constants of the logic in technologies/28nm.toml from gate-level measurements of the processor and its elements.

Number: sections [logic.*] and [baseline.*] of src/firstspike/processor/technologies/28nm.toml; what is printed stands there.
n: one layer (conv2_1 of the trained VGG-16) on one CIFAR-10 image, 16 and 128 elements, two libraries; the cycles of
each record are in it (16 elements: 2500).
Machine: any; nothing is timed. Versions and date: docs/explanation/synthesis.md.

Each energy is measured in both libraries, scaled to 28 nm (`firstspike.gates.scaling`), and becomes an interval: the lowest of
both, the highest of both (ASAP7's high counts supply and ground pins), and their geometric mean as the value. Every block of
the processor is charged to one constant, so that the constants times the events of the measured cycles give its energy back.
Wires are not in these energies: ``logic.wires`` is what a lane's layout multiplies them by.

    python -m studies.technology_constants              # the constants, from the records in studies/records
    python -m studies.technology_constants --write      # and into the technology file

The records, for each library, PES in 16 and 128:

    python -m studies.processor_power zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --alone \\
        --cycles 1200 --pes PES --liberty FILE ... --json studies/records/processor-PES-NODE.json
    the same with --cycles 2500 --pes 16 since the walker reads ahead, to studies/records/processor-16-ahead-NODE.json
    python -m studies.pe_variants zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --cycles 2000 \\
        --liberty FILE ... --json studies/records/elements-NODE.json
    python -m studies.pe_variants zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --cycles 2000 --only \\
        "ours, 5 mantissa bits" --liberty FILE ... --json studies/records/zeros-as-trained-NODE.json
    the same with --zeros 0.8, to studies/records/zeros-thinned-NODE.json
    python -m studies.unpacker --liberty FILE ... --json studies/records/unpacker-130.json
    studies.lane_layout, studies.element_formats, as their heads say
"""

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

from firstspike import files
from firstspike.spec.interval import Interval

RECORDS = Path(__file__).resolve().parent / "records"
FILE = Path(__file__).resolve().parents[1] / "src/firstspike/processor/technologies/28nm.toml"
NODES = (7, 130)
PES = (16, 128)
LANES = ("array.lane[16].pe", "array.lane[128].pe")
ROWS = ("weights", "array")
"""Row register and broadcast: they move with a spike."""
FIRING = ("array.lane[16]", "array.lane[128]", "fire")
HANDLING = ("encoder", "pool")
BIASES = ("biases",)
BOUNDS = ("low", "total", "high")
WIDEST = 7.4
"""Largest ratio between the two libraries of any constant (`lane_cycle`): bounds what one library alone has measured."""


class Measured:
    """One record of processor_power.py, in pJ at 28 nm; leakage is taken out of every energy."""

    def __init__(self, pes: int, record: dict[str, Any]) -> None:
        self.pes, self.area, power = pes, record["area"], record["power"]
        self.cycles = power["cycles"]
        self.factor = {name: self.area["at_28nm"]["factors"][name] for name in ("area", "energy")}
        self.blocks = {block["name"]: block for block in power["blocks"]}
        accesses = {memory["name"]: memory for memory in power["memories"]}
        self.rows = sum(m["reads"] for name, m in accesses.items() if "weights" in name)
        self.steps = sum(m["reads"] for name, m in accesses.items() if "fire" in name)
        self.bytes = 8 * sum(m["writes"] for name, m in accesses.items() if "activations" in name)
        # 1 fJ in 4 ns is 0.25 µW
        leakage = sum(block["leakage"] for block in self.blocks.values()) / power["clock_ns"]
        self.leakage_mw_per_mm2 = leakage * 1e-3 / (self.area["area_um2"] * self.factor["area"] * 1e-6)

    def area_um2(self) -> float:
        return float(self.area["area_um2"] * self.factor["area"])

    def energy(self, names: tuple[str, ...], bound: str, *, clock: bool | None = None) -> float:
        """pJ a cycle of some blocks; of it the clock's (True) or the rest (False)."""
        total = 0.0
        for name in names:
            block = self.blocks.get(name)
            if block is None:
                continue
            dynamic = block[bound] - block["leakage"]
            share = block["clock"] / (block["total"] - block["leakage"])
            total += dynamic * (1 if clock is None else share if clock else 1 - share)
        return total * 1e-3 * self.factor["energy"]

    @property
    def rest(self) -> tuple[str, ...]:
        """Walker, executor, loader, top."""
        return tuple(name for name in self.blocks if name not in (*LANES, *ROWS, *FIRING, *HANDLING, *BIASES))


def processors(node: int) -> tuple[Measured, Measured]:
    """Both sizes in a library."""
    small, large = (
        Measured(pes, json.loads((RECORDS / f"processor-{pes}-{node}.json").read_text(encoding="utf-8"))) for pes in PES
    )
    return small, large


def reading_ahead(node: int) -> Measured:
    """The smaller size since its walker reads ahead: what does not grow with the elements is measured there."""
    return Measured(PES[0], json.loads((RECORDS / f"processor-{PES[0]}-ahead-{node}.json").read_text(encoding="utf-8")))


def elements(node: int) -> dict[str, dict[str, Any]]:
    """Records of pe_variants.py at 28 nm, by name."""
    record = json.loads((RECORDS / f"elements-{node}.json").read_text())
    return {row["variant"]: row["at_28nm"] for row in record["elements"]}


def zero_fj(node: int, bound: int) -> float:
    """Energy of a weight of zero in an element at 28 nm, less what a closed gate costs: the line through both shares."""
    records = [json.loads((RECORDS / f"zeros-{name}-{node}.json").read_text()) for name in ("as-trained", "thinned")]
    (few, more), scaled = (
        (record["zeros"] for record in records),
        [record["elements"][0]["at_28nm"] for record in records],
    )
    energies = [one["energy_fj"][bound] for one in scaled]
    slope = (energies[1] - energies[0]) / (more - few)
    return float(energies[1] + slope * (1 - more) - scaled[1]["idle_fj"])


def formats(node: int, per_lane_um2: float) -> dict[str, list[float]]:
    """What a bit of product and of membrane is of the default element, for each layer and image (element_formats.py)."""
    rows = json.loads((RECORDS / f"formats-{node}.json").read_text())["elements"]
    on = {}
    for row in rows:
        if row["network"] == "vgg16-cifar10-narrow":
            on.setdefault((row["layer"], row["image"]), {})[row["format"]] = row
    found: dict[str, list[float]] = {}
    for one in on.values():
        steps = [one[name] for name in ("default", "narrow", "narrow, 24-bit membranes")]
        for key, bits, (wide, slim) in (
            ("product", "product_bits", steps[:2]),
            ("membrane", "accumulator_bits", steps[1:]),
        ):
            fewer = wide[bits] - slim[bits]
            energy, whole = wide["energy_fj"][1] - slim["energy_fj"][1], steps[0]["energy_fj"][1]
            found.setdefault(f"logic.{key}_bit", []).append(energy / fewer / whole)
            found.setdefault(f"logic.{key}_area", []).append(
                (wide["area_um2"] - slim["area_um2"]) / fewer / per_lane_um2
            )
    return found


def interval(values: list[float]) -> Interval:
    """Lowest, highest and their geometric mean, to three digits."""
    low, high = min(values), max(values)
    rounded = [float(f"{value:.3g}") for value in (low, math.sqrt(low * high), high)]
    return Interval(low=rounded[0], value=rounded[1], high=rounded[2])


def growth(small: float, large: float) -> float:
    """What each element adds, through both measured sizes."""
    return (large - small) / (PES[1] - PES[0])


def constants() -> dict[str, Interval]:
    """Every measured constant by its key in the technology file."""
    found: dict[str, list[float]] = {}

    def add(key: str, value: float) -> None:
        found.setdefault(key, []).append(value)

    for node in NODES:
        small, large = processors(node)
        now = reading_ahead(node)
        alone = elements(node)
        gate = alone["ours, 5 mantissa bits"]["idle_fj"] * 1e-3
        for index, bound in enumerate(BOUNDS):
            add("logic.zero_operation", zero_fj(node, index) * 1e-3)
            working = large.energy(LANES, bound) - large.pes * gate
            add("logic.pe_operation", working * large.cycles / (large.rows * large.pes))
            add("logic.lane_fetch", large.energy(ROWS, bound) * large.cycles / (large.rows * large.pes))
            add("logic.fire_comparison", large.energy(FIRING, bound) * large.cycles / (large.steps * large.pes))
            add("logic.encoder_byte", large.energy(HANDLING, bound) * large.cycles / (large.rows + large.bytes))
            grown = 0.0
            for key, clock in (("control_cycle", False), ("clock_cycle", True)):
                slope = growth(*(p.energy(p.rest, bound, clock=clock) for p in (small, large)))
                add(f"logic.{key}", now.energy(now.rest, bound, clock=clock) - now.pes * slope)
                grown += slope
            add("logic.lane_cycle", gate + grown + large.energy(BIASES, bound) / large.pes)
        slope = growth(small.area_um2(), large.area_um2())
        add("logic.control_area", now.area_um2() - now.pes * slope)
        add("logic.pe_area", slope)
        for key, shares in formats(node, slope).items():
            found.setdefault(key, []).extend(shares)
        add("logic.leakage", large.leakage_mw_per_mm2)
        for key, name in (
            ("add", "adder, 8-bit weight"),
            ("multiply", "multiplier, 8-bit weight"),
            ("table", "base-e kernel table, 8-bit weight"),
            ("dense", "multiplier, 8-bit weight, 8-bit activation"),
        ):
            for energy in alone[name]["energy_fj"]:
                add(f"baseline.{key}_operation", energy * 1e-3)
        add("baseline.dense_area", alone["multiplier, 8-bit weight, 8-bit activation"]["area_um2"])
    # what neighbours do is the widest: none near, all against
    for node in NODES:
        for factor in json.loads((RECORDS / f"lane-wires-{node}.json").read_text())["factors"]:
            add("logic.wires", factor)
    unpacker = json.loads((RECORDS / "unpacker-130.json").read_text())
    least = unpacker["word_pj_at_28nm"][1] / unpacker["word_bits"]
    for factor in (1, WIDEST):
        add("logic.unpack_bit", factor * least)
    for factor in (0.5, 2):
        add("logic.unpacker_area", factor * unpacker["area_um2_at_28nm"] / PES[1])
    return {key: interval(values) for key, values in found.items()}


def write(found: dict[str, Interval]) -> None:
    """Put the figures into the technology file."""
    text = FILE.read_text(encoding="utf-8")
    for key, figure in found.items():
        block = re.compile(rf"(\[{re.escape(key)}\][^\n]*\n)value = .*\nlow = .*\nhigh = .*\n")
        if not block.search(text):
            raise SystemExit(f"{FILE.name} must hold {key}, but does not")
        text = block.sub(
            lambda match, f=figure: f"{match[1]}value = {f.value:g}\nlow = {f.low:g}\nhigh = {f.high:g}\n", text
        )
    files.write(FILE, text)


def main() -> None:
    """Print the constants, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the constants into the technology file")
    options = parser.parse_args()
    measured = constants()
    for key, figure in measured.items():
        print(f"{key:26} {figure.value:<8g} {figure.low:g} to {figure.high:g}")
    if options.write:
        write(measured)


if __name__ == "__main__":
    main()
