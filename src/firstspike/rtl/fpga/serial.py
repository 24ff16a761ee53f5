"""A serial line: bytes of eight bits, one start and one stop bit, lowest bit first."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

BITS = 8
"""Of a byte."""


class Receiver(wiring.Component):
    """Samples every bit in its middle.

    Ports:
        line: the pin; at rest it is 1.
        bytes: stream of what came; a byte that is not taken when the next one ends is lost.

    Args:
        divider: cycles of a bit.
    """

    def __init__(self, divider: int) -> None:
        self.divider = divider
        super().__init__({"line": In(1, init=1), "bytes": Out(stream.Signature(BITS))})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        phase, left, bits = Signal(range(self.divider)), Signal(range(BITS + 3)), Signal(BITS)
        broken = Signal()
        with m.If(self.bytes.ready):
            m.d.sync += self.bytes.valid.eq(0)
        with m.If(left == 0):
            m.d.sync += phase.eq(self.divider // 2 - 1)
            with m.If(~line):
                m.d.sync += left.eq(BITS + 2)
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(phase - 1)
        with m.Else():
            m.d.sync += [phase.eq(self.divider - 1), left.eq(left - 1)]
            with m.If((left == BITS + 2) & line):  # no start bit, a spike on the line
                m.d.sync += left.eq(0)
            with m.If(left != 1):
                m.d.sync += bits.eq(Cat(bits[1:], line))
            with m.Elif(line):  # a stop bit
                m.d.sync += [self.bytes.valid.eq(~broken), self.bytes.payload.eq(bits), broken.eq(0)]
            with m.Else():  # none: wait for the line to rest
                m.d.sync += [broken.eq(1), left.eq(1), phase.eq(0)]
        return m


class Transmitter(wiring.Component):
    """Sends bytes.

    Ports:
        bytes: stream of what is sent.
        line: the pin; at rest it is 1.

    Args:
        divider: cycles of a bit.
    """

    def __init__(self, divider: int) -> None:
        self.divider = divider
        super().__init__({"bytes": In(stream.Signature(BITS)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        phase, left, bits = Signal(range(self.divider)), Signal(range(BITS + 3)), Signal(BITS + 2, init=-1)
        m.d.comb += [self.bytes.ready.eq(left == 0), self.line.eq(bits[0])]
        with m.If(left == 0):
            m.d.sync += phase.eq(self.divider - 1)
            with m.If(self.bytes.valid):
                m.d.sync += [bits.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1))), left.eq(BITS + 2)]
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(phase - 1)
        with m.Else():
            m.d.sync += [phase.eq(self.divider - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], Const(1, 1)))]
        return m
