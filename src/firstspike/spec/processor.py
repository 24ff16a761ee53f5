"""Parameters of the processor: one frozen object drives the mapping, the cycle model, the compiler and the RTL."""

from dataclasses import dataclass

from firstspike.arith import LogWeights, checks

SHIFT_BITS = 4
"""Bits of a channel's shift in DRAM, of which hardware holds three: no shift lies in two words."""


MAX_BANKS = 16
"""Most banks of an activation buffer."""


@dataclass(frozen=True, kw_only=True)
class ProcessorSpec:
    """The processor's size, clock and memories (after arXiv 2208.04494; see docs/explanation/processor.md for each choice).

    Attributes:
        pes: processing elements = output channels computed at once; a multiple of `lanes`.
        clock_mhz: clock frequency in MHz.
        accumulator_bits: ``A``, width of a membrane register; at most ``word_bits``.
        word_bits: width of the DRAM port and of a word of the activation buffer, in bits: 32, 64, 128 or 256.
        activation_buffer_kib: on-chip memory for spike times, inputs and outputs together, in KiB (one byte a neuron,
            single port, `word_bits` wide).
        weight_buffer_kib: on-chip memory for weight rows, in KiB, both banks of the double buffer together.
        membrane_rows: partial sums kept on chip, in pixels; one row is ``pes * accumulator_bits`` bits.
        dram_latency_cycles: cycles from a burst's request to its first word.
        dram_cycles_per_word: clock cycles per word of a burst (1 = one word every cycle).
        packed_rows: weight rows lie in DRAM without their zeros (docs/reference/program.md, "Packed rows").
        pixel_groups: layers of few channels compute neighbouring pixels together where that is estimated to cost less
            (docs/explanation/processor.md, "Pixel groups"). The hardware does not depend on it.
        resident_weights: rows that a bank of the weight buffer still holds are not fetched again, and the chunks of every
            other block of pixels run in reverse, so that it holds more of them (docs/explanation/processor.md,
            "Weights that stay").
        fused_pooling: a convolution whose map does not fit the activation buffer, and that only a pooling reads, runs strip
            by strip with it, and its map goes nowhere (docs/explanation/processor.md, "Fused pooling"). The hardware
            does not depend on it.
        banks: macros that the activation buffer is made of, by the highest bits of the address. With more
            than one, memories that hold nothing that is needed are switched off: each of these banks, the
            membrane memory, each weight bank (docs/explanation/processor.md, "Memories that are switched off").
        wake_cycles: cycles from switching a memory on to its first access.
        images: images of a batch: they share the weights that the late layers fetch (docs/explanation/processor.md,
            "Batches"). The hardware does not depend on it.

    Raises:
        TypeError, ValueError: a field breaks its rule.

    >>> p = ProcessorSpec()
    >>> p.lanes, p.weight_rows(LogWeights()), p.activation_words, p.dram_bits_per_cycle
    (8, 576, 16384, 64.0)
    """

    pes: int = 128
    clock_mhz: float = 250.0
    accumulator_bits: int = 32
    word_bits: int = 64
    activation_buffer_kib: int = 128
    weight_buffer_kib: int = 90
    membrane_rows: int = 64
    dram_latency_cycles: int = 20
    dram_cycles_per_word: int = 1
    packed_rows: bool = False
    pixel_groups: bool = False
    resident_weights: bool = False
    fused_pooling: bool = False
    banks: int = 1
    wake_cycles: int = 16
    images: int = 1

    def __post_init__(self) -> None:
        checks.integer("Processor.pes", self.pes, low=1, high=4096)
        if isinstance(self.clock_mhz, bool) or not isinstance(self.clock_mhz, int | float):
            raise TypeError(f"Processor.clock_mhz must be a number, not {self.clock_mhz!r}")
        if not 0 < self.clock_mhz <= 10_000:
            raise ValueError(f"Processor.clock_mhz must be in (0, 10000], not {self.clock_mhz!r}")
        checks.integer("Processor.word_bits", self.word_bits, low=32, high=256)
        if self.word_bits not in (32, 64, 128, 256):
            raise ValueError(f"Processor.word_bits must be 32, 64, 128 or 256, not {self.word_bits!r}")
        checks.integer("Processor.accumulator_bits", self.accumulator_bits, low=8, high=min(48, self.word_bits))
        if self.pes % self.lanes:
            raise ValueError(f"Processor.pes must be a multiple of word_bits / 8 = {self.lanes}, not {self.pes!r}")
        checks.integer("Processor.activation_buffer_kib", self.activation_buffer_kib, low=1, high=4096)
        checks.integer("Processor.weight_buffer_kib", self.weight_buffer_kib, low=1, high=1 << 16)
        checks.integer("Processor.membrane_rows", self.membrane_rows, low=1, high=4096)
        checks.integer("Processor.dram_latency_cycles", self.dram_latency_cycles, low=0, high=10_000)
        checks.integer("Processor.dram_cycles_per_word", self.dram_cycles_per_word, low=1, high=256)
        for name in ("packed_rows", "pixel_groups", "resident_weights", "fused_pooling"):
            if not isinstance(value := getattr(self, name), bool):
                raise TypeError(f"Processor.{name} must be a bool, not {value!r}")
        checks.integer("Processor.images", self.images, low=1, high=1024)
        self._check_banks()

    def _check_banks(self) -> None:
        checks.integer("Processor.banks", self.banks, low=1, high=MAX_BANKS)
        checks.integer("Processor.wake_cycles", self.wake_cycles, low=0, high=1000)
        if self.banks == 1:
            return
        words, rest = divmod(self.activation_words, self.banks)
        if rest or words & (words - 1):
            raise ValueError(
                f"Processor.banks must cut the activation buffer's {self.activation_words} words into powers of 2, "
                f"not {self.banks!r}; take an activation_buffer_kib of {self.banks} times a power of 2"
            )
        if self.wake_cycles > self.dram_latency_cycles:
            raise ValueError(
                f"Processor.wake_cycles must be at most dram_latency_cycles = {self.dram_latency_cycles}, for weight "
                f"banks wake up while their burst is awaited, not {self.wake_cycles!r}"
            )

    @property
    def lanes(self) -> int:
        """Spike times in a word of the activation buffer."""
        return self.word_bits // 8

    @property
    def activation_words(self) -> int:
        """Words of the activation buffer."""
        return self.activation_buffer_kib * 1024 // self.lanes

    @property
    def bank_words(self) -> int:
        """Words of a bank of the activation buffer."""
        return self.activation_words // self.banks

    @property
    def switched(self) -> bool:
        """Whether memories that hold nothing that is needed are switched off."""
        return self.banks > 1

    def weight_rows(self, weights: LogWeights) -> int:
        """Rows of ``pes`` weight codes in one bank of the weight buffer."""
        return self.weight_buffer_kib * 1024 * 8 // (2 * self.pes * weights.bits)

    def row_words(self, weights: LogWeights) -> int:
        """DRAM words of one weight row (padded to whole words)."""
        return -(-self.pes * weights.bits // self.word_bits)

    @property
    def bias_words(self) -> int:
        """DRAM words of the biases of one tile (padded to whole words)."""
        return -(-self.pes * self.accumulator_bits // self.word_bits)

    @property
    def shift_words(self) -> int:
        """DRAM words of the shifts of one tile's channels, four bits each (padded to whole words)."""
        return -(-self.pes * SHIFT_BITS // self.word_bits)

    @property
    def dram_bits_per_cycle(self) -> float:
        """Peak bandwidth of the DRAM port in bits per clock cycle."""
        return self.word_bits / self.dram_cycles_per_word
