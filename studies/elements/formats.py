"""Our element in narrower formats: fewer mantissa bits, steps, weight bits and accumulator bits."""

from dataclasses import dataclass

import numpy as np

from firstspike.arith import Code, LogWeights, product_table
from firstspike.gates import activity, power
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import Synthesis, component, synthesise
from firstspike.rtl.blocks.pe import LogPE
from firstspike.rtl.parameters import Parameters
from firstspike.spec.processor import ProcessorSpec
from studies.elements.stimulus import Stimulus


@dataclass(frozen=True, kw_only=True)
class Format:
    """A number format of the element.

    Attributes:
        name: for tables.
        code, weights: spikes and weights.
        accumulator_bits: of a membrane.
    """

    name: str
    code: Code
    weights: LogWeights
    accumulator_bits: int

    @property
    def parameters(self) -> Parameters:
        """What the element is generated from."""
        processor = ProcessorSpec(accumulator_bits=self.accumulator_bits)
        return Parameters(processor=processor, code=self.code, weights=self.weights)

    def synthesise(self, library: Library, *, clock_ns: float) -> Synthesis:
        """The element in gates."""
        return synthesise(component(LogPE(self.parameters), "element"), library, clock_ns=clock_ns)

    def codes(self, codes: np.ndarray, weights: LogWeights) -> np.ndarray:
        """Codes of a wider format in this one; what is below the least level takes it, so that no more are zero."""
        level = codes & weights.zero_level
        level = np.where(
            level == weights.zero_level, self.weights.zero_level, np.minimum(level, self.weights.zero_level - 1)
        )
        return np.where(codes > weights.zero_level, self.weights.zero_level + 1, 0) + level


NARROW = Code(T=16, mantissa_bits=3)
FORMATS = (
    Format(name="default", code=Code(), weights=LogWeights(), accumulator_bits=32),
    Format(
        name="narrow",
        code=NARROW,
        weights=LogWeights(mantissa_bits=2),
        accumulator_bits=32,
    ),
    Format(
        name="narrow, 24-bit membranes",
        code=NARROW,
        weights=LogWeights(mantissa_bits=2),
        accumulator_bits=24,
    ),
    Format(
        name="narrow, 4-bit weights, 24-bit membranes",
        code=NARROW,
        weights=LogWeights(bits=4, mantissa_bits=2),
        accumulator_bits=24,
    ),
    Format(
        name="4 mantissa bits, 28-bit membranes",
        code=Code(mantissa_bits=4),
        weights=LogWeights(mantissa_bits=4),
        accumulator_bits=28,
    ),
)
"""The formats measured; the last is only predicted from the others."""


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What an element takes on a stimulus.

    Attributes:
        energy_fj: low, mean and high per operation.
        zeros: share of its weights that are zero.
    """

    energy_fj: tuple[float, float, float]
    zeros: float


def drive(
    chosen: Format,
    synthesis: Synthesis,
    library: Library,
    stimulus: Stimulus,
    *,
    weights: LogWeights,
    largest: int,
    clock_ns: float,
) -> Driven:
    """Simulate the element's netlist on a stimulus, check its membranes, and integrate its energy.

    Args:
        chosen, synthesis, library: the element.
        stimulus: spikes and codes.
        weights: format of its codes.
        largest: largest product of its format, in units of the last bit of its biases.
        clock_ns: period.

    Raises:
        RuntimeError: the netlist computed something else than its product table.
    """
    table = product_table(chosen.code, chosen.weights, 0)
    codes = chosen.codes(stimulus.codes, weights)
    initial = np.rint(stimulus.initial * (int(table.max()) / largest)).astype(np.int64)
    ports = {
        "rst": stimulus.reset,
        "enable": stimulus.enable,
        "load": stimulus.load,
        "time": stimulus.times,
        "code": codes,
        "initial": initial,
    }
    planes = stimulus.planes(synthesis.netlist, ports)
    waves = activity.simulate(synthesis.netlist, library, planes, streams=stimulus.lanes)
    start = int(np.flatnonzero(stimulus.load)[-1])
    moved = table[stimulus.times[start:], codes[start:].T] * stimulus.enable[start:]
    half = 1 << (chosen.accumulator_bits - 1)
    expected = (moved.sum(axis=1) + initial[start] + half) % (2 * half) - half
    if not np.array_equal(waves.word(synthesis.netlist.outputs["membrane"], signed=True)[-1], expected):
        raise RuntimeError(f"netlist of {chosen.name!r} must compute its product table, but does not")
    report = power.integrate(synthesis.netlist, library, waves, clock_ns=clock_ns)
    energy = report.per_cycle_fj()
    low, mean, high = (energy[name] * report.cycles / stimulus.operations for name in ("low", "total", "high"))
    working = codes[stimulus.enable == 1] & chosen.weights.zero_level
    return Driven(energy_fj=(low, mean, high), zeros=float(np.mean(working == chosen.weights.zero_level)))
