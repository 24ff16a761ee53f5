#include "plan.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

#include "check.hpp"
#include "stream.hpp"

namespace firstspike {
namespace {

// Offsets in spike lists have 32 bits, and are below width * channels of a block * row_bytes; row_bytes is 256 at most.
static_assert(max_outputs * 256 <= int64_t(1) << 32);

// Panels take at most the level-1 data cache: 48 KiB on current server processors.
constexpr int64_t panel_bytes = 48 << 10;

bool fits(const std::vector<int64_t>& values, int64_t limit) {
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return -limit <= v && v <= limit; });
}

// Cut the receptive field into chunks: whole kernels if they fit, else whole kernel rows, else single taps.
void cut(Step& step) {
    const Geometry& g = step.geometry;
    const int limit = static_cast<int>(panel_bytes / step.row_bytes());
    const int inputs = step.group_inputs();
    step.blocks = (inputs + limit - 1) / limit;
    step.block_channels = (inputs + step.blocks - 1) / step.blocks;
    if (step.blocks > 1) step.block_channels = std::min(limit, (step.block_channels + 63) / 64 * 64);
    step.blocks = (inputs + step.block_channels - 1) / step.block_channels;
    for (int block = 0; block < step.blocks; ++block) {
        const int c0 = block * step.block_channels, cn = std::min(step.block_channels, inputs - c0);
        const int across = std::max(1, std::min(g.kernel_w, limit / cn));
        const int down = across < g.kernel_w ? 1 : std::max(1, std::min(g.kernel_h, limit / (across * cn + 1)));
        for (int ky = 0; ky < g.kernel_h; ky += down)
            for (int kx = 0; kx < g.kernel_w; kx += across) {
                Chunk chunk{block, c0, cn, ky, std::min(ky + down, g.kernel_h), kx, std::min(kx + across, g.kernel_w), 0, step.rows};
                chunk.run_rows = ((chunk.kx1 - chunk.kx0) * cn + 1) / 2 * 2;
                step.rows += chunk.rows();
                step.chunks.push_back(chunk);
            }
    }
}

// The codes of a step, `bits` bits each, between the order of the model file and that of the panels: chunk by chunk.
class Packer {
public:
    Packer(const Common& common, const Step& step, Watch& watch)
        : kernels_(kernels(common.isa)), step_(step), watch_(watch), bits_(common.weight_bits) {
        int64_t rows = 0;
        for (const Chunk& chunk : step.chunks) rows = std::max(rows, chunk.rows());
        panel_.resize(rows * step.lanes);
    }

    std::vector<uint8_t> pack(const uint8_t* stream) {
        const int64_t lane_blocks = int64_t(step_.groups) * step_.lane_blocks;
        std::vector<uint8_t> packed(lane_blocks * step_.rows * step_.lanes / 8 * bits_);
        uint8_t* out = packed.data();
        each_panel([&](int group, int lane_block, const Chunk& chunk) {
            const auto zero = static_cast<uint8_t>((1 << (bits_ - 1)) - 1);
            std::fill(panel_.begin(), panel_.end(), zero);
            each_code(group, lane_block, chunk, [&](int64_t at, int64_t index) { panel_[at] = get(stream, index, bits_); });
            for (int64_t unit = 0; unit < units(chunk); ++unit, out += 8 * bits_)
                for (int p = 0; p < 64; ++p) put(out, p, bits_, panel_[unit * 64 + kernels_.panel_position[p]]);
        });
        return packed;
    }

    void unpack(uint8_t* stream) {
        const uint8_t* in = step_.packed.data();
        each_panel([&](int group, int lane_block, const Chunk& chunk) {
            for (int64_t unit = 0; unit < units(chunk); ++unit, in += 8 * bits_)
                for (int p = 0; p < 64; ++p) panel_[unit * 64 + kernels_.panel_position[p]] = get(in, p, bits_);
            each_code(group, lane_block, chunk, [&](int64_t at, int64_t index) { put(stream, index, bits_, panel_[at]); });
        });
    }

private:
    template <class Visit>
    void each_panel(Visit visit) {
        for (int group = 0; group < step_.groups; ++group)
            for (int lane_block = 0; lane_block < step_.lane_blocks; ++lane_block)
                for (const Chunk& chunk : step_.chunks) {
                    watch_.check(0);
                    visit(group, lane_block, chunk);
                }
    }

    // Place in the panel, [row][lane], and number in the model file of every code of a chunk and lane block.
    template <class Visit>
    void each_code(int group, int lane_block, const Chunk& chunk, Visit visit) const {
        const Geometry& g = step_.geometry;
        const int64_t taps = int64_t(g.kernel_h) * g.kernel_w, fan_in = step_.group_inputs() * taps;
        for (int lane = 0; lane < step_.lanes; ++lane) {
            const int output = lane_block * step_.lanes + channel(lane);
            if (output >= step_.group_outputs()) continue;
            const int64_t filter = (int64_t(group) * step_.group_outputs() + output) * fan_in;
            for (int ky = chunk.ky0; ky < chunk.ky1; ++ky)
                for (int kx = chunk.kx0; kx < chunk.kx1; ++kx) {
                    const int64_t row = int64_t(ky - chunk.ky0) * chunk.run_rows + int64_t(kx - chunk.kx0) * chunk.cn;
                    const int64_t index = filter + chunk.c0 * taps + int64_t(ky) * g.kernel_w + kx;
                    for (int c = 0; c < chunk.cn; ++c) visit((row + c) * step_.lanes + lane, index + c * taps);
                }
        }
    }

