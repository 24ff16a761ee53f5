"""Buffers for nets with many sinks: mapping works module by module and does not see what hangs on a broadcast."""

from typing import Any

from firstspike.gates.liberty import Cell, Library


def choose(library: Library, fanout: int) -> Cell | None:
    """The smallest buffer that drives ``fanout`` gates with at most twice the transition time of the best; None without one."""
    found = []
    load = fanout * max(pin.capacitance for pin in library.cell(library.nand2.name).inputs)
    for name in library.buffers:
        cell = library.cell(name)
        arcs = [arc for arc in cell.outputs[0].arcs if arc.rise is not None]
        if arcs and arcs[0].rise is not None:
            found.append((arcs[0].rise.at(library.typical_slew, load), cell))
    if not found:
        return None
    best = min(time for time, _ in found)
    return min((cell for time, cell in found if time <= 2 * best), key=lambda cell: cell.area)


def insert(document: dict[str, Any], library: Library, fanout: int) -> int:
    """Give every net of a Yosys JSON netlist at most ``fanout`` sinks per module, by trees of buffers; clocks stay.

    Returns:
        Number of buffers.

    Raises:
        ValueError: the fan-out is below 2, or the library has no buffer.
    """
    if fanout < 2:
        raise ValueError(f"fanout must be at least 2, not {fanout!r}")
    buffer = choose(library, fanout)
    if buffer is None:
        raise ValueError(f"library {library.name} must have a buffer, but has none")
    modules = document["modules"]
    total = 0
    for module in modules.values():
        if not int(module.get("attributes", {}).get("blackbox", "0"), 2):
            total += _module(module, modules, library, buffer, fanout)
    return total


def _module(module: dict[str, Any], modules: dict[str, Any], library: Library, buffer: Cell, fanout: int) -> int:
    clocks = set(module["ports"].get("clk", {}).get("bits", ()))
    sinks: dict[int, list[tuple[dict[str, Any], str, int]]] = {}
    highest = max(
        (bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)), default=1
    )
    for cell in module["cells"].values():
        kind = cell["type"]
        known = library.cell(kind) if kind in library else None
        if known is not None and known.clock_gate is not None:
            clocks.update(cell["connections"][known.clock_gate.output])
        for port, bits in cell["connections"].items():
            direction = known.pins[port].direction if known is not None else modules[kind]["ports"][port]["direction"]
            if direction == "input":
                for index, bit in enumerate(bits):
                    if isinstance(bit, int):
                        sinks.setdefault(bit, []).append((cell, port, index))
    source, target = buffer.inputs[0].name, buffer.outputs[0].name
    count = 0
    for net, found in sinks.items():
        if net in clocks:
            continue
        level = found
        while len(level) > fanout:
            above = []
            for start in range(0, len(level), fanout):
                highest += 1
                cell = {
                    "hide_name": 0,
                    "type": buffer.name,
                    "parameters": {},
                    "attributes": {},
                    "port_directions": {source: "input", target: "output"},
                    "connections": {source: [net], target: [highest]},
                }
                module["cells"][f"fanout{count}"] = cell
                module["netnames"][f"fanout{count}_net"] = {"hide_name": 0, "bits": [highest], "attributes": {}}
                count += 1
                for sink, port, index in level[start : start + fanout]:
                    sink["connections"][port][index] = highest
                above.append((cell, source, 0))
            level = above
    return count
