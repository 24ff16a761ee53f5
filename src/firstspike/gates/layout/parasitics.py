"""Resistance and capacitance of wires, and SPEF (IEEE 1481).

Capacitance is by the kit's rules for OpenRCX: tables of what one side of a wire sees by the distance to its neighbour
(``Metal n OVER 0``: coupling and fringe, in pF a um). Neighbours count as ground: one that moves the same way adds
nothing, one that moves the other way twice as much, and the mean of both is this. Without neighbours the last entry
holds.
"""

import bisect
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from firstspike.gates.layout.deffile import Segment, Wires
from firstspike.gates.layout.lef import MetalLayer, Via

TRACKS = 6
"""Tracks to each side in which neighbours are looked for."""

BESIDE = 0.03
"""How far a via may stand beside its track in um."""

Point = tuple[str, int, int]
"""Layer, x and y in nm."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Capacitance of one side of a wire in fF a um, by the distance to the next wire in um."""

    distances: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, distance: float) -> float:
        """Linear between entries; the first and the last hold beyond them."""
        place = bisect.bisect_left(self.distances, distance)
        if place == 0:
            return self.values[0]
        if place == len(self.values):
            return self.values[-1]
        low, high = self.distances[place - 1 : place + 1]
        share = (distance - low) / (high - low)
        return (1 - share) * self.values[place - 1] + share * self.values[place]


@dataclass(frozen=True, kw_only=True)
class WireTree:
    """A net's wires.

    Attributes:
        capacitances: fF at each node.
        resistances: between two nodes, in ohm.
        terminals: node of each pin (``cell:pin``) and port.
        ground_ff: of it, what the wires would have with no neighbour near.
        length_um: of wire.
    """

    capacitances: tuple[float, ...]
    resistances: tuple[tuple[int, int, float], ...]
    terminals: dict[str, int]
    ground_ff: float
    length_um: float

    @property
    def total_ff(self) -> float:
        """All of the net's wires."""
        return sum(self.capacitances)


def read_rules(path: Path, layers: tuple[str, ...]) -> dict[str, Side]:
    """The tables ``Metal n OVER 0`` of an OpenRCX rule file; layer 1 is the first name.

    Raises:
        ValueError: a table is missing.
    """
    text = path.read_text(encoding="utf-8")
    sides = {}
    for number, name in enumerate(layers, start=1):
        match = re.search(
            rf"^Metal {number} OVER 0\s*\nDIST count \d+ width \S+\n(.*?)^END DIST",
            text,
            re.DOTALL | re.MULTILINE,
        )
        if match is None:
            raise ValueError(f"{path} must have a table 'Metal {number} OVER 0', but has none")
        rows = [[float(word) for word in line.split()] for line in match.group(1).splitlines()]
        sides[name] = Side(
            distances=tuple(row[0] for row in rows),
            # a table's pF a um are fF a nm
            values=tuple(1e3 * (row[1] + row[2]) for row in rows),
        )
    return sides


class Neighbours:
    """Which net is on each grid point, to find the wire beside a wire."""

    def __init__(
        self, wires: Mapping[str, Wires], layers: Mapping[str, MetalLayer], pitch: tuple[float, float]
    ) -> None:
        self.layers, self.pitch = layers, pitch
        self.nets: dict[Point, str] = {}
        for name, of in wires.items():
            for segment in of.segments:
                for column, line in self._points(segment):
                    self.nets[segment.layer, column, line] = name

    def _points(self, segment: Segment) -> Iterator[tuple[int, int]]:
        (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(segment.start, segment.end, strict=True))
        px, py = self.pitch
        reach = 0.1
        for column in range(math.ceil((x0 - reach) / px - 1e-6), math.floor((x1 + reach) / px + 1e-6) + 1):
            for line in range(math.ceil((y0 - reach) / py - 1e-6), math.floor((y1 + reach) / py + 1e-6) + 1):
                yield column, line

    def distances(self, net: str, segment: Segment) -> list[tuple[float, float]]:
        """Distance to the next wire on both sides at each grid point along a segment, in um."""
        lying = segment.start[1] == segment.end[1]
        pitch, width = self.pitch[1 if lying else 0], self.layers[segment.layer].width
        found = []
        for column, line in self._points(segment):
            sides = []
            for sign in (-1, 1):
                at = math.inf
                for track in range(1, TRACKS + 1):
                    dx, dy = (0, sign * track) if lying else (sign * track, 0)
                    if self.nets.get((segment.layer, column + dx, line + dy), net) != net:
                        at = track * pitch - width
                        break
                sides.append(at)
            found.append((sides[0], sides[1]))
        return found


