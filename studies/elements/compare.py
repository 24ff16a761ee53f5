"""Processing elements measured side by side: area, delay and energy per operation on the same spikes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Integer

from firstspike.arith import LogWeights, level_values
from firstspike.gates import activity, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, component, synthesise
from studies.elements.stimulus import Stimulus
from studies.elements.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One variant in one library.

    Attributes:
        variant, library: what.
        accumulator_bits: of the element.
        area_um2, gate_equivalents, critical_ns: of one element; None without OpenSTA.
        energy_fj: low, mean and high per operation while a spike comes every cycle (with loads in between).
        idle_fj: per idle cycle.
        power_uw: mean power at the clock, busy.
        shared_area_um2, shared_energy_fj: of what an array needs once; energy per spike. 0 if nothing.
        booth: whether the Booth multiplier was the smaller one.
        clock_ns: period.
        at_28nm: the same at 28 nm, None for an unknown node.
    """

    variant: str
    library: str
    accumulator_bits: int
    area_um2: float
    gate_equivalents: float
    critical_ns: float | None
    slack_ns: float | None
    energy_fj: tuple[float, float, float]
    idle_fj: float
    power_uw: float
    shared_area_um2: float
    shared_energy_fj: float
    booth: bool
    clock_ns: float
    at_28nm: dict[str, Any] | None


def measure(
    variant: Variant, library: Library, stimulus: Stimulus, *, clock_ns: float = 4.0, node_nm: float | None = None
) -> Measurement:
    """Synthesise a variant, check its netlist on the stimulus against the product table, and integrate its energy.

    Args:
        variant, library: what and to what.
        stimulus: spikes and codes of 5-bit logarithmic weights; linear weights are the nearest to the same values.
        clock_ns: period.
        node_nm: of the library; None: by its name.

    Raises:
        RuntimeError: a tool is missing, or the netlist computed something else.
    """
    synthesis, booth = smallest(variant, library, clock_ns)
    planes, waves = driven(variant, synthesis, library, stimulus)
    report = power.integrate(synthesis.netlist, library, waves, clock_ns=clock_ns)
    energy = report.per_cycle_fj()
    low, mean, high = (energy[name] * report.cycles / stimulus.operations for name in ("low", "total", "high"))
    quiet = {name: np.repeat(plane[-1:], 64, axis=0) for name, plane in planes.items()}
    idle_waves = activity.simulate(synthesis.netlist, library, quiet, streams=stimulus.lanes)
    idle = power.integrate(synthesis.netlist, library, idle_waves, clock_ns=clock_ns, warmup=8)
    shared_area, shared_energy = _shared(variant, library, stimulus, clock_ns)
    critical = synthesis.timing.critical_ns if synthesis.timing is not None else None
    measured = Measurement(
        variant=variant.name,
        library=library.name,
        accumulator_bits=len(synthesis.netlist.outputs["membrane"]),
        area_um2=synthesis.area_um2,
        gate_equivalents=synthesis.gate_equivalents,
        critical_ns=critical,
        slack_ns=None if critical is None else clock_ns - critical,
        energy_fj=(low, mean, high),
        idle_fj=idle.per_cycle_fj()["total"],
        power_uw=report.power_uw(),
        shared_area_um2=shared_area,
        shared_energy_fj=shared_energy,
        booth=booth,
        clock_ns=clock_ns,
        at_28nm=None,
    )
    node = scaling.node_of(library.name) if node_nm is None else node_nm
    return measured if node is None else replace(measured, at_28nm=_scaled(measured, node, library.voltage))


def driven(
    variant: Variant, synthesis: Synthesis, library: Library, stimulus: Stimulus
) -> tuple[dict[str, np.ndarray], activity.Waves]:
    """What the element's ports see of a stimulus, and what its netlist makes of it, which is checked.

    Raises:
        RuntimeError: the netlist computed something else than its product table.
    """
    linear = variant.kind in ("linear", "base-e", "add", "dense")
    codes = linear_codes(stimulus, variant.weight_bits) if linear else stimulus.codes
    product = variant.products()
    initial = np.rint(stimulus.initial * (int(product.max()) / (1 << 22))).astype(np.int64)
    ports = {
        "rst": stimulus.reset,
        "enable": stimulus.enable,
        "load": stimulus.load,
        "time": stimulus.times,
        "factor": variant.factors()[stimulus.times],
        "code": codes,
        "initial": initial,
    }
    planes = stimulus.planes(synthesis.netlist, ports)
    waves = activity.simulate(synthesis.netlist, library, planes, streams=stimulus.lanes)
    _check(variant, synthesis, waves, stimulus, codes, initial, product)
    return planes, waves


def _scaled(measured: Measurement, node_nm: float, voltage: float) -> dict[str, Any]:
    """The measurement at 28 nm."""
    factor, critical = scaling.scaling(node_nm, voltage), measured.critical_ns
    return {
        "from_nm": node_nm,
        "area_um2": measured.area_um2 * factor.area,
        "critical_ns": None if critical is None else critical * factor.delay,
        "slack_ns": None if critical is None else measured.clock_ns - critical * factor.delay,
        "energy_fj": [value * factor.energy for value in measured.energy_fj],
        "idle_fj": measured.idle_fj * factor.energy,
        "power_uw": measured.power_uw * factor.energy,
        "shared_area_um2": measured.shared_area_um2 * factor.area,
        "shared_energy_fj": measured.shared_energy_fj * factor.energy,
    }


