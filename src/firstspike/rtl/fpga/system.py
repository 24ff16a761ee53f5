"""Processor, SDRAM controller and serial line: all of a board but its clock and pins."""

from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from firstspike.rtl.blocks.memory_port import owned
from firstspike.rtl.blocks.processor import ProcessorTop
from firstspike.rtl.fpga import protocol
from firstspike.rtl.fpga.bridge import Bridge
from firstspike.rtl.fpga.sdram import SdramController, SdramPins, SdramTiming
from firstspike.rtl.fpga.serial import Receiver, Transmitter
from firstspike.rtl.parameters import Parameters

ERROR = 0.02
"""How far a bit of the serial line may be off."""


@dataclass(frozen=True, kw_only=True)
class SystemParameters:
    """What a board is built for.

    Attributes:
        parameters: of the processor; its clock is the board's.
        baud: bits a second of the serial line.

    Raises:
        ValueError: the clock has no divider for the serial line, or the SDRAM has not such words or such a clock.
    """

    parameters: Parameters
    baud: int = protocol.BAUD

    def __post_init__(self) -> None:
        self.timing.beats(self.parameters.processor.word_bits)
        exact = 1e6 * self.parameters.processor.clock_mhz / self.baud
        if exact < 4 or abs(self.divider / exact - 1) > ERROR:
            raise ValueError(
                f"SystemParameters.baud must be within {ERROR:.0%} of the clock divided by a whole number of 4 or more, "
                f"not {self.baud!r} at {self.parameters.processor.clock_mhz!r} MHz; an even number of MHz has 2,000,000"
            )

    @property
    def timing(self) -> SdramTiming:
        """Of the SDRAM, at the system's clock."""
        return SdramTiming(clock_mhz=self.parameters.processor.clock_mhz)

    @property
    def divider(self) -> int:
        """Clock cycles of a bit."""
        return round(1e6 * self.parameters.processor.clock_mhz / self.baud)


class System(wiring.Component):
    """The processor runs when the host says so; else the DRAM port is the host's.

    Ports:
        receive, transmit: the serial line.
        pins: the SDRAM.
        ready: the SDRAM may be used. running: the processor runs.
    """

    def __init__(self, parameters: SystemParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "receive": In(1, init=1),
                "transmit": Out(1, init=1),
                "pins": Out(SdramPins(parameters.timing)),
                "ready": Out(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        p = self.parameters.parameters
        word_bits = p.processor.word_bits
        m.submodules.processor = processor = ProcessorTop(p)
        m.submodules.sdram = sdram = SdramController(self.parameters.timing, word_bits)
        m.submodules.receiver = receiver = Receiver(self.parameters.divider)
        m.submodules.transmitter = transmitter = Transmitter(self.parameters.divider)
        m.submodules.bridge = bridge = Bridge(word_bits, protocol.fingerprint(p))
        connect(m, receiver.bytes, bridge.received)
        connect(m, bridge.sent, transmitter.bytes)
        connect(m, sdram.pins, flipped(self.pins))
        m.d.comb += [
            receiver.line.eq(self.receive),
            self.transmit.eq(transmitter.line),
            processor.start.eq(bridge.start),
            bridge.done.eq(processor.done),
            self.ready.eq(sdram.ready),
            self.running.eq(bridge.running),
            *(user.dram.read.payload.eq(sdram.dram.read.payload) for user in (processor, bridge)),
            *(user.dram.read.valid.eq(sdram.dram.read.valid) for user in (processor, bridge)),
        ]
        with m.If(bridge.running):
            m.d.comb += owned(processor.dram, sdram.dram)
            m.d.comb += sdram.dram.write.payload.eq(processor.dram.write.payload)
        with m.Else():
            m.d.comb += owned(bridge.dram, sdram.dram)
            m.d.comb += sdram.dram.write.payload.eq(bridge.dram.write.payload)
        return m
