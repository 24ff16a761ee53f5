"""Bridge: bytes of the serial line become bursts of the DRAM port and runs of the processor (`protocol`)."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC16_XMODEM
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.memory_port import MemoryPort
from firstspike.rtl.fpga import protocol
from firstspike.rtl.fpga.serial import BITS


class Bridge(wiring.Component):
    """Takes one command after the other.

    Ports:
        received, sent: bytes of the serial line.
        dram: the DRAM port; used only while the processor rests.
        start, done: of the processor.
        running: the DRAM port is the processor's.

    Args:
        word_bits: of the DRAM port.
        fingerprint: of the build.
        patience: cycles after which half a command is dropped.
    """

    def __init__(self, word_bits: int, fingerprint: int, patience: int = protocol.PATIENCE_CYCLES) -> None:
        self.word_bits, self.fingerprint, self.patience = word_bits, fingerprint, patience
        super().__init__(
            {
                "received": In(stream.Signature(BITS)),
                "sent": Out(stream.Signature(BITS)),
                "dram": Out(MemoryPort(word_bits)),
                "start": Out(1),
                "done": In(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        dram, sent = self.dram, self.sent
        width, word_bytes = self.word_bits, self.word_bits // BITS
        m.submodules.waiting = waiting = SyncFIFOBuffered(width=BITS, depth=protocol.AHEAD)
        m.d.comb += [
            waiting.w_data.eq(self.received.payload),
            waiting.w_en.eq(self.received.valid),
            self.received.ready.eq(waiting.w_rdy),
        ]
        m.submodules.crc = crc = CRC16_XMODEM(data_width=BITS).create()
        take, taken = Signal(), Signal()  # the next byte, if there is one
        give = Signal()  # a byte of the answer that the CRC counts
        m.d.comb += [
            waiting.r_en.eq(take),
            taken.eq(take & waiting.r_rdy),
            crc.valid.eq(taken | (give & sent.ready)),
            crc.data.eq(Mux(give, sent.payload, waiting.r_data)),
        ]
        letter, head, cycles = Signal(BITS), Signal(64), Signal(32)
        word, index, left = Signal(width), Signal(range(max(8, word_bytes) + 1)), Signal(24)
        address, words = head[:32], head[32:56]
        idle = Signal(range(self.patience + 1))
        m.d.sync += idle.eq(Mux(waiting.r_rdy, 0, idle + 1))
        m.d.comb += [
            dram.request.payload.address.eq(address),
            dram.request.payload.words.eq(words),
            dram.request.payload.write.eq(letter == protocol.WRITE[0]),
            dram.write.payload.eq(word),
        ]
        answer, length = Signal(width), Signal.like(index)
        with m.FSM(name="bridge") as states:
            m.d.comb += self.running.eq(states.ongoing("RUN"))
            with m.State("COMMAND"):
                m.d.comb += take.eq(1)
                m.d.sync += [index.eq(0), cycles.eq(1)]
                with m.If(~waiting.r_rdy):
                    m.d.comb += crc.start.eq(1)
                with m.Else():
                    m.d.sync += letter.eq(waiting.r_data)
                    m.next = "LETTER"
            with m.State("LETTER"), m.Switch(letter):
                with m.Case(protocol.WRITE[0], protocol.READ[0]):
                    m.next = "HEAD"
                with m.Case(protocol.IDENTIFY[0]):
                    m.d.sync += [answer.eq(self.fingerprint), length.eq(4)]
                    m.next = "ECHO"
                with m.Case(protocol.START[0]):
                    m.d.comb += self.start.eq(1)
                    m.next = "RUN"
                with m.Default():
                    m.next = "RESET"
            with m.State("HEAD"):
                m.d.comb += take.eq(1)
                with m.If(taken):
                    m.d.sync += [head.eq(Cat(head[BITS:], waiting.r_data)), index.eq(index + 1)]
                    with m.If(index == 7):
                        m.d.sync += index.eq(0)
                        m.next = "REQUEST"
                with m.If(idle == self.patience):
                    m.next = "RESET"
            with m.State("REQUEST"):
                m.d.sync += [left.eq(words), length.eq(0)]
                m.next = "ECHO"  # of no words there is nothing to ask
                with m.If(words != 0):
                    m.d.comb += dram.request.valid.eq(1)
                    m.next = "REQUEST"
                    with m.If(dram.request.ready):
                        m.next = "ECHO"
                        with m.If(letter == protocol.WRITE[0]):
                            m.next = "GATHER"
            with m.State("GATHER"):
                # A burst that was begun is finished: with what stands in the register, if the host falls silent.
                m.d.comb += take.eq(1)
                with m.If(taken | (idle == self.patience)):
                    m.d.sync += [word.eq(Cat(word[BITS:], waiting.r_data)), index.eq(index + 1)]
                    with m.If(index == word_bytes - 1):
                        m.d.sync += index.eq(0)
                        m.next = "PUT"
                with m.If(idle == self.patience):
                    m.d.sync += idle.eq(self.patience)
            with m.State("PUT"):
                m.d.comb += dram.write.valid.eq(1)
                with m.If(idle == self.patience):
                    m.d.sync += idle.eq(self.patience)
                with m.If(dram.write.ready):
                    m.d.sync += left.eq(left - 1)
                    m.next = "GATHER"
                    with m.If(left == 1):
                        m.d.sync += left.eq(0)
                        m.next = "ECHO"
                        with m.If(idle == self.patience):
                            m.next = "RESET"
            with m.State("RUN"):
                m.d.sync += cycles.eq(cycles + 1)
                with m.If(self.done):
                    m.d.sync += [answer.eq(cycles), length.eq(4)]
                    m.next = "ECHO"
            with m.State("ECHO"):
                m.d.comb += [sent.valid.eq(1), sent.payload.eq(letter), give.eq(1)]
                with m.If(sent.ready):
                    m.next = "SUM"
                    with m.If(length != 0):
                        m.next = "ANSWER"
                    with m.Elif((left != 0) & (letter == protocol.READ[0])):
                        m.next = "GET"
            with m.State("GET"):
                m.d.comb += dram.read.ready.eq(1)
                with m.If(dram.read.valid):
                    m.d.sync += [answer.eq(dram.read.payload), length.eq(word_bytes), left.eq(left - 1)]
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [sent.valid.eq(1), sent.payload.eq(answer[:BITS]), give.eq(1)]
                with m.If(sent.ready):
                    m.d.sync += [answer.eq(answer >> BITS), length.eq(length - 1)]
                    with m.If(length == 1):
                        m.next = "SUM"
                        with m.If((left != 0) & (letter == protocol.READ[0])):
                            m.next = "GET"
            with m.State("SUM"):
                m.d.sync += [answer.eq(crc.crc), length.eq(2)]
                m.next = "SEND_SUM"
            with m.State("SEND_SUM"):
                m.d.comb += [sent.valid.eq(1), sent.payload.eq(answer[:BITS])]
                with m.If(sent.ready):
                    m.d.sync += [answer.eq(answer >> BITS), length.eq(length - 1)]
                    with m.If(length == 1):
                        m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [left.eq(0), idle.eq(0)]
                m.next = "COMMAND"
        return m
