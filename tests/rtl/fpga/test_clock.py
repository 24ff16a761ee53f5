"""Dividers of the loop and of the serial line: exact, or refused; what nextpnr's report says."""

import json

import pytest

from firstspike.arith import Code, LogWeights
from firstspike.rtl.fpga import build
from firstspike.rtl.fpga.clock import PHASE_MHZ, VCO_MHZ, Dividers
from firstspike.rtl.fpga.system import SystemParameters
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec


@pytest.mark.parametrize("clock", [20, 25, 40, 50, 60, 62.5, 70, 75, 80, 90, 100])
def test_every_clock_is_exact(clock: float) -> None:
    """Inside the ranges of oscillator and phase detector."""
    dividers = Dividers.of(25, clock)
    assert 25 / dividers.reference * dividers.feedback == pytest.approx(clock, rel=1e-12)
    assert VCO_MHZ[0] <= clock * dividers.output <= VCO_MHZ[1]
    assert 25 / dividers.reference >= PHASE_MHZ
    assert dividers.output <= 128 and dividers.feedback <= 80 and dividers.reference <= 128


def test_a_clock_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match=r"clock_mhz must be 25 MHz times a whole number over 1 to 8, .* not 61.3"):
        Dividers.of(25, 61.3)


def _system(**changes: object) -> SystemParameters:
    processor = ProcessorSpec(**{"clock_mhz": 60, **changes})  # type: ignore[arg-type]
    return SystemParameters(parameters=Parameters(processor=processor, code=Code(), weights=LogWeights()))


def test_serial_line() -> None:
    """A whole number of cycles a bit, near enough."""
    assert _system().divider == 30 and _system(clock_mhz=80).divider == 40
    with pytest.raises(ValueError, match=r"baud must be within 2% of the clock .* not 2000000 at 7 MHz"):
        _system(clock_mhz=7)
    with pytest.raises(ValueError, match="must have 32, 64 or 128 bits, not 256"):
        _system(word_bits=256)


def test_report() -> None:
    """The system's clock is the slowest; its path and the cells come with it."""
    steps = [{"to": {"cell": "a"}, "delay": 5.6}, {"to": {"cell": "b"}, "delay": 10.25}]
    report = {
        "fmax": {"board": {"achieved": 300.0}, "system": {"achieved": 63.1}},
        "critical_paths": [
            {"from": "posedge board", "to": "posedge board", "path": []},
            {"from": "posedge system", "to": "posedge system", "path": steps},
        ],
        "utilization": {"DP16KD": {"used": 97, "available": 208}, "OTHER": {"used": 1, "available": 2}},
    }
    found = build.timing(json.dumps(report), 60)
    assert found.met and found.reached_mhz == 63.1
    assert found.path == ["a 5.60 ns", "b 10.25 ns"]
    assert found.record()["block_rams"] == 97
    assert not build.timing(json.dumps(report), 64).met
