"""Gate-level simulation and power: energies of small netlists summed by hand from the numbers in tiny.lib."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstspike.gates import activity, netlist, power
from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Netlist

TINY = Library([Path(__file__).with_name("tiny.lib")])


def build(cells: dict[str, tuple[str, dict[str, int | str]]], ports: dict[str, tuple[str, list[int]]]) -> Netlist:
    """A netlist of one module; cells by name: type and net per pin."""
    document = {
        "modules": {
            "top": {
                "ports": {name: {"direction": d, "bits": bits} for name, (d, bits) in ports.items()},
                "cells": {
                    name: {"type": kind, "connections": {pin: [bit] for pin, bit in pins.items()}, "parameters": {}}
                    for name, (kind, pins) in cells.items()
                },
            }
        }
    }
    return netlist.read(document, "top")


def run(design: Netlist, **ports: list[int]) -> power.PowerReport:
    """One stream, no warm-up; the transition from cycle 0 to cycle 1 is the first one priced."""
    planes = {name: np.array(values, dtype=np.uint64)[:, None] for name, values in ports.items()}
    waves = activity.simulate(design, TINY, planes, streams=1)
    return power.integrate(design, TINY, waves, clock_ns=1.0, warmup=0, slew_ps=10.0)


def test_inverter_chain() -> None:
    """Two inverters, one rise and one fall of the input: internal energy at each load, charge of each net, leakage."""
    design = build(
        {"a": ("INV", {"A": 2, "Y": 3}), "b": ("INV", {"A": 3, "Y": 4})},
        {"x": ("input", [2]), "y": ("output", [4])},
    )
    energy = run(design, x=[0, 1, 1, 0]).blocks[""]
    # a drives 1 fF at 10 ps: rising 1 + 2/10, falling 5; b drives nothing at the 11 ps that a makes (10 + 10/10)
    rising_b = 1 + 1 * (1.0 / 90)
    assert energy.supply["combinational"] == pytest.approx((1.2 + 5) + (rising_b + 5))
    # net x (1 fF) and net 3 (1 fF): two transitions each, C V^2 / 2 = 0.5 fJ
    assert energy.supply["switching"] == pytest.approx(2 * 2 * 0.5)
    assert energy.supply == energy.both
    assert energy.leakage_nw == pytest.approx(4)
    assert energy.cells == 2


def test_wires_by_hand() -> None:
    """2 fF of wire between the inverters of the chain: energy at the larger load, and C V^2 / 2 of the wire itself."""
    design = build(
        {"a": ("INV", {"A": 2, "Y": 3}), "b": ("INV", {"A": 3, "Y": 4})},
        {"x": ("input", [2]), "y": ("output", [4])},
    )
    planes = {"x": np.array([0, 1, 1, 0], dtype=np.uint64)[:, None]}
    waves = activity.simulate(design, TINY, planes, streams=1)
    driven = design.instances[0].pins["Y"]
    assert isinstance(driven, int)
    report = power.integrate(design, TINY, waves, clock_ns=1.0, warmup=0, slew_ps=10.0, wires={driven: 2.0})
    energy = report.blocks[""]
    # a drives 1 fF of pin and 2 fF of wire: rising 1 + 2 x 3/10, falling 5; its edge is 10 + 10 x 3/10 = 13 ps
    rising_b = 1 + 3 * (1.0 / 90)
    assert energy.supply["combinational"] == pytest.approx((1.6 + 5) + (rising_b + 5))
    # net x 1 fF, the net between 3 fF: two transitions each
    assert energy.supply["switching"] == pytest.approx(2 * 0.5 * (1 + 3))


def test_state_and_related_pin() -> None:
    """NAND2: which input moved decides; an input that moves nothing costs by the state of the other."""
    design = build(
        {"n": ("NAND2", {"A": 2, "B": 3, "Y": 4})},
        {"a": ("input", [2]), "b": ("input", [3]), "y": ("output", [4])},
    )

    def energy(a: list[int], b: list[int]) -> float:
        return run(design, a=a, b=b).blocks[""].supply["combinational"]

    assert energy([0, 1], [1, 1]) == pytest.approx(4)  # Y falls by A
    assert energy([1, 0], [1, 1]) == pytest.approx(2)  # Y rises by A
    assert energy([1, 1], [0, 1]) == pytest.approx(8)  # Y falls by B
    assert energy([0, 1], [0, 1]) == pytest.approx((4 + 8) / 2)  # both: shared
    assert energy([0, 1, 0], [0, 0, 0]) == pytest.approx(0.25 + 0.5)  # A alone, B = 0
    assert energy([0, 0], [0, 1]) == pytest.approx(0)  # B has no table


def test_flipflop_clock() -> None:
    """The clock pin costs every cycle, by state; a toggle is paid at the output, not at the rising clock."""
    design = build(
        {"f": ("DFF", {"CK": 2, "D": 3, "Q": 4})},
        {"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [4])},
    )
    report = run(design, d=[0, 1, 1, 1, 0])
    energy = report.blocks[""]
    # cycle 1: Q holds 0, D is 0 before and 1 after: rise 1, fall 3 (D != Q); cycle 2: Q rises: 7, fall 2;
    # cycle 3: holds: rise 1, fall 2; cycle 4: holds, D falls: rise 1, fall 3; ground pin: 1 a rise without toggle, 1 a fall
    assert energy.supply["sequential"] == pytest.approx(7)
    pin = 4 * 2 * 0.5  # 1 fF, two edges a cycle
    assert energy.supply["clock"] == pytest.approx((1 + 3) + 2 + (1 + 2) + (1 + 3) + pin)
    assert energy.both["clock"] == pytest.approx(energy.supply["clock"] + 3 * 1 + 4 * 1)
    assert report.cycles == 4


def test_clock_gate() -> None:
    """A closed gate stops the flip-flop's clock: neither pin nor table costs, and the value is held."""
    design = build(
        {
            "g": ("GATE", {"CK": 2, "E": 3, "T": "0", "GCK": 5}),
            "f": ("DFF", {"CK": 5, "D": 4, "Q": 6}),
        },
        {"clk": ("input", [2]), "e": ("input", [3]), "d": ("input", [4]), "q": ("output", [6])},
    )
    planes = {name: np.array(v, dtype=np.uint64)[:, None] for name, v in {"e": [0, 1, 0, 0], "d": [1, 1, 0, 0]}.items()}
    waves = activity.simulate(design, TINY, planes, streams=1)
    assert waves.word(design.outputs["q"])[:, 0].tolist() == [0, 0, 1, 1]
    energy = power.integrate(design, TINY, waves, clock_ns=1.0, warmup=0, slew_ps=10.0).blocks[""]
    assert energy.supply["sequential"] == pytest.approx(7)
    # edges 1 and 3 closed: CK pin of the gate rises (E before: 0, 0) and falls (E after: 1 -> no table left but the mean, 0)
    closed = (0.5 + 0.25) + (0.5 + 0.25)
    opened = 11 + 13
    flipflop = 3  # the one running cycle toggles Q (paid at the output) and falls with D = 0, Q = 1
    charge = 3 * 2 * (2 * 0.5) + 1 * 2 * 0.5  # 2 fF of the root in three cycles, 1 fF of the gated clock in one
    assert energy.supply["clock"] == pytest.approx(closed + opened + flipflop + charge)


