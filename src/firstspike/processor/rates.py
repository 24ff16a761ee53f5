"""Energy per event of a design: what `firstspike.processor.energy` multiplies its counts with."""

from dataclasses import dataclass, replace

from firstspike.arith import checks
from firstspike.processor.sram import Buffer
from firstspike.processor.technology import Constant, Dram, Switches, Technology
from firstspike.spec.interval import ZERO, Interval, plain, total
from firstspike.spec.processor import ProcessorSpec

PRODUCT_BITS, MEMBRANE_BITS = 23, 32
"""Bits of the largest product and of a membrane in the element that `Logic.pe_operation` and `pe_area` were measured on."""


@dataclass(frozen=True, kw_only=True)
class Switched:
    """A memory whose banks are switched off.

    Attributes:
        event: the count of bank-cycles in which one is off.
        banks: how many there are.
        on_mw, off_mw: leakage of a bank that is on, and of one that is off.
    """

    event: str
    banks: int
    on_mw: Interval
    off_mw: Interval


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Energy per event, power and area of one design in one technology.

    Attributes:
        clock_mhz: clock frequency in MHz.
        lane_add_pj: one product added to one membrane, its weight taken to the lane.
        zero_add_pj: the same of a weight that is zero.
        unpack_bit_pj: one bit of packed weight rows unpacked.
        weight_read_pj, weight_write_pj, activation_read_pj, activation_write_pj, membrane_read_pj, membrane_write_pj:
            one bit of an on-chip memory.
        threshold_step_pj: one threshold compared in all lanes.
        spike_pj: one spike picked for a weight row. byte_pj: one spike time compared in a pooling window, or written.
        control_pj, clock_pj: one clock cycle.
        leakage_mw: all the time.
        switched: memories that leak by the cycles in which they are on.
        wake_bit_pj: one bit of a memory switched on.
        dram: the external memory.
        area_mm2: memories and logic.
    """

    clock_mhz: float
    lane_add_pj: Interval
    zero_add_pj: Interval
    unpack_bit_pj: Interval
    weight_read_pj: Interval
    weight_write_pj: Interval
    activation_read_pj: Interval
    activation_write_pj: Interval
    membrane_read_pj: Interval
    membrane_write_pj: Interval
    threshold_step_pj: Interval
    spike_pj: Interval
    byte_pj: Interval
    control_pj: Interval
    clock_pj: Interval
    leakage_mw: Interval
    dram: Dram
    area_mm2: Interval
    switched: tuple[Switched, ...] = ()
    wake_bit_pj: Interval = ZERO


@dataclass(frozen=True, kw_only=True)
class Memories:
    """On-chip memories of the processor: ``weight`` is one bank of two, ``activation`` all banks together."""

    weight: Buffer
    activation: Buffer
    membrane: Buffer


def memories(processor: ProcessorSpec, weight_bits: int, technology: Technology) -> Memories:
    """The processor's memories, with weight rows of ``pes`` codes of ``weight_bits`` bits."""
    checks.integer("weight_bits", weight_bits, low=1, high=64)
    row = processor.pes * processor.accumulator_bits

    def buffer(capacity_kib: float, width_bits: int) -> Buffer:
        made = technology.sram.buffer(capacity_kib=capacity_kib, width_bits=width_bits)
        return _withswitches_of(made, technology) if processor.switched else made

    bank_kib = processor.activation_buffer_kib / processor.banks
    return Memories(
        weight=buffer(processor.weight_buffer_kib / 2, processor.pes * weight_bits),
        activation=buffer(bank_kib, processor.word_bits).times(processor.banks),
        membrane=buffer(processor.membrane_rows * row / 8192, row),
    )


def _withswitches_of(memory: Buffer, technology: Technology) -> Buffer:
    """The memory with what switches it off beside it."""
    return replace(memory, area_mm2=memory.area_mm2 + memory.area_mm2.by(switches_of(technology).area.times(0.01)))


def switches_of(technology: Technology) -> Switches:
    """What switches of memories take.

    Raises:
        ValueError: the technology does not know.
    """
    if technology.switches is None:
        raise ValueError(
            f"technology must have [switches] for a processor with banks, and {technology.name!r} has none"
        )
    return technology.switches


