"""Wires of a placed block by their length alone, for a process that is not routed here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firstspike.gates.layout import block, floorplan, legal, parasitics, place
from firstspike.gates.layout.lef import Lef
from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Netlist


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """How cells are placed, and what a wire has.

    Attributes:
        site: width of a site in um.
        utilisation: share of the core that cells cover.
        ff_per_um: capacitance of a wire.
        ohm_per_um: resistance of a wire; all sinks are at its far end.
        detour: how much longer than half its bounding box's perimeter a routed wire is.
        layers: routing layers, for the ports' tracks.
        moves: of the annealer.
        seed: of the placement.

    Raises:
        ValueError: a width, capacitance, resistance or detour is not above 0.
    """

    site: float
    utilisation: float
    ff_per_um: float
    ohm_per_um: float
    detour: float = 1.0
    layers: int = 5
    moves: int = 300_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("site", "ff_per_um", "ohm_per_um", "detour"):
            if not getattr(self, name) > 0:
                raise ValueError(f"EstimateOptions.{name} must be above 0, not {getattr(self, name)!r}")


def placed_wires(
    netlist: Netlist, library: Library, cells: Lef, options: EstimateOptions
) -> tuple[block.CellBlock, floorplan.Floorplan, dict[str, parasitics.WireTree]]:
    """Place a block and give each net a wire of half its bounding box's perimeter.

    Args:
        netlist: mapped, without memories.
        library: its cells' Liberty.
        cells: their sizes, and the routing layers.
        options: of placement and wires.
    """
    made = block.build(netlist, library)
    plan = floorplan.plan(made, cells, utilisation=options.utilisation, layers=options.layers, site=options.site)
    problem = place.problem(made, cells)
    centres, slots = place.place(problem, plan, seed=options.seed)
    ports = np.array([slot[:2] for slot in slots])
    placed = legal.refine(
        problem, plan, legal.legalise(problem, plan, centres), ports, moves=options.moves, seed=options.seed
    )
    corners = placed.corners(plan)
    middles = corners + np.stack((problem.widths / 2, np.full(len(corners), plan.height / 2)), axis=1)
    trees = {}
    for net, members, outside in zip(made.nets.values(), problem.members, problem.ports, strict=True):
        points = np.concatenate((middles[members], ports[outside]))
        length = options.detour * float((points.max(axis=0) - points.min(axis=0)).sum())
        trees[net.name] = _wire(length, _pins(net), options.ff_per_um, options.ohm_per_um)
    return made, plan, trees


def _pins(net: block.Net) -> Sequence[str]:
    return [*(f"{cell}:{pin}" for cell, pin in net.pins), *net.ports]


def _wire(length: float, pins: Sequence[str], ff_per_um: float, ohm_per_um: float) -> parasitics.WireTree:
    half = length * ff_per_um / 2
    return parasitics.WireTree(
        capacitances=(half, half),
        resistances=((0, 1, max(length * ohm_per_um, 1e-3)),),
        terminals={pin: int(index > 0) for index, pin in enumerate(pins)},
        ground_ff=2 * half,
        length_um=length,
    )