def test_streams_are_independent() -> None:
    """64 streams at once cost the sum of 64 single runs; who moved an output is told over all streams together (1 %)."""
    design = build(
        {"n": ("NAND2", {"A": 2, "B": 5, "Y": 3}), "f": ("DFF", {"CK": 4, "D": 3, "Q": 5})},
        {"a": ("input", [2]), "clk": ("input", [4]), "q": ("output", [5])},
    )
    bits = np.random.default_rng(1).integers(0, 2, (20, 64))
    waves = activity.simulate(design, TINY, {"a": activity.pack(bits, 1)}, streams=64)
    together = power.integrate(design, TINY, waves, warmup=0).blocks[""].supply
    single = [
        power.integrate(
            design,
            TINY,
            activity.simulate(design, TINY, {"a": activity.pack(bits[:, s : s + 1], 1)}, streams=1),
            warmup=0,
        )
        .blocks[""]
        .supply
        for s in range(64)
    ]
    for name, value in together.items():
        tolerance = 0.01 if name == "combinational" else 1e-9
        assert value == pytest.approx(sum(entry[name] for entry in single), rel=tolerance)


def test_report() -> None:
    """Bounds, leakage over the period, power."""
    energy = power.Energy(leakage_nw=1000)
    energy.add("clock", 100, 400)
    report = power.PowerReport(blocks={"": energy}, cycles=10, clock_ns=4.0)
    cycle = report.per_cycle_fj()
    assert cycle["leakage"] == pytest.approx(4)
    assert (cycle["low"], cycle["high"]) == pytest.approx((14, 44))
    assert cycle["total"] == pytest.approx((14 * 44) ** 0.5)
    assert report.power_uw("") == pytest.approx(cycle["total"] / 4)