def rates(
    processor: ProcessorSpec,
    weight_bits: int,
    technology: Technology,
    dram: str,
    *,
    product_bits: int = PRODUCT_BITS,
) -> Rates:
    """Energy per event of the processor.

    Args:
        processor: the design.
        weight_bits: bits of a weight code.
        technology: energy per event.
        dram: name of one of its DRAM scenarios.
        product_bits: of the network's format (`firstspike.spec.Network.product_bits`).

    Raises:
        ValueError: the technology has no DRAM scenario of that name.
    """
    logic, parts = technology.logic, memories(processor, weight_bits, technology)
    row, membrane = processor.pes * weight_bits, processor.pes * processor.accumulator_bits
    buffers = (parts.weight, parts.weight, parts.activation, parts.membrane)
    always = () if processor.switched else buffers
    widths = (product_bits - PRODUCT_BITS, processor.accumulator_bits - MEMBRANE_BITS)
    operation = narrowed(logic.pe_operation, (logic.product_bit, logic.membrane_bit), widths)
    lane = narrowed(logic.pe_area, (logic.product_area, logic.membrane_area), widths)
    area = (lane.times(processor.pes) + logic.control_area).times(1e-6)
    if processor.packed_rows:
        if logic.unpack_bit is None or logic.unpacker_area is None:
            raise ValueError(
                "technology must have logic.unpack_bit and logic.unpacker_area for a processor with packed_rows, "
                f"not only those of {technology.name!r}"
            )
        area += logic.unpacker_area.times(processor.pes * 1e-6)
    return Rates(
        clock_mhz=processor.clock_mhz,
        lane_add_pj=lane_pj(technology, operation),
        zero_add_pj=zero_pj(technology, operation),
        unpack_bit_pj=plain(logic.unpack_bit) if processor.packed_rows and logic.unpack_bit else ZERO,
        weight_read_pj=parts.weight.read_pj.times(1 / row),
        weight_write_pj=parts.weight.write_pj.times(1 / row),
        activation_read_pj=parts.activation.read_pj.times(1 / processor.word_bits),
        activation_write_pj=parts.activation.write_pj.times(1 / processor.word_bits),
        membrane_read_pj=parts.membrane.read_pj.times(1 / membrane),
        membrane_write_pj=parts.membrane.write_pj.times(1 / membrane),
        threshold_step_pj=technology.wired(logic.fire_comparison).times(processor.pes),
        spike_pj=plain(logic.encoder_byte),
        byte_pj=plain(logic.encoder_byte),
        control_pj=plain(logic.control_cycle),
        clock_pj=clock_pj(technology, processor.pes),
        leakage_mw=total([buffer.leakage_mw for buffer in always]) + area.by(logic.leakage),
        switched=_switched(parts, processor, technology) if processor.switched else (),
        wake_bit_pj=switches_of(technology).wake.times(1 / 8192) if processor.switched else ZERO,
        dram=technology.memory(dram),
        area_mm2=total([buffer.area_mm2 for buffer in buffers]) + area,
    )


def _switched(parts: Memories, processor: ProcessorSpec, technology: Technology) -> tuple[Switched, ...]:
    """The memories of a processor that switches off those that hold nothing that is needed."""
    left = switches_of(technology).leakage
    banks = (
        ("activation_off_cycles", processor.banks, parts.activation.leakage_mw.times(1 / processor.banks)),
        ("membrane_off_cycles", 1, parts.membrane.leakage_mw),
        ("weight_off_cycles", 2, parts.weight.leakage_mw),
    )
    return tuple(
        Switched(event=event, banks=count, on_mw=on, off_mw=on.by(left.times(0.01))) for event, count, on in banks
    )


def narrowed(whole: Interval, shares: tuple[Constant | None, ...], widths: tuple[int, ...]) -> Interval:
    """A figure of the measured element for one with other widths: each bit more or less is a share of the whole.

    Args:
        whole: the measured figure.
        shares: what a bit of each width is of it; None: nothing.
        widths: bits more than in the measured element, below 0 where there are fewer.

    >>> from firstspike.processor.technology import Constant
    >>> bit = Constant(low=0.01, value=0.02, high=0.03, unit="1/bit", source="")
    >>> narrowed(Interval(low=1, value=2, high=4), (bit,), (-10,))
    Interval(low=0.7, value=1.6, high=3.6)
    """
    low = value = high = 1.0
    for share, bits in zip(shares, widths, strict=True):
        if share is not None:
            ends = sorted((share.low * bits, share.high * bits))
            low, value, high = low + ends[0], value + share.value * bits, high + ends[1]
    return plain(whole).by(Interval(low=max(low, 0.0), value=max(value, 0.0), high=max(high, 0.0)))


def lane_pj(technology: Technology, operation: Interval) -> Interval:
    """A product in a lane whose gates take ``operation`` for it, and its weight taken there."""
    return technology.wired(operation) + technology.logic.lane_fetch


def zero_pj(technology: Technology, operation: Interval) -> Interval:
    """A weight of zero that comes to a lane whose product takes ``operation``: as much less as in ours."""
    logic, ours = technology.logic, technology.logic.pe_operation
    if logic.zero_operation is None:
        return lane_pj(technology, operation)
    share = logic.zero_operation.value / ours.value if ours.value else 1.0
    return lane_pj(technology, operation.times(share))


def memory_ns(processor: ProcessorSpec, weight_bits: int, technology: Technology) -> float | None:
    """From a clock edge through the slowest memory and the logic behind it to the next register, at least, in ns.

    None where the technology does not know.
    """
    parts = memories(processor, weight_bits, technology)
    behind, lanes = technology.logic.behind_memory, technology.logic.behind_weights
    if behind is None:
        return None
    paths = ((parts.weight, lanes or behind), (parts.activation, behind), (parts.membrane, behind))
    sums = [part.access_ns + logic.value for part, logic in paths if part.access_ns is not None]
    return max(sums) if len(sums) == len(paths) else None


def clock_pj(technology: Technology, pes: int) -> Interval:
    """Energy of a clock cycle in which all ``pes`` lanes rest: clock of the control, closed gates of the lanes."""
    return plain(technology.logic.clock_cycle) + technology.logic.lane_cycle.times(pes)


def logic_mm2(technology: Technology, pes: int) -> Interval:
    """Area of the logic of a design with ``pes`` lanes of the measured format."""
    logic = technology.logic
    return (logic.pe_area.times(pes) + logic.control_area).times(1e-6)
