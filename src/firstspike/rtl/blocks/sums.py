"""What a window's membranes begin with: biases from DRAM, or a partial sum kept in the membrane memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import Membranes, Payload, SumsControl
from firstspike.rtl.blocks.sram import SramPort
from firstspike.rtl.parameters import Parameters


class PartialSums(wiring.Component):
    """Bias registers of the running and of the next tile, and the way to and from the membrane memory.

    The bias registers are two shift registers filled word by word from DRAM, first word lowest.

    Ports:
        payload: biases from the loader.
        control: what the membranes begin with, and when the memory is read and written.
        memory: the membrane memory.
        lanes: the membranes.
    """

    def __init__(self, parameters: Parameters, address_bits: int) -> None:
        self.parameters = parameters
        processor = parameters.processor
        super().__init__(
            {
                "payload": In(Payload(processor.word_bits)),
                "control": In(SumsControl(address_bits)),
                "memory": Out(SramPort(processor.pes * processor.accumulator_bits, address_bits)),
                "lanes": Out(Membranes(parameters, processor.pes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        payload, control, memory, lanes = self.payload, self.control, self.memory, self.lanes
        processor = self.parameters.processor
        width = processor.bias_words * processor.word_bits
        registers = [Signal(width, name=f"bias{slot}", reset_less=True) for slot in (0, 1)]
        for slot, register in enumerate(registers):
            with m.If(payload.push & (payload.fill == slot)):
                m.d.sync += register.eq(Cat(register[processor.word_bits :], payload.word))
        biases = Mux(control.slot, registers[1], registers[0])
        m.d.comb += [
            memory.enable.eq(control.enable),
            memory.write.eq(control.write),
            memory.address.eq(control.address),
            memory.write_data.eq(lanes.membranes),
            lanes.load.eq(control.load),
            lanes.initial.eq(Mux(control.first, biases, memory.read_data)),
        ]
        return m
