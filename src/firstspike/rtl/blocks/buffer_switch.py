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

    Args:
        late_writes: what users write comes out of registers, a cycle later than they decide to: the last word of a
            burst when the transfer unit is done.
    """

    def __init__(self, word_bits: int, address_bits: int, *, late_writes: bool = False) -> None:
        self.late_writes = late_writes
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
        transferring, writes = self.transferring, [user.enable & user.write for user in (executor, transfer)]
        if self.late_writes:
            transferring, writes = transferring | transfer.write, [executor.write, transfer.write]
        m.d.comb += [
            memory.enable.eq(walker.enable | executor.enable | transfer.enable),
            memory.write.eq(writes[0] | writes[1]),
            memory.address.eq(
                Mux(transferring, transfer.address, Mux(executor.enable, executor.address, walker.address))
            ),
            memory.write_data.eq(Mux(transferring, transfer.write_data, executor.write_data)),
            *(user.read_data.eq(memory.read_data) for user in (executor, transfer)),
            walker.data.eq(memory.read_data),
        ]
        return m
