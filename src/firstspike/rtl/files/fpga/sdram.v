// A 16-bit single-data-rate SDRAM (13 row, 9 column, 2 bank bits) that checks its rules; a broken one ends the simulation.
//
//   +image=FILE   the contents at power-up, hexadecimal halfwords; else 16'hxxxx, or what the simulator makes of it
//
// What it checks is the slowest of what usual chips ask for (W9825G6KH-75, IS42S16160-7, MT48LC16M16A2-75, AS4C16M16-7).
module sdram #(
    parameter PERIOD_PS = 12500
) (
    input wire clk, cke, cs_n, ras_n, cas_n, we_n,
    input wire [1:0] ba,
    input wire [12:0] a,
    input wire [1:0] dqm,
    inout wire [15:0] dq
);
    localparam [63:0] PRECHARGE = 20000, ACTIVATE = 20000, ACTIVE = 45000, ROW = 65000, REFRESH = 70000, RECOVER = 15000;
    localparam [63:0] POWER_UP = 200000000, MODE_CYCLES = 2, REFRESH_EVERY = 7812500;
    reg [15:0] memory [0:(1<<24)-1];
    reg [1023:0] file;
    initial if ($value$plusargs("image=%s", file)) $readmemh(file, memory);

    reg [63:0] now = 0;  // picoseconds
    reg [63:0] precharged = 0, refreshed = 0, moded = 0, written = 0, first_refresh = 0;
    reg [63:0] activated [0:3];
    reg [63:0] refreshes = 0;
    reg [3:0] opened = 0;
    reg [12:0] row [0:3];
    reg precharged_once = 0, moded_once = 0;
    reg [2:0] burst = 0;  // logarithm of the length
    reg [2:0] latency = 0;

    reg [23:0] place = 0;  // of a burst: the next column, and how many are left
    reg [3:0] reads = 0, writes = 0;
    reg [23:0] waiting [0:1];  // bursts that the CAS latency holds back
    reg [1:0] waits = 0;
    reg [15:0] shown = 0;
    reg showing = 0;
    assign dq = showing ? shown : 16'hzzzz;

    task broken(input [8*60-1:0] rule);
        begin
            $fwrite(32'h80000002, "%0d ps: SDRAM rule broken: %0s\n", now, rule);
            $fatal;
        end
    endtask
    task expect_true(input holds, input [8*60-1:0] rule);
        if (!holds) broken(rule);
    endtask
    // The next place of a burst: the low bits of the column wrap.
    function [23:0] after(input [23:0] current);
        after = burst == 1 ? {current[23:1], ~current[0]}
              : burst == 2 ? {current[23:2], current[1:0] + 2'd1} : {current[23:3], current[2:0] + 3'd1};
    endfunction
    wire [23:0] column = {row[ba], ba, a[8:0]};
    integer bank;

    always @(posedge clk) begin
        now <= now + PERIOD_PS;
        showing <= 0;
        waits <= {1'b0, waits[1]};
        waiting[0] <= waiting[1];
        if (waits[0]) begin
            shown <= memory[waiting[0]];
            showing <= 1;
            place <= after(waiting[0]);
            reads <= (4'd1 << burst) - 1;
        end else if (reads != 0) begin
            shown <= memory[place];
            showing <= 1;
            place <= after(place);
            reads <= reads - 1;
        end
        if (writes != 0) begin
            memory[place] <= dq;
            place <= after(place);
            writes <= writes - 1;
            written <= now;
        end
        if (cke && !cs_n) case ({ras_n, cas_n, we_n})
            3'b111: ;
            3'b011: begin
                expect_true(moded_once && refreshes >= 2 && now - moded >= MODE_CYCLES * PERIOD_PS, "power-up comes before activation");
                expect_true(!opened[ba], "a bank is closed when it is activated");
                expect_true(now - precharged >= PRECHARGE, "tRP before an activation");
                expect_true(now - refreshed >= REFRESH, "tRFC before an activation");
                expect_true(now - activated[ba] >= ROW || activated[ba] == 0, "tRC between activations");
                opened[ba] <= 1;
                row[ba] <= a;
                activated[ba] <= now;
            end
            3'b101, 3'b100: begin
                expect_true(opened[ba], "a bank is open when it is read or written");
                expect_true(now - activated[ba] >= ACTIVATE, "tRCD before a read or a write");
                expect_true(writes == 0, "a write burst is complete before the next command");
                expect_true(reads <= 1 && !waits[0], "a read burst is complete before the next command");
                expect_true(!a[10], "no automatic precharge in this model");
                expect_true(dqm == 0, "bytes are not masked");
                if (we_n) begin
                    waits[latency - 2] <= 1;
                    waiting[latency - 2] <= column;
                end else begin
                    expect_true(reads == 0 && !showing, "the data pins rest for a cycle between reads and a write");
                    memory[column] <= dq;
                    place <= after(column);
                    writes <= (4'd1 << burst) - 1;
                    written <= now;
                end
            end
            3'b010: begin
                expect_true(now >= POWER_UP, "200 us of rest before the first command");
                expect_true(writes == 0 && now - written >= RECOVER, "tWR before a precharge");
                expect_true(reads <= 2 && !waits[0], "a read burst is complete before a precharge");
                for (bank = 0; bank < 4; bank = bank + 1)
                    if (opened[bank] && (a[10] || ba == bank[1:0]))
                        expect_true(now - activated[bank] >= ACTIVE, "tRAS before a precharge");
                if (a[10]) opened <= 0;
                else opened[ba] <= 0;
                precharged <= now;
                precharged_once <= 1;
            end
            3'b001: begin
                expect_true(precharged_once && opened == 0, "all banks are closed at a refresh");
                expect_true(now - precharged >= PRECHARGE, "tRP before a refresh");
                expect_true(now - refreshed >= REFRESH || refreshes == 0, "tRFC between refreshes");
                refreshed <= now;
                refreshes <= refreshes + 1;
                if (refreshes == 0) first_refresh <= now;
            end
            3'b000: begin
                expect_true(precharged_once && opened == 0, "all banks are closed when the mode is set");
                expect_true(now - refreshed >= REFRESH, "tRFC before the mode is set");
                expect_true(ba == 0 && a[12:7] == 0 && a[3] == 0, "the mode is sequential bursts, written and read");
                expect_true(a[2:0] >= 1 && a[2:0] <= 3, "bursts have a length of 2, 4 or 8");
                expect_true(a[6:4] == 2 || a[6:4] == 3, "the CAS latency is 2 or 3");
                burst <= a[2:0];
                latency <= a[6:4];
                moded <= now;
                moded_once <= 1;
            end
            default: broken("a burst is not stopped by a command");
        endcase
        // Refreshes may come late by a few, not be missed.
        if (refreshes != 0)
            expect_true(now - first_refresh < (refreshes + 1) * REFRESH_EVERY, "every row is refreshed in 64 ms");
    end
endmodule
