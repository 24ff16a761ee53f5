"""Verilog of Amaranth components, a file a module, for any tool: no processes that wait for a change that never comes.

Amaranth writes RTLIL. Yosys turns its processes into multiplexers and registers (`proc`), so that what Verilog leaves
to the simulator's events, such as an `always @*` that reads constants only, does not occur.
"""

import json
import re
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from firstspike.rtl import yosys
from firstspike.rtl.tidy import tidy

SUBJECT = "writing Verilog"


def modules(
    components: dict[str, wiring.Component],
    top: str,
    *,
    black_boxes: str = "",
    initial_values: bool = False,
    pessimistic: bool = False,
) -> dict[str, str]:
    """Verilog by module name.

    Args:
        components: by name of their module; one may instantiate another by `Instance`.
        top: the one that is no other's part.
        black_boxes: Verilog of other modules that they instantiate.
        initial_values: registers begin with their reset value; without, with whatever the power-up leaves: X.
        pessimistic: enables and resets of registers are written as multiplexers, so that an X of theirs is seen in a
            simulation that would otherwise take it for a 0.

    Raises:
        RuntimeError: Yosys is not installed.
    """
    sources = {name: rtlil.convert(component, name=name, emit_src=False) for name, component in components.items()}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        script = []
        for name, source in sources.items():
            (folder / f"{name}.il").write_text(source)
            script.append(f"read_rtlil {name}.il")
        (folder / "black_boxes.v").write_text(black_boxes)
        script += ["read_verilog -lib black_boxes.v", f"hierarchy -top {top}", "proc -norom", "pmuxtree", "opt_clean"]
        script += [] if pessimistic else ["opt_dff", "setundef -zero", "opt_expr", "opt_clean"]
        yosys.run([*script, "wreduce", "opt_clean", "write_json netlist.json"], folder, subject=SUBJECT)
        document = tidy(json.loads((folder / "netlist.json").read_text()), top, initial_values=initial_values)
        (folder / "tidy.json").write_text(json.dumps(document))
        yosys.run(["read_json tidy.json", "opt_clean", "write_verilog -noattr netlist.v"], folder, subject=SUBJECT)
        text = (folder / "netlist.v").read_text()
    found = re.findall(r"^module (\w+).*?^endmodule\n", text, flags=re.MULTILINE | re.DOTALL)
    texts = re.findall(r"^module \w+.*?^endmodule\n", text, flags=re.MULTILINE | re.DOTALL)
    return dict(zip(found, texts, strict=True))


def statements(components: dict[str, wiring.Component], *, black_boxes: str = "") -> str:
    """Verilog of all components as Amaranth has it, with a `case` where the source has an `If` or a state.

    For coverage, which counts what of these was taken. Only Verilator runs it: its names and its waits are not for others.

    Raises:
        RuntimeError: Yosys is not installed.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "black_boxes.v").write_text(black_boxes)
        script = ["read_verilog -lib black_boxes.v"]
        for name, component in components.items():
            (folder / f"{name}.il").write_text(rtlil.convert(component, name=name, emit_src=False))
            script.append(f"read_rtlil {name}.il")
        script += ["proc -nomux -norom", "opt_clean", "write_verilog -noattr -norename statements.v"]
        yosys.run(script, folder, subject=SUBJECT)
        return (folder / "statements.v").read_text()
