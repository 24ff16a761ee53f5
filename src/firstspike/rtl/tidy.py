"""A netlist in Yosys' JSON made readable as Verilog: names that a person can type, operands of equal widths.

Yosys writes Verilog from what this leaves. Nothing here changes what the netlist computes: wires are renamed, second
names of one wire are dropped, and operands are extended or cut to the width at which Verilog would take them anyway.
"""

import re
from typing import Any

Module = dict[str, Any]
Bits = tuple[int | str, ...]

WORDS = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
checker class clocking cmos config const constraint context continue cover covergroup coverpoint
cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually
expect export extends extern final first_match for force foreach forever fork forkjoin function
generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
import incdir include initial inout input inside instance int integer interconnect interface
intersect join join_any join_none large let liblist library local localparam logic longint
macromodule map matches medium modport module nand negedge nettype new nexttime nmos nor
noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive
priority program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg reject_on
release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually
s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled signed small
soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran
tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until
until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while
wildcard wire with within wor xnor xor
"""
KEYWORDS = frozenset(WORDS.split())
"""Words that are no names in Verilog-2005 or SystemVerilog."""


class Names:
    """Gives each wanted name once: letters, digits and underscores, no keyword, numbered from 2 when taken."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of(self, wanted: str) -> str:
        """A free name like the wanted one.

        >>> names = Names()
        >>> names.of("firstspike.pool$12"), names.of("firstspike.pool"), names.of("begin")
        ('firstspike_pool', 'firstspike_pool_2', 'begin_')
        """
        plain = re.sub(r"\W", "_", re.sub(r"\$\d+", "", wanted)).strip("_") or "net"
        if plain in KEYWORDS or plain[0].isdigit():
            plain += "_"
        name, number = plain, 2
        while name in self.taken:
            name, number = f"{plain}_{number}", number + 1
        self.taken.add(name)
        return name


def tidy(document: dict[str, Any], top: str, *, initial_values: bool = False) -> dict[str, Any]:
    """The document with readable modules.

    Args:
        document: a netlist as `write_json` gives it, processes already turned into cells.
        top: module that keeps its name.
        initial_values: keep what registers hold at power-up; without, a simulation begins with X.
    """
    modules: dict[str, Module] = {
        name: module for name, module in document["modules"].items() if "blackbox" not in module["attributes"]
    }
    names = Names()
    names.taken.add(top)
    renamed = {name: name if name == top else names.of(name) for name in modules}
    dropped = True
    while dropped:
        dropped = sum(_drop_unused(modules, name) for name in modules if name != top) > 0
    for name, pieces in {name: _pieces(module) for name, module in modules.items()}.items():
        _split(modules, name, pieces)
    for name, module in modules.items():
        _join(modules, name, _joints(module))
    ports = {name: _port_names(module) for name, module in modules.items()}
    for name, module in modules.items():
        free = Names()
        free.taken.update(ports[name].values())
        _cells(module, free, renamed, ports)
        _wires(module, free, ports[name], initial_values)
    return {**document, "modules": {renamed[name]: module for name, module in modules.items()}}


def _drop_unused(modules: dict[str, Module], name: str) -> bool:
    """Take away ports that no one uses: inputs that only pass by on their way to other blocks, and outputs like them."""
    module = modules[name]
    instances = [
        (cell, _used(parent))
        for parent in modules.values()
        for cell in parent["cells"].values()
        if cell["type"] == name
    ]
    used = _used(module)
    unused = [
        port
        for port, entry in module["ports"].items()
        if (used.isdisjoint(entry["bits"]) and entry["direction"] == "input")
        or (
            entry["direction"] == "output" and all(wanted.isdisjoint(c["connections"][port]) for c, wanted in instances)
        )
    ]
    for port in unused:
        del module["ports"][port]
        for cell, _ in instances:
            del cell["port_directions"][port], cell["connections"][port]
    return bool(unused)


def _used(module: Module) -> set[int | str]:
    """Bits that something reads."""
    used = {bit for entry in module["ports"].values() if entry["direction"] == "output" for bit in entry["bits"]}
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                used.update(bits)
    return used


