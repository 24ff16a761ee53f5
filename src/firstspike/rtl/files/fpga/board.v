// A ULX3S as far as the design sees it: the FPGA and its SDRAM. clk is the system's clock, behind the loop.
module board #(
    parameter PERIOD_PS = 12500
) (
    input wire clk, receive,
    output wire transmit, ready, running
);
    wire clk_o, cke, cs_n, ras_n, cas_n, we_n;
    wire [1:0] ba, dqm;
    wire [12:0] a;
    wire [15:0] dq;
    top fpga (
        .clk25_0__io(clk), .uart_0__rx__io(receive), .uart_0__tx__io(transmit), .led_0__io(ready), .led_1__io(running),
        .led_2__io(), .led_3__io(), .sdram_0__clk__io(clk_o), .sdram_0__clk_en__io(cke), .sdram_0__cs__io(cs_n),
        .sdram_0__we__io(we_n), .sdram_0__ras__io(ras_n), .sdram_0__cas__io(cas_n), .sdram_0__ba__io(ba), .sdram_0__a__io(a),
        .sdram_0__dq__io(dq), .sdram_0__dqm__io(dqm)
    );
    sdram #(.PERIOD_PS(PERIOD_PS)) memory (
        .clk(clk_o), .cke(cke), .cs_n(cs_n), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba), .a(a), .dqm(dqm), .dq(dq)
    );
endmodule
