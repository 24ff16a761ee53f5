"""A block of 24 cells from netlist to checked layout, in a process made up for it; faults put into the metal are found."""

from pathlib import Path

import pytest

pytest.importorskip("klayout.db", reason="layouts are drawn and checked by klayout: pip install klayout")

from firstspike.gates.layout import connect, flow, lef, parasitics, rules
from firstspike.gates.layout.flow import BlockLayout
from firstspike.gates.layout.pdk import Kit
from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Instance, Netlist

from . import tiny_kit

LIBRARY = Library([Path(__file__).parents[1] / "tiny.lib"])


def netlist() -> Netlist:
    """Four stages of five gates and a flip-flop: each gate reads two results of the stage before."""
    instances: list[Instance] = []
    inputs = tuple(range(5))
    clock, last, free = 5, list(inputs), 6
    for _ in range(4):
        results = []
        for place in range(5):
            pins = {"A": last[place], "B": last[(place + 2) % 5], "Y": free}
            instances.append(Instance(block="", type="NAND2", pins=dict(pins)))
            results.append(free)
            free += 1
        instances.append(Instance(block="", type="DFF", pins={"CK": clock, "D": results[0], "Q": free}))
        results[0] = free
        free += 1
        last = results
    return Netlist(
        top="tiny",
        inputs={"a": inputs, "clk": (clock,)},
        outputs={"y": tuple(last)},
        instances=tuple(instances),
        modules={"": "tiny"},
        memories={},
    )


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The process's files."""
    return tiny_kit.write(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def layout(kit: Kit) -> BlockLayout:
    """The block, laid out once."""
    options = flow.Options(utilisation=0.5, moves=2000, straps=1)
    return flow.lay_out(netlist(), LIBRARY, kit, options)


def test_all_nets_are_routed_and_right(layout: BlockLayout) -> None:
    """Every net has wires, no rule is broken, every pin is on its net."""
    assert set(layout.wires) == set(layout.block.nets)
    assert layout.rounds[-1] == 0
    assert not rules.summary(layout.violations)
    found = layout.connections
    assert found.opens == found.shorts == ()
    # 20 NAND2 of 3 pins, 4 DFF of 3, 11 ports; two supply pins a cell and a filler
    assert found.pins == 20 * 3 + 4 * 3 + 11 + 2 * (24 + len(layout.fills))
    # the nets, the two supplies
    assert found.nets == len(layout.block.nets) + 2


def recheck(kit: Kit, layout: BlockLayout) -> connect.Connections:
    """Connections of the drawing as it is now."""
    macros = lef.read([kit.technology, kit.cells]).macros
    cells = layout.cells | {f"f{i}": cell for i, cell in enumerate(layout.fills)}
    block = layout.block
    return connect.check(kit, layout.drawn, block.name, block, cells, macros, layout.ports)


def test_a_cut_wire_is_an_open(kit: Kit, layout: BlockLayout) -> None:
    """Taking the metal of one via away opens its net, and only that one."""
    net = "n6"
    via = layout.wires[net].vias[0]
    drawn = layout.drawn.dup()
    x, y = (round(1000 * v) for v in via.at)
    cut = next(name for name, (_, below, _) in kit.cuts.items() if below == via.layer)
    shapes = drawn.cell(layout.block.name).shapes(drawn.layer(kit.cuts[cut][0], 0))
    for shape in [s for s in shapes.each() if s.box.center().x == x and s.box.center().y == y]:
        shapes.erase(shape)
    found = recheck(kit, _with(layout, drawn))
    assert found.opens == (net,)
    assert found.shorts == ()


def test_a_bridge_is_a_short(kit: Kit, layout: BlockLayout) -> None:
    """Metal from one port to the next shorts their nets."""
    ports = [(layout.ports[f"a_{i}"], layout.block.ports[f"a_{i}"].net) for i in range(5)]
    (x0, y0, layer), first = ports[0]
    (x1, y1, other), second = next(p for p in ports[1:] if p[0][2] == layer)
    drawn = layout.drawn.dup()
    db = pytest.importorskip("klayout.db")
    box = db.Box(*(round(1000 * v) for v in (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))))
    bridge = box.enlarged(100, 100)
    drawn.cell(layout.block.name).shapes(drawn.layer(kit.metals[layer], 0)).insert(bridge)
    found = recheck(kit, _with(layout, drawn))
    assert other == layer
    assert (min(first, second), max(first, second)) in found.shorts


@pytest.mark.parametrize(
    ("layer", "box", "rule"),
    [
        ("Metal2", (-5000, -5000, -4850, -4000), "Metal2.width"),
        ("Metal3", (-5000, -5000, -4700, -4800), "Metal3.area"),
        ("Via2", (-5000, -5000, -4810, -4800), "Via2.size"),
        ("Metal4", (-5002, -5000, -4000, -4000), "Metal4.grid"),
    ],
)
def test_a_rule_is_broken(kit: Kit, layout: BlockLayout, layer: str, box: tuple[int, int, int, int], rule: str) -> None:
    """Metal of a wrong size outside the die is found."""
    db = pytest.importorskip("klayout.db")
    drawn = layout.drawn.dup()
    number = kit.metals[layer] if layer in kit.metals else kit.cuts[layer][0]
    drawn.cell(layout.block.name).shapes(drawn.layer(number, 0)).insert(db.Box(*box))
    assert rule in rules.summary(rules.check(kit, drawn, layout.block.name))


def test_spacing(kit: Kit, layout: BlockLayout) -> None:
    """Two wires 0.20 um apart: one violation of the 0.21 um."""
    db = pytest.importorskip("klayout.db")
    drawn = layout.drawn.dup()
    shapes = drawn.cell(layout.block.name).shapes(drawn.layer(kit.metals["Metal3"], 0))
    shapes.insert(db.Box(-5000, -5000, -3000, -4800))
    shapes.insert(db.Box(-5000, -4600, -3000, -4400))
    found = rules.summary(rules.check(kit, drawn, layout.block.name))
    assert found == {"Metal3.spacing": 1}


def test_spef_is_read_back(layout: BlockLayout) -> None:
    """The file has every net with the capacitance that was extracted."""
    found = parasitics.read_spef(flow.spef(layout.block, LIBRARY, layout.trees))
    assert set(found) == set(layout.block.nets)
    for name, tree in layout.trees.items():
        assert found[name] == pytest.approx(tree.total_ff, abs=1e-4)
        assert tree.ground_ff <= tree.total_ff + 1e-9


def test_wires_reach_every_pin(layout: BlockLayout) -> None:
    """Every net's resistances are one tree or mesh that holds all its pins."""
    for name, tree in layout.trees.items():
        joined = {next(iter(tree.terminals.values()))}
        while True:
            more = {b for a, b, _ in tree.resistances if a in joined}
            more |= {a for a, b, _ in tree.resistances if b in joined}
            if more <= joined:
                break
            joined |= more
        assert set(tree.terminals.values()) <= joined, name


def _with(layout: BlockLayout, drawn: object) -> BlockLayout:
    return BlockLayout(**{**vars(layout), "drawn": drawn})
