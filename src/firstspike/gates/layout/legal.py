"""Legal placement: cells into rows and sites without overlap, then moves that shorten the wires."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from firstspike.gates.layout.floorplan import Floorplan
from firstspike.gates.layout.place import Problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Where the cells stand: the row of each, and its first site."""

    rows: np.ndarray
    sites: np.ndarray

    def corners(self, floorplan: Floorplan) -> Float[np.ndarray, "cells 2"]:
        """Lower left corners in um."""
        x = floorplan.left + self.sites * floorplan.site
        y = floorplan.bottom + self.rows * floorplan.height
        return np.stack((x, y), axis=1)


def legalise(p: Problem, floorplan: Floorplan, centres: Float[np.ndarray, "cells 2"]) -> Placement:
    """Rows by height, then sites from left to right, each cell as near to its place as its row allows.

    Raises:
        ValueError: the cells do not fit.
    """
    sizes = np.round(p.widths / floorplan.site).astype(int)
    wanted = (centres[:, 0] - p.widths / 2 - floorplan.left) / floorplan.site
    rows = np.zeros(len(sizes), dtype=int)
    free = np.full(floorplan.rows, floorplan.sites)
    # the widest first: they find a row with room
    for cell in np.lexsort((np.arange(len(sizes)), -sizes)):
        height = (centres[cell, 1] - floorplan.bottom) / floorplan.height - 0.5
        fits = np.flatnonzero(free >= sizes[cell])
        if not len(fits):
            raise ValueError("the core must hold all cells, but does not: lower the utilisation")
        rows[cell] = fits[np.argmin(np.abs(fits - height))]
        free[rows[cell]] -= sizes[cell]
    sites = np.zeros(len(sizes), dtype=int)
    for row in range(floorplan.rows):
        members = np.flatnonzero(rows == row)
        members = members[np.argsort(wanted[members], kind="stable")]
        sites[members] = _abut(wanted[members], sizes[members], floorplan.sites)
    return Placement(rows=rows, sites=sites)


def _abut(wanted: np.ndarray, sizes: np.ndarray, limit: int) -> np.ndarray:
    """First sites of the cells of a row, in order: least squares by merging clusters (Abacus, Spindler 2008)."""
    clusters: list[list[float]] = []
    """Start wanted in all, its weight, cells, width."""
    for want, size in zip(wanted, sizes, strict=True):
        clusters.append([float(want), 1.0, 1, float(size)])
        while len(clusters) > 1:
            last, before = clusters[-1], clusters[-2]
            if _start(before, limit) + before[3] <= _start(last, limit):
                break
            clusters.pop()
            before[0] += last[0] - last[1] * before[3]
            before[1] += last[1]
            before[2] += last[2]
            before[3] += last[3]
    found: list[int] = []
    for cluster in clusters:
        at = _start(cluster, limit)
        for _ in range(int(cluster[2])):
            found.append(at)
            at += int(sizes[len(found) - 1])
    return np.array(found, dtype=int)


def _start(cluster: list[float], limit: int) -> int:
    return max(0, min(round(cluster[0] / cluster[1]), limit - int(cluster[3])))


def refine(
    p: Problem,
    floorplan: Floorplan,
    placement: Placement,
    ports: Float[np.ndarray, "ports 2"],
    *,
    moves: int = 200_000,
    seed: int = 0,
) -> Placement:
    """Anneal a legal placement: cells move into gaps or change places with cells of their width."""
    return _Annealer(p, floorplan, placement, ports, seed).run(moves)


