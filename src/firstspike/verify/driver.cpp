// Runs images through the processor's RTL (a Verilator model) with a DRAM model, and records what it sees.
//
//   driver JOB DRAM INPUTS OUTPUT [WAVEFORM FIRST LAST]
//
// JOB is a list of little-endian int64: images, input word address, input words, address and words of the other regions,
// DRAM latency, cycles per word, stalls per mille of the DRAM port and inside, seed, cycle limit per image, operations (HALT included), number of
// checkpoints, then per checkpoint: operation, address, words (the activation buffer is copied when it is taken).
// OUTPUT: per image, int64 cycle at which every operation was taken, and bank-cycles in which activation buffer,
// membrane memory and weight banks were on (0 where they cannot be switched off), then the checkpoints' bytes, then those regions' bytes.
// Exit status: 0, 2 (files), 3 (cycle limit), 4 (a stream rule was broken; the rule is printed), 5 (a memory ended it).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "Vfirstspike.h"
#include "Vfirstspike___024root.h"
#include "verilated.h"
// Made with the model: buffer_banks, kBankWords, memories_on.
#include "memories.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#elif VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#endif

// Verilator spells the two underscores of dram__request__valid so.
#define PORT(stream, field) dram___05F##stream##___05F##field

namespace {

constexpr int kBytes = WORD_BITS / 8;
constexpr int64_t kReport = 1 << 17;  // cycles between two lines of progress

std::vector<char> read_file(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path);
        std::exit(2);
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Random {  // splitmix64
    uint64_t state;
    bool hit(int64_t per_mille) {
        if (!per_mille) return false;
        uint64_t z = (state += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return static_cast<int64_t>((z ^ (z >> 31)) % 1000) < per_mille;
    }
};

[[noreturn]] void broken(const char* rule, int64_t cycle) {
    std::fprintf(stderr, "stream rule broken at cycle %lld: %s\n", static_cast<long long>(cycle), rule);
    std::exit(4);
}

// DRAM behind the burst port: one burst at a time, first word `latency` cycles after its request, one word every `interval`.
class Dram {
  public:
    Dram(std::vector<char>& data, int64_t latency, int64_t interval, int64_t stall, uint64_t seed)
        : data_(data), latency_(latency), interval_(interval), stall_(stall), random_{seed} {}

    void drive(Vfirstspike& top) {
        top.PORT(request, ready) = left_ == 0 && !random_.hit(stall_);
        const bool reading = left_ && !write_ && wait_ == 0 && (held_ || !random_.hit(stall_));
        held_ = reading;
        top.PORT(read, valid) = reading;
        if (reading) std::memcpy(&top.PORT(read, payload), &data_[address_ * kBytes], kBytes);
        top.PORT(write, ready) = left_ && write_ && wait_ == 0 && !random_.hit(stall_);
    }

    void clock(Vfirstspike& top, int64_t cycle) {
        check(top, cycle);
        if (left_ && wait_) --wait_;
        else if (top.PORT(read, valid) && top.PORT(read, ready)) next();
        else if (top.PORT(write, valid) && top.PORT(write, ready)) {
            std::memcpy(&data_[address_ * kBytes], &top.PORT(write, payload), kBytes);
            next();
        }
        if (top.PORT(request, valid) && top.PORT(request, ready)) {
            const uint64_t request = top.PORT(request, payload);
            address_ = request & 0xffffffffu;
            left_ = (request >> 32) & 0xffffffu;
            write_ = (request >> 56) & 1;
            wait_ = (write_ ? 0 : latency_) + interval_ - 1;
            if (!left_) broken("a burst has at least one word", cycle);
            if ((address_ + left_) * kBytes > data_.size()) broken("a burst stays inside the memory image", cycle);
        }
    }

  private:
    void next() {
        ++address_;
        --left_;
        wait_ = interval_ - 1;
        held_ = false;
    }

    void check(Vfirstspike& top, int64_t cycle) {
        if (request_held_ && (!top.PORT(request, valid) || top.PORT(request, payload) != request_))
            broken("a request holds until it is accepted", cycle);
        if (write_held_ && (!top.PORT(write, valid) || std::memcmp(word_, &top.PORT(write, payload), kBytes)))
            broken("a written word holds until it is accepted", cycle);
        if (top.PORT(write, valid) && !(left_ && write_)) broken("a word is written inside a write burst only", cycle);
        request_held_ = top.PORT(request, valid) && !top.PORT(request, ready);
        request_ = top.PORT(request, payload);
        write_held_ = top.PORT(write, valid) && !top.PORT(write, ready);
        std::memcpy(word_, &top.PORT(write, payload), kBytes);
    }

    std::vector<char>& data_;
    int64_t latency_, interval_, stall_;
    Random random_;
    uint64_t address_ = 0, left_ = 0;
    int64_t wait_ = 0;
    bool write_ = false, held_ = false, request_held_ = false, write_held_ = false;
    uint64_t request_ = 0;
    char word_[kBytes];
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 && argc != 8) {
        std::fprintf(stderr, "usage: %s JOB DRAM INPUTS OUTPUT [WAVEFORM FIRST LAST]\n", argv[0]);
        return 2;
    }
    const auto raw = read_file(argv[1]);
    std::vector<int64_t> job(raw.size() / 8);
    std::memcpy(job.data(), raw.data(), job.size() * 8);
    const int64_t images = job[0], input = job[1], input_words = job[2], logits = job[3], logits_words = job[4];
    const int64_t limit = job[10], operations = job[11], checkpoints = job[12];
    std::vector<char> memory = read_file(argv[2]);
    const auto inputs = read_file(argv[3]);
    std::ofstream output(argv[4], std::ios::binary);

    VerilatedContext context;
    context.traceEverOn(argc == 8);
    Vfirstspike top{&context};
#if VM_TRACE
    Trace trace;
    const int64_t trace_first = argc == 8 ? std::atoll(argv[6]) : 0, trace_last = argc == 8 ? std::atoll(argv[7]) : -1;
    if (argc == 8) {
        top.trace(&trace, 99);
        trace.open(argv[5]);
    }
#endif
    Dram dram(memory, job[5], job[6], job[7], static_cast<uint64_t>(job[9]));
    Random inside{~static_cast<uint64_t>(job[9])};
    const auto banks = buffer_banks(*top.rootp);
    std::vector<int64_t> on_before = memories_on(*top.rootp);

    top.clk = 0;
    top.rst = 1;
    top.start = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    top.rst = 0;
    int64_t total = 0;
    for (int64_t image = 0; image < images; ++image) {
        std::memcpy(&memory[input * kBytes], &inputs[image * input_words * kBytes], input_words * kBytes);
        std::vector<int64_t> taken;
        std::vector<char> seen;
        for (int64_t cycle = 0;; ++cycle, ++total) {
            if (cycle > limit) {
                std::fprintf(stderr, "image %lld: not done after %lld cycles\n", static_cast<long long>(image),
                             static_cast<long long>(limit));
                return 3;
            }
            if (cycle && cycle % kReport == 0)
                std::fprintf(stderr, "running %lld cycles %lld\n", static_cast<long long>(image),
                             static_cast<long long>(cycle));
            top.start = cycle == 0;
            dram.drive(top);
#if HOLDS
            top.hold = 0;
            for (int index = 0; index < HOLDS; ++index) top.hold |= inside.hit(job[8]) << index;
#endif
            top.clk = 0;
            top.eval();
#if VM_TRACE
            if (total >= trace_first && total <= trace_last) trace.dump(static_cast<uint64_t>(2 * total));
#endif
            const bool done = top.done;
            if (top.operation) {
                for (int64_t index = 0; index < checkpoints; ++index) {
                    const int64_t* entry = &job[13 + 3 * index];
                    if (entry[0] != static_cast<int64_t>(taken.size())) continue;
                    for (int64_t word = entry[1]; word < entry[1] + entry[2]; ++word) {
                        const char* begin = banks[word / kBankWords] + word % kBankWords * kBytes;
                        seen.insert(seen.end(), begin, begin + kBytes);
                    }
                }
                taken.push_back(cycle);
            }
            dram.clock(top, cycle);
            top.clk = 1;
            top.eval();
#if VM_TRACE
            if (total >= trace_first && total <= trace_last) trace.dump(static_cast<uint64_t>(2 * total + 1));
#endif
            if (context.gotFinish()) {
                std::fprintf(stderr, "ended by a memory at cycle %lld\n", static_cast<long long>(cycle));
                return 5;
            }
            if (done) break;
        }
        ++total;
        if (static_cast<int64_t>(taken.size()) != operations) {
            std::fprintf(stderr, "image %lld: %lld operations, not %lld\n", static_cast<long long>(image),
                         static_cast<long long>(taken.size()), static_cast<long long>(operations));
            return 3;
        }
        const std::vector<int64_t> on_after = memories_on(*top.rootp);
        for (size_t memory = 0; memory < on_after.size(); ++memory)
            taken.push_back(on_after[memory] - on_before[memory]);
        on_before = on_after;
        output.write(reinterpret_cast<const char*>(taken.data()), static_cast<std::streamsize>(taken.size() * 8));
        output.write(seen.data(), static_cast<std::streamsize>(seen.size()));
        output.write(&memory[logits * kBytes], logits_words * kBytes);
        std::fprintf(stderr, "image %lld cycles %lld\n", static_cast<long long>(image),
                     static_cast<long long>(taken[static_cast<size_t>(operations) - 1]));
    }
#if VM_TRACE
    if (argc == 8) trace.close();
#endif
#if VM_COVERAGE
    context.coveragep()->write((std::string(argv[4]) + ".coverage").c_str());
#endif
    output.close();
    return output ? 0 : 2;
}