def extract(
    name: str,
    wires: Wires,
    terminals: Mapping[str, tuple[float, float]],
    *,
    layers: Mapping[str, MetalLayer],
    vias: Mapping[str, Via],
    sides: Mapping[str, Side],
    neighbours: Neighbours,
) -> WireTree:
    """Resistances and capacitances of a net.

    Args:
        name: of the net.
        wires: of it.
        terminals: where its pins are.
        layers: widths and resistances.
        vias: resistances.
        sides: capacitances.
        neighbours: of all nets.

    Raises:
        ValueError: a pin is not on its net's wires.
    """
    graph = _Graph()
    segments = _merged(wires.segments)
    pitch = neighbours.pitch[0]
    terminals = {pin: _on_track(at, pitch) for pin, at in terminals.items()}
    places = [(via.name, _on_track(via.at, pitch)) for via in wires.vias]
    points = {_nm(at) for _, at in places} | {_nm(at) for at in terminals.values()}
    points |= {_nm(end) for segment in segments for end in (segment.start, segment.end)}
    ground = length = 0.0
    for segment in segments:
        layer = layers[segment.layer]
        around = neighbours.distances(name, segment) or [(math.inf, math.inf)]
        side = sides[segment.layer]
        per_um = sum(side.at(left) + side.at(right) for left, right in around) / len(around)
        stops = _along(segment, points)
        for first, second in pairwise(stops):
            run = (abs(first[0] - second[0]) + abs(first[1] - second[1])) / 1000
            a, b = graph.node(segment.layer, first), graph.node(segment.layer, second)
            graph.wire(a, b, run * per_um, run / layer.width * layer.resistance_ohm)
            ground += run * 2 * side.values[-1]
            length += run
    for kind, place in places:
        via = vias[kind]
        metals = [shape.layer for shape in via.shapes if shape.layer in layers]
        a, b = (graph.node(metal, _nm(place)) for metal in metals)
        graph.wire(a, b, 0.0, via.resistance_ohm)
    return WireTree(
        capacitances=tuple(graph.capacitances),
        resistances=tuple(graph.resistances),
        terminals={pin: graph.terminal(layers, _nm(at), pin, name) for pin, at in terminals.items()},
        ground_ff=ground,
        length_um=length,
    )


class _Graph:
    def __init__(self) -> None:
        self.nodes: dict[Point, int] = {}
        self.capacitances: list[float] = []
        self.resistances: list[tuple[int, int, float]] = []

    def node(self, layer: str, at: tuple[int, int]) -> int:
        key = (layer, *at)
        if key not in self.nodes:
            self.nodes[key] = len(self.capacitances)
            self.capacitances.append(0.0)
        return self.nodes[key]

    def terminal(self, layers: Iterable[str], at: tuple[int, int], pin: str, net: str) -> int:
        """The node where a pin is, on the lowest layer that has one."""
        node = next((self.nodes[(layer, *at)] for layer in layers if (layer, *at) in self.nodes), None)
        if node is None:
            raise ValueError(f"pin {pin} must be on the wires of net {net}, but is not")
        return node

    def wire(self, a: int, b: int, capacitance: float, resistance: float) -> None:
        self.capacitances[a] += capacitance / 2
        self.capacitances[b] += capacitance / 2
        self.resistances.append((a, b, resistance))


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    """Centre lines without overlap: what a pad and a wire share counts once."""
    lines: dict[tuple[str, bool, float], list[tuple[float, float]]] = {}
    for segment in segments:
        lying = segment.start[1] == segment.end[1]
        low, high = sorted((segment.start[not lying], segment.end[not lying]))
        # a piece with a width of its own ends flush: its centre line does not
        inset = 0.0 if segment.width is None else segment.width / 2
        key = (segment.layer, lying, segment.start[lying])
        lines.setdefault(key, []).append((low + inset, high - inset))
    found = []
    for (layer, lying, at), runs in lines.items():
        runs.sort()
        merged = [runs[0]]
        for low, high in runs[1:]:
            if low <= merged[-1][1] + 1e-6:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        for low, high in merged:
            ends = ((low, at), (high, at)) if lying else ((at, low), (at, high))
            found.append(Segment(layer=layer, start=ends[0], end=ends[1]))
    return found


