"""A detailed router on the tracks: negotiated congestion, legal by construction for these via shapes.

Every net takes grid points; a point that two nets take costs more in every round until one gives way (PathFinder,
McMurchie and Ebeling, FPGA 1995). Wires run in a layer's direction only. What the rules ask beyond one net a
point is taken as well:

- a via to a pin has a long pad on the lowest layer: the points above and below it belong to its net;
- other vias have wide pads: two of different nets must not stand side by side, so each takes the gaps on both sides;
- a pad without a wire is too small: `_grow` gives it a piece of wire to a free point.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from firstspike.gates.layout import metal
from firstspike.gates.layout.deffile import Wires
from firstspike.gates.layout.tracks import PinAccess, RoutedNet, TrackGrid

ROUNDS = 60
"""Most rounds of negotiation."""

VIA_COST = 1.5
"""A via costs as much as so many um of wire."""

MARGIN = 12
"""Tracks that a search may leave the box around its ends by, in the first place."""


Point = tuple[int, int, int]
"""Layer, column and line."""


class RoutingError(RuntimeError):
    """Not all nets could be routed."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Columns and lines that a search stays in, and the box of its goals.

    Attributes:
        left, right, low, high: of the search.
        goal_left, goal_right, goal_low, goal_high: of the goals.
        pitch: of the tracks, in um.
    """

    left: int
    right: int
    low: int
    high: int
    goal_left: int
    goal_right: int
    goal_low: int
    goal_high: int
    pitch: tuple[float, float]

    @classmethod
    def around(cls, grid: TrackGrid, goals: Sequence[Point], spread: Sequence[Point], margin: int) -> "_Window":
        """``margin`` tracks around goals and starting points, within the grid."""
        xs, ys = [p[1] for p in goals], [p[2] for p in goals]
        allx, ally = xs + [p[1] for p in spread], ys + [p[2] for p in spread]
        return cls(
            left=max(0, min(allx) - margin),
            right=min(grid.columns - 1, max(allx) + margin),
            low=max(0, min(ally) - margin),
            high=min(grid.lines - 1, max(ally) + margin),
            goal_left=min(xs),
            goal_right=max(xs),
            goal_low=min(ys),
            goal_high=max(ys),
            pitch=grid.pitch,
        )

    def ahead(self, column: int, line: int) -> float:
        """Least length from a point to the goals, in um."""
        dx = self.goal_left - column if column < self.goal_left else max(0, column - self.goal_right)
        dy = self.goal_low - line if line < self.goal_low else max(0, line - self.goal_high)
        return dx * self.pitch[0] + dy * self.pitch[1]


class Router:
    """Negotiation over all nets; ``progress`` holds the conflicts of every round."""

    def __init__(self, grid: TrackGrid, nets: Mapping[str, Sequence[Sequence[PinAccess]]]) -> None:
        self.grid, self.nets = grid, nets
        size = len(grid.layers) * grid.lines * grid.columns
        self.size = size
        self.taken = [0] * size
        self.halo_taken = [0] * size
        self.gap_taken = [0] * size
        self.history = [0.0] * size
        self.gap_history = [0.0] * size
        self.blocked = bytearray(size)
        for point in grid.blocked:
            self.blocked[grid.at(point)] = 1
        self.plane = grid.lines * grid.columns
        self.trees: dict[str, RoutedNet] = {}
        self.pressure = 0.5
        self.progress: list[int] = []

    def run(self, order: Sequence[str]) -> None:
        """Rounds until no two nets share anything."""
        pending = list(order)
        for _ in range(ROUNDS):
            for name in pending:
                self._release(name)
                self._commit(name, self._net(name))
            pending = self._conflicts()
            self.progress.append(len(pending))
            if not pending:
                pending = self._finish()
                if not pending:
                    return
            self.pressure = min(self.pressure * 1.5, 50.0)
        raise RoutingError(f"all nets must be routed, but {len(pending)} still share metal: lower the utilisation")

    def _release(self, name: str) -> None:
        tree = self.trees.pop(name, None)
        if tree is not None:
            for node in tree.nodes:
                self.taken[node] -= 1
            for node in tree.halo:
                self.halo_taken[node] -= 1
            for gap in tree.gaps:
                self.gap_taken[gap] -= 1

    def _commit(self, name: str, tree: RoutedNet) -> None:
        self.trees[name] = tree
        for node in tree.nodes:
            self.taken[node] += 1
        for node in tree.halo:
            self.halo_taken[node] += 1
        for gap in tree.gaps:
            self.gap_taken[gap] += 1

    def _conflicts(self) -> list[str]:
        """Nets that share something; what is shared gets dearer for good."""
        found = []
        shared: set[int] = set()
        gaps: set[int] = set()
        for name, tree in self.trees.items():
            nodes = {node for node in tree.nodes if self.taken[node] > 1 or self.halo_taken[node] > (node in tree.halo)}
            nodes |= {node for node in tree.halo if self.taken[node] > (node in tree.nodes)}
            beside = {gap for gap in tree.gaps if self.gap_taken[gap] > 1}
            if nodes or beside:
                found.append(name)
                shared |= nodes
                gaps |= beside
        for node in shared:
            self.history[node] += 1.0
        for gap in gaps:
            self.gap_history[gap] += 1.0
        return found

    def _net(self, name: str) -> RoutedNet:
        pins = list(self.nets[name])
        tree = RoutedNet()
        if len(pins) < 2:
            return tree
        # begin at the pin nearest to the middle of all
        middles = [pin[0].point for pin in pins]
        x, y = (sum(point[axis] for point in middles) / len(middles) for axis in (1, 2))
        start = min(range(len(pins)), key=lambda i: abs(middles[i][1] - x) + abs(middles[i][2] - y))
        source: list[PinAccess] = list(pins.pop(start))
        while pins:
            spread = [self.grid.point(node) for node in tree.nodes] or [a.point for a in source]
            nearest = min(range(len(pins)), key=lambda i: _distance(pins[i][0].point, spread))
            targets = pins.pop(nearest)
            margin = MARGIN
            path = None
            while path is None and margin < 2 * (self.grid.columns + self.grid.lines):
                path = self._search(tree, source, targets, spread, margin)
                margin *= 4
            if path is None:
                raise RoutingError(f"a pin of net {name} at {targets[0].point} cannot be reached")
            self._join(tree, path, source, targets)
            source = []
        return tree

    def _search(
        self,
        tree: RoutedNet,
        source: Sequence[PinAccess],
        targets: Sequence[PinAccess],
        spread: Sequence[Point],
        margin: int,
    ) -> list[int] | None:
        """The cheapest path from the tree, or from the first pin, to a pin."""
        window = _Window.around(self.grid, [a.point for a in targets], spread, margin)
        goals = self._landings(targets)
        best = self._landings(source) if source else dict.fromkeys(tree.nodes, 0.0)
        came: dict[int, int] = {}
        heap: list[tuple[float, int]] = []
        for node, cost in best.items():
            _, column, line = self.grid.point(node)
            heapq.heappush(heap, (cost + window.ahead(column, line), node))
        done: set[int] = set()
        taken, halo, history, pressure = self.taken, self.halo_taken, self.history, self.pressure
        own = tree.nodes
        while heap:
            _, node = heapq.heappop(heap)
            if node < 0:
                return self._trace(came, -node - 1)
            if node in done:
                continue
            done.add(node)
            cost = best[node]
            if node in goals:
                heapq.heappush(heap, (cost + goals[node], -node - 1))
            for other, x, y, new in self._steps(node, cost, window, done):
                if other not in own:
                    new += history[other] + pressure * (taken[other] + halo[other])
                if new < best.get(other, 1e30):
                    best[other] = new
                    came[other] = node
                    heapq.heappush(heap, (new + window.ahead(x, y), other))
        return None

    def _landings(self, accesses: Sequence[PinAccess]) -> dict[int, float]:
        """Costs of the points from which a pin is reached."""
        return {self.grid.at(a.point): a.penalty + self._landing_cost(a) for a in accesses}

    def _steps(
        self, node: int, cost: float, window: "_Window", done: set[int]
    ) -> Iterator[tuple[int, int, int, float]]:
        """Points one step or via from a point: number, column, line, and cost without what the point itself costs."""
        columns, plane, blocked = self.grid.columns, self.plane, self.blocked
        layer, rest = divmod(node, plane)
        line, column = divmod(rest, columns)
        if self.grid.layers[layer].horizontal:
            length = self.grid.pitch[0]
            if column > window.left and not blocked[node - 1] and node - 1 not in done:
                yield node - 1, column - 1, line, cost + length
            if column < window.right and not blocked[node + 1] and node + 1 not in done:
                yield node + 1, column + 1, line, cost + length
        else:
            length = self.grid.pitch[1]
            if line > window.low and not blocked[node - columns] and node - columns not in done:
                yield node - columns, column, line - 1, cost + length
            if line < window.high and not blocked[node + columns] and node + columns not in done:
                yield node + columns, column, line + 1, cost + length
        for other in (node - plane, node + plane):
            if 0 <= other < self.size and not blocked[other] and other not in done:
                yield other, column, line, cost + VIA_COST + self._pad_cost(node) + self._pad_cost(other)

    @staticmethod
    def _trace(came: dict[int, int], node: int) -> list[int]:
        path = [node]
        while path[-1] in came:
            path.append(came[path[-1]])
        return path[::-1]

    def _pad_cost(self, node: int) -> float:
        """Of the gaps on both sides of a wide pad."""
        total = self.gap_history[node] + self.pressure * self.gap_taken[node]
        if node % self.grid.columns:
            total += self.gap_history[node - 1] + self.pressure * self.gap_taken[node - 1]
        return total

    def _landing_cost(self, access: PinAccess) -> float:
        node = self.grid.at(access.point)
        cost = self.pressure * self.halo_taken[node]
        for beside in (node, *self._halo(access)):
            cost += self.history[beside] + self.pressure * self.taken[beside]
        return cost

    def _halo(self, access: PinAccess) -> Iterator[int]:
        """Points above and below a via to a pin."""
        if access.via:
            layer, column, line = access.point
            for beside in (line - 1, line + 1):
                if 0 <= beside < self.grid.lines:
                    yield self.grid.at((layer, column, beside))

    def _join(
        self, tree: RoutedNet, path: list[int], source: Sequence[PinAccess], targets: Sequence[PinAccess]
    ) -> None:
        for group, end in ((source, path[0]), (targets, path[-1])):
            landing = next((a for a in group if self.grid.at(a.point) == end), None)
            if landing is not None:
                tree.landings.append(landing)
                tree.halo |= set(self._halo(landing))
        tree.nodes |= set(path)
        for a, b in pairwise(path):
            tree.edges.add((min(a, b), max(a, b)))
            if abs(a - b) == self.plane:
                for node in (a, b):
                    tree.gaps.add(node)
                    if node % self.grid.columns:
                        tree.gaps.add(node - 1)

    def _finish(self) -> list[str]:
        """Give small pieces of metal a wire to a free point; nets around which there is none."""
        failed = []
        for name, tree in self.trees.items():
            for piece in self._pieces(tree):
                if not self._grow(tree, piece):
                    failed.append(name)
                    for node in piece:
                        self.history[node] += 2.0
        return list(dict.fromkeys(failed))

    def _pieces(self, tree: RoutedNet) -> list[list[int]]:
        """Connected metal of one layer that is below its least area."""
        links: dict[int, list[int]] = {node: [] for node in tree.nodes}
        pads = set()
        for a, b in tree.edges:
            if b - a == self.plane:
                pads |= {a, b}
            else:
                links[a].append(b)
                links[b].append(a)
        landed = {self.grid.at(a.point) for a in tree.landings if a.via}
        found = []
        seen: set[int] = set()
        for node in tree.nodes:
            if node in seen:
                continue
            piece = [node]
            seen.add(node)
            for member in piece:
                for other in links[member]:
                    if other not in seen:
                        seen.add(other)
                        piece.append(other)
            if landed.isdisjoint(piece) and self._area(piece, pads) < self.grid.area[node // self.plane]:
                found.append(piece)
        return found

    def _area(self, piece: list[int], pads: set[int]) -> float:
        """Of a straight wire with a half width at its ends, and the wide pads' sides."""
        layer = self.grid.layers[piece[0] // self.plane]
        pitch = self.grid.pitch[0 if layer.horizontal else 1]
        area = ((len(piece) - 1) * pitch + layer.width) * layer.width
        reach = 2 * metal.WIDE * layer.width
        ends = (min(piece), max(piece))
        if layer.horizontal and len(piece) > 1:
            return area + sum(reach / 2 for node in ends if node in pads)
        return area + reach * sum(node in pads for node in piece)

    def _grow(self, tree: RoutedNet, piece: list[int]) -> bool:
        """A step sideways from a pad, into a point that nobody needs."""
        for node in piece:
            column = node % self.grid.columns
            for other, inside in ((node + 1, column + 1 < self.grid.columns), (node - 1, column > 0)):
                needed = self.taken[other] or self.halo_taken[other]
                if inside and not self.blocked[other] and not needed:
                    tree.nodes.add(other)
                    tree.edges.add((min(node, other), max(node, other)))
                    self.taken[other] += 1
                    return True
        return False

    def wires(self, name: str) -> Wires:
        """Segments and vias of a routed net."""
        return metal.wires(self.grid, self.trees[name], self.halo_taken)

    def terminals(self, name: str) -> dict[str, tuple[float, float]]:
        """Where a routed net meets its pins."""
        return metal.terminals(self.grid, self.trees[name])


def _distance(point: tuple[int, int, int], others: Sequence[tuple[int, int, int]]) -> int:
    return min(abs(point[1] - x) + abs(point[2] - y) for _, x, y in others)
