"""Loader: fetches descriptors in order, and each operation's biases, thresholds and weight rows ahead of time."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.descriptor import LAYOUT
from firstspike.rtl.blocks.memory_port import REQUEST
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE, HALT, LOAD, STORE, descriptor_words

OPERATION = StructLayout({"descriptor": LAYOUT, "slot": 1})
"""What the loader hands over: the descriptor, and which bank and registers hold its payload."""


class Loader(wiring.Component):
    """Fetch, hand over, fetch the next one into the other slot; after a LOAD or STORE wait until the port is released.

    Ports:
        start: begin with the descriptor at DRAM word 0.
        released: the running transfer ends in this cycle.
        request, read: the DRAM port's streams, used by the loader alone unless a transfer runs.
        operation: stream of operations, in order, payload loaded.
        clear, fill, word: to bias registers, threshold registers and weight buffer: a new payload begins; slot; data.
        bias, theta, weight: which of them takes ``word`` in this cycle.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        width = parameters.processor.word_bits
        super().__init__(
            {
                "start": In(1),
                "released": In(1),
                "request": Out(stream.Signature(REQUEST)),
                "read": In(stream.Signature(width)),
                "operation": Out(stream.Signature(OPERATION)),
                "clear": Out(1),
                "fill": Out(1),
                "word": Out(width),
                "bias": Out(1),
                "theta": Out(1),
                "weight": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.parameters.processor.word_bits
        words = descriptor_words(width)
        register = Signal(words * width, reset_less=True)
        descriptor = View(LAYOUT, register[: LAYOUT.size])
        counter = Signal(32)
        bias, theta = Signal(17), Signal(17)
        m.d.comb += [
            bias.eq(descriptor.bias_words),
            theta.eq(descriptor.bias_words + descriptor.theta_words),
            self.word.eq(self.read.payload),
            self.operation.payload.descriptor.eq(descriptor),
            self.operation.payload.slot.eq(self.fill),
        ]
        program = Signal(32)
        with m.FSM(name="loader"):
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += program.eq(0)
                m.next = "ASK_DESCRIPTOR"
            with m.State("ASK_DESCRIPTOR"):
                request = self.request
                m.d.comb += [request.valid.eq(1), request.payload.address.eq(program), request.payload.words.eq(words)]
                m.d.sync += counter.eq(1)
                with m.If(request.ready):
                    m.next = "DESCRIPTOR"
            with m.State("DESCRIPTOR"):
                m.d.comb += self.read.ready.eq(1)
                with m.If(self.read.valid):
                    m.d.sync += [register.eq(Cat(register[width:], self.read.payload)), counter.eq(counter + 1)]
                    with m.If(counter == words):
                        m.d.sync += program.eq(program + words)
                        kind = register[width : width + 4]  # the first word, one shift before it is in place
                        m.next = "OFFER"
                        with m.If(kind == CONVOLVE):
                            m.next = "ASK_PAYLOAD"
            with m.State("ASK_PAYLOAD"):
                m.d.comb += [
                    self.clear.eq(1),
                    self.request.valid.eq(1),
                    self.request.payload.address.eq(descriptor.dram_address),
                    self.request.payload.words.eq(descriptor.dram_words),
                ]
                m.d.sync += counter.eq(1)
                with m.If(self.request.ready):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.read.ready.eq(1)
                with m.If(self.read.valid):
                    m.d.comb += [
                        self.bias.eq(counter <= bias),
                        self.theta.eq((counter > bias) & (counter <= theta)),
                        self.weight.eq(counter > theta),
                    ]
                    m.d.sync += counter.eq(counter + 1)
                    with m.If(counter == descriptor.dram_words):
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.operation.valid.eq(1)
                with m.If(self.operation.ready):
                    m.d.sync += self.fill.eq(Mux(descriptor.kind == CONVOLVE, ~self.fill, self.fill))
                    m.next = "ASK_DESCRIPTOR"
                    with m.If((descriptor.kind == LOAD) | (descriptor.kind == STORE)):
                        m.next = "TRANSFER"
                    with m.If(descriptor.kind == HALT):
                        m.next = "IDLE"
            with m.State("TRANSFER"), m.If(self.released):
                m.next = "ASK_DESCRIPTOR"
        return m
