"""Power of the whole processor on a layer of an image, block by block, memories from a table of macros."""

from collections.abc import Callable
from typing import Any

import numpy as np

from firstspike.compiler.image import assemble, store_input
from firstspike.gates import machine, power, scaling
from firstspike.gates.liberty import Library
from firstspike.gates.synthesise import MacroTable, Synthesis, block_name
from firstspike.spec.network import Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Program


def layer_power(
    synthesis: Synthesis,
    library: Library,
    network: Network,
    program: Program,
    processor: ProcessorSpec,
    times: np.ndarray,
    layer: str,
    *,
    cycles: int = 3000,
    macros: MacroTable | None = None,
    node_nm: float | None = None,
    to_the_end: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], machine.Run]:
    """Energy per cycle of every block while a layer runs on one image.

    Args:
        synthesis: of the design "processor" in ``library``.
        library: the cells it was mapped to.
        network: the network of which a layer runs.
        program: what runs (`firstspike.compiler.mapping.program`).
        processor: on what.
        times: the encoded image, uint8 ``[1, *input_shape]``.
        layer: name of a layer of the program.
        cycles: at most so many of its first cycles.
        macros: prices the memories at 28 nm.
        node_nm: node of the library; None: by its name.
        to_the_end: run on to the logits (for checking).
        progress: called every 1000 cycles.

    Raises:
        ValueError: the program has no such layer.
    """
    image = assemble(network, program, processor)
    names = [operation.layer for operation in program.operations]
    if layer not in names:
        raise ValueError(f"layer must be one of {', '.join(dict.fromkeys(names))}, not {layer!r}")
    first = names.index(layer)
    last = len(names) - names[::-1].index(layer)
    inputs = store_input(network, network.neuron_times(times), processor).tobytes()
    run = machine.run(
        synthesis.netlist,
        library,
        image,
        processor,
        inputs,
        operations=(first, last),
        limit=cycles,
        to_the_end=to_the_end,
        progress=progress,
    )
    report = power.integrate(synthesis.netlist, library, run.waves, clock_ns=synthesis.clock_ns, warmup=0)
    node = scaling.node_of(library.name) if node_nm is None else node_nm
    factor = None if node is None else scaling.scaling(node, library.voltage).energy
    groups: dict[str, power.Energy] = {}
    for path, energy in report.blocks.items():
        group = groups.setdefault(block_name(path, synthesis), power.Energy())
        for name in power.CATEGORIES:
            group.add(name, energy.supply[name], energy.both[name])
        group.leakage_nw += energy.leakage_nw
        group.cells += energy.cells
    grouped = power.PowerReport(blocks=groups, cycles=report.cycles, clock_ns=report.clock_ns)
    blocks = []
    for name, energy in groups.items():
        if energy.cells:
            cycle = grouped.per_cycle_fj(name)
            blocks.append({"name": name} | cycle | ({} if factor is None else {"at_28nm": cycle["total"] * factor}))
    blocks.sort(key=lambda block: -float(str(block["total"])))
    recorded = len(run.waves.nets)
    memories = []
    for path, access in run.memories.items():
        row: dict[str, Any] = {"name": path, "reads": access.reads, "writes": access.writes}
        parameters = synthesis.netlist.memories[path].parameters
        if macros is not None:
            width, depth = parameters["WIDTH"], parameters["DEPTH"]
            macro = macros.buffer(capacity_kib=width * depth / 8192, width_bits=width)
            row["fj_per_cycle_28nm"] = [
                1000
                * (access.reads * getattr(macro.read_pj, b) + access.writes * getattr(macro.write_pj, b))
                / recorded
                for b in ("low", "value", "high")
            ]
        memories.append(row)
    total = report.per_cycle_fj()
    record = {
        "library": library.name,
        "voltage": library.voltage,
        "layer": layer,
        "clock_ns": synthesis.clock_ns,
        "cycles": recorded,
        "first_cycle": run.first,
        "blocks": blocks,
        "memories": memories,
        "dram_words": run.dram_words,
        "logic_fj_per_cycle": {name: total[name] for name in ("low", "total", "high", "leakage")},
        "logic_power_uw": report.power_uw(),
        "logic_fj_per_cycle_28nm": None if factor is None else [total[n] * factor for n in ("low", "total", "high")],
    }
    return record, run
