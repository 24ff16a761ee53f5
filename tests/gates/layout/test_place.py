"""Placement: legal, near its nets, ports on the border; wires by length."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("klayout.db", reason="the kit of these tests is drawn by klayout: pip install klayout")

from firstspike.gates.layout import block, estimate, floorplan, lef, legal, place
from firstspike.gates.layout.floorplan import Floorplan
from firstspike.gates.layout.lef import Lef
from firstspike.gates.layout.legal import Placement
from firstspike.gates.layout.pdk import Kit
from firstspike.gates.layout.place import Problem

from . import tiny_kit
from .test_layout import LIBRARY, netlist


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The process's files."""
    return tiny_kit.write(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def cells(kit: Kit) -> Lef:
    """Its cells and layers."""
    return lef.read([kit.technology, kit.cells])


@pytest.fixture(scope="module")
def problem(cells: Lef) -> tuple[Problem, Floorplan]:
    """The block of test_layout in a core at 60 %."""
    made = block.build(netlist(), LIBRARY)
    return place.problem(made, cells), floorplan.plan(made, cells, utilisation=0.6, layers=4)


def overlaps(p: Problem, plan: Floorplan, placement: Placement) -> bool:
    """Whether two cells share a site, or one leaves its row."""
    used = np.zeros((plan.rows, plan.sites), dtype=int)
    for row, site, width in zip(placement.rows, placement.sites, p.widths, strict=True):
        size = round(width / plan.site)
        if site < 0 or site + size > plan.sites:
            return True
        used[row, site : site + size] += 1
    return bool((used > 1).any())


def test_placement_is_legal_and_short(problem: tuple[Problem, Floorplan]) -> None:
    """Rows and sites without overlap, before and after annealing; shorter than the cells in the netlist's order."""
    p, plan = problem
    centres, slots = place.place(p, plan)
    ports = np.array([slot[:2] for slot in slots])
    assert len({slot[:2] for slot in slots}) == len(p.names)

    def length(placement: Placement) -> float:
        half = np.stack((p.widths / 2, np.full(len(p.widths), plan.height / 2)), axis=1)
        return place.wire_length(p, placement.corners(plan) + half, ports)

    legalised = legal.legalise(p, plan, centres)
    refined = legal.refine(p, plan, legalised, ports, moves=4000)
    grid = np.indices((6, 4)).reshape(2, -1).T[: len(p.widths)] / (6, 4)
    corner = np.array([plan.left, plan.bottom])
    ordered = legal.legalise(p, plan, corner + grid * (plan.width, plan.core_height))
    assert not overlaps(p, plan, legalised)
    assert not overlaps(p, plan, refined)
    assert length(refined) <= length(legalised)
    assert length(refined) < 0.9 * length(ordered)


def test_wire_length_by_hand() -> None:
    """Half the perimeter of the box around pins and ports."""
    p = Problem(
        cells=("a", "b"),
        widths=np.array([1.0, 1.0]),
        members=(np.array([0, 1]), np.array([1])),
        ports=(np.array([0]), np.array([0])),
        names=("x",),
    )
    cells, ports = np.array([[0.0, 0.0], [3.0, 1.0]]), np.array([[1.0, 5.0]])
    assert place.wire_length(p, cells, ports) == (3 + 5) + (2 + 4)


def test_a_full_core_is_refused(problem: tuple[Problem, Floorplan], cells: Lef) -> None:
    """Utilisation out of range, cells that do not fit, and a cell that is not in the LEF."""
    made = block.build(netlist(), LIBRARY)
    with pytest.raises(ValueError, match=r"utilisation must be in \(0, 0.95\], not 1.2"):
        floorplan.plan(made, cells, utilisation=1.2, layers=4)
    p, plan = problem
    small = Floorplan(**{**vars(plan), "rows": 2})
    with pytest.raises(ValueError, match="the core must hold all cells"):
        legal.legalise(p, small, np.zeros((len(p.widths), 2)))
    with pytest.raises(ValueError, match="LEF must have all cells of tiny, but not DFF, NAND2"):
        floorplan.plan(made, Lef(layers=cells.layers), utilisation=0.6, layers=4)


def test_wires_by_length(cells: Lef) -> None:
    """Capacitance and resistance are the length's, and double with the detour."""
    options = estimate.EstimateOptions(
        site=tiny_kit.SITE, utilisation=0.6, layers=4, moves=400, ff_per_um=0.2, ohm_per_um=3.0
    )
    made, _, once = estimate.placed_wires(netlist(), LIBRARY, cells, options)
    _, _, twice = estimate.placed_wires(netlist(), LIBRARY, cells, replace(options, detour=2.0))
    with pytest.raises(ValueError, match=r"EstimateOptions\.detour must be above 0, not 0"):
        replace(options, detour=0)
    assert set(once) == set(made.nets)
    for name, tree in once.items():
        assert tree.total_ff == pytest.approx(0.2 * tree.length_um)
        assert tree.resistances[0][2] == pytest.approx(3.0 * tree.length_um)
        assert twice[name].length_um == pytest.approx(2 * tree.length_um)
        net = made.nets[name]
        assert set(tree.terminals) == {f"{c}:{p}" for c, p in net.pins} | set(net.ports)


def test_ties() -> None:
    """A library without a tie cell cannot drive a constant pin."""
    instance = netlist().instances[0]
    fixed = type(instance)(block="", type=instance.type, pins=instance.pins | {"A": "1"})
    with pytest.raises(ValueError, match="must have a cell that drives 1, but has none"):
        block.build(type(netlist())(**{**vars(netlist()), "instances": (fixed,)}), LIBRARY)
