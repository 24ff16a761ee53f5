"""The activation buffer's three users, who never want it in one cycle."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.sram import ReadPort, SramPort


class BufferSwitch(wiring.Component):
    """Joins the users of the activation buffer to its one port.

    The executor waits in a state of its own while the walker walks a window or the transfer unit moves a burst. Whose
    address it is comes from registers alone, so that it is early at every block RAM of an FPGA.

    Ports:
        transferring: it is the transfer unit's.
        walker: reads the words of windows.
        executor: reads residuals, writes results.
        transfer: reads or writes a burst.
        memory: the buffer.
    """

    def __init__(self, word_bits: int, address_bits: int) -> None:
        super().__init__(
            {
                "transferring": In(1),
                "walker": In(ReadPort(word_bits, address_bits)),
                "executor": In(SramPort(word_bits, address_bits)),
                "transfer": In(SramPort(word_bits, address_bits)),
                "memory": Out(SramPort(word_bits, address_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        walker, executor, transfer, memory = self.walker, self.executor, self.transfer, self.memory
        m.d.comb += [
            memory.enable.eq(walker.enable | executor.enable | transfer.enable),
            memory.write.eq((executor.enable & executor.write) | (transfer.enable & transfer.write)),
            memory.address.eq(
                Mux(self.transferring, transfer.address, Mux(executor.enable, executor.address, walker.address))
            ),
            memory.write_data.eq(Mux(self.transferring, transfer.write_data, executor.write_data)),
            *(user.read_data.eq(memory.read_data) for user in (executor, transfer)),
            walker.data.eq(memory.read_data),
        ]
        return m
