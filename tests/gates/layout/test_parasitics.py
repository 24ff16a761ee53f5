"""Wires: capacitance and resistance summed by hand, SPEF in and out, a path that gets slower by what the wires add."""

from pathlib import Path

import pytest

from firstspike.gates import timing
from firstspike.gates.layout import parasitics
from firstspike.gates.layout.deffile import Segment, ViaAt, Wires
from firstspike.gates.layout.lef import MetalLayer, Shape, Via
from firstspike.gates.layout.parasitics import Neighbours, Side

PITCH = (0.48, 0.42)


def layer(name: str, *, horizontal: bool) -> MetalLayer:
    """A layer of 0.2 um wires and 0.1 ohm a square."""
    return MetalLayer(
        name=name,
        horizontal=horizontal,
        pitch=PITCH[not horizontal],
        offset=0.0,
        width=0.2,
        spacing=0.21,
        area=0.0,
        resistance_ohm=0.1,
        area_ff=0.0,
        edge_ff=0.0,
    )


LAYERS = {"M2": layer("M2", horizontal=False), "M3": layer("M3", horizontal=True)}
PAD = (-0.1, -0.1, 0.1, 0.1)
VIAS = {"V": Via(name="V", shapes=(Shape(layer="M2", rect=PAD), Shape(layer="M3", rect=PAD)), resistance_ohm=20.0)}
SIDES = dict.fromkeys(LAYERS, Side(distances=(0.2, 0.6, 2.0), values=(0.12, 0.08, 0.04)))


def run(line: int, *, first: int = 0, last: int = 10) -> Segment:
    """A wire of M3 along a track, from column to column."""
    y = line * PITCH[1]
    return Segment(layer="M3", start=(first * PITCH[0], y), end=(last * PITCH[0], y))


def extract(name: str, wires: dict[str, Wires], terminals: dict[str, tuple[float, float]]) -> parasitics.WireTree:
    """One net of some wires."""
    neighbours = Neighbours(wires, LAYERS, PITCH)
    return parasitics.extract(
        name, wires[name], terminals, layers=LAYERS, vias=VIAS, sides=SIDES, neighbours=neighbours
    )


def test_a_wire_alone() -> None:
    """4.8 um: two sides of 0.04 fF a um, 24 squares."""
    tree = extract("a", {"a": Wires(segments=(run(0),), vias=())}, {"p": (0, 0), "q": (4.8, 0)})
    assert tree.total_ff == pytest.approx(4.8 * 2 * 0.04)
    assert tree.ground_ff == pytest.approx(tree.total_ff)
    assert sum(r for _, _, r in tree.resistances) == pytest.approx(24 * 0.1)
    assert tree.length_um == pytest.approx(4.8)


def test_a_neighbour_on_one_side() -> None:
    """Two tracks up, 0.84 - 0.2 = 0.64 um away: 0.08 - 0.04 x 0.04 / 1.4 on that side; itself is no neighbour."""
    wires = {
        "a": Wires(segments=(run(0), run(-1)), vias=()),
        "b": Wires(segments=(run(2),), vias=()),
    }
    alone = {"a": Wires(segments=(run(0),), vias=()), "b": wires["b"]}
    side = 0.08 - (0.64 - 0.6) * 0.04 / 1.4
    tree = extract("a", alone, {"p": (0, 0)})
    assert tree.total_ff == pytest.approx(4.8 * (side + 0.04))
    assert tree.ground_ff == pytest.approx(4.8 * 2 * 0.04)
    # its own second wire, below, adds its own length and shields nothing; b is three tracks above it
    both = extract("a", wires, {"p": (0, 0)})
    far = 0.08 - (1.06 - 0.6) * 0.04 / 1.4
    assert both.total_ff == pytest.approx(4.8 * (side + 0.04) + 4.8 * (far + 0.04))


def test_overlap_counts_once_and_vias_join() -> None:
    """A flush pad on a wire adds nothing but what sticks out; a via is 20 ohm between its metals."""
    pad = Segment(layer="M3", start=(4.4, 0.0), end=(5.1, 0.0), width=0.2)
    up = Segment(layer="M2", start=(0.0, 0.0), end=(0.0, 4.2))
    wires = {"a": Wires(segments=(run(0), pad, up), vias=(ViaAt(name="V", layer="M2", at=(0.0, 0.0)),))}
    tree = extract("a", wires, {"p": (0.0, 4.2), "q": (4.8, 0.0)})
    # the pad's centre line ends at 5.0
    assert tree.length_um == pytest.approx(5.0 + 4.2)
    assert sum(r for _, _, r in tree.resistances) == pytest.approx(25 * 0.1 + 21 * 0.1 + 20)


def test_a_pin_off_its_wires() -> None:
    """A pin that the metal does not reach is refused."""
    with pytest.raises(ValueError, match="pin p must be on the wires of net a"):
        extract("a", {"a": Wires(segments=(run(0),), vias=())}, {"p": (0, 0.42)})


def test_rule_tables(tmp_path: Path) -> None:
    """The table of each metal over nothing, coupling and fringe added; a missing one is named."""
    path = tmp_path / "x.rules"
    path.write_text(
        "Metal 1 OVER 0\nDIST count 2 width 0.2\n0.2 0.0001 0.00002 0.1\n2 0 0.00004 0.1\nEND DIST\n"
        "Metal 2 OVER 1\nDIST count 1 width 0.2\n0.2 1 1 1\nEND DIST\n"
    )
    side = parasitics.read_rules(path, ("M1",))["M1"]
    assert side.at(0.1) == pytest.approx(0.12)
    assert side.at(1.1) == pytest.approx(0.08)
    assert side.at(99) == pytest.approx(0.04)
    with pytest.raises(ValueError, match="must have a table 'Metal 2 OVER 0'"):
        parasitics.read_rules(path, ("M1", "M2"))


def test_read_spef() -> None:
    """Capacitances in fF: the file's unit is 2 pF."""
    text = (Path(__file__).parent / "tiny.spef").read_text()
    assert parasitics.read_spef(text) == pytest.approx({"n3": 3.0, "n4": 500.0})
    with pytest.raises(ValueError, match=r"SPEF must give \*C_UNIT in FF or PF"):
        parasitics.read_spef(text.replace("2 PF", "1 NF"))


@pytest.mark.skipif(not timing.available(), reason=timing.INSTALL)
def test_wires_slow_a_path() -> None:
    """OpenSTA reads what is written: a wire of 100 fF on a path makes its slack smaller, one of 0 fF does not."""
    verilog = (
        "module top(clk, y); input clk; output y; wire a, b;\n"
        "DFF f (.CK(clk), .D(b), .Q(a)); INV i (.A(a), .Y(b)); assign y = b; endmodule\n"
    )
    liberty = [Path(__file__).parents[1] / "tiny.lib"]

    def slack(capacitance: float | None) -> float:
        text = None
        if capacitance is not None:
            tree = parasitics.WireTree(
                capacitances=(capacitance / 2, capacitance / 2),
                resistances=((0, 1, 1.0),),
                terminals={"f:Q": 0, "i:A": 1},
                ground_ff=0.0,
                length_um=0.0,
            )
            text = parasitics.write_spef("top", {"a": tree}, {"f:Q": "output", "i:A": "input"})
        found = timing.analyse(verilog, "top", liberty, clock_ns=10.0, time_unit_ns=1e-3, spef=text)
        return found.slack_ns

    assert slack(0.0) == pytest.approx(slack(None), abs=1e-4)
    assert slack(100.0) < slack(None) - 1e-3
