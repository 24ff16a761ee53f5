"""The ECP5's phase-locked loop: the system's clock from the board's, and its inverse for the SDRAM."""

from dataclasses import dataclass

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In

VCO_MHZ = 400, 800
"""Range of the loop's oscillator (Lattice FPGA-DS-02012, PLL timing)."""

PHASE_MHZ = 3.125
"""The slowest clock of the phase detector (the same)."""


@dataclass(frozen=True, kw_only=True)
class Dividers:
    """Of a loop whose output is ``input / reference * feedback``.

    >>> Dividers.of(25, 80)
    Dividers(reference=5, feedback=16, output=7)
    """

    reference: int
    feedback: int
    output: int

    @classmethod
    def of(cls, input_mhz: float, clock_mhz: float) -> "Dividers":
        """The dividers with the oscillator in the middle of its range.

        Raises:
            ValueError: no dividers give this clock.
        """
        middle = sum(VCO_MHZ) / 2
        choices = []
        for reference in range(1, 1 + int(input_mhz / PHASE_MHZ)):
            feedback = round(clock_mhz * reference / input_mhz)
            if not 1 <= feedback <= 80 or abs(feedback * input_mhz / reference - clock_mhz) > 1e-6:
                continue
            for output in range(1, 129):
                if VCO_MHZ[0] <= clock_mhz * output <= VCO_MHZ[1]:
                    distance = abs(clock_mhz * output - middle)
                    choices.append((reference, distance, cls(reference=reference, feedback=feedback, output=output)))
        if not choices:
            raise ValueError(
                f"clock_mhz must be {input_mhz:g} MHz times a whole number over 1 to {int(input_mhz / PHASE_MHZ)}, "
                f"{VCO_MHZ[0] / 128:g} MHz at least, not {clock_mhz!r}"
            )
        return min(choices, key=lambda choice: choice[:2])[2]


class Clock(wiring.Component):
    """Clocks of the domains ``sync`` and ``late`` of whoever has it.

    ``late`` rises when ``sync`` falls. ``sync`` is in reset until the loop has locked.

    Ports:
        source: the board's clock.
    """

    def __init__(self, input_mhz: float, clock_mhz: float) -> None:
        self.clock_mhz, self.input_mhz = clock_mhz, input_mhz
        self.dividers = Dividers.of(input_mhz, clock_mhz)
        super().__init__({"source": In(1)})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        locked = Signal()
        half = self.dividers.output * 8 // 2  # of a turn, in eighths of the oscillator's period
        m.submodules.loop = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.input_mhz:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.clock_mhz:g}",
            a_FREQUENCY_PIN_CLKOS=f"{self.clock_mhz:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.dividers.reference,
            p_CLKFB_DIV=self.dividers.feedback,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=self.dividers.output,
            p_CLKOP_CPHASE=self.dividers.output - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=self.dividers.output,
            p_CLKOS_CPHASE=self.dividers.output - 1 + half // 8,
            p_CLKOS_FPHASE=half % 8,
            i_CLKI=self.source,
            i_CLKFB=ClockSignal("sync"),
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            i_ENCLKOS=Const(0),
            o_CLKOP=ClockSignal("sync"),
            o_CLKOS=ClockSignal("late"),
            o_LOCK=locked,
        )
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        return m
