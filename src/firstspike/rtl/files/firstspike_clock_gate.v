// Clock gate: passes the pulses of clk whose rising edge finds enable or test_enable high.
// Simulation model: replace this file by one that instantiates the library's cell.
module firstspike_clock_gate (
    input wire clk,
    input wire enable,
    input wire test_enable,
    output wire gated
);
    reg passed;
    always @(clk or enable or test_enable)
        if (!clk) passed = enable | test_enable;
    assign gated = clk & passed;
endmodule