def linear_codes(stimulus: Stimulus, bits: int) -> Integer[np.ndarray, "cycles lanes"]:
    """Two's complement codes of ``bits`` bits nearest to the values of 5-bit logarithmic codes, the largest weight being 1."""
    weights = LogWeights()
    magnitudes = level_values(weights, 0)
    largest = (1 << (bits - 1)) - 1
    steps = np.rint(magnitudes * largest).astype(np.int64)
    signed = np.where(stimulus.codes & 16, -1, 1) * steps[stimulus.codes & 15]
    return signed & ((1 << bits) - 1)


def smallest(variant: Variant, library: Library, clock_ns: float) -> tuple[Synthesis, bool]:
    """The element; of a multiplier, the smaller of array and Booth."""
    build = component(variant.create(), "element")
    plain = synthesise(build, library, clock_ns=clock_ns)
    if variant.kind not in ("linear", "base-e", "dense"):
        return plain, False
    booth = synthesise(build, library, clock_ns=clock_ns, booth=True)
    return (booth, True) if booth.area_um2 < plain.area_um2 else (plain, False)


def _check(
    variant: Variant,
    synthesis: Synthesis,
    waves: activity.Waves,
    stimulus: Stimulus,
    codes: np.ndarray,
    initial: np.ndarray,
    product: np.ndarray,
) -> None:
    """The netlist's final membranes: the last load and all products since, wrapped to the accumulator."""
    bits = synthesis.netlist.outputs["membrane"]
    loads = np.flatnonzero(stimulus.load)
    start = int(loads[-1]) if len(loads) else 0
    moved = product[stimulus.times[start:], codes[start:].T] * stimulus.enable[start:]
    expected = moved.sum(axis=1) + (initial[start] if len(loads) else 0)
    half = 1 << (len(bits) - 1)
    expected = (expected + half) % (2 * half) - half
    if not np.array_equal(waves.word(bits, signed=True)[-1], expected):
        raise RuntimeError(f"netlist of {variant.name!r} must compute its product table, but does not")


def _shared(variant: Variant, library: Library, stimulus: Stimulus, clock_ns: float) -> tuple[float, float]:
    block = variant.shared()
    if block is None:
        return 0.0, 0.0
    synthesis = synthesise(component(block, "shared"), library, clock_ns=clock_ns, with_timing=False)
    factors = variant.factors()
    steps = len(factors)
    ports = {
        "rst": stimulus.reset,
        "enable": stimulus.enable,
        "time": stimulus.times,
        "write": np.zeros(len(stimulus.times), dtype=np.uint8),
        "write_time": np.zeros(len(stimulus.times), dtype=np.uint8),
        "write_data": np.zeros(len(stimulus.times), dtype=np.int64),
    }
    write = {"write": np.ones(steps), "write_time": np.arange(steps), "write_data": factors}
    full = {
        name: np.concatenate([write.get(name, np.zeros(steps)), port]).astype(np.int64) for name, port in ports.items()
    }
    single = {name: values[:, None] for name, values in full.items()}
    planes = {
        name: activity.pack(values, len(synthesis.netlist.inputs[name]))
        for name, values in single.items()
        if name in synthesis.netlist.inputs
    }
    waves = activity.simulate(synthesis.netlist, library, planes, streams=1)
    report = power.integrate(synthesis.netlist, library, waves, clock_ns=clock_ns, warmup=steps + 2)
    energy = report.per_cycle_fj()["total"] * report.cycles / int(stimulus.enable.sum())
    return synthesis.area_um2, energy


def table(rows: Sequence[Measurement]) -> str:
    """A Markdown table, one variant a row, in the library's own technology and at 28 nm."""
    lines = [
        "| element | acc. bits | area µm² | GE | delay ns | energy/op fJ | idle fJ/cycle | power µW | once per array: µm², fJ |"
        " 28 nm: area µm² | slack ns | energy/op pJ |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, mean, high = row.energy_fj
        spread = f"{mean:.1f}" if high - low < 0.005 * mean else f"{mean:.1f} ({low:.1f}-{high:.1f})"
        shared = f"{row.shared_area_um2:.0f}, {row.shared_energy_fj:.0f}" if row.shared_area_um2 else "-"
        scaled = row.at_28nm
        cells = [
            row.variant + (" (Booth)" if row.booth else ""),
            str(row.accumulator_bits),
            f"{row.area_um2:.1f}",
            f"{row.gate_equivalents:.0f}",
            "-" if row.critical_ns is None else f"{row.critical_ns:.2f}",
            spread,
            f"{row.idle_fj:.1f}",
            f"{row.power_uw:.1f}",
            shared,
        ]
        if scaled is None:
            cells += ["-", "-", "-"]
        else:
            slack = "-" if scaled["slack_ns"] is None else f"{scaled['slack_ns']:.2f}"
            cells += [f"{scaled['area_um2']:.0f}", slack, f"{scaled['energy_fj'][1] / 1000:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
