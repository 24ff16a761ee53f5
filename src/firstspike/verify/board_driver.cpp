// A board in simulation: its serial line is standard input and output, byte by byte; it ends with its input.
//
//   driver DIVIDER [+image=FILE]
//
// DIVIDER is the cycles of a bit. Input is taken once the SDRAM is ready: a board in reset hears nothing. Where neither line moves and the processor rests, the simulation waits for input.
// Exit status: 0; 2 (a frame of the board's is broken); others from the models, with a line on standard error.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "Vboard.h"
#include "verilated.h"

namespace {

constexpr int kQuiet = 20000;  // cycles without news after which nothing more is expected

// Host to board: a start bit, eight data bits, a stop bit.
struct Sender {
    int divider, phase = 0, left = 0;
    uint32_t bits = 1;
    bool step(std::deque<uint8_t>& queue) {
        if (!left && !queue.empty()) {
            bits = (queue.front() << 1) | 0x200;
            queue.pop_front();
            left = 10;
            phase = divider;
        }
        const bool line = left ? bits & 1 : true;
        if (left && --phase == 0) {
            bits >>= 1;
            --left;
            phase = divider;
        }
        return line;
    }
};

// Board to host: sampled in the middle of every bit.
struct Receiver {
    int divider, phase = 0, left = 0;
    uint32_t bits = 0;
    bool step(bool line, uint8_t& byte) {
        if (!left) {
            if (!line) {
                left = 10;
                phase = divider / 2 - 1;
            }
            return false;
        }
        if (phase--) return false;
        phase = divider - 1;
        bits = (bits >> 1) | (line ? 0x200 : 0);
        if (--left) return false;
        if (!(bits & 0x200) || (bits & 1)) {
            std::fprintf(stderr, "the board must frame a byte by a start and a stop bit\n");
            std::exit(2);
        }
        byte = (bits >> 1) & 0xff;
        return true;
    }
};

}  // namespace

int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    // What the models print on standard output (Verilator's $fatal does) is not the board's answer.
    const int line = dup(1);
    dup2(2, 1);
    Vboard board{&context};
    const int divider = std::atoi(argv[1]);
    Sender sender{divider};
    Receiver receiver{divider};
    std::deque<uint8_t> queue;
    bool open = true;
    int64_t quiet = 0;
    uint64_t cycle = 0;
    while (true) {
        if (cycle % 64 == 0 && open && board.ready && queue.size() < 4096) {
            const bool idle = queue.empty() && !sender.left && quiet > kQuiet && !board.running;
            pollfd input{0, POLLIN, 0};
            if (poll(&input, 1, idle ? -1 : 0) > 0) {
                uint8_t buffer[4096];
                const ssize_t count = read(0, buffer, sizeof buffer);
                if (count <= 0) open = false;
                else queue.insert(queue.end(), buffer, buffer + count);
                quiet = 0;
            }
        }
        if (!open && queue.empty() && quiet > kQuiet && !board.running) break;
        board.receive = sender.step(queue);
        board.clk = 1;
        board.eval();
        board.clk = 0;
        board.eval();
        context.timeInc(1);
        uint8_t byte;
        if (receiver.step(board.transmit, byte)) {
            if (write(line, &byte, 1) != 1) break;
            quiet = 0;
        } else {
            ++quiet;
        }
        // An answer may begin long after the last byte, when a run ends.
        if (sender.left || receiver.left || board.running) quiet = 0;
        ++cycle;
    }
    std::fprintf(stderr, "cycles %llu\n", static_cast<unsigned long long>(cycle));
    return 0;
}
