"""From a mapped netlist to a routed, checked layout, in one call."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from firstspike.gates import timing
from firstspike.gates.layout import (
    access,
    block,
    connect,
    deffile,
    drawing,
    floorplan,
    lef,
    legal,
    parasitics,
    place,
    rules,
    supply,
)
from firstspike.gates.layout.deffile import Placed, Wires
from firstspike.gates.layout.floorplan import Floorplan
from firstspike.gates.layout.lef import Lef
from firstspike.gates.layout.pdk import Kit
from firstspike.gates.layout.route import Router
from firstspike.gates.layout.tracks import PinAccess, TrackGrid
from firstspike.gates.liberty import Library, read_text
from firstspike.gates.netlist import Netlist

OUTSIDE = 1.0
"""What a via that sticks out of its pin's metal costs the router, in um."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a block is laid out.

    Attributes:
        utilisation: share of the core that cells cover.
        moves: of the annealer that refines the placement.
        spacing: fewest tracks between two ports.
        seed: of placement and annealing.
        straps: pairs of power and ground straps.
    """

    utilisation: float = 0.6
    moves: int = 300_000
    spacing: int = 2
    seed: int = 0
    straps: int = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockLayout:
    """A routed block.

    Attributes:
        block: its netlist.
        floorplan: rows and die.
        cells, fills: placed cells, fillers.
        centres: of the cells.
        ports: x, y and layer of each.
        wires: of each net.
        trees: their resistances and capacitances.
        rounds: conflicting nets after each round of the router; the last is 0.
        drawn: KLayout's layout.
        violations: of design rules, by rule.
        connections: shorts and opens.
    """

    block: block.CellBlock
    floorplan: Floorplan
    cells: dict[str, Placed]
    fills: tuple[Placed, ...]
    centres: dict[str, tuple[float, float]]
    ports: dict[str, tuple[float, float, str]]
    wires: dict[str, Wires]
    trees: dict[str, parasitics.WireTree]
    rounds: tuple[int, ...]
    drawn: Any
    violations: dict[str, list[tuple[float, float]]]
    connections: connect.Connections

    def definition(self) -> str:
        """The layout as DEF."""
        return deffile.write(self.block, self.floorplan, self.cells, self.ports, self.wires)

    def half_perimeters_um(self) -> float:
        """Of the boxes around each net's cells and ports: what the placement made short."""
        total = 0.0
        for net in self.block.nets.values():
            points = [self.centres[cell] for cell, _ in net.pins]
            points += [self.ports[port][:2] for port in net.ports]
            xs, ys = zip(*points, strict=True)
            total += max(xs) - min(xs) + max(ys) - min(ys)
        return total

    def record(self) -> dict[str, Any]:
        """The result as plain data."""
        plan, trees = self.floorplan, self.trees.values()
        sinks = sum(len(net.pins) - 1 + len(net.ports) for net in self.block.nets.values())
        return {
            "block": self.block.name,
            "cells": len(self.block.cells),
            "nets": len(self.block.nets),
            "nets_routed": len(self.wires),
            "router_rounds": list(self.rounds),
            "core_um": [plan.width, plan.core_height],
            "die_um": list(plan.die),
            "wire_mm": sum(tree.length_um for tree in trees) * 1e-3,
            "half_perimeters_mm": self.half_perimeters_um() * 1e-3,
            "vias": sum(len(wires.vias) for wires in self.wires.values()),
            "wires_ff": sum(tree.total_ff for tree in trees),
            "wires_ground_ff": sum(tree.ground_ff for tree in trees),
            "wires_ff_per_sink": sum(tree.total_ff for tree in trees) / sinks,
            "design_rules": len(self.violations),
            "violations": dict(rules.summary(self.violations)),
            "pins_checked": self.connections.pins,
            "opens": list(self.connections.opens),
            "shorts": [list(pair) for pair in self.connections.shorts],
        }


