"""Transfer unit: LOAD and STORE between DRAM and the activation buffer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.interfaces import TransferControl
from firstspike.rtl.blocks.memory_port import MemoryPort
from firstspike.rtl.blocks.sram import SramPort
from firstspike.rtl.parameters import Parameters


class TransferUnit(wiring.Component):
    """One burst: ASK, then READ (a word a cycle as it comes) or SEND (read ahead by one word).

    Ports:
        control: what to move.
        active: the DRAM port is this unit's.
        dram: the DRAM port.
        buffer: the activation buffer.
    """

    def __init__(self, parameters: Parameters, address_bits: int) -> None:
        self.parameters = parameters
        width = parameters.processor.word_bits
        super().__init__(
            {
                "control": In(TransferControl(address_bits)),
                "active": Out(1),
                "dram": Out(MemoryPort(width)),
                "buffer": Out(SramPort(width, address_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        control, dram, buffer = self.control, self.dram, self.buffer
        index = Signal(24)
        sending = Signal()
        m.d.comb += [
            dram.request.payload.address.eq(control.dram_address),
            dram.request.payload.words.eq(control.words),
            dram.request.payload.write.eq(control.store),
            dram.write.payload.eq(buffer.read_data),
        ]
        long_wires = self.parameters.long_wires
        comes, moving = Signal(), Signal()
        if long_wires:
            # Registers: the address counts along, and a word is written a cycle later.
            m.d.sync += [buffer.write.eq(comes), buffer.write_data.eq(dram.read.payload)]
            m.d.sync += buffer.address.eq(Mux(moving, buffer.address + buffer.enable, control.address))
        else:
            m.d.comb += [buffer.write.eq(comes), buffer.write_data.eq(dram.read.payload)]
            m.d.comb += buffer.address.eq(control.address + index)
        reads = Signal()
        m.d.comb += buffer.enable.eq(reads | buffer.write)
        with m.FSM(name="transfer") as states:
            m.d.comb += self.active.eq(~states.ongoing("IDLE"))
            m.d.comb += moving.eq(states.ongoing("READ") | states.ongoing("SEND"))
            with m.State("IDLE"), m.If(control.start):
                m.d.sync += [index.eq(0), sending.eq(0)]
                m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += dram.request.valid.eq(1)
                with m.If(dram.request.ready):
                    m.next = "READ"
                    with m.If(control.store):
                        m.next = "SEND"
            with m.State("READ"):
                m.d.comb += [dram.read.ready.eq(1), comes.eq(dram.read.valid)]
                with m.If(dram.read.valid):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == control.words - 1):
                        m.d.comb += control.done.eq(1)
                        m.next = "IDLE"
            with m.State("SEND"):
                more, goes = Signal(), Signal()
                m.d.comb += [
                    dram.write.valid.eq(sending),
                    more.eq(index != control.words),
                    goes.eq(more & (~sending | dram.write.ready)),
                    reads.eq(~sending | dram.write.ready if long_wires else goes),
                ]
                with m.If(goes):
                    m.d.sync += [index.eq(index + 1), sending.eq(1)]
                with m.Elif(dram.write.ready & sending):
                    m.d.sync += sending.eq(0)
                    with m.If(~more):
                        m.d.comb += control.done.eq(1)
                        m.next = "IDLE"
        return m
