// Runs batches of images through the processor behind a DRAM model; compares logits and cycles with the expected.
//
//   +stall=N    hold every stream of the DRAM port back in N of 1000 cycles, at random (cycles are not compared then)
//   +seed=N     of the random choice
//   +vcd        writes testbench.vcd
//
// Define GATED for the processor with its clock gate. The memory images lie in sim/ of the working directory.
`timescale 1ns / 1ps
module testbench;
    `include "parameters.vh"

    reg clk = 0, rst = 1, start = 0;
    wire done, operation;
    wire request_valid, read_ready, write_valid;
    wire [56:0] request;
    wire [WORD-1:0] write_data;

    reg [WORD-1:0] dram [0:WORDS-1];
    reg [WORD-1:0] inputs [0:BATCHES*INPUT_WORDS-1];
    reg [WORD-1:0] expected [0:BATCHES*LOGITS_WORDS-1];
    reg [63:0] expected_cycles [0:BATCHES-1];
    integer errors = 0;

    // DRAM: one burst at a time, first word LATENCY cycles after its request, one word every INTERVAL.
    integer stall = 0, seed = 1;
    reg [31:0] address = 0, left = 0, pause = 0;
    reg writing = 0, shown = 0;
    reg hold_request = 0, hold_read = 0, hold_write = 0;
    wire request_ready = left == 0 && !hold_request;
    wire read_valid = left != 0 && !writing && pause == 0 && (shown || !hold_read);
    wire write_ready = left != 0 && writing && pause == 0 && !hold_write;
    always @(posedge clk) begin
        hold_request <= $unsigned($random(seed)) % 1000 < stall;
        hold_read <= $unsigned($random(seed)) % 1000 < stall;
        hold_write <= $unsigned($random(seed)) % 1000 < stall;
        shown <= read_valid && !read_ready;
        if (left != 0 && pause != 0) pause <= pause - 1;
        else if ((read_valid && read_ready) || (write_valid && write_ready)) begin
            if (writing) dram[address] <= write_data;
            address <= address + 1;
            left <= left - 1;
            pause <= INTERVAL - 1;
        end
        if (request_valid && request_ready && !rst) begin
            address <= request[31:0];
            left <= {8'd0, request[55:32]};
            writing <= request[56];
            pause <= (request[56] ? 0 : LATENCY) + INTERVAL - 1;
        end
    end

`ifdef GATED
    firstspike_gated #(.WORD_BITS(WORD)) dut (
        .test_enable(1'b0),
`else
    firstspike dut (
`endif
        .clk(clk), .rst(rst), .start(start), .done(done), .operation(operation),
        .dram__request__valid(request_valid), .dram__request__ready(request_ready), .dram__request__payload(request),
        .dram__read__valid(read_valid), .dram__read__ready(read_ready), .dram__read__payload(dram[address]),
        .dram__write__valid(write_valid), .dram__write__ready(write_ready), .dram__write__payload(write_data)
    );

    always #(HALF_PERIOD) clk = ~clk;

    // The rules of the port.
    reg request_held = 0, write_held = 0;
    reg [56:0] request_before;
    reg [WORD-1:0] write_before;
    task broken(input [8*60-1:0] rule);
        begin
            errors = errors + 1;
            $display("%0t: rule broken: %0s", $time, rule);
        end
    endtask
    always @(posedge clk) begin
        request_held <= request_valid && !request_ready && !rst;
        request_before <= request;
        write_held <= write_valid && !write_ready && !rst;
        write_before <= write_data;
        if (!rst) begin
            if (^{request_valid, read_ready, write_valid, done, operation} === 1'bx) broken("no control signal is X");
            if (request_valid && ^request === 1'bx) broken("no request is X");
            if (request_held && !(request_valid && request === request_before)) broken("a request holds until taken");
            if (request_valid && request_ready && request[55:32] == 0) broken("a burst has at least one word");
            if (request_valid && request_ready && {8'd0, request[55:32]} + request[31:0] > WORDS)
                broken("a burst stays inside the memory");
            if (write_held && !(write_valid && write_data === write_before)) broken("a word holds until taken");
            if (write_valid && !(left != 0 && writing)) broken("words are written inside a burst only");
        end
    end

    integer batch, index;
    reg [63:0] cycles, limit;
    initial begin
        $readmemh("sim/dram.hex", dram);
        $readmemh("sim/inputs.hex", inputs);
        $readmemh("sim/logits.hex", expected);
        $readmemh("sim/cycles.hex", expected_cycles);
        if ($test$plusargs("vcd")) begin
            $dumpfile("testbench.vcd");
            $dumpvars(0, testbench);
        end
        if (!$value$plusargs("stall=%d", stall)) stall = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
        repeat (2) @(negedge clk);
        rst = 0;
        for (batch = 0; batch < BATCHES; batch = batch + 1) begin
            for (index = 0; index < INPUT_WORDS; index = index + 1)
                dram[INPUT + index] = inputs[batch * INPUT_WORDS + index];
            limit = expected_cycles[batch] * 4000 / (1000 - stall) + 1000;
            start = 1;
            @(negedge clk);
            start = 0;
            cycles = 1;
            while (done !== 1'b1 && cycles < limit && errors < 10) begin
                @(negedge clk);
                cycles = cycles + 1;
            end
            if (done !== 1'b1) begin
                $display("FAIL: batch %0d is not done after %0d cycles", batch, cycles);
                $finish;
                batch = BATCHES;
                errors = errors + 1;
            end else begin
                @(negedge clk);
                for (index = 0; index < LOGITS_WORDS; index = index + 1)
                    if (dram[LOGITS + index] !== expected[batch * LOGITS_WORDS + index]) begin
                        errors = errors + 1;
                        $display("batch %0d logit %0d: %h, expected %h", batch, index, dram[LOGITS + index],
                                 expected[batch * LOGITS_WORDS + index]);
                    end
                if (stall == 0 && cycles != expected_cycles[batch]) begin
                    errors = errors + 1;
                    $display("batch %0d: %0d cycles, expected %0d", batch, cycles, expected_cycles[batch]);
                end
                $display("batch %0d: %0d cycles", batch, cycles);
            end
        end
        if (errors == 0) $display("PASS: %0d batches, all logits and cycles as expected", BATCHES);
        else $display("FAIL: %0d differences", errors);
        $finish;
    end
endmodule
