// Simulation models of the ECP5's hard blocks that Yosys leaves without one: block RAM and phase-locked loop.

// Block RAM without output registers; two ports of up to 18 bits, or A writes and B reads 36. Yosys gives
// even a port that nothing uses a width and a mode of writing.
module DP16KD (
    input wire DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input wire ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input wire CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output wire DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input wire DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input wire ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input wire CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output wire DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", GSR = "AUTO", INIT_DATA = "STATIC", WID = 0;
    // Contents at power-up; the design relies on none.
    parameter INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0, INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0, INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0, INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0}, dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0}, adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] wide = {dib, dia};
    reg [17:0] low = 0, high = 0;  // what port A shows, and port B
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = low;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = high;
    reg [17:0] words [0:1023];
    integer index;
    initial for (index = 0; index < 1024; index = index + 1) words[index] = 0;

    // Narrow widths use the eight data bits of every nine.
    function [17:0] part(input [17:0] word, input [3:0] place, input integer width);
        case (width)
            1: part = {17'd0, word[place < 8 ? {1'b0, place} : {1'b0, place} + 5'd1]};
            2: part = {16'd0, word[(place[3:1] < 4 ? {1'b0, place[3:1], 1'b0} : {1'b0, place[3:1], 1'b0} + 5'd1) +: 2]};
            4: part = {14'd0, word[(place[3] ? 5'd9 : 5'd0) + (place[2] ? 5'd4 : 5'd0) +: 4]};
            9: part = {9'd0, place[3] ? word[17:9] : word[8:0]};
            default: part = word;
        endcase
    endfunction
    function [17:0] merged(input [17:0] word, input [17:0] data, input [3:0] place, input integer width);
        begin
            merged = word;
            case (width)
                1: merged[place < 8 ? {1'b0, place} : {1'b0, place} + 5'd1] = data[0];
                2: merged[(place[3:1] < 4 ? {1'b0, place[3:1], 1'b0} : {1'b0, place[3:1], 1'b0} + 5'd1) +: 2] = data[1:0];
                4: merged[(place[3] ? 5'd9 : 5'd0) + (place[2] ? 5'd4 : 5'd0) +: 4] = data[3:0];
                9: if (place[3]) merged[17:9] = data[8:0]; else merged[8:0] = data[8:0];
                default: begin
                    if (place[0]) merged[8:0] = data[8:0];
                    if (place[1]) merged[17:9] = data[17:9];
                end
            endcase
        end
    endfunction

    generate
        if (DATA_WIDTH_A == 36) begin : both
            always @(posedge CLKA)
                if (CEA && WEA) begin
                    words[{ada[13:5], 1'b0}] <= merged(words[{ada[13:5], 1'b0}], wide[17:0], {2'd0, ada[1:0]}, 18);
                    words[{ada[13:5], 1'b1}] <= merged(words[{ada[13:5], 1'b1}], wide[35:18], {2'd0, ada[3:2]}, 18);
                end
            always @(posedge CLKB)
                if (CEB) {high, low} <= RSTB ? 36'd0 : {words[{adb[13:5], 1'b1}], words[{adb[13:5], 1'b0}]};
        end else begin : single
            always @(posedge CLKA) if (CEA) begin
                if (WEA) words[ada[13:4]] <= merged(words[ada[13:4]], dia, ada[3:0], DATA_WIDTH_A);
                if (!WEA || WRITEMODE_A == "READBEFOREWRITE") low <= RSTA ? 18'd0 : part(words[ada[13:4]], ada[3:0], DATA_WIDTH_A);
            end
            always @(posedge CLKB) if (CEB) begin
                if (WEB) words[adb[13:4]] <= merged(words[adb[13:4]], dib, adb[3:0], DATA_WIDTH_B);
                if (!WEB || WRITEMODE_B == "READBEFOREWRITE") high <= RSTB ? 18'd0 : part(words[adb[13:4]], adb[3:0], DATA_WIDTH_B);
            end
        end
    endgenerate
    initial begin
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || (DATA_WIDTH_A == 36) != (DATA_WIDTH_B == 36) || CLKAMUX != "CLKA" || CLKBMUX != "CLKB"
            || WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH") begin
            $fwrite(32'h80000002, "DP16KD: a mode that this model does not have\n");
            $fatal;
        end
    end
endmodule

// The loop: the simulation's clock is already the system's.
module EHXPLLL (
    input wire CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY, PLLWAKESYNC, RST,
    input wire ENCLKOP, ENCLKOS, ENCLKOS2, ENCLKOS3,
    output wire CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK, INTLOCK, REFCLK, CLKINTFB
);
    parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "", FEEDBK_PATH = "";
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_ENABLE = "", CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0;
    parameter CLKOS_ENABLE = "", CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
    reg [3:0] age = 0;
    always @(posedge CLKI) if (!LOCK) age <= age + 1;
    assign LOCK = age[3];
    assign CLKOP = CLKI, CLKOS = ~CLKI, CLKOS2 = 0, CLKOS3 = 0, INTLOCK = LOCK, REFCLK = CLKI, CLKINTFB = 0;
endmodule

// Buffers at the pins, for simulators that give a port one direction.
module IB (input wire I, output wire O);
    assign O = I;
endmodule

module OB (input wire I, output wire O);
    assign O = I;
endmodule

module BB (input wire I, T, output wire O, inout wire B);
    assign B = T ? 1'bz : I;
    assign O = B;
endmodule

module OBZ (input wire I, T, output wire O);
    assign O = T ? 1'bz : I;
endmodule
