"""A stream held back on command: for simulations that stall the streams inside the processor at random."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import Layout
from amaranth.lib.wiring import In, Out


class Hold(wiring.Component):
    """Hides an item from its consumer while ``hold``; one that was shown stays until it is taken. No cycle is added otherwise.

    Ports:
        hold: show nothing new in this cycle.
        source, target: the stream before and behind.
    """

    def __init__(self, payload: Layout | Shape | int) -> None:
        super().__init__(
            {"hold": In(1), "source": In(stream.Signature(payload)), "target": Out(stream.Signature(payload))}
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        shown = Signal()
        show = Signal()
        m.d.comb += [
            show.eq(shown | ~self.hold),
            self.target.valid.eq(self.source.valid & show),
            self.target.payload.eq(self.source.payload),
            self.source.ready.eq(self.target.ready & show),
        ]
        m.d.sync += shown.eq(self.target.valid & ~self.target.ready)
        return m
