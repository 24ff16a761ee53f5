// Yosys techmap: the pins of a netlist as the buffers of cells.v.
module TRELLIS_IO (inout B, input I, input T, output O);
    parameter DIR = "INPUT";
    generate
        if (DIR == "INPUT") IB buffer (.I(B), .O(O));
        else if (DIR == "OUTPUT") OBZ buffer (.I(I), .T(T), .O(B));
        else BB buffer (.B(B), .I(I), .T(T), .O(O));
    endgenerate
endmodule
