"""On-chip memories: a single-port macro and a two-port register file, as Amaranth memories or Verilog instances."""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

VERILOG = """\
// Single-port synchronous memory: one read or one write a cycle; read_data keeps the last word read.
// Simulation model; a synthesis flow replaces it by a macro.
module firstspike_sram #(parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS = 1) (
    input wire clk,
    input wire enable,
    input wire write,
    input wire [ADDRESS-1:0] address,
    input wire [WIDTH-1:0] write_data,
    output reg [WIDTH-1:0] read_data
);
    reg [WIDTH-1:0] words [0:DEPTH-1] /*verilator public_flat_rd*/;
    always @(posedge clk)
        if (enable) begin
            if (write) words[address] <= write_data;
            else read_data <= words[address];
        end
endmodule

// Register file with one write port and one synchronous read port; a word is never read in the cycle it is written.
module firstspike_register_file #(parameter WIDTH = 8, parameter DEPTH = 2, parameter ADDRESS = 1) (
    input wire clk,
    input wire read_enable,
    input wire [ADDRESS-1:0] read_address,
    output reg [WIDTH-1:0] read_data,
    input wire write_enable,
    input wire [ADDRESS-1:0] write_address,
    input wire [WIDTH-1:0] write_data
);
    reg [WIDTH-1:0] words [0:DEPTH-1];
    always @(posedge clk) begin
        if (write_enable) words[write_address] <= write_data;
        if (read_enable) read_data <= words[read_address];
    end
endmodule
"""
"""Verilog of both memories, written next to the generated files."""


class Sram(wiring.Component):
    """Single-port memory: ``enable`` reads ``address``, or writes it with ``write``; data one cycle later, then held.

    Args:
        width: bits of a word.
        depth: words.
        external: an instance of the Verilog module ``firstspike_sram`` instead of an Amaranth memory.
    """

    def __init__(self, width: int, depth: int, *, external: bool = False) -> None:
        self.width, self.depth, self.external = width, depth, external
        self.address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "enable": In(1),
                "write": In(1),
                "address": In(self.address_bits),
                "write_data": In(width),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.external:
            m.submodules.macro = Instance(
                "firstspike_sram",
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_ADDRESS=self.address_bits,
                i_clk=ClockSignal(),
                i_enable=self.enable,
                i_write=self.write,
                i_address=self.address,
                i_write_data=self.write_data,
                o_read_data=self.read_data,
            )
            return m
        m.submodules.words = words = memory.Memory(shape=self.width, depth=self.depth, init=[])
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            read.en.eq(self.enable & ~self.write),
            read.addr.eq(self.address),
            write.en.eq(self.enable & self.write),
            write.addr.eq(self.address),
            write.data.eq(self.write_data),
            self.read_data.eq(read.data),
        ]
        return m


class RegisterFile(wiring.Component):
    """Small memory with one write port and one read port; read data one cycle after the address.

    Args:
        width: bits of a word.
        depth: words.
        external: an instance of the Verilog module ``firstspike_register_file`` instead of an Amaranth memory.
    """

    def __init__(self, width: int, depth: int, *, external: bool = False) -> None:
        self.width, self.depth, self.external = width, depth, external
        self.address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "read_enable": In(1),
                "read_address": In(self.address_bits),
                "read_data": Out(width),
                "write_enable": In(1),
                "write_address": In(self.address_bits),
                "write_data": In(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.external:
            m.submodules.macro = Instance(
                "firstspike_register_file",
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_ADDRESS=self.address_bits,
                i_clk=ClockSignal(),
                i_read_enable=self.read_enable,
                i_read_address=self.read_address,
                o_read_data=self.read_data,
                i_write_enable=self.write_enable,
                i_write_address=self.write_address,
                i_write_data=self.write_data,
            )
            return m
        m.submodules.words = words = memory.Memory(shape=self.width, depth=self.depth, init=[])
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
        ]
        return m
