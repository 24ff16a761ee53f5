"""The flat netlist that is laid out: cells, nets and ports by name, constants from tie cells."""

from collections.abc import Iterable
from dataclasses import dataclass

from firstspike.gates.liberty import Library
from firstspike.gates.netlist import Netlist

TIED = 4
"""Most pins that one tie cell serves, so that its wires stay short."""


@dataclass(frozen=True, kw_only=True)
class Net:
    """A net: its pins as (cell, pin), driver first where a cell drives it, and the ports on it."""

    name: str
    pins: tuple[tuple[str, str], ...]
    ports: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of one bit: ``input`` or ``output``, and its net."""

    direction: str
    net: str


@dataclass(frozen=True, kw_only=True)
class CellBlock:
    """What is placed and routed.

    Attributes:
        name: of the top.
        cells: type of each cell, by name; cell ``u7`` is instance 7 of the netlist, ``t...`` are tie cells.
        nets: by name; net ``n7`` is bit 7 of the netlist, ``c...`` are constants.
        ports: by name; bit 3 of port ``a`` is ``a_3``, a port of one bit keeps its name.
    """

    name: str
    cells: dict[str, str]
    nets: dict[str, Net]
    ports: dict[str, Port]

    def verilog(self) -> str:
        """The netlist with one scalar port a bit, for tools that read the layout's names."""
        driven = {net.name: net.ports for net in self.nets.values() if net.ports}
        pins: dict[str, list[str]] = {name: [] for name in self.cells}
        for net in self.nets.values():
            for cell, pin in net.pins:
                pins[cell].append(f".{pin}({net.name})")
        lines = [f"module {self.name}({', '.join(self.ports)});"]
        lines += [f"  {port.direction} {name};" for name, port in self.ports.items()]
        lines += [f"  wire {name};" for name in self.nets]
        for name, ports in driven.items():
            for port in ports:
                output = self.ports[port].direction == "output"
                lines.append(f"  assign {port} = {name};" if output else f"  assign {name} = {port};")
        lines += [f"  {kind} {name} ({', '.join(pins[name])});" for name, kind in self.cells.items()]
        return "\n".join([*lines, "endmodule", ""])


def build(netlist: Netlist, library: Library) -> CellBlock:
    """Name the cells and nets of a mapped netlist, and put tie cells where a pin is constant.

    Unknown bits become 0.

    Raises:
        ValueError: the netlist has macros, or needs a tie cell that the library lacks.
    """
    if netlist.memories:
        raise ValueError(f"a layout must be of library cells alone, not with {', '.join(netlist.memories)}")
    cells: dict[str, str] = {}
    drivers: dict[str, tuple[str, str]] = {}
    sinks: dict[str, list[tuple[str, str]]] = {}
    constant: dict[str, list[tuple[str, str]]] = {"0": [], "1": []}
    for index, instance in enumerate(netlist.instances):
        name = f"u{index}"
        cells[name] = instance.type
        master = library.cell(instance.type)
        for pin, bit in instance.pins.items():
            if isinstance(bit, str):
                constant["1" if bit == "1" else "0"].append((name, pin))
            elif master.pins[pin].direction == "output":
                drivers[f"n{bit}"] = (name, pin)
            else:
                sinks.setdefault(f"n{bit}", []).append((name, pin))
    ports: dict[str, Port] = {}
    on: dict[str, list[str]] = {}
    for direction, group in (("input", netlist.inputs), ("output", netlist.outputs)):
        for name, bits in group.items():
            for index, bit in enumerate(bits):
                if isinstance(bit, str):
                    raise ValueError(f"port {name} must not be constant, but bit {index} is {bit!r}")
                port = name if len(bits) == 1 else f"{name}_{index}"
                ports[port] = Port(direction=direction, net=f"n{bit}")
                on.setdefault(f"n{bit}", []).append(port)
    for value, tied in constant.items():
        if tied:
            kind, output = _tie(library, value)
            for number, start in enumerate(range(0, len(tied), TIED)):
                cell, net = f"t{value}_{number}", f"c{value}_{number}"
                cells[cell] = kind
                drivers[net] = (cell, output)
                sinks[net] = tied[start : start + TIED]
    nets = {}
    for name in dict.fromkeys([*drivers, *sinks, *on]):
        first = [drivers[name]] if name in drivers else []
        pins = (*first, *sinks.get(name, ()))
        if len(pins) + len(on.get(name, ())) > 1:
            nets[name] = Net(name=name, pins=pins, ports=tuple(on.get(name, ())))
    used = {name: port for name, port in ports.items() if port.net in nets}
    return CellBlock(name=netlist.top, cells=cells, nets=nets, ports=used)


def _tie(library: Library, value: str) -> tuple[str, str]:
    """The smallest cell that drives a constant, and its pin."""
    found = []
    for name in _tie_names(library):
        cell = library.cell(name)
        if not cell.inputs and len(cell.outputs) == 1 and cell.outputs[0].function.strip("() ") == value:
            found.append((cell.area, name, cell.outputs[0].name))
    if not found:
        raise ValueError(f"library {library.name} must have a cell that drives {value}, but has none")
    _, name, pin = min(found)
    return name, pin


def _tie_names(library: Library) -> Iterable[str]:
    return (name for name in library.names() if "tie" in name.lower())
