"""The DRAM port: burst requests, words in, words out, all valid/ready streams; and the switch of its two users."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, Signature

REQUEST = StructLayout({"address": 32, "words": 24, "write": 1})
"""A burst: first word address, number of words, direction. Words follow in order; bursts do not overlap."""


class MemoryPort(Signature):
    """The port, from its user.

    Members:
        request: stream of bursts.
        read: (back) stream of the words of read bursts.
        write: stream of the words of write bursts; absent from a port that only reads.
    """

    def __init__(self, word_bits: int, *, write: bool = True) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "read": In(stream.Signature(word_bits)),
                **({"write": Out(stream.Signature(word_bits))} if write else {}),
            }
        )


def owned(user: Any, memory: Any) -> list[Any]:
    """Assignments by which ``user`` has the port of ``memory``; words of either direction may go to all users besides.

    So may whether a word has been read: only the user whose burst it is looks.
    """
    statements = [
        memory.request.valid.eq(user.request.valid),
        memory.request.payload.eq(user.request.payload),
        user.request.ready.eq(memory.request.ready),
        memory.read.ready.eq(user.read.ready),
    ]
    if hasattr(user, "write"):
        statements += [memory.write.valid.eq(user.write.valid), user.write.ready.eq(memory.write.ready)]
    return statements


class PortSwitch(wiring.Component):
    """The port belongs to the transfer unit while ``transferring``, else to the loader; their bursts never overlap.

    Ports:
        transferring: whose it is.
        loader, transfer: the users.
        dram: the port.
    """

    def __init__(self, word_bits: int) -> None:
        super().__init__(
            {
                "transferring": In(1),
                "loader": In(MemoryPort(word_bits, write=False)),
                "transfer": In(MemoryPort(word_bits)),
                "dram": Out(MemoryPort(word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        loader, transfer, dram = self.loader, self.transfer, self.dram
        with m.If(self.transferring):
            m.d.comb += owned(transfer, dram)
        with m.Else():
            m.d.comb += owned(loader, dram)
        m.d.comb += [
            *(user.read.payload.eq(dram.read.payload) for user in (loader, transfer)),
            *(user.read.valid.eq(dram.read.valid) for user in (loader, transfer)),
            dram.write.payload.eq(transfer.write.payload),
        ]
        return m