class _Annealer:
    def __init__(
        self,
        p: Problem,
        floorplan: Floorplan,
        placement: Placement,
        ports: np.ndarray,
        seed: int,
    ) -> None:
        self.p, self.floorplan = p, floorplan
        self.random = np.random.default_rng(seed)
        self.sizes = [int(size) for size in np.round(p.widths / floorplan.site)]
        self.rows, self.sites = placement.rows.tolist(), placement.sites.tolist()
        self.taken = np.full((floorplan.rows, floorplan.sites), -1)
        for cell in range(len(self.rows)):
            self._occupy(cell, cell)
        self.x = [0.0] * len(self.rows)
        self.y = [0.0] * len(self.rows)
        for cell in range(len(self.rows)):
            self._centre(cell)
        self.fixed: list[list[tuple[float, float]]] = [ports[outside].tolist() for outside in p.ports]
        self.members = [m.tolist() for m in p.members]
        self.nets: list[list[int]] = [[] for _ in self.rows]
        for net, members in enumerate(self.members):
            for cell in members:
                self.nets[cell].append(net)
        self.cost = [self._length(net) for net in range(len(self.members))]

    def run(self, moves: int) -> Placement:
        hot, cold = 4 * self.floorplan.height, 0.05 * self.floorplan.height
        steps = 40
        for step in range(steps):
            heat = hot * (cold / hot) ** (step / (steps - 1))
            reach = max(3.0, self.floorplan.rows * (1 - step / steps) / 2)
            cells = self.random.integers(len(self.rows), size=moves // steps)
            near = self.random.uniform(-reach, reach, size=(len(cells), 2))
            luck = self.random.random(len(cells))
            for cell, (dx, dy), chance in zip(cells.tolist(), near.tolist(), luck, strict=True):
                self._try(cell, dx, dy, -heat * math.log(max(float(chance), 1e-12)))
        return Placement(rows=np.array(self.rows), sites=np.array(self.sites))

    def _centre(self, cell: int) -> None:
        plan = self.floorplan
        self.x[cell] = plan.left + (self.sites[cell] + self.sizes[cell] / 2) * plan.site
        self.y[cell] = plan.bottom + (self.rows[cell] + 0.5) * plan.height

    def _occupy(self, cell: int, value: int) -> None:
        site = self.sites[cell]
        self.taken[self.rows[cell], site : site + self.sizes[cell]] = value

    def _length(self, net: int) -> float:
        xs = [self.x[cell] for cell in self.members[net]]
        ys = [self.y[cell] for cell in self.members[net]]
        for x, y in self.fixed[net]:
            xs.append(x)
            ys.append(y)
        return float(max(xs) - min(xs) + max(ys) - min(ys))

    def _try(self, cell: int, dx: float, dy: float, allowed: float) -> None:
        """Move a cell by about dx, dy rows' heights if the wires grow by at most ``allowed``."""
        plan, size = self.floorplan, self.sizes[cell]
        row = min(max(self.rows[cell] + round(dy), 0), plan.rows - 1)
        site = self.sites[cell] + round(dx * plan.height / plan.site)
        site = min(max(site, 0), plan.sites - size)
        there = self.taken[row, site : site + size]
        others = {int(other) for other in there if other >= 0 and other != cell}
        if len(others) > 1:
            return
        if others:
            other = others.pop()
            if self.sizes[other] != size:
                return
            row, site = self.rows[other], self.sites[other]
            self._change([(cell, row, site), (other, self.rows[cell], self.sites[cell])], allowed)
        else:
            self._change([(cell, row, site)], allowed)

    def _change(self, moved: list[tuple[int, int, int]], allowed: float) -> None:
        before = [(cell, self.rows[cell], self.sites[cell]) for cell, _, _ in moved]
        nets = {net for cell, _, _ in moved for net in self.nets[cell]}
        self._put(moved)
        lengths = {net: self._length(net) for net in nets}
        if sum(lengths.values()) - sum(self.cost[net] for net in nets) > allowed:
            self._put(before)
            return
        for net, length in lengths.items():
            self.cost[net] = length

    def _put(self, moved: list[tuple[int, int, int]]) -> None:
        for cell, _, _ in moved:
            self._occupy(cell, -1)
        for cell, row, site in moved:
            self.rows[cell], self.sites[cell] = row, site
            self._occupy(cell, cell)
            self._centre(cell)
