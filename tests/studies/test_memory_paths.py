"""A memory's data become inputs of the top: the netlist around a memory is opened, whatever level it is on."""

import pytest

from studies.memory_paths import opened

NETLIST = r"""module firstspike(clk, data_out, done);
  input clk;
  output [7:0] data_out;
  wire [7:0] data_out;
  output done;
  \firstspike.activations  activations (
    .clk(clk),
    .port__read_data(data_out)
  );
  \firstspike.weights  weights (
    .clk(clk)
  );
endmodule
module \firstspike.weights (clk);
  input clk;
  wire [3:0] \read$2 ;
  \firstspike.weights.bank0  bank0 (
    .clk(clk),
    .port__read_data(\read$2 )
  );
endmodule
"""


def test_memory_of_the_top() -> None:
    text = opened(NETLIST, "activations")
    assert "firstspike.activations" not in text and "module firstspike(data, clk, done);" in text
    assert "input [7:0] data;\n  wire [7:0] data_out;\n  assign data_out = data;" in text
    assert "output [7:0]" not in text
    assert text.endswith(NETLIST[NETLIST.index(r"module \firstspike.weights") :])


def test_memory_inside_a_block() -> None:
    text = opened(NETLIST, "weights.bank0")
    assert "bank0" not in text
    assert (
        r"module \firstspike.weights (data, clk);" in text and "module firstspike(data, clk, data_out, done);" in text
    )
    assert "  \\firstspike.weights  weights (.data(data), \n    .clk(clk)" in text
    assert text.count("input [3:0] data;") == 2 and r"assign \read$2  = data;" in text


def test_no_such_memory() -> None:
    with pytest.raises(SystemExit, match=r"must have an instance of \\firstspike\.fire\.table, but has none"):
        opened(NETLIST, "fire.table")
