"""A mapped netlist as Yosys writes it (JSON), with its hierarchy resolved."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Bit = int | str
"""A net's number, or a constant ``"0"``, ``"1"``, ``"x"``."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A library cell: where it stands (instance path, "" for the top), its type, the net at each pin."""

    block: str
    type: str
    pins: dict[str, Bit]


@dataclass(frozen=True, kw_only=True)
class Macro:
    """A cell of a module without contents: a memory. Parameters, and the nets of its ports, lowest bit first."""

    module: str
    parameters: dict[str, int]
    inputs: dict[str, tuple[Bit, ...]]
    outputs: dict[str, tuple[Bit, ...]]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """All library cells of a design, nets numbered across the hierarchy; nothing is merged.

    Attributes:
        top: name of the top module.
        inputs, outputs: nets of the ports, lowest bit first.
        instances: library cells.
        modules: module of every instance path.
        memories: macros, by path.
    """

    top: str
    inputs: dict[str, tuple[Bit, ...]]
    outputs: dict[str, tuple[Bit, ...]]
    instances: tuple[Instance, ...]
    modules: dict[str, str]
    memories: dict[str, Macro]

    def count(self) -> Counter[tuple[str, str]]:
        """Number of cells by block and type."""
        return Counter((instance.block, instance.type) for instance in self.instances)


def read(document: Mapping[str, Any], top: str) -> Netlist:
    """The netlist below ``top`` of a Yosys JSON document.

    Raises:
        ValueError: there is no such module.
    """
    modules = document["modules"]
    if top not in modules:
        raise ValueError(f"netlist must have a module {top!r}, not {', '.join(modules)!r}")
    reader = _Reader(modules)
    ports: dict[str, dict[str, tuple[Bit, ...]]] = {"input": {}, "output": {}}
    nets: dict[int, Bit] = {}
    for name, port in modules[top]["ports"].items():
        if port["direction"] in ports:
            ports[port["direction"]][name] = tuple(reader.net(bit, nets) for bit in port["bits"])
    reader.walk(top, "", nets)
    return Netlist(
        top=top,
        inputs=reader.ports(ports["input"]),
        outputs=reader.ports(ports["output"]),
        instances=tuple(
            replace(found, pins={pin: reader.resolve(bit) for pin, bit in found.pins.items()})
            for found in reader.instances
        ),
        modules=reader.paths,
        memories={
            path: replace(macro, inputs=reader.ports(macro.inputs), outputs=reader.ports(macro.outputs))
            for path, macro in reader.memories.items()
        },
    )


class _Reader:
    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.next = 0
        self.alias: dict[int, Bit] = {}
        self.instances: list[Instance] = []
        self.paths: dict[str, str] = {}
        self.memories: dict[str, Macro] = {}

    def net(self, bit: Bit, nets: dict[int, Bit]) -> Bit:
        if isinstance(bit, str):
            return bit
        if bit not in nets:
            nets[bit] = self.next
            self.next += 1
        return nets[bit]

    def resolve(self, bit: Bit) -> Bit:
        while isinstance(bit, int) and bit in self.alias:
            bit = self.alias[bit]
        return bit

    def ports(self, ports: Mapping[str, tuple[Bit, ...]]) -> dict[str, tuple[Bit, ...]]:
        return {name: tuple(self.resolve(bit) for bit in bits) for name, bits in ports.items()}

    def walk(self, module: str, path: str, nets: dict[int, Bit]) -> None:
        self.paths[path] = module
        for name, cell in self.modules[module]["cells"].items():
            kind = cell["type"]
            if kind not in self.modules:
                pins = {pin: self.net(bits[0], nets) for pin, bits in cell["connections"].items()}
                self.instances.append(Instance(block=path, type=kind, pins=pins))
                continue
            child = self.modules[kind]
            below = f"{path}.{name}" if path else name
            if int(child.get("attributes", {}).get("blackbox", "0"), 2):
                parameters = {key: int(value, 2) for key, value in cell["parameters"].items()}
                ports: dict[str, dict[str, tuple[Bit, ...]]] = {"input": {}, "output": {}}
                for port, bits in cell["connections"].items():
                    direction = child["ports"][port]["direction"]
                    ports[direction][port] = tuple(self.net(bit, nets) for bit in bits)
                self.memories[below] = Macro(
                    module=kind, parameters=parameters, inputs=ports["input"], outputs=ports["output"]
                )
                continue
            inside: dict[int, Bit] = {}
            connected = sorted(cell["connections"].items(), key=lambda item: child["ports"][item[0]]["direction"])
            for port, bits in connected:  # inputs first
                for inner, outer in zip(child["ports"][port]["bits"], bits, strict=True):
                    driver = inner if isinstance(inner, str) else inside.get(inner)
                    if driver is None:
                        assert isinstance(inner, int)
                        inside[inner] = self.net(outer, nets)
                    elif child["ports"][port]["direction"] == "output" and isinstance(outer, int):
                        # a constant, or an input or another output passed on: the same net
                        net = self.net(outer, nets)
                        assert isinstance(net, int)
                        self.alias[net] = driver
            self.walk(kind, below, inside)
