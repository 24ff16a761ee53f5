"""Spikes as time-ordered lists: the encoder of a tile's first crossings.

Not part of the processor (docs/explanation/processor.md).
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out


def crossings(time_bits: int, neurons: int) -> StructLayout:
    """A step of the threshold sweep: its time, the neurons that cross in it, and whether it is the sweep's last step."""
    return StructLayout({"time": time_bits, "neurons": neurons, "last": 1})


def item(time_bits: int, index_bits: int) -> StructLayout:
    """An item of a list: a spike (time, index of the neuron), or its ``end``, of which time and index mean nothing."""
    return StructLayout({"time": time_bits, "index": index_bits, "end": 1})


class ListEncoder(wiring.Component):
    """Turns the steps of a sweep into a list: by time, in a step lowest neuron first, then the end.

    A step takes as many cycles as neurons cross in it, but at least one; the end takes one more.

    Ports:
        steps: stream of `crossings`.
        spikes: stream of `item`.
    """

    def __init__(self, time_bits: int, neurons: int) -> None:
        self.time_bits = time_bits
        self.neurons = neurons
        self.index_bits = max(1, (neurons - 1).bit_length())
        self.waiting, self.ending, self.time = Signal(neurons), Signal(), Signal(time_bits)  # proofs look at them
        super().__init__(
            {
                "steps": In(stream.Signature(crossings(time_bits, neurons))),
                "spikes": Out(stream.Signature(item(time_bits, self.index_bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waiting, ending, time = self.waiting, self.ending, self.time
        rest = Signal(self.neurons)
        index = Signal(self.index_bits)
        for neuron in reversed(range(self.neurons)):
            with m.If(waiting[neuron]):
                m.d.comb += index.eq(neuron)
        spikes, steps = self.spikes, self.steps
        closing = Signal()
        m.d.comb += [
            rest.eq(waiting & (waiting - 1)),
            closing.eq(ending & ~waiting.any()),
            spikes.valid.eq(waiting.any() | ending),
            spikes.payload.time.eq(time),
            spikes.payload.index.eq(index),
            spikes.payload.end.eq(closing),
            steps.ready.eq((~waiting.any() & ~ending) | (spikes.ready & (closing | (~rest.any() & ~ending)))),
        ]
        with m.If(steps.ready):
            m.d.sync += [waiting.eq(0), ending.eq(0)]
            with m.If(steps.valid):
                m.d.sync += [
                    waiting.eq(steps.payload.neurons),
                    time.eq(steps.payload.time),
                    ending.eq(steps.payload.last),
                ]
        with m.Elif(spikes.valid & spikes.ready):
            m.d.sync += waiting.eq(rest)
        return m