def lay_out(
    netlist: Netlist,
    library: Library,
    kit: Kit,
    options: Options | None = None,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> BlockLayout:
    """Place, route, extract and check a block.

    Args:
        netlist: mapped to the kit's cells, without memories.
        library: the same cells' Liberty.
        kit: where the block is laid out.
        options: how.
        progress: called with what comes next.

    Raises:
        ValueError: the block does not fit, or a cell is not in the kit.
        ImportError: KLayout's module is missing.
        RuntimeError: not all nets could be routed.
    """
    chosen = Options() if options is None else options
    drawing.klayout()
    technology = lef.read([kit.technology, kit.cells])
    made = block.build(netlist, library)
    plan = floorplan.plan(made, technology, utilisation=chosen.utilisation, layers=kit.signals)
    progress(f"placing {len(made.cells)} cells in {plan.rows} rows")
    cells, ports = _place(made, technology, plan, chosen)
    supplies = supply.straps(kit, plan, pairs=chosen.straps)
    grid = _grid(kit, plan, supplies)
    nets = _access(kit, made, technology, grid, cells, ports)
    progress(f"routing {len(nets)} nets on {len(grid.layers)} metals")
    router = Router(grid, nets)
    router.run(sorted(nets, key=lambda name: _extent(nets[name])))
    wires = {name: router.wires(name) for name in nets}
    progress("extracting wires")
    trees = _extract(kit, technology, plan, router, wires)
    progress("drawing and checking")
    drawn, fills = _draw(kit, made, technology, plan, cells, ports, wires, supplies)
    everything = cells | {f"f{index}": cell for index, cell in enumerate(fills)}
    return BlockLayout(
        block=made,
        floorplan=plan,
        cells=cells,
        fills=fills,
        centres={name: _centre(cell, technology) for name, cell in cells.items()},
        ports=ports,
        wires=wires,
        trees=trees,
        rounds=tuple(router.progress),
        drawn=drawn,
        violations=rules.check(kit, drawn, made.name),
        connections=connect.check(kit, drawn, made.name, made, everything, technology.macros, ports),
    )


def time(layout: BlockLayout, library: Library, *, clock_ns: float, wires: str) -> timing.Timing | None:
    """Worst path, clock ideal; None where OpenSTA is not installed.

    Args:
        layout: what is timed.
        library: its cells.
        clock_ns: period.
        wires: ``none``; ``model``: the library's own guess (its wire-load model, none in some libraries);
            ``layout``: resistance and capacitance of each wire.
    """
    trees = {"none": bare(layout.trees), "model": None, "layout": layout.trees}[wires]
    return worst(layout.block, trees, library, clock_ns=clock_ns)


def worst(
    made: block.CellBlock, trees: Mapping[str, parasitics.WireTree] | None, library: Library, *, clock_ns: float
) -> timing.Timing | None:
    """Worst path of a block with these wires, or as the library guesses them; None where OpenSTA is not installed."""
    if not timing.available():
        return None
    with tempfile.TemporaryDirectory() as folder:
        # not every OpenSTA reads gzip
        plain = [Path(folder) / f"{index}.lib" for index in range(len(library.paths))]
        for copy, path in zip(plain, library.paths, strict=True):
            copy.write_text(read_text(path), encoding="utf-8")
        return timing.analyse(
            made.verilog(),
            made.name,
            plain,
            clock_ns=clock_ns,
            time_unit_ns=library.time_unit_ns,
            spef=None if trees is None else spef(made, library, trees),
        )


def spef(made: block.CellBlock, library: Library, trees: Mapping[str, parasitics.WireTree]) -> str:
    """Wires as SPEF."""
    directions = {name: port.direction for name, port in made.ports.items()}
    for net in made.nets.values():
        for cell, pin in net.pins:
            directions[f"{cell}:{pin}"] = library.cell(made.cells[cell]).pins[pin].direction
    return parasitics.write_spef(made.name, trees, directions)


def bare(trees: Mapping[str, parasitics.WireTree]) -> dict[str, parasitics.WireTree]:
    """The same nets without resistance and capacitance: what OpenSTA needs so as not to guess."""
    return {
        name: replace(
            tree,
            capacitances=(0.0,) * len(tree.capacitances),
            resistances=tuple((a, b, 0.001) for a, b, _ in tree.resistances),
        )
        for name, tree in trees.items()
    }


def _place(
    made: block.CellBlock, technology: Lef, plan: Floorplan, options: Options
) -> tuple[dict[str, Placed], dict[str, tuple[float, float, str]]]:
    problem = place.problem(made, technology)
    centres, slots = place.place(problem, plan, spacing=options.spacing, seed=options.seed)
    ports = np.array([slot[:2] for slot in slots])
    legalised = legal.legalise(problem, plan, centres)
    refined = legal.refine(problem, plan, legalised, ports, moves=options.moves, seed=options.seed)
    corners = refined.corners(plan)
    cells = {
        name: Placed(
            type=made.cells[name],
            x=float(corners[index, 0]),
            y=float(corners[index, 1]),
            flipped=bool(refined.rows[index] % 2),
        )
        for index, name in enumerate(problem.cells)
    }
    return cells, dict(zip(problem.names, slots, strict=True))


def _centre(cell: Placed, technology: Lef) -> tuple[float, float]:
    macro = technology.macros[cell.type]
    return cell.x + macro.width / 2, cell.y + macro.height / 2


def _grid(kit: Kit, plan: Floorplan, supplies: tuple[supply.Supply, supply.Supply]) -> TrackGrid:
    layers = plan.layers[1:]
    names = [layer.name for layer in layers]
    pitch = (
        next(layer.pitch for layer in layers if not layer.horizontal),
        next(layer.pitch for layer in layers if layer.horizontal),
    )
    blocked = set()
    for shape in supply.blocked(kit, supplies):
        left, bottom, right, top = shape.rect
        column, line = round((left + right) / 2 / pitch[0]), round((bottom + top) / 2 / pitch[1])
        blocked |= {(names.index(shape.layer), column + dx, line + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    metals = kit.metal_rules()
    return TrackGrid(
        pins=plan.layers[0].name,
        layers=layers,
        columns=math.floor(round(plan.die[0] / pitch[0], 6)) + 1,
        lines=math.floor(round(plan.die[1] / pitch[1], 6)) + 1,
        pitch=pitch,
        vias=kit.vias,
        area=tuple(metals[name].area for name in names),
        blocked=frozenset(blocked),
    )


def _landings(
    kit: Kit, made: block.CellBlock, technology: Lef, grid: TrackGrid
) -> dict[tuple[str, str], tuple[access.Landing, ...]]:
    """Where vias may land on each pin of each type of cell."""
    vias = [technology.vias[name] for name in kit.landings]
    bottom = next(iter(kit.metals))
    spacing = kit.metal_rules()[bottom].spacing
    found: dict[tuple[str, str], tuple[access.Landing, ...]] = {}
    for net in made.nets.values():
        for cell, pin in net.pins:
            kind = made.cells[cell]
            if (kind, pin) not in found:
                macro = technology.macros[kind]
                found[kind, pin] = access.landings(macro, pin, vias, layer=bottom, pitch=grid.pitch, spacing=spacing)
                if not found[kind, pin]:
                    raise ValueError(f"pin {pin} of {kind} must have room for a via, but has none")
    return found


def _access(
    kit: Kit,
    made: block.CellBlock,
    technology: Lef,
    grid: TrackGrid,
    cells: dict[str, Placed],
    ports: dict[str, tuple[float, float, str]],
) -> dict[str, list[list[PinAccess]]]:
    """The ways to reach each pin of each net."""
    names = [layer.name for layer in grid.layers]
    landings = _landings(kit, made, technology, grid)

    def ways(cell: str, pin: str) -> list[PinAccess]:
        placed = cells[cell]
        lines = round(technology.macros[placed.type].height / grid.pitch[1])
        column, line = round(placed.x / grid.pitch[0]), round(placed.y / grid.pitch[1])
        return [
            PinAccess(
                pin=f"{cell}:{pin}",
                point=(
                    0,
                    column + landing.column,
                    line + (lines - landing.line if placed.flipped else landing.line),
                ),
                via=landing.via,
                shift=(landing.shift[0], -landing.shift[1] if placed.flipped else landing.shift[1]),
                penalty=OUTSIDE * landing.outside,
            )
            for landing in landings[placed.type, pin]
        ]

    nets = {}
    for net in made.nets.values():
        pins = []
        for cell, pin in net.pins:
            # not beside the power's via stacks
            free = [way for way in ways(cell, pin) if way.point not in grid.blocked]
            if not free:
                raise ValueError(
                    f"pin {pin} of {cell} must be clear of the power straps, but is not: take another seed"
                )
            pins.append(free)
        for port in net.ports:
            x, y, layer = ports[port]
            at = (names.index(layer), round(x / grid.pitch[0]), round(y / grid.pitch[1]))
            pins.append([PinAccess(pin=port, point=at)])
        nets[net.name] = pins
    return nets


def _extent(pins: list[list[PinAccess]]) -> int:
    """Half the perimeter of a net, in tracks."""
    columns = [pin[0].point[1] for pin in pins]
    lines = [pin[0].point[2] for pin in pins]
    return max(columns) - min(columns) + max(lines) - min(lines)


def _extract(
    kit: Kit, technology: Lef, plan: Floorplan, router: Router, wires: dict[str, Wires]
) -> dict[str, parasitics.WireTree]:
    layers = {layer.name: layer for layer in plan.layers}
    sides = parasitics.read_rules(kit.extraction, tuple(layers))
    neighbours = parasitics.Neighbours(wires, layers, router.grid.pitch)
    return {
        name: parasitics.extract(
            name,
            of,
            router.terminals(name),
            layers=layers,
            vias=technology.vias,
            sides=sides,
            neighbours=neighbours,
        )
        for name, of in wires.items()
    }


def _draw(
    kit: Kit,
    made: block.CellBlock,
    technology: Lef,
    plan: Floorplan,
    cells: dict[str, Placed],
    ports: dict[str, tuple[float, float, str]],
    wires: dict[str, Wires],
    supplies: tuple[supply.Supply, supply.Supply],
) -> tuple[Any, tuple[Placed, ...]]:
    core = (plan.left, plan.bottom, plan.left + plan.width, plan.bottom + plan.core_height)
    widths = {name: macro.width for name, macro in technology.macros.items()}
    fills = drawing.fill(kit, cells, widths, core, plan.height, plan.site)
    drawn = drawing.Drawn(
        name=made.name,
        size=plan.die,
        cells=cells,
        fills=fills,
        ports=ports,
        wires=wires,
        vias=technology.vias,
        supplies=supplies,
        layers=technology.layers,
    )
    return drawing.draw(kit, drawn), fills
