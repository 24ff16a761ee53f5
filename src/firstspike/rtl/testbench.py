"""A Verilog testbench and memory images, so that a Verilog user runs a network without Python."""

import numpy as np

from firstspike.compiler.image import MemoryImage
from firstspike.spec.processor import ProcessorSpec

TEMPLATE = """\
// Runs {batches} batch(es) of {images} image(s) of a network through the processor; compares logits and cycles with the expected.
// Plusarg +vcd writes testbench.vcd. The memory images must lie in the working directory.
`timescale 1ns / 1ps
module testbench;
    localparam WORD = {word_bits};
    localparam WORDS = {words};
    localparam BATCHES = {batches};
    localparam INPUT = {input};
    localparam INPUT_WORDS = {input_words};
    localparam LOGITS = {logits};
    localparam LOGITS_WORDS = {logits_words};
    localparam LATENCY = {latency};    // cycles from a request to its first word
    localparam INTERVAL = {interval};  // cycles per word

    reg clk = 0, rst = 1, start = 0;
    wire done, operation;
    wire request_valid, read_ready, write_valid;
    wire [56:0] request;
    wire [WORD-1:0] write_data;

    reg [WORD-1:0] dram [0:WORDS-1];
    reg [WORD-1:0] inputs [0:BATCHES*INPUT_WORDS-1];
    reg [WORD-1:0] expected [0:BATCHES*LOGITS_WORDS-1];
    reg [63:0] expected_cycles [0:BATCHES-1];

    // DRAM: one burst at a time.
    reg [31:0] address = 0, left = 0, pause = 0;
    reg writing = 0;
    wire request_ready = left == 0;
    wire read_valid = left != 0 && !writing && pause == 0;
    wire write_ready = left != 0 && writing && pause == 0;
    always @(posedge clk) begin
        if (left != 0 && pause != 0) pause <= pause - 1;
        else if ((read_valid && read_ready) || (write_valid && write_ready)) begin
            if (writing) dram[address] <= write_data;
            address <= address + 1;
            left <= left - 1;
            pause <= INTERVAL - 1;
        end
        if (request_valid && request_ready && !rst) begin
            address <= request[31:0];
            left <= {{8'd0, request[55:32]}};
            writing <= request[56];
            pause <= (request[56] ? 0 : LATENCY) + INTERVAL - 1;
        end
    end

    firstspike dut (
        .clk(clk), .rst(rst), .start(start), .done(done), .operation(operation),
        .dram__request__valid(request_valid), .dram__request__ready(request_ready), .dram__request__payload(request),
        .dram__read__valid(read_valid), .dram__read__ready(read_ready), .dram__read__payload(dram[address]),
        .dram__write__valid(write_valid), .dram__write__ready(write_ready), .dram__write__payload(write_data)
    );

    always #{half_ns:g} clk = ~clk;  // {clock_mhz:g} MHz

    integer batch, index, errors;
    reg [63:0] cycles;
    initial begin
        $readmemh("dram.hex", dram);
        $readmemh("inputs.hex", inputs);
        $readmemh("logits.hex", expected);
        $readmemh("cycles.hex", expected_cycles);
        if ($test$plusargs("vcd")) begin
            $dumpfile("testbench.vcd");
            $dumpvars(0, testbench);
        end
        errors = 0;
        repeat (2) @(negedge clk);
        rst = 0;
        for (batch = 0; batch < BATCHES; batch = batch + 1) begin
            for (index = 0; index < INPUT_WORDS; index = index + 1)
                dram[INPUT + index] = inputs[batch * INPUT_WORDS + index];
            start = 1;
            @(negedge clk);
            start = 0;
            cycles = 1;
            while (!done) begin
                @(negedge clk);
                cycles = cycles + 1;
            end
            @(negedge clk);
            for (index = 0; index < LOGITS_WORDS; index = index + 1)
                if (dram[LOGITS + index] !== expected[batch * LOGITS_WORDS + index]) begin
                    errors = errors + 1;
                    $display("batch %0d logit %0d: %h, expected %h", batch, index, dram[LOGITS + index],
                             expected[batch * LOGITS_WORDS + index]);
                end
            if (cycles != expected_cycles[batch]) begin
                errors = errors + 1;
                $display("batch %0d: %0d cycles, expected %0d", batch, cycles, expected_cycles[batch]);
            end
            $display("batch %0d: %0d cycles", batch, cycles);
        end
        if (errors == 0) $display("PASS: %0d batches, all logits and cycles as expected", BATCHES);
        else $display("FAIL: %0d differences", errors);
        $finish;
    end
endmodule
"""

README = """\
# firstspike: the processor in Verilog

`firstspike.v` is the processor (generated), `firstspike_lane.v` one of its {pes} lanes (generated),
`firstspike_memories.v` simulation models of its memories (to be replaced by macros), `testbench.v` a testbench with a DRAM
model. The `.hex` files hold the DRAM with the network's program and weights, the encoded input images, and the expected
logits and cycle counts.

    verilator --binary --timing -Wno-WIDTH -Wno-fatal --top-module testbench -CFLAGS "-std=c++20 -fcoroutines" \\
        testbench.v firstspike.v firstspike_lane.v firstspike_memories.v && ./obj_dir/Vtestbench

It ends with `PASS`. Built with `--trace` and run with `+vcd` it writes a waveform.
"""


def testbench_files(
    image: MemoryImage, inputs: np.ndarray, logits: np.ndarray, cycles: np.ndarray, processor: ProcessorSpec
) -> dict[str, str]:
    """Testbench, memory images and a page of instructions, by file name.

    Args:
        image: the program's memory image.
        inputs: the input region of every batch of images, uint8 ``[n, bytes]``.
        logits: expected logits in the order of their region, int64 ``[n, logits]``.
        cycles: expected cycles of every batch, int64 ``[n]``.
        processor: the processor that the image was made for.
    """
    width = image.word_bytes
    mask = (1 << processor.word_bits) - 1
    values = {
        "batches": len(inputs),
        "images": processor.images,
        "word_bits": processor.word_bits,
        "words": image.words,
        "input": image.regions["input"],
        "input_words": inputs.shape[1] // width,
        "logits": image.regions["logits"],
        "logits_words": logits.shape[1],
        "latency": processor.dram_latency_cycles,
        "interval": processor.dram_cycles_per_word,
        "clock_mhz": processor.clock_mhz,
        "half_ns": 500 / processor.clock_mhz,
    }
    digits = width * 2
    return {
        "testbench.v": TEMPLATE.format(**values),
        "dram.hex": _hex(image.data, width),
        "inputs.hex": _hex(np.ascontiguousarray(inputs).tobytes(), width),
        "logits.hex": "".join(f"{int(value) & mask:0{digits}x}\n" for value in logits.ravel()),
        "cycles.hex": "".join(f"{int(value):016x}\n" for value in cycles),
        "README.md": README.format(pes=processor.pes),
    }


def _hex(data: bytes, width: int) -> str:
    """Little-endian words as hexadecimal lines.

    >>> _hex(bytes([1, 2, 3, 4]), 2).split()
    ['0201', '0403']
    """
    return "".join(f"{data[start : start + width][::-1].hex()}\n" for start in range(0, len(data), width))
