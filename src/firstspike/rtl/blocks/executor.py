"""Executor: runs one operation after the other, pixel by pixel, and commands the activation buffer and the array."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.descriptor import LAYOUT
from firstspike.rtl.blocks.loader import OPERATION
from firstspike.rtl.blocks.memory_port import REQUEST
from firstspike.rtl.parameters import Parameters
from firstspike.spec.program import CONVOLVE, HALT, LOAD, POOL, STORE


class Executor(wiring.Component):
    """The states of an operation (docs/explanation/processor.md, "Life of a spike").

    CONVOLVE, per pixel: PIXEL, WALK, DRAIN (2), then RESIDUAL and ADD with a residual, then KEEP (partial sum), or FIRE
    and WRITE, or WRITE alone (logits), then NEXT. POOL, per pixel and channel word: PIXEL, WALK, WRITE, NEXT. LOAD and
    STORE: ASK, then READ or SEND. All pixels are repeated for every image of a batch (CONVOLVE) or every channel word
    (POOL); the membrane memory's address counts on over the images.

    Ports:
        operation: stream from the loader.
        transfer: LOAD or STORE owns the DRAM port; released: last cycle of it.
        descriptor, slot: of the running operation.
        request, read, write: the DRAM port's streams during a transfer.
        window, address, y, x: start of a window for the walker; walked: its last word leaves.
        first_cycle: first cycle of a walk (membranes are loaded).
        membrane_enable, membrane_write, membrane_address: the membrane memory.
        buffer, buffer_write, buffer_address, buffer_select: activation buffer access and which data it writes.
        buffer_data: words read from the activation buffer.
        residual_load, residual_word: the buffer's data are residual spike times of that word of lanes.
        fire_start, fire_done, adding, comparing: sweeps of the fire unit.
        spike_clear: forget spike times (the cycle before the first comparison).
        write_index: word that the encoder writes.
        halted: the last operation is done.
    """

    def __init__(self, parameters: Parameters, address_bits: int, membrane_bits: int) -> None:
        self.parameters = p = parameters
        self.address_bits = address_bits
        width = p.processor.word_bits
        super().__init__(
            {
                "operation": In(stream.Signature(OPERATION)),
                "transfer": Out(1),
                "released": Out(1),
                "descriptor": Out(LAYOUT),
                "slot": Out(1),
                "request": Out(stream.Signature(REQUEST)),
                "read": In(stream.Signature(width)),
                "write": Out(stream.Signature(width)),
                "window": Out(1),
                "address": Out(address_bits),
                "y": Out(Shape(20, signed=True)),
                "x": Out(Shape(20, signed=True)),
                "walked": In(1),
                "first_cycle": Out(1),
                "membrane_enable": Out(1),
                "membrane_write": Out(1),
                "membrane_address": Out(membrane_bits),
                "buffer": Out(1),
                "buffer_write": Out(1),
                "buffer_address": Out(address_bits),
                "buffer_data": In(width),
                "residual_load": Out(1),
                "residual_word": Out(range(max(2, p.processor.pes // p.processor.lanes))),
                "fire_start": Out(1),
                "fire_done": In(1),
                "adding": Out(1),
                "comparing": Out(1),
                "spike_clear": Out(1),
                "write_index": Out(range(p.processor.pes)),
                "halted": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.address_bits
        d = self.descriptor
        height, width, repeat = Signal(16), Signal(16), Signal(16)
        in_base, in_line, in_address = (Signal(bits, name=name) for name in ("in_base", "in_line", "in_address"))
        out_base, out_line, out_address = (Signal(bits, name=name) for name in ("out_base", "out_line", "out_address"))
        residual_base, residual_line, residual_address = (
            Signal(bits, name=name) for name in ("residual_base", "residual_line", "residual_address")
        )
        y, x = Signal(Shape(20, signed=True)), Signal(Shape(20, signed=True))
        pixel = Signal.like(self.membrane_address)
        index = Signal(24)
        sending = Signal()
        fresh = Signal()
        m.d.comb += [
            self.address.eq(in_address),
            self.y.eq(y),
            self.x.eq(x),
            self.membrane_address.eq(pixel),
            self.write_index.eq(index),
            self.residual_word.eq(index - 1),
            self.first_cycle.eq(fresh),
        ]
        m.d.sync += fresh.eq(self.window)
        last_x, last_y, last_repeat = Signal(), Signal(), Signal()
        m.d.comb += [
            last_x.eq(width == d.width - 1),
            last_y.eq(height == d.height - 1),
            last_repeat.eq(repeat == d.repeat - 1),
        ]
        with m.FSM(name="executor"):
            with m.State("TAKE"):
                new = View(LAYOUT, self.operation.payload.descriptor.as_value())
                m.d.comb += self.operation.ready.eq(1)
                with m.If(self.operation.valid):
                    m.d.sync += [
                        d.eq(self.operation.payload.descriptor),
                        self.slot.eq(self.operation.payload.slot),
                        *(counter.eq(0) for counter in (height, width, repeat, pixel, index, sending)),
                        *(register.eq(new.in_address) for register in (in_base, in_line, in_address)),
                        *(register.eq(new.out_address) for register in (out_base, out_line, out_address)),
                        *(
                            register.eq(new.residual_address)
                            for register in (residual_base, residual_line, residual_address)
                        ),
                        y.eq(new.origin_y),
                        x.eq(new.origin_x),
                    ]
                    with m.Switch(new.kind):
                        with m.Case(CONVOLVE, POOL):
                            m.next = "PIXEL"
                        with m.Case(LOAD, STORE):
                            m.next = "ASK"
                        with m.Case(HALT):
                            m.d.comb += self.halted.eq(1)
            with m.State("PIXEL"):
                m.d.comb += [self.window.eq(1), self.membrane_enable.eq((d.kind == CONVOLVE) & ~d.first)]
                m.next = "WALK"
            with m.State("WALK"):
                m.d.sync += index.eq(0)
                with m.If(self.walked):
                    m.next = "WRITE"
                    with m.If(d.kind == CONVOLVE):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                m.next = "DRAINED"
            with m.State("DRAINED"):
                self._after_sums(m, "RESIDUAL")
            with m.State("RESIDUAL"):
                m.d.comb += [
                    self.buffer.eq(index != d.residual_words),
                    self.buffer_address.eq(residual_address + index),
                    self.residual_load.eq(index != 0),
                ]
                m.d.sync += index.eq(index + 1)
                with m.If(index == d.residual_words):
                    m.d.sync += index.eq(0)
                    m.next = "ADD_START"
            with m.State("ADD_START"):
                m.d.comb += self.fire_start.eq(1)
                m.next = "ADD"
            with m.State("ADD"):
                m.d.comb += self.adding.eq(1)
                with m.If(self.fire_done):
                    self._after_sums(m, None)
            with m.State("KEEP"):
                m.d.comb += [self.membrane_enable.eq(1), self.membrane_write.eq(1)]
                m.next = "NEXT"
            with m.State("FIRE_START"):
                m.d.comb += [self.fire_start.eq(1), self.spike_clear.eq(1)]
                m.next = "FIRE"
            with m.State("FIRE"):
                m.d.comb += self.comparing.eq(1)
                with m.If(self.fire_done):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [
                    self.buffer.eq(1),
                    self.buffer_write.eq(1),
                    self.buffer_address.eq(out_address + index),
                ]
                m.d.sync += index.eq(index + 1)
                with m.If(index == d.out_words - 1):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [pixel.eq(pixel + 1), width.eq(width + 1)]
                m.d.sync += [
                    in_address.eq(in_address + d.in_step),
                    x.eq(x + d.stride_x),
                    out_address.eq(out_address + d.out_pixel),
                    residual_address.eq(residual_address + d.residual_pixel),
                ]
                m.next = "PIXEL"
                with m.If(last_x):
                    m.d.sync += [
                        width.eq(0),
                        height.eq(height + 1),
                        *(register.eq(in_line + d.in_line) for register in (in_line, in_address)),
                        *(register.eq(out_line + d.out_row) for register in (out_line, out_address)),
                        residual_line.eq(residual_line + d.residual_row),
                        residual_address.eq(residual_line + d.residual_row),
                        x.eq(d.origin_x),
                        y.eq(y + d.stride_y),
                    ]
                    with m.If(last_y):
                        m.d.sync += [
                            height.eq(0),
                            repeat.eq(repeat + 1),
                            *(register.eq(in_base + d.in_next) for register in (in_base, in_line, in_address)),
                            *(register.eq(out_base + d.out_next) for register in (out_base, out_line, out_address)),
                            *(
                                register.eq(residual_base + d.residual_next)
                                for register in (residual_base, residual_line, residual_address)
                            ),
                            y.eq(d.origin_y),
                        ]
                        with m.If(last_repeat):
                            m.next = "TAKE"
            self._transfer(m, in_address, index, sending)
        return m

    def _after_sums(self, m: Module, residual: str | None) -> None:
        """Go on once the membranes are complete (before or after a residual)."""
        d = self.descriptor
        m.next = "WRITE"
        with m.If(d.fires):
            m.next = "FIRE_START"
        with m.If(~d.last):
            m.next = "KEEP"
        if residual is not None:
            with m.If(d.residual):
                m.next = residual

    def _transfer(self, m: Module, address: Signal, index: Signal, sending: Signal) -> None:
        """LOAD and STORE between DRAM and the activation buffer at ``in_address``."""
        d = self.descriptor
        with m.State("ASK"):
            request = self.request.payload
            m.d.comb += [
                self.transfer.eq(1),
                self.request.valid.eq(1),
                request.address.eq(d.dram_address),
                request.words.eq(d.dram_words),
                request.write.eq(d.kind == STORE),
            ]
            with m.If(self.request.ready):
                m.next = "SEND"
                with m.If(d.kind == LOAD):
                    m.next = "READ"
        with m.State("READ"):
            m.d.comb += [
                self.transfer.eq(1),
                self.read.ready.eq(1),
                self.buffer.eq(self.read.valid),
                self.buffer_write.eq(1),
                self.buffer_address.eq(address + index),
            ]
            with m.If(self.read.valid):
                m.d.sync += index.eq(index + 1)
                with m.If(index == d.dram_words - 1):
                    m.d.comb += self.released.eq(1)
                    m.next = "TAKE"
        with m.State("SEND"):
            more = Signal()
            m.d.comb += [
                self.transfer.eq(1),
                self.write.valid.eq(sending),
                self.write.payload.eq(self.buffer_data),
                more.eq(index != d.dram_words),
                self.buffer.eq(more & (~sending | self.write.ready)),
                self.buffer_address.eq(address + index),
            ]
            with m.If(self.buffer):
                m.d.sync += [index.eq(index + 1), sending.eq(1)]
            with m.Elif(self.write.ready & sending):
                m.d.sync += sending.eq(0)
                with m.If(~more):
                    m.d.comb += self.released.eq(1)
                    m.next = "TAKE"