    int64_t units(const Chunk& chunk) const { return chunk.rows() * step_.lanes / 64; }  // run_rows is even: whole ones

    int channel(int lane) const { return step_.width == Width::bits16 ? kernels_.channel16[lane] : lane; }

    const Kernels& kernels_;
    const Step& step_;
    Watch& watch_;
    int bits_;
    std::vector<uint8_t> panel_;  // one chunk of one lane block, a code a byte
};

void fill_bias_rows(Step& step) {
    const int size = step.sum_bytes();
    step.bias_rows.assign(size_t(step.groups) * step.lane_blocks * step.lanes * size, 0);
    for (int channel = 0; channel < step.out.channels; ++channel) {
        const int group = channel / step.group_outputs(), at = channel % step.group_outputs();
        char* to = &step.bias_rows[(size_t(group) * step.lane_blocks * step.lanes + at) * size];
        const auto narrow = static_cast<int32_t>(step.bias[channel]);
        std::memcpy(to, size == 4 ? static_cast<const void*>(&narrow) : &step.bias[channel], size);
    }
}

}  // namespace

Step plan_synaptic(const Common& common, SynapticSpec spec, Path path, Watch& watch) {
    Step step{};
    step.kind = spec.groups > 1 && spec.groups == spec.in.channels && spec.groups == spec.out.channels ? Step::Kind::depthwise
                                                                                                       : Step::Kind::synaptic;
    step.source = spec.source;
    step.in = spec.in;
    step.out = spec.out;
    step.geometry = spec.geometry;
    step.groups = spec.groups;
    step.fires = spec.fires;
    step.silence = spec.silence;
    step.weights = std::move(spec.weights);
    step.bias = std::move(spec.bias);
    step.thresholds = std::move(spec.thresholds);
    step.identity = std::move(spec.identity);
    step.residuals = std::move(spec.residuals);
    step.parts = std::move(spec.parts);
    step.partial = spec.partial;
    step.shifts.assign(spec.shifts.begin(), spec.shifts.end());

    // Sums modulo 2^32 or 2^64 wrap to the accumulator's bits exactly. 16-bit pairs need operands of 16 bits.
    const bool narrow = fits(step.weights, INT16_MAX) && fits(spec.spike_values, INT16_MAX);
    step.width = common.accumulator_bits > 32 ? Width::bits64 : narrow ? Width::bits16 : Width::bits32;

    step.entry_values.resize(256);
    for (int t = 0; t < 256; ++t)
        step.entry_values[t] = static_cast<int16_t>(step.width == Width::bits16 ? spec.spike_values[t] : t);
    for (int64_t value : spec.spike_values) {
        step.kernel32.push_back(static_cast<uint32_t>(value));
        step.kernel64.push_back(static_cast<uint64_t>(value));
    }
    step.fire.thresholds = step.thresholds.data();  // stays there when the step is moved
    step.fire.T = common.T;
    step.fire.accumulator_bits = common.accumulator_bits;
    for (int t = 0; t < 32; ++t)
        step.fire.low[t] = t < static_cast<int>(step.thresholds.size()) ? static_cast<int32_t>(step.thresholds[t]) : INT32_MIN;

    if (step.kind == Step::Kind::depthwise) {
        const int64_t taps = code_count(step) / step.in.channels;
        step.packed.reserve(code_count(step));
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int c = 0; c < step.in.channels; ++c)
                step.packed.push_back(get(spec.stream, c * taps + tap, common.weight_bits));
        plan_apart(common, spec, path, watch, step);
        return step;
    }
    if (plan_matrix(common, spec, path, watch, step)) return step;
    step.lanes = step.width == Width::bits16 && step.group_outputs() > 32 ? 64 : 32;
    step.lane_blocks = (step.group_outputs() + step.lanes - 1) / step.lanes;
    fill_bias_rows(step);
    cut(step);
    step.packed = Packer(common, step, watch).pack(spec.stream);
    return step;
}

int64_t code_count(const Step& step) {
    return int64_t(step.out.channels) * step.group_inputs() * step.geometry.kernel_h * step.geometry.kernel_w;
}

int64_t stream_size(const Common& common, const Step& step) { return (code_count(step) * common.weight_bits + 7) / 8; }

void read_codes(const Common& common, const Step& step, uint8_t* stream, Watch& watch) {
    if (step.kind == Step::Kind::synaptic) {
        Packer(common, step, watch).unpack(stream);
        return;
    }
    if (step.kind == Step::Kind::matrix) return read_matrix(common, step, stream, watch);
    const int64_t taps = code_count(step) / step.in.channels;
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int c = 0; c < step.in.channels; ++c)
            put(stream, c * taps + tap, common.weight_bits, step.packed[tap * step.in.channels + c]);
}

}  // namespace firstspike
