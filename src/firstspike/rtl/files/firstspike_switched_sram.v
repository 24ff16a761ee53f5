// Single-port synchronous memory that can be switched off: as firstspike_sram while `on` is high, without
// content after it was low. An access is allowed from WAKE cycles after `on` has risen; any other one ends
// the simulation.
// Simulation model: replace this file by one that instantiates macros by WIDTH and DEPTH (README.md has the list).
module firstspike_switched_sram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDRESS = 1,
    parameter WAKE = 0
) (
    input wire clk,
    input wire on,
    input wire enable,
    input wire write,
    input wire [(WIDTH+7)/8-1:0] byte_enable,
    input wire [ADDRESS-1:0] address,
    input wire [WIDTH-1:0] write_data,
    output reg [WIDTH-1:0] read_data
);
    reg [WIDTH-1:0] words [0:DEPTH-1] /*verilator public_flat_rd*/;
    // Counts from any number on; no part of a macro: the energy model is held against it.
    reg [63:0] cycles_on /*verilator public_flat_rd*/;
    reg [DEPTH-1:0] holds;  // words that were written since the memory was switched on
    reg [31:0] awake;  // cycles since then, WAKE at most

    // What is read from a word that holds nothing: unknown, or with two states the inverse of what it held last.
    function [WIDTH-1:0] nothing(input [WIDTH-1:0] last);
`ifdef VERILATOR
        nothing = ~last;
`else
        nothing = last ^ {WIDTH{1'bx}};
`endif
    endfunction

    function [WIDTH-1:0] merged(
        input [WIDTH-1:0] kept, input [WIDTH-1:0] given, input [(WIDTH+7)/8-1:0] bytes
    );
        integer place;
        for (place = 0; place < WIDTH; place = place + 1)
            merged[place] = bytes[place/8] ? given[place] : kept[place];
    endfunction

    always @(posedge clk)
        if (on !== 1'b1) begin
            holds <= 0;
            awake <= 0;
            read_data <= nothing(read_data);
        end else begin
            cycles_on <= cycles_on + 1;
            if (awake != WAKE) awake <= awake + 1;
            if (enable) begin
                if (write) begin
                    words[address] <= &byte_enable ? write_data : merged(words[address], write_data, byte_enable);
                    holds[address] <= 1'b1;
                end else read_data <= holds[address] ? words[address] : nothing(words[address]);
            end
        end

`ifndef SYNTHESIS
    // What a processor does before its reset is not looked at: that ends with every memory off.
    reg watched;
    initial watched = 1'b0;
    always @(posedge clk) if (on === 1'b0) watched <= 1'b1;

    always @(posedge clk)
        if (watched && enable === 1'b1 && (on !== 1'b1 || awake != WAKE)) begin
            $display("%m: accessed while %0s", on === 1'b1 ? "it wakes up" : "it is off");
            $finish;
        end
`endif
endmodule
