"""One parameter object for all blocks: the processor, and the number system it is built for."""

from dataclasses import dataclass, replace

from firstspike.arith import PLANES, Code, LogWeights, shift_base
from firstspike.compiler.channels import resolve
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec

WIDEST = 65_535
"""Bits of the widest wire that Amaranth can write."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the RTL is generated from.

    Attributes:
        processor: sizes and widths.
        code: spike code, fixed in hardware (its tables are wired).
        weights: weight format, fixed in hardware.
        largest_shift: the largest left shift of an operation's products, which then come with a shift each; None: all
            have ``S``, which is wired.
        channel_shifts: before a window fires, every lane halves its membrane as often as a number says that comes behind the
            thresholds (numerics, section 8): as many cycles more as the largest in the operation.
        late_shift: the processing element shifts behind its pipeline register, not before it: for FPGAs, whose memories
            answer late and whose adders are quick. Same results in the same cycles.
        long_wires: what goes to the activation buffer waits for little: it is read where nothing uses the word (outside
            the map, behind the last word), addresses of results and bursts count in registers, words are written a cycle
            later, out of registers, and positions and steps are compared one ahead: for FPGAs, where the way to all
            block RAMs takes half a cycle. Same results in the same cycles.

    Raises:
        ValueError: a row of membranes is wider than a wire may be; memories are switched off, with ``long_wires``.
    """

    processor: ProcessorSpec
    code: Code
    weights: LogWeights
    largest_shift: int | None = None
    channel_shifts: bool = False
    late_shift: bool = False
    long_wires: bool = False

    def __post_init__(self) -> None:
        processor = self.processor
        row = processor.bias_words * processor.word_bits
        if row > WIDEST:
            raise ValueError(
                f"a processor in RTL must have pes * accumulator_bits of at most {WIDEST}, a row of membranes, not "
                f"{processor.pes} * {processor.accumulator_bits} = {row!r}; "
                f"take {WIDEST // processor.accumulator_bits // processor.lanes * processor.lanes} pes at most"
            )
        if self.long_wires and processor.switched:
            # Words that nothing uses would be read from memories that are off.
            raise ValueError(
                f"a processor for FPGAs, which cannot switch memories off, must have banks = 1, not {processor.banks!r}"
            )

    @classmethod
    def of(cls, network: Network, processor: ProcessorSpec) -> "Parameters":
        """The parameters of a processor that runs this network."""
        network = resolve(network)
        shifts = {network.shift(layer, part) for layer in network.synaptic for part in layer.connections}
        wired = shifts == {shift_base(network.code, network.weights)}
        return cls(
            processor=processor,
            code=network.code,
            weights=network.weights,
            largest_shift=None if wired else max(shifts),
            channel_shifts=any(any(layer.shifts) for layer in network.synaptic),
        )

    def on_fpga(self) -> "Parameters":
        """The same processor as FPGAs take it best."""
        return replace(self, late_shift=True, long_wires=True)

    @property
    def shift_bits(self) -> int:
        """Bits of the port that carries an operation's shift; 0 where it is wired."""
        return 0 if self.largest_shift is None else max(1, self.largest_shift.bit_length())

    @property
    def time_bits(self) -> int:
        """Bits of a spike time inside a window, or of ``j * tau`` of input plane ``j``."""
        last = (PLANES - 1) * self.code.tau if self.code.planes else 0
        return max(1, (self.code.T - 1).bit_length(), last.bit_length())

    @property
    def tau_bits(self) -> int:
        """Low bits of a spike time that are the fraction of its logarithm."""
        return self.code.tau.bit_length() - 1

    @property
    def rho_bits(self) -> int:
        """Low bits of a weight level that are the fraction of its logarithm."""
        return self.weights.levels_per_octave.bit_length() - 1

    @property
    def fraction_bits(self) -> int:
        """Bits of the port that carries a layer's ``r`` (never 0)."""
        return max(1, self.rho_bits)

    @property
    def shift_base(self) -> int:
        """``S`` where it is wired, else the largest shift."""
        return shift_base(self.code, self.weights) if self.largest_shift is None else self.largest_shift

    @property
    def product_bits(self) -> int:
        """Bits of the largest magnitude, ``2^(M + M_w + S)``, or the accumulator's if fewer."""
        exact = self.code.mantissa_bits + self.weights.mantissa_bits + self.shift_base + 1
        return min(exact, self.processor.accumulator_bits)

    @property
    def weight_rows(self) -> int:
        """Rows of a bank of the weight buffer."""
        return self.processor.weight_rows(self.weights)

    @property
    def row_words(self) -> int:
        """DRAM words of a weight row."""
        return self.processor.row_words(self.weights)