def _pieces(module: Module) -> dict[str, dict[str, slice]]:
    """Ports that join several wires only because one register holds them, cut at those wires.

    Amaranth gives such a port no name of its own (``port$12$0``).
    """
    starts: dict[int | str, list[tuple[str, Bits]]] = {}
    for name, net in module["netnames"].items():
        if net["bits"] and "$" not in name and "." not in name:
            starts.setdefault(net["bits"][0], []).append((name, tuple(net["bits"])))
    result: dict[str, dict[str, slice]] = {}
    for port, entry in module["ports"].items():
        bits, place = tuple(entry["bits"]), 0
        pieces: dict[str, slice] = {}
        while "$" in port and place < len(bits):
            rest = bits[place:]
            fitting = [(name, net) for name, net in starts.get(rest[0], []) if net == rest[: len(net)]]
            if fitting:
                name, net = min(fitting, key=lambda pair: _rank(pair[0]))
                width = len(net)
            else:
                name, width = f"{port}_{place}", 1
                while place + width < len(bits) and bits[place + width] not in starts:
                    width += 1
            pieces[name] = slice(place, place + width)
            place += width
        if len(pieces) > 1:
            result[port] = pieces
    return result


def _split(modules: dict[str, Module], name: str, ports: dict[str, dict[str, slice]]) -> None:
    """Cut ports of a module, and what its instances are joined to."""
    for port, pieces in ports.items():
        entry = modules[name]["ports"].pop(port)
        for piece, place in pieces.items():
            modules[name]["ports"][piece] = {**entry, "bits": entry["bits"][place]}
    instances = [c for module in modules.values() for c in module["cells"].values() if c["type"] == name]
    for cell in instances:
        for port, pieces in ports.items():
            direction, bits = cell["port_directions"].pop(port), cell["connections"].pop(port)
            for piece, place in pieces.items():
                cell["port_directions"][piece], cell["connections"][piece] = direction, bits[place]


def _joints(module: Module) -> dict[str, list[str]]:
    """Nameless outputs that together are one wire, such as what all lanes of an array give: that wire, its ports."""
    nameless = {
        entry["bits"][0]: port
        for port, entry in module["ports"].items()
        if "$" in port and entry["direction"] == "output"
    }
    result = {}
    for name, net in sorted(module["netnames"].items(), key=lambda pair: -len(pair[1]["bits"])):
        bits, place, joined = net["bits"], 0, []
        while "$" not in name and place < len(bits) and bits[place] in nameless:
            joined.append(nameless[bits[place]])
            place += len(module["ports"][joined[-1]]["bits"])
        if len(joined) > 1 and place == len(bits):
            result[name] = joined
            nameless = {bit: port for bit, port in nameless.items() if port not in joined}
    return result


def _join(modules: dict[str, Module], name: str, ports: dict[str, list[str]]) -> None:
    """Make one port of several."""
    for port, pieces in ports.items():
        entries = [modules[name]["ports"].pop(piece) for piece in pieces]
        bits = [bit for entry in entries for bit in entry["bits"]]
        modules[name]["ports"][port] = {"direction": "output", "bits": bits}
    for cell in [c for module in modules.values() for c in module["cells"].values() if c["type"] == name]:
        for port, pieces in ports.items():
            directions = [cell["port_directions"].pop(piece) for piece in pieces]
            cell["port_directions"][port] = directions[0]
            cell["connections"][port] = [bit for piece in pieces for bit in cell["connections"].pop(piece)]


def _port_names(module: Module) -> dict[str, str]:
    """New name of every port: the best of all names that its wire has."""
    known: dict[Bits, list[str]] = {}
    for name, net in module["netnames"].items():
        known.setdefault(tuple(net["bits"]), []).append(name)
    names = Names()
    result = {}
    for port, entry in module["ports"].items():
        candidates = [port] if "$" not in port else [port, *known.get(tuple(entry["bits"]), [])]
        result[port] = names.of(min(candidates, key=_rank))
    return result


def _rank(name: str) -> tuple[bool, bool, bool, int, str]:
    """Order of preference of a wire's names: plain, whole signals, members of an interface, short."""
    return ("$" in name, "." in name, "__" not in name, len(name), name)


def _wires(module: Module, names: Names, ports: dict[str, str], initial_values: bool) -> None:
    """One name for everything that drives a wire: the ports, and the outputs of all cells."""
    initial: dict[int | str, str] = {}
    known: dict[Bits, list[str]] = {}
    for name, net in module["netnames"].items():
        known.setdefault(tuple(net["bits"]), []).append(name)
        for bit, value in zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False):
            initial[bit] = value
    module["ports"] = {ports[name]: entry for name, entry in module["ports"].items()}
    _apart(module)
    kept: dict[str, Any] = {}
    covered: set[int | str] = set()
    for name, entry in module["ports"].items():
        kept[name] = _net(entry["bits"])
        covered.update(entry["bits"])
    for name, cell in module["cells"].items():
        for port, direction in cell["port_directions"].items():
            bits = tuple(cell["connections"][port])
            if direction != "output" or covered.issuperset(bits):
                continue
            covered.update(bits)
            best = min(known.get(bits) or _holding(known, bits, cell["type"]), key=_rank, default="$")
            hidden = best.startswith("$") or module["netnames"][best]["hide_name"]
            if not cell["type"].startswith("$"):
                kept[names.of(f"{name}_{port}")] = _net(bits)
            elif hidden:
                kept[f"$net{len(kept)}"] = _net(bits, hidden=True)
            else:
                kept[names.of(best)] = _net(bits)
    if initial_values:
        for net in kept.values():
            if any(bit in initial for bit in net["bits"]):
                net["attributes"]["init"] = "".join(initial.get(bit, "x") for bit in reversed(net["bits"]))
    module["netnames"] = kept


