"""Shifts of the output channels, which come behind an operation's thresholds (numerics, section 8)."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import Payload, Settle
from firstspike.rtl.parameters import Parameters
from firstspike.spec.layers import MAX_SHIFT
from firstspike.spec.processor import SHIFT_BITS

HELD = MAX_SHIFT.bit_length()
"""Bits of a shift that are held, of `SHIFT_BITS` that come."""


class ChannelShifts(wiring.Component):
    """Registers of the running and of the next operation, and which membranes halve in a cycle.

    Two shift registers are filled word by word, first word lowest. A lane of shift ``s`` halves its membrane in the first ``s``
    cycles of a settling; the operation's largest shift, which is known when its words have come, ends it.

    Ports:
        payload: shifts from the loader; they are 0 from ``clear`` on, until words come.
        slot: of the running operation.
        settle: the executor's, before a window fires.
        halve: of every lane: ``membrane <= membrane >> 1``.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        processor = parameters.processor
        super().__init__(
            {
                "payload": In(Payload(processor.word_bits)),
                "slot": In(1),
                "settle": In(Settle()),
                "halve": Out(processor.pes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        payload, processor, settle = self.payload, self.parameters.processor, self.settle
        registers = [Signal(processor.shift_words * processor.word_bits, name=f"shifts{slot}") for slot in (0, 1)]
        needed = [Signal(MAX_SHIFT, name=f"needed{slot}") for slot in (0, 1)]
        coming = [
            payload.word.word_select(place, SHIFT_BITS)[:HELD] for place in range(processor.word_bits // SHIFT_BITS)
        ]
        reached = Cat(Cat(shift > step for shift in coming).any() for step in range(MAX_SHIFT))
        for slot in (0, 1):
            with m.If(payload.fill == slot):
                with m.If(payload.clear):
                    m.d.sync += [registers[slot].eq(0), needed[slot].eq(0)]
                with m.Elif(payload.push):
                    m.d.sync += registers[slot].eq(Cat(registers[slot][processor.word_bits :], payload.word))
                    m.d.sync += needed[slot].eq(needed[slot] | reached)
        chosen = Mux(self.slot, registers[1], registers[0])
        m.d.comb += [
            settle.needed.eq(Mux(self.slot, needed[1], needed[0])),
            *(
                self.halve[lane].eq(settle.active & (chosen.word_select(lane, SHIFT_BITS)[:HELD] > settle.step))
                for lane in range(processor.pes)
            ),
        ]
        return m
