"""Bridge: bytes of the serial line become bursts of the DRAM port and runs of the processor (`protocol`)."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC16_XMODEM
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.memory_port import MemoryPort
from firstspike.rtl.fpga import protocol
from firstspike.rtl.fpga.serial import BITS


class _Registers:
    """What a bridge holds, and the wires between its states."""

    def __init__(self, word_bits: int, patience: int) -> None:
        self.word_bytes = word_bits // BITS
        self.waiting = SyncFIFOBuffered(width=BITS, depth=protocol.AHEAD)
        self.crc = CRC16_XMODEM(data_width=BITS).create()
        self.take, self.taken = Signal(), Signal(name="taken")  # the next byte, if there is one
        self.give = Signal()  # a byte of the answer that the CRC counts
        self.letter, self.head, self.cycles = Signal(BITS), Signal(64), Signal(32, name="cycles")
        counts = range(max(8, self.word_bytes) + 1)
        self.word, self.index, self.left = Signal(word_bits), Signal(counts), Signal(24, name="left")
        self.address, self.words = self.head[:32], self.head[32:56]
        self.idle = Signal(range(patience + 1))
        self.answer, self.length = Signal(word_bits), Signal.like(self.index, name="length")


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
        r = _Registers(self.word_bits, self.patience)
        self._connect(m, r)
        with m.FSM(name="bridge"):
            self._command(m, r)
            self._write(m, r)
            with m.State("RUN"):
                m.d.sync += r.cycles.eq(r.cycles + 1)
                with m.If(self.done):
                    m.d.sync += [r.answer.eq(r.cycles), r.length.eq(4), self.running.eq(0)]
                    m.next = "ECHO"
            self._answer(m, r)
            with m.State("RESET"):
                m.d.comb += r.crc.start.eq(1)
                m.d.sync += [r.left.eq(0), r.idle.eq(0)]
                m.next = "COMMAND"
        return m

    def _connect(self, m: Module, r: _Registers) -> None:
        """Bytes wait in a FIFO; the CRC counts those taken and those of the answer."""
        dram, sent = self.dram, self.sent
        m.submodules.waiting = waiting = r.waiting
        m.d.comb += [
            waiting.w_data.eq(self.received.payload),
            waiting.w_en.eq(self.received.valid),
            self.received.ready.eq(waiting.w_rdy),
        ]
        m.submodules.crc = crc = r.crc
        m.d.comb += [
            waiting.r_en.eq(r.take),
            r.taken.eq(r.take & waiting.r_rdy),
            crc.valid.eq(r.taken | (r.give & sent.ready)),
            crc.data.eq(Mux(r.give, sent.payload, waiting.r_data)),
        ]
        m.d.sync += r.idle.eq(Mux(waiting.r_rdy, 0, r.idle + 1))
        m.d.comb += [
            dram.request.payload.address.eq(r.address),
            dram.request.payload.words.eq(r.words),
            dram.request.payload.write.eq(r.letter == protocol.WRITE[0]),
            dram.write.payload.eq(r.word),
        ]

    def _command(self, m: Module, r: _Registers) -> None:
        """A letter, its head, and the request to the DRAM."""
        with m.State("COMMAND"):
            m.d.comb += r.take.eq(1)
            m.d.sync += [r.index.eq(0), r.cycles.eq(1)]
            with m.If(~r.waiting.r_rdy):
                m.d.comb += r.crc.start.eq(1)
            with m.Else():
                m.d.sync += r.letter.eq(r.waiting.r_data)
                m.next = "LETTER"
        with m.State("LETTER"), m.Switch(r.letter):
            with m.Case(protocol.WRITE[0], protocol.READ[0]):
                m.next = "HEAD"
            with m.Case(protocol.IDENTIFY[0]):
                m.d.sync += [r.answer.eq(self.fingerprint), r.length.eq(4)]
                m.next = "ECHO"
            with m.Case(protocol.START[0]):
                m.d.comb += self.start.eq(1)
                # A register beside the state: on every word of the DRAM's way to the processor.
                m.d.sync += self.running.eq(1)
                m.next = "RUN"
            with m.Default():
                m.next = "RESET"
        with m.State("HEAD"):
            m.d.comb += r.take.eq(1)
            with m.If(r.waiting.r_rdy):
                m.d.sync += [r.head.eq(Cat(r.head[BITS:], r.waiting.r_data)), r.index.eq(r.index + 1)]
                with m.If(r.index == 7):
                    m.d.sync += r.index.eq(0)
                    m.next = "REQUEST"
            with m.If(r.idle == self.patience):
                m.next = "RESET"
        with m.State("REQUEST"):
            m.d.sync += [r.left.eq(r.words), r.length.eq(0)]
            m.next = "ECHO"  # of no words there is nothing to ask
            with m.If(r.words != 0):
                m.d.comb += self.dram.request.valid.eq(1)
                m.next = "REQUEST"
                with m.If(self.dram.request.ready):
                    m.next = "ECHO"
                    with m.If(r.letter == protocol.WRITE[0]):
                        m.next = "GATHER"

    def _write(self, m: Module, r: _Registers) -> None:
        """Bytes become words of a burst."""
        with m.State("GATHER"):
            # A burst that was begun is finished: with what stands in the register, if the host falls silent.
            m.d.comb += r.take.eq(1)
            with m.If(r.waiting.r_rdy | (r.idle == self.patience)):
                m.d.sync += [r.word.eq(Cat(r.word[BITS:], r.waiting.r_data)), r.index.eq(r.index + 1)]
                with m.If(r.index == r.word_bytes - 1):
                    m.d.sync += r.index.eq(0)
                    m.next = "PUT"
            with m.If(r.idle == self.patience):
                m.d.sync += r.idle.eq(self.patience)
        with m.State("PUT"):
            m.d.comb += self.dram.write.valid.eq(1)
            with m.If(r.idle == self.patience):
                m.d.sync += r.idle.eq(self.patience)
            with m.If(self.dram.write.ready):
                m.d.sync += r.left.eq(r.left - 1)
                m.next = "GATHER"
                with m.If(r.left == 1):
                    m.d.sync += r.left.eq(0)
                    m.next = "ECHO"
                    with m.If(r.idle == self.patience):
                        m.next = "RESET"

    def _answer(self, m: Module, r: _Registers) -> None:
        """The letter again, the answer or the words read, and the CRC."""
        with m.State("ECHO"):
            m.d.comb += [self.sent.valid.eq(1), self.sent.payload.eq(r.letter), r.give.eq(1)]
            with m.If(self.sent.ready):
                m.next = "SUM"
                with m.If(r.length != 0):
                    m.next = "ANSWER"
                with m.Elif((r.left != 0) & (r.letter == protocol.READ[0])):
                    m.next = "GET"
        with m.State("GET"):
            m.d.comb += self.dram.read.ready.eq(1)
            with m.If(self.dram.read.valid):
                m.d.sync += [r.answer.eq(self.dram.read.payload), r.length.eq(r.word_bytes), r.left.eq(r.left - 1)]
                m.next = "ANSWER"
        with m.State("ANSWER"):
            m.d.comb += [self.sent.valid.eq(1), self.sent.payload.eq(r.answer[:BITS]), r.give.eq(1)]
            with m.If(self.sent.ready):
                m.d.sync += [r.answer.eq(r.answer >> BITS), r.length.eq(r.length - 1)]
                with m.If(r.length == 1):
                    m.next = "SUM"
                    with m.If((r.left != 0) & (r.letter == protocol.READ[0])):
                        m.next = "GET"
        with m.State("SUM"):
            m.d.sync += [r.answer.eq(r.crc.crc), r.length.eq(2)]
            m.next = "SEND_SUM"
        with m.State("SEND_SUM"):
            m.d.comb += [self.sent.valid.eq(1), self.sent.payload.eq(r.answer[:BITS])]
            with m.If(self.sent.ready):
                m.d.sync += [r.answer.eq(r.answer >> BITS), r.length.eq(r.length - 1)]
                with m.If(r.length == 1):
                    m.next = "RESET"