def _apart(module: Module) -> None:
    """Outputs that are a part of a wire get a copy, so that the wire stays whole."""
    fresh = 1 + max(
        (bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)), default=1
    )
    driven = [
        set(bits)
        for cell in module["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "output"
    ]
    for name, entry in module["ports"].items():
        bits = entry["bits"]
        if entry["direction"] == "output" and any(
            not wire.isdisjoint(bits) and not wire <= set(bits) for wire in driven
        ):
            entry["bits"] = list(range(fresh, fresh + len(bits)))
            fresh += len(bits)
            module["cells"][f"$copy${name}"] = {
                "hide_name": 1,
                "type": "$buf",
                "parameters": {"WIDTH": _number(len(bits))},
                "attributes": {},
                "port_directions": {"A": "input", "Y": "output"},
                "connections": {"A": bits, "Y": entry["bits"]},
            }


def _holding(known: dict[Bits, list[str]], bits: Bits, kind: str) -> list[str]:
    """Names of wires of which a register is a part: its other bits were constant, or nobody read them."""
    if "dff" not in kind:
        return []
    return [name for wire, names in known.items() if set(bits) <= set(wire) for name in names]


def _net(bits: Any, *, hidden: bool = False) -> dict[str, Any]:
    return {"hide_name": int(hidden), "bits": list(bits), "attributes": {}}


def _cells(module: Module, names: Names, renamed: dict[str, str], ports: dict[str, dict[str, str]]) -> None:
    cells = {}
    for name, cell in module["cells"].items():
        cell["attributes"] = {}
        if cell["type"] in ports:
            table = ports[cell["type"]]
            for key in ("port_directions", "connections"):
                cell[key] = {table[port]: value for port, value in cell[key].items()}
            cell["type"] = renamed[cell["type"]]
        elif cell["type"].startswith("$"):
            _widths(cell)
        cells[name if cell["type"].startswith("$") else names.of(name)] = cell
    module["cells"] = cells


ARITHMETIC = ("$add", "$sub", "$mul", "$and", "$or", "$xor", "$xnor")
COMPARISONS = ("$eq", "$ne", "$lt", "$le", "$gt", "$ge")
SHIFTS = ("$shl", "$shr", "$sshl", "$sshr")


def _widths(cell: dict[str, Any]) -> None:
    """Operands as wide as the operation: Verilog takes them so; written out, no reader has to know that."""
    kind, parameters, connections = cell["type"], cell["parameters"], cell["connections"]
    if kind in ARITHMETIC:
        width = len(connections["Y"])
        operands: tuple[str, ...] = ("A", "B")
    elif kind in COMPARISONS:
        width = max(len(connections["A"]), len(connections["B"]))
        operands = ("A", "B")
    elif kind in ("$not", "$pos", "$neg", *SHIFTS) and len(connections["A"]) < len(connections["Y"]):
        width, operands = len(connections["Y"]), ("A",)
    elif kind == "$logic_not" and len(connections["A"]) > 1:
        cell["type"] = "$eq"
        width = len(connections["A"])
        connections["B"] = ["0"] * width
        cell["port_directions"]["B"] = "input"
        parameters |= {"B_SIGNED": _number(0), "A_SIGNED": _number(0)}
        operands = ("A", "B")
    else:
        return
    signed = all(int(parameters[f"{name}_SIGNED"], 2) for name in operands)
    for name in operands:
        bits = connections[name]
        fill = bits[-1] if signed and bits else "0"
        connections[name] = (bits + [fill] * (width - len(bits)))[:width]
        parameters[f"{name}_WIDTH"] = _number(width)


def _number(value: int) -> str:
    """A parameter as Yosys' JSON has it.

    >>> _number(5)
    '00000000000000000000000000000101'
    """
    return f"{value:032b}"
