"""How long the logic behind each memory takes: from a memory's data to the slowest register that takes them.

Number: ``logic.behind_memory`` (activations) and ``logic.behind_weights`` of src/firstspike/processor/technologies/28nm.toml.
n: one netlist a library, of the processor with 16 elements.
Machine: any; OpenSTA's delays, nothing is timed. Versions and date: docs/explanation/synthesis.md.

A memory is a black box without delays. So its data become inputs of the module around it, up to the top, that arrive with
the clock's edge: the delays are of the logic and the setup of its registers, wires by the library's wire-load model if any.

    python -m studies.memory_paths --liberty FILE ...
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from firstspike.arith import Code, LogWeights
from firstspike.gates import scaling
from firstspike.gates.liberty import Library, read_text
from firstspike.gates.synthesise import design, synthesise
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec

MEMORIES = ("activations", "membranes", "weights.bank0")
"""Modules around a memory, by the end of their names; both banks are alike."""


def opened(netlist: str, memory: str) -> str:
    """The netlist without the module of a memory: what drove its data is an input of the top, called ``data``."""
    module = rf"\firstspike.{memory} "
    instance = re.search(rf"  {re.escape(module)} \w+ \(.*?\);\n", netlist, re.DOTALL)
    if instance is None:
        raise SystemExit(f"the netlist must have an instance of {module.strip()}, but has none")
    net = re.search(r"\.(?:port__)?read_data\(([^)]*)\)", instance[0])
    if net is None:
        raise SystemExit(f"{module.strip()} must have its data on a port read_data, but has it not")
    netlist = netlist.replace(instance[0], "")
    parent = memory.rpartition(".")[0]
    head = rf"module \firstspike.{parent} (" if parent else "module firstspike("
    declaration = re.compile(rf"  (?:output|wire) (\[\d+:0\]) {re.escape(net[1].strip())} ?;\n")
    start = netlist.index(head)
    wires = declaration.search(netlist, start)
    if wires is None:
        raise SystemExit(f"{net[1]} must be declared in the module around {module.strip()}, but is not")
    body = netlist[start : netlist.index("endmodule", start)]
    made = declaration.sub("", body)
    if not parent:
        made = re.sub(
            rf"(?<=[(,] ){re.escape(net[1].strip())}, |, {re.escape(net[1].strip())}(?=\))", "", made, count=1
        )
    made = made.replace(head, f"{head}data, ", 1)
    made = made.replace(
        ";\n", f";\n  input {wires[1]} data;\n  wire {wires[1]} {net[1]};\n  assign {net[1]} = data;\n", 1
    )
    netlist = netlist.replace(body, made)
    if parent:
        netlist = netlist.replace("module firstspike(", "module firstspike(data, ", 1)
        top = netlist.index("module firstspike(")
        end = netlist.index(";\n", top) + 2
        netlist = f"{netlist[:end]}  input {wires[1]} data;\n  wire {wires[1]} data;\n{netlist[end:]}"
        netlist = re.sub(rf"(  \\firstspike\.{parent}  \w+ \()", r"\1.data(data), ", netlist, count=1)
    return netlist


def behind_ns(netlist: str, library: Library, folder: Path) -> tuple[float, str]:
    """Delay from ``data`` to the slowest register, its setup included, and which it is."""
    names = []
    for index, path in enumerate(library.paths):
        (folder / f"{index}.lib").write_text(read_text(path), encoding="utf-8")
        names.append(f"read_liberty {index}.lib")
    period = 1000 / library.time_unit_ns
    (folder / "netlist.v").write_text(netlist)
    commands = [
        *names,
        "read_verilog netlist.v",
        "link_design firstspike",
        f"create_clock -name clk -period {period} [get_ports clk]",
        "set_input_delay 0 -clock clk [get_ports data*]",
        "report_checks -path_delay max -from [get_ports data*] -digits 6",
        "exit",
    ]
    (folder / "run.tcl").write_text("\n".join(commands))
    done = subprocess.run(["sta", "run.tcl"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    slack = re.search(r"(-?[0-9.]+)\s+slack \(", done.stdout)
    end = re.search(r"Endpoint: (\S+)", done.stdout)
    if slack is None or end is None:
        raise SystemExit(f"OpenSTA found no path: {' '.join((done.stdout + done.stderr).splitlines()[-4:])}")
    return (period - float(slack[1])) * library.time_unit_ns, end[1]


def main() -> None:
    """Print the delay behind each memory, in the library and at 28 nm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", action="append", required=True, help="Liberty file, may be repeated: one library")
    library = Library(parser.parse_args().liberty)
    parameters = Parameters(processor=ProcessorSpec(pes=16), code=Code(), weights=LogWeights())
    netlist = synthesise(design("processor", parameters), library, max_fanout=12, with_timing=False).verilog
    netlist = re.sub(r"\b(input|output|wire|reg) signed\b", r"\1", netlist)
    # not every OpenSTA reads parameters; memories are black boxes, each of its own widths
    count = iter(range(100))
    netlist = re.sub(
        r"firstspike_(?:sram|register_file) #\(.*?\n  \) (\w+) \(",
        lambda found: f"memory{next(count)} {found[1]} (",
        netlist,
        flags=re.DOTALL,
    )
    factor = scaling.scaling(scaling.node_of(library.name) or 28.0, library.voltage).delay
    for memory in MEMORIES:
        with tempfile.TemporaryDirectory() as folder:
            delay, end = behind_ns(opened(netlist, memory), library, Path(folder))
        print(f"{memory}: {delay:.3f} ns to {end}, at 28 nm {delay * factor:.3f} ns")


if __name__ == "__main__":
    main()
