"""Global placement: quadratic wire length with spreading, ports on the border.

The method is that of Kim, Lee and Markov (SimPL, ICCAD 2010): a quadratic placement whose net weights make it linear in wire
length (bound-to-bound, Spindler, Schlichtmann and Johannes, TCAD 2008), pulled step by step towards a
spread-out placement by recursive bisection. Dense linear algebra: for blocks of a few thousand cells.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from firstspike.gates.layout.block import CellBlock
from firstspike.gates.layout.floorplan import Floorplan
from firstspike.gates.layout.lef import Lef

STEPS = 40
"""Rounds of solving and spreading."""

NEAREST = 0.25
"""Distance in rows' heights below which a bound-to-bound weight no longer grows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """The block as arrays.

    Attributes:
        cells: names, in the order of the rows below.
        widths: in um.
        members: of each net, the cells' rows.
        ports: of each net, the ports' rows.
        names: the ports, in order.
    """

    cells: tuple[str, ...]
    widths: Float[np.ndarray, " cells"]
    members: tuple[np.ndarray, ...]
    ports: tuple[np.ndarray, ...]
    names: tuple[str, ...]


def problem(block: CellBlock, lef: Lef) -> Problem:
    """Index a block."""
    rows = {name: index for index, name in enumerate(block.cells)}
    ports = {name: index for index, name in enumerate(block.ports)}
    nets = list(block.nets.values())
    return Problem(
        cells=tuple(block.cells),
        widths=np.array([lef.macros[kind].width for kind in block.cells.values()]),
        members=tuple(np.unique([rows[cell] for cell, _ in net.pins]).astype(int) for net in nets),
        ports=tuple(np.array([ports[name] for name in net.ports], dtype=int) for net in nets),
        names=tuple(block.ports),
    )


def wire_length(p: Problem, cells: Float[np.ndarray, "cells 2"], ports: Float[np.ndarray, "ports 2"]) -> float:
    """Half the perimeters of all nets' bounding boxes, in um."""
    total = 0.0
    for members, outside in zip(p.members, p.ports, strict=True):
        points = np.concatenate((cells[members], ports[outside]))
        total += float((points.max(axis=0) - points.min(axis=0)).sum())
    return total


def place(
    p: Problem, floorplan: Floorplan, *, spacing: int = 2, seed: int = 0
) -> tuple[Float[np.ndarray, "cells 2"], list[tuple[float, float, str]]]:
    """Centres of the cells, spread over the core but not yet in rows, and a slot for each port.

    Args:
        p: what is placed.
        floorplan: where.
        spacing: fewest tracks between two ports.
        seed: of the first, random placement.

    Raises:
        ValueError: the border has fewer slots than there are ports.
    """
    slots = floorplan.slots(spacing)
    if len(slots) < len(p.names):
        raise ValueError(f"the border must have {len(p.names)} places, not {len(slots)!r}")
    places = np.array([slot[:2] for slot in slots])
    corner = np.array([floorplan.left, floorplan.bottom])
    size = np.array([floorplan.width, floorplan.core_height])
    random = np.random.default_rng(seed)
    cells = corner + size * (0.45 + 0.1 * random.random((len(p.cells), 2)))
    # evenly spread to begin with, in the ports' order
    chosen = np.linspace(0, len(slots) - 1, len(p.names)).astype(int)
    spread = cells
    for step in range(STEPS):
        pull = 0.0 if step == 0 else 0.01 * step
        ports = places[chosen]
        for axis in (0, 1):
            cells[:, axis] = _solve(
                p, cells[:, axis], ports[:, axis], spread[:, axis], pull, NEAREST * floorplan.height
            )
        cells = np.clip(cells, corner, corner + size)
        spread = _spread(p, cells, corner, size)
        if step in (5, 10, 15, 20, 25):
            chosen = _around(p, spread, places, corner + size / 2)
    return spread, [slots[index] for index in chosen]


def _solve(
    p: Problem, old: np.ndarray, ports: np.ndarray, anchors: np.ndarray, pull: float, nearest: float
) -> np.ndarray:
    """One axis: minimise the bound-to-bound wire length and the pull to the anchors."""
    count = len(old)
    matrix, right = np.zeros((count, count)), np.zeros(count)

    def connect(a: int, b: int, weight: float, at: np.ndarray) -> None:
        """Rows below ``count`` are cells, the others ports."""
        for one, other in ((a, b), (b, a)):
            if one < count:
                matrix[one, one] += weight
                if other < count:
                    matrix[one, other] -= weight
                else:
                    right[one] += weight * at[other]

    where = np.concatenate((old, ports))
    for members, outside in zip(p.members, p.ports, strict=True):
        nodes = np.concatenate((members, outside + count))
        if len(nodes) < 2:
            continue
        low, high = nodes[np.argmin(where[nodes])], nodes[np.argmax(where[nodes])]
        if low == high:
            low, high = nodes[0], nodes[1]
        scale = 1.0 / (len(nodes) - 1)
        for node in nodes:
            for bound in {low, high}:
                if node != bound and not (node == low and bound == high):
                    weight = scale / max(abs(where[node] - where[bound]), nearest)
                    connect(int(node), int(bound), weight, where)
    strength = pull / np.maximum(np.abs(old - anchors), nearest) + 1e-6
    matrix[np.diag_indices(count)] += strength
    right += strength * anchors
    return np.linalg.solve(matrix, right)


def _spread(p: Problem, cells: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Cells at even density, their order kept: recursive bisection by area."""
    spread = np.empty_like(cells)
    pending = [(np.arange(len(cells)), corner, size)]
    while pending:
        members, low, extent = pending.pop()
        if len(members) == 1:
            spread[members] = low + extent / 2
            continue
        axis = int(extent[1] > extent[0])
        members = members[np.argsort(cells[members, axis], kind="stable")]
        area = np.cumsum(p.widths[members])
        half = min(max(1, int(np.searchsorted(area, area[-1] / 2))), len(members) - 1)
        share = area[half - 1] / area[-1]
        first, second, offset = extent.copy(), extent.copy(), np.zeros(2)
        first[axis], second[axis] = share * extent[axis], (1 - share) * extent[axis]
        offset[axis] = first[axis]
        pending += [(members[:half], low, first), (members[half:], low + offset, second)]
    return spread


def _around(p: Problem, cells: np.ndarray, places: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """A slot for each port: ports in the order of their nets' angles, evenly spread, turned to fit best."""
    targets = np.zeros((len(p.names), 2))
    for members, outside in zip(p.members, p.ports, strict=True):
        for port in outside:
            targets[port] = cells[members].mean(axis=0) if len(members) else centre
    angle = np.arctan2(*(targets - centre).T[::-1])
    order = np.argsort(angle, kind="stable")
    even = np.linspace(0, len(places), len(order), endpoint=False).astype(int)
    best, chosen = np.inf, np.zeros(len(order), dtype=int)
    for turn in range(0, len(places), 2):
        slots = (even + turn) % len(places)
        cost = float(np.abs(places[slots] - targets[order]).sum())
        if cost < best:
            best = cost
            chosen[order] = slots
    return chosen
