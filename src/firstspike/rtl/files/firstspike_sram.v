// Single-port synchronous memory: one read or one write a cycle; read_data keeps the last word read.
// Simulation model: replace this file by one that instantiates macros by WIDTH and DEPTH (README.md has the list).
// The processor writes whole words; byte_enable is for macros that have such pins.
module firstspike_sram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDRESS = 1
) (
    input wire clk,
    input wire enable,
    input wire write,
    input wire [(WIDTH+7)/8-1:0] byte_enable,
    input wire [ADDRESS-1:0] address,
    input wire [WIDTH-1:0] write_data,
    output reg [WIDTH-1:0] read_data
);
    reg [WIDTH-1:0] words [0:DEPTH-1] /*verilator public_flat_rd*/;

    function [WIDTH-1:0] merged(
        input [WIDTH-1:0] kept, input [WIDTH-1:0] given, input [(WIDTH+7)/8-1:0] bytes
    );
        integer place;
        for (place = 0; place < WIDTH; place = place + 1)
            merged[place] = bytes[place/8] ? given[place] : kept[place];
    endfunction

    always @(posedge clk)
        if (enable) begin
            if (write) words[address] <= &byte_enable ? write_data : merged(words[address], write_data, byte_enable);
            else read_data <= words[address];
        end
endmodule
