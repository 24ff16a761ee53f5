// The processor with its clock stopped between done and start. Same ports, same cycles.
module firstspike_gated #(
    parameter WORD_BITS = 64
) (
    input wire clk,
    input wire rst,
    input wire test_enable,
    input wire start,
    output wire done,
    output wire operation,
    output wire dram__request__valid,
    input wire dram__request__ready,
    output wire [56:0] dram__request__payload,
    input wire dram__read__valid,
    output wire dram__read__ready,
    input wire [WORD_BITS-1:0] dram__read__payload,
    output wire dram__write__valid,
    input wire dram__write__ready,
    output wire [WORD_BITS-1:0] dram__write__payload
);
    wire gated;
    reg running;

    always @(posedge clk)
        if (rst || done) running <= 1'b0;
        else if (start) running <= 1'b1;

    firstspike_clock_gate gate (
        .clk(clk),
        .enable(rst | start | running),
        .test_enable(test_enable),
        .gated(gated)
    );

    firstspike processor (
        .clk(gated),
        .rst(rst),
        .start(start),
        .done(done),
        .operation(operation),
        .dram__request__valid(dram__request__valid),
        .dram__request__ready(dram__request__ready),
        .dram__request__payload(dram__request__payload),
        .dram__read__valid(dram__read__valid),
        .dram__read__ready(dram__read__ready),
        .dram__read__payload(dram__read__payload),
        .dram__write__valid(dram__write__valid),
        .dram__write__ready(dram__write__ready),
        .dram__write__payload(dram__write__payload)
    );
endmodule
