"""Loader: fetches descriptors in order, and each operation's biases, thresholds and weight rows ahead of time."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from firstspike.rtl.blocks.descriptor import layout
from firstspike.rtl.blocks.interfaces import Payload, WeightPayload, operation
from firstspike.rtl.blocks.memory_port import MemoryPort
from firstspike.rtl.parameters import Parameters
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import CONVOLVE, HALT, LOAD, STORE, descriptor_words


class Loader(wiring.Component):
    """Fetch, hand over, fetch the next one into the other slot; after a LOAD or STORE wait until the port is released.

    Ports:
        start: begin with the descriptor at DRAM word 0.
        released: the running transfer ends in this cycle.
        dram: the DRAM port, used by the loader alone unless a transfer runs.
        operation: stream of operations, in order, payload loaded.
        biases, thresholds, weights: the parts of a payload, in this order.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        width = parameters.processor.word_bits
        super().__init__(
            {
                "start": In(1),
                "released": In(1),
                "dram": Out(MemoryPort(width, write=False)),
                "operation": Out(stream.Signature(operation(parameters.processor))),
                "biases": Out(Payload(width)),
                "thresholds": Out(Payload(width)),
                "weights": Out(WeightPayload(parameters.processor)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        # of the block, not of this method: proofs by induction compare them with what they know
        self.registers = registers = _Registers(self.parameters.processor)
        fill = registers.fill
        for part in (self.biases, self.thresholds, self.weights):
            m.d.comb += [part.clear.eq(registers.clear), part.word.eq(self.dram.read.payload)]
            if part is not self.weights or not self.parameters.processor.resident_weights:
                m.d.comb += part.fill.eq(fill)
        m.d.comb += [
            self.operation.payload.descriptor.eq(registers.descriptor),
            self.operation.payload.slot.eq(fill),
        ]
        if self.parameters.processor.resident_weights:
            m.d.comb += self.weights.fill.eq(registers.descriptor.bank)
        if self.parameters.processor.packed_rows:
            descriptor = registers.descriptor
            lanes = Mux(descriptor.fires, descriptor.out_words * self.parameters.processor.lanes, descriptor.out_words)
            m.d.comb += [
                self.weights.bitmap.eq(descriptor.bitmap),
                self.weights.last_group.eq((lanes - 1) >> exact_log2(self.parameters.processor.word_bits)),
            ]
        with m.FSM(name="loader") as self.states:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += registers.program.eq(0)
                m.next = "ASK_DESCRIPTOR"
            self._fetch_descriptor(m, registers)
            self._fetch_payload(m, registers)
            self._hand_over(m, registers)
        return m

    def _fetch_descriptor(self, m: Module, registers: "_Registers") -> None:
        request, read = self.dram.request, self.dram.read
        counter, program, register, words = registers.counter, registers.program, registers.register, registers.words
        descriptor = registers.descriptor
        width = self.parameters.processor.word_bits
        with m.State("ASK_DESCRIPTOR"):
            m.d.comb += [request.valid.eq(1), request.payload.address.eq(program), request.payload.words.eq(words)]
            m.d.sync += counter.eq(1)
            with m.If(request.ready):
                m.next = "DESCRIPTOR"
        with m.State("DESCRIPTOR"):
            m.d.comb += read.ready.eq(1)
            with m.If(read.valid):
                m.d.sync += [register.eq(Cat(register[width:], read.payload)), counter.eq(counter + 1)]
                with m.If(counter == words):
                    m.d.sync += program.eq(program + words)
                    kind = register[
                        width : width + len(descriptor.kind)
                    ]  # the first word, one shift before it is in place
                    m.next = "OFFER"
                    with m.If(kind == CONVOLVE):
                        m.next = "ASK_PAYLOAD"

    def _fetch_payload(self, m: Module, registers: "_Registers") -> None:
        request, read = self.dram.request, self.dram.read
        counter, descriptor, clear = registers.counter, registers.descriptor, registers.clear
        bias = Signal(17)
        theta = Signal(17)
        m.d.comb += [
            bias.eq(descriptor.bias_words),
            theta.eq(descriptor.bias_words + descriptor.theta_words),
        ]

        def parts(number: Value) -> list[Value]:
            """Whether a word is a bias's, a threshold's, a weight's."""
            return [number <= bias, (number > bias) & (number <= theta), number > theta]

        part = parts(counter)
        if self.parameters.long_wires:
            # Known before the word comes.
            following = Mux(self.dram.read.valid, counter + 1, counter)
            part = [Signal(name=f"part{index}") for index in range(3)]
            m.d.sync += [
                known.eq(Mux(clear, now, then))
                for known, now, then in zip(part, parts(Const(1)), parts(following), strict=True)
            ]
        with m.State("ASK_PAYLOAD"):
            m.d.comb += [
                clear.eq(1),
                request.valid.eq(1),
                request.payload.address.eq(descriptor.dram_address),
                request.payload.words.eq(descriptor.dram_words),
            ]
            m.d.sync += counter.eq(1)
            with m.If(request.ready):
                m.next = "PAYLOAD"
            if self.parameters.processor.resident_weights:
                # Rows that stayed in their bank, in the middle of a tile: no payload.
                with m.If(descriptor.dram_words == 0):
                    m.d.comb += request.valid.eq(0)
                    m.next = "OFFER"
        with m.State("PAYLOAD"):
            m.d.comb += read.ready.eq(1)
            with m.If(read.valid):
                m.d.comb += [
                    self.biases.push.eq(part[0]),
                    self.thresholds.push.eq(part[1]),
                    self.weights.push.eq(part[2]),
                ]
                m.d.sync += counter.eq(counter + 1)
                with m.If(counter == descriptor.dram_words):
                    m.next = "OFFER"

    def _hand_over(self, m: Module, registers: "_Registers") -> None:
        descriptor, fill = registers.descriptor, registers.fill
        with m.State("OFFER"):
            m.d.comb += self.operation.valid.eq(1)
            with m.If(self.operation.ready):
                m.d.sync += fill.eq(Mux(descriptor.kind == CONVOLVE, ~fill, fill))
                m.next = "ASK_DESCRIPTOR"
                with m.If((descriptor.kind == LOAD) | (descriptor.kind == STORE)):
                    m.next = "TRANSFER"
                with m.If(descriptor.kind == HALT):
                    m.next = "IDLE"
        with m.State("TRANSFER"), m.If(self.released):
            m.next = "ASK_DESCRIPTOR"


class _Registers:
    """What the loader's states share.

    Attributes:
        words: DRAM words of a descriptor.
        register: the descriptor as it comes, shifted in from above.
        descriptor: its fields.
        program: DRAM word of the next descriptor.
        counter: number of the word that is awaited, from 1.
        clear: a new payload begins in this cycle.
        fill: slot that the payload goes to.
    """

    def __init__(self, processor: ProcessorSpec) -> None:
        fields = layout(processor)
        self.words = descriptor_words(processor)
        self.register = Signal(self.words * processor.word_bits, reset_less=True)
        self.descriptor = View(fields, self.register[: fields.size])
        self.program = Signal(32)
        self.counter = Signal(32)
        self.clear = Signal()
        self.fill = Signal()
