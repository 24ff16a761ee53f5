"""Top level of a ULX3S: pins as `amaranth_boards` knows them, registers at the SDRAM's pins, lights."""

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal, Value
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from firstspike.rtl.fpga.clock import Clock
from firstspike.rtl.fpga.sdram import SdramPins
from firstspike.rtl.fpga.system import System, SystemParameters

BOARDS = {"ulx3s": ULX3S_85F_Platform}
"""Platforms by name."""

INPUT_MHZ = 25
"""The oscillator of the board."""


class Top(Elaboratable):
    """The system behind the board's clock, USB serial line and SDRAM.

    The SDRAM's clock is the system's inverted, so that what the pins show is stable around its edge. What it answers is
    taken at its own next edge: the data holds until after that edge by the way of clock and data through the pins.

    Light 0: the SDRAM is ready; 1: the processor runs; 2 and 3: the serial line's two directions.
    """

    def __init__(self, parameters: SystemParameters) -> None:
        self.parameters = parameters

    def elaborate(self, platform: Platform) -> Module:
        """The board\'s logic, as Amaranth builds it."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.domains.late = ClockDomain(reset_less=True)
        m.submodules.clock = clock = Clock(INPUT_MHZ, self.parameters.timing.clock_mhz)
        m.submodules.system = system = System(self.parameters)
        clock_pin = platform.request("clk25", dir="-")
        m.submodules.clock_in = clock_in = io.Buffer("i", clock_pin)
        m.d.comb += clock.source.eq(clock_in.i)
        uart = platform.request("uart", 0, dir={"rx": "-", "tx": "-", "rts": "-", "dtr": "-"})
        m.submodules.receive = receive = io.Buffer("i", uart.rx)
        m.submodules.transmit = transmit = io.Buffer("o", uart.tx)
        m.d.comb += [system.receive.eq(receive.i), transmit.o.eq(system.transmit)]
        self._sdram(m, platform, system)
        lights = (system.ready, system.running, ~system.receive, ~system.transmit)
        for index, light in enumerate(lights):
            led = platform.request("led", index, dir="-")
            m.submodules[f"light{index}"] = buffer = io.Buffer("o", led)
            m.d.comb += buffer.o.eq(light)
        return m

    def _sdram(self, m: Module, platform: Platform, system: System) -> None:
        """Registers and buffers at the pins."""
        pins = system.pins
        names = ("clk", "clk_en", "cs", "we", "ras", "cas", "ba", "a", "dq", "dqm")
        sdram = platform.request("sdram", 0, dir=dict.fromkeys(names, "-"))
        m.submodules.sdram_clk = clk = io.Buffer("o", sdram.clk)
        m.d.comb += clk.o.eq(ClockSignal("late"))
        levels: dict[str, Value] = {
            "clk_en": Const(1),
            "cs": Const(1),
            **{name: ~pins.command[2 - index] for index, name in enumerate(("ras", "cas", "we"))},
            "ba": pins.bank,
            "a": pins.address,
            "dqm": pins.mask.replicate(2),
        }
        for name, value in levels.items():
            m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer("o", getattr(sdram, name), o_domain="sync")
            m.d.comb += buffer.o.eq(value)
        self._data(m, pins, sdram.dq)

    def _data(self, m: Module, pins: SdramPins, port: io.SingleEndedPort) -> None:
        """The data pins: registers of their own for what goes out; what comes in is taken by the other clock.

        A pin has one clock for its registers, so the register for what comes in lies in the fabric.
        """
        for bit in range(len(port)):
            data, rest, pad = (Signal(name=f"{name}{bit}") for name in ("data", "rest", "pad"))
            for name, source, target in (("data", pins.data[bit], data), ("rest", ~pins.drive, rest)):
                m.submodules[f"{name}_register{bit}"] = Instance(
                    "OFS1P3DX", i_SCLK=ClockSignal(), i_SP=Const(1), i_CD=Const(0), i_D=source, o_Q=target
                )
            m.submodules[f"pin{bit}"] = Instance("BB", i_I=data, i_T=rest, o_O=pad, io_B=port.io[bit])
            m.d.late += pins.capture[bit].eq(pad)