def _along(segment: Segment, points: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The net's points on a segment, its ends among them, in order."""
    (x0, y0), (x1, y1) = sorted((_nm(segment.start), _nm(segment.end)))
    return sorted(p for p in points if x0 <= p[0] <= x1 and y0 <= p[1] <= y1)


def _on_track(at: tuple[float, float], pitch: float) -> tuple[float, float]:
    """A via that stands a little beside its track counts as on it."""
    track = round(at[0] / pitch) * pitch
    return (track if abs(at[0] - track) < BESIDE else at[0]), at[1]


def _nm(at: tuple[float, float]) -> tuple[int, int]:
    return round(at[0] * 1000), round(at[1] * 1000)


def write_spef(design: str, nets: Mapping[str, WireTree], directions: Mapping[str, str]) -> str:
    """SPEF of all nets; ``directions`` says ``input`` or ``output`` of each pin and port."""
    lines = [
        '*SPEF "IEEE 1481-1998"',
        f'*DESIGN "{design}"',
        '*DATE "1 January 2000"',
        '*VENDOR "firstspike"',
        '*PROGRAM "firstspike rtl layout"',
        '*VERSION "1"',
        '*DESIGN_FLOW "NETLIST_TYPE_VERILOG"',
        "*DIVIDER /",
        "*DELIMITER :",
        "*BUS_DELIMITER [ ]",
        "*T_UNIT 1 NS",
        "*C_UNIT 1 FF",
        "*R_UNIT 1 OHM",
        "*L_UNIT 1 HENRY",
    ]
    for name, tree in nets.items():
        names = {node: f"{name}:{node + 1}" for node in range(len(tree.capacitances))}
        shorted = []
        for pin, node in tree.terminals.items():
            if names[node] == f"{name}:{node + 1}":
                names[node] = pin
            else:
                # two pins at one place
                shorted.append((pin, names[node]))
        lines += ["", f"*D_NET {name} {tree.total_ff:.4f}", "*CONN"]
        for pin in tree.terminals:
            kind = "*I" if ":" in pin else "*P"
            lines.append(f"{kind} {pin} {'I' if directions[pin] == 'input' else 'O'}")
        lines.append("*CAP")
        for index, value in enumerate(tree.capacitances):
            lines.append(f"{index + 1} {names[index]} {value:.5f}")
        lines.append("*RES")
        joins = [(names[a], names[b], value) for a, b, value in tree.resistances]
        joins += [(pin, other, 0.001) for pin, other in shorted]
        lines += [f"{i} {a} {b} {value:.5f}" for i, (a, b, value) in enumerate(joins, start=1)]
        lines.append("*END")
    return "\n".join([*lines, ""])


def read_spef(text: str) -> dict[str, float]:
    """Capacitance of each net's wires in fF.

    Raises:
        ValueError: the unit of capacitance is not FF or PF.
    """
    unit = re.search(r"^\*C_UNIT\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    scales = {"FF": 1.0, "PF": 1000.0}
    if unit is None or unit.group(2).upper() not in scales:
        raise ValueError("SPEF must give *C_UNIT in FF or PF, but does not")
    scale = float(unit.group(1)) * scales[unit.group(2).upper()]
    found = re.findall(r"^\*D_NET\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    return {name: scale * float(value) for name, value in found}
