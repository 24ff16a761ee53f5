"""Parameters of the processor: one frozen object drives the mapping, the cycle model, the compiler and the RTL."""

from dataclasses import dataclass

from firstspike.arith import checks


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The processor's size, clock and memories (after arXiv 2208.04494; see docs/processor.md for each choice).

    Attributes:
        pes: processing elements = output channels computed at once.
        clock_mhz: clock frequency in MHz.
        accumulator_bits: ``A``, width of a membrane register.
        input_buffer_kib: on-chip memory for the spike times a layer reads, in KiB (bytes of 8-bit times).
        output_buffer_kib: on-chip memory for the spike times a layer writes, in KiB.
        weight_buffer_kib: on-chip memory for weight rows, in KiB, both halves of the double buffer together.
        dram_bits_per_cycle: bandwidth of the memory port in bits per clock cycle.
        dram_latency_cycles: cycles from a burst's request to its first data.

    Raises:
        TypeError, ValueError: a field breaks its rule.
    """

    pes: int = 128
    clock_mhz: float = 250.0
    accumulator_bits: int = 32
    input_buffer_kib: int = 64
    output_buffer_kib: int = 64
    weight_buffer_kib: int = 90
    dram_bits_per_cycle: int = 64
    dram_latency_cycles: int = 20

    def __post_init__(self) -> None:
        checks.integer("Processor.pes", self.pes, low=1, high=4096)
        if isinstance(self.clock_mhz, bool) or not isinstance(self.clock_mhz, int | float):
            raise TypeError(f"Processor.clock_mhz must be a number, not {self.clock_mhz!r}")
        if not 0 < self.clock_mhz <= 10_000:
            raise ValueError(f"Processor.clock_mhz must be in (0, 10000], not {self.clock_mhz!r}")
        checks.integer("Processor.accumulator_bits", self.accumulator_bits, low=8, high=48)
        for name in ("input_buffer_kib", "output_buffer_kib", "weight_buffer_kib"):
            checks.integer(f"Processor.{name}", getattr(self, name), low=1, high=1 << 20)
        checks.integer("Processor.dram_bits_per_cycle", self.dram_bits_per_cycle, low=8, high=4096)
        checks.integer("Processor.dram_latency_cycles", self.dram_latency_cycles, low=0, high=100_000)