def test_errors() -> None:
    """Loops, unknown ports, clocks from logic, too short a stimulus, too many streams."""
    ports: dict[str, Any] = {"x": ("input", [2]), "clk": ("input", [9]), "y": ("output", [3])}
    loop = build({"a": ("NAND2", {"A": 2, "B": 4, "Y": 3}), "b": ("INV", {"A": 3, "Y": 4})}, ports)
    planes = {"x": np.zeros((3, 1), dtype=np.uint64)}
    with pytest.raises(ValueError, match="no combinational loop"):
        activity.simulate(loop, TINY, planes, streams=1)
    fine = build({"b": ("INV", {"A": 2, "Y": 3})}, ports)
    with pytest.raises(ValueError, match="stimulus must be of the ports x, clk, not 'z'"):
        activity.simulate(fine, TINY, {"z": planes["x"]}, streams=1)
    derived = build({"b": ("INV", {"A": 9, "Y": 4}), "f": ("DFF", {"CK": 4, "D": 2, "Q": 3})}, ports)
    with pytest.raises(ValueError, match="must be clocked by the rising edge of clk"):
        activity.simulate(derived, TINY, planes, streams=1)
    waves = activity.simulate(fine, TINY, planes, streams=1)
    with pytest.raises(ValueError, match="stimulus must be longer than 3 cycles, not 3"):
        power.integrate(fine, TINY, waves, warmup=2)
    with pytest.raises(ValueError, match="at most 64 streams, not 65"):
        activity.pack(np.zeros((1, 65), dtype=np.int64), 1)
    with pytest.raises(ValueError, match="must have a module 'other', not 'top'"):
        netlist.read({"modules": {"top": {}}}, "other")


def test_hierarchy() -> None:
    """Constants and inputs that a module passes on are one net outside; macros keep their ports; paths name the blocks."""
    inner = {
        "ports": {
            "i": {"direction": "input", "bits": [2]},
            "same": {"direction": "output", "bits": [2]},
            "one": {"direction": "output", "bits": ["1"]},
            "o": {"direction": "output", "bits": [3]},
        },
        "cells": {"v": {"type": "INV", "parameters": {}, "connections": {"A": [2], "Y": [3]}}},
    }
    memory = {
        "attributes": {"blackbox": "1"},
        "ports": {"a": {"direction": "input", "bits": [2]}, "d": {"direction": "output", "bits": [3]}},
        "cells": {},
    }
    top = {
        "ports": {"x": {"direction": "input", "bits": [2]}, "y": {"direction": "output", "bits": [7, 8, 9]}},
        "cells": {
            "p": {"type": "inner", "parameters": {}, "connections": {"i": [2], "same": [4], "one": [5], "o": [6]}},
            "q": {"type": "inner", "parameters": {}, "connections": {"i": [6], "same": [7], "one": [], "o": [8]}},
            "n": {"type": "NAND2", "parameters": {}, "connections": {"A": [4], "B": [5], "Y": [9]}},
            "m": {"type": "memory", "parameters": {"WIDTH": "100"}, "connections": {"a": [4], "d": [10]}},
        },
    }
    del top["cells"]["q"]["connections"]["one"]
    design = netlist.read({"modules": {"top": top, "inner": inner, "memory": memory}}, "top")
    assert design.modules == {"": "top", "p": "inner", "q": "inner"}
    assert design.count() == {("p", "INV"): 1, ("q", "INV"): 1, ("", "NAND2"): 1}
    (x,) = design.inputs["x"]
    macro = design.memories["m"]
    assert (macro.module, macro.parameters, macro.inputs["a"]) == ("memory", {"WIDTH": 4}, (x,))
    waves = activity.simulate(design, TINY, {"x": np.array([[0], [1]], dtype=np.uint64)}, streams=1)
    # y = (q passes on !x, q inverts it again, nand(x, 1))
    assert waves.word(design.outputs["y"])[:, 0].tolist() == [0b101, 0b010]
