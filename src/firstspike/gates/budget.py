"""Power of the whole processor on a layer of an image, block by block, memories from a table of macros."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from firstspike.compiler.image import assemble, store_input
from firstspike.gates import machine, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.power import PowerReport
from firstspike.gates.synthesise import MacroTable, Synthesis, block_name
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Program


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """A layer of a network on one image.

    Attributes:
        network: the network of which a layer runs.
        program: what runs (`firstspike.compiler.mapping.program`).
        processor: on what.
        times: the encoded image, uint8 ``[1, *input_shape]``.
        layer: name of a layer of the program.
        cycles: at most so many of its first cycles.
        to_the_end: run on to the logits (for checking).

    Raises:
        ValueError: the program has no such layer.
    """

    network: Network
    program: Program
    processor: ProcessorSpec
    times: np.ndarray
    layer: str
    cycles: int = 3000
    to_the_end: bool = False

    def __post_init__(self) -> None:
        names = dict.fromkeys(operation.layer for operation in self.program.operations)
        if self.layer not in names:
            raise ValueError(f"layer must be one of {', '.join(names)}, not {self.layer!r}")

    def setup(self) -> machine.Setup:
        """What the machine runs: the whole program, recorded from the layer's first operation to its last."""
        names = [operation.layer for operation in self.program.operations]
        last = len(names) - names[::-1].index(self.layer)
        return machine.Setup(
            image=assemble(self.network, self.program, self.processor),
            processor=self.processor,
            inputs=store_input(self.network, self.network.neuron_times(self.times), self.processor).tobytes(),
            operations=(names.index(self.layer), last),
            limit=self.cycles,
            to_the_end=self.to_the_end,
        )


def layer_power(
    synthesis: Synthesis,
    library: Library,
    work: Workload,
    *,
    macros: MacroTable | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], machine.Run]:
    """Energy per cycle of every block while a layer runs on one image.

    Args:
        synthesis: of the design "processor" in ``library``.
        library: the cells it was mapped to; its name says the node.
        work: what runs.
        macros: prices the memories at 28 nm.
        progress: called every 1000 cycles.
    """
    run = machine.run(synthesis.netlist, library, work.setup(), progress=progress)
    report = power.integrate(synthesis.netlist, library, run.waves, clock_ns=synthesis.clock_ns, warmup=0)
    node = scaling.node_of(library.name)
    factor = None if node is None else scaling.scaling(node, library.voltage).energy
    total = report.per_cycle_fj()
    record = {
        "library": library.name,
        "voltage": library.voltage,
        "layer": work.layer,
        "clock_ns": synthesis.clock_ns,
        "cycles": len(run.waves.nets),
        "first_cycle": run.first,
        "blocks": _blocks(report, synthesis, factor),
        "memories": [_memory(path, run, synthesis, macros) for path in run.memories],
        "dram_words": run.dram_words,
        "logic_fj_per_cycle": {name: total[name] for name in ("low", "total", "high", "leakage")},
        "logic_power_uw": report.power_uw(),
        "logic_fj_per_cycle_28nm": None if factor is None else [total[n] * factor for n in ("low", "total", "high")],
    }
    return record, run


def _blocks(report: PowerReport, synthesis: Synthesis, factor: float | None) -> list[dict[str, Any]]:
    """Energy per cycle by block, the dearest first; ``factor`` scales to 28 nm."""
    groups: dict[str, power.Energy] = {}
    for path, energy in report.blocks.items():
        group = groups.setdefault(block_name(path, synthesis), power.Energy())
        for name in power.CATEGORIES:
            group.add(name, energy.supply[name], energy.both[name])
        group.leakage_nw += energy.leakage_nw
        group.cells += energy.cells
    grouped = PowerReport(blocks=groups, cycles=report.cycles, clock_ns=report.clock_ns)
    blocks: list[dict[str, Any]] = []
    for name, energy in groups.items():
        if energy.cells:
            cycle = grouped.per_cycle_fj(name)
            blocks.append({"name": name} | cycle | ({} if factor is None else {"at_28nm": cycle["total"] * factor}))
    return sorted(blocks, key=lambda block: -float(block["total"]))


def _memory(path: str, run: machine.Run, synthesis: Synthesis, macros: MacroTable | None) -> dict[str, Any]:
    """Accesses of a memory, and with a table of macros their energy per cycle between its bounds."""
    access = run.memories[path]
    row: dict[str, Any] = {"name": path, "reads": access.reads, "writes": access.writes}
    if macros is not None:
        parameters = synthesis.netlist.memories[path].parameters
        width, depth = parameters["WIDTH"], parameters["DEPTH"]
        macro = macros.buffer(capacity_kib=width * depth / 8192, width_bits=width)
        row["fj_per_cycle_28nm"] = [
            1000
            * (access.reads * getattr(macro.read_pj, bound) + access.writes * getattr(macro.write_pj, bound))
            / len(run.waves.nets)
            for bound in ("low", "value", "high")
        ]
    return row
