#include "plan.hpp"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace firstspike {
namespace {

// Panels take at most the level-1 data cache: 48 KiB on current server processors.
constexpr int64_t panel_bytes = 48 << 10;

bool fits(const std::vector<int64_t>& values, int64_t limit) {
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return std::llabs(v) <= limit; });
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

// The codes of one lane block in the order of its panels, `bits` bits each.
class Packer {
public:
    Packer(const Common& common, Step& step, const uint8_t* codes)
        : kernels_(kernels(common.isa)), step_(step), codes_(codes), bits_(common.weight_bits),
          zero_(static_cast<uint8_t>((1 << (bits_ - 1)) - 1)) {}

    void pack() {
        const int64_t units = step_.rows * step_.lanes / 64;
        step_.packed.assign(int64_t(step_.groups) * step_.lane_blocks * units * 8 * bits_, 0);
        uint8_t* out = step_.packed.data();
        std::vector<uint8_t> panel(step_.rows * step_.lanes);
        for (int group = 0; group < step_.groups; ++group)
            for (int lane_block = 0; lane_block < step_.lane_blocks; ++lane_block) {
                fill(group, lane_block, panel);
                for (int64_t unit = 0; unit < units; ++unit, out += 8 * bits_) pack_unit(&panel[unit * 64], out);
            }
    }

private:
    void fill(int group, int lane_block, std::vector<uint8_t>& panel) const {
        std::fill(panel.begin(), panel.end(), zero_);
        for (const Chunk& chunk : step_.chunks)
            for (int ky = chunk.ky0; ky < chunk.ky1; ++ky)
                for (int kx = chunk.kx0; kx < chunk.kx1; ++kx)
                    for (int c = 0; c < chunk.cn; ++c) {
                        const int64_t row = chunk.first_row + int64_t(ky - chunk.ky0) * chunk.run_rows + (kx - chunk.kx0) * chunk.cn + c;
                        for (int lane = 0; lane < step_.lanes; ++lane)
                            panel[row * step_.lanes + lane] = code(group, lane_block, channel(lane), chunk.c0 + c, ky, kx);
                    }
    }

    int channel(int lane) const { return step_.width == Width::bits16 ? kernels_.channel16[lane] : lane; }

    uint8_t code(int group, int lane_block, int lane, int c, int ky, int kx) const {
        const int output = lane_block * step_.lanes + lane;
        if (output >= step_.group_outputs()) return zero_;
        const Geometry& g = step_.geometry;
        const int64_t filter = int64_t(group) * step_.group_outputs() + output;
        return codes_[((filter * step_.group_inputs() + c) * g.kernel_h + ky) * g.kernel_w + kx];
    }

    void pack_unit(const uint8_t* panel, uint8_t* out) const {
        for (int p = 0; p < 64; ++p) {
            const unsigned code = panel[kernels_.panel_position[p]], bit = static_cast<unsigned>(p * bits_);
            out[bit / 8] |= static_cast<uint8_t>(code << bit % 8);
            if (bit % 8 + bits_ > 8) out[bit / 8 + 1] |= static_cast<uint8_t>(code >> (8 - bit % 8));
        }
    }

    const Kernels& kernels_;
    Step& step_;
    const uint8_t* codes_;
    int bits_;
    uint8_t zero_;
};

void plan_depthwise(Step& step, const uint8_t* codes) {
    const int taps = step.geometry.kernel_h * step.geometry.kernel_w;
    step.packed.resize(int64_t(taps) * step.in.channels);
    for (int c = 0; c < step.in.channels; ++c)
        for (int tap = 0; tap < taps; ++tap) step.packed[int64_t(tap) * step.in.channels + c] = codes[int64_t(c) * taps + tap];
}

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

Step plan_synaptic(const Common& common, SynapticSpec spec) {
    Step step{};
    step.kind = spec.groups > 1 && spec.groups == spec.in.channels && spec.groups == spec.out.channels ? Step::Kind::depthwise
                                                                                                       : Step::Kind::synaptic;
    step.source = spec.source;
    step.in = spec.in;
    step.out = spec.out;
    step.geometry = spec.geometry;
    step.groups = spec.groups;
    step.fires = spec.fires;
    step.weights = std::move(spec.weights);
    step.bias = std::move(spec.bias);
    step.thresholds = std::move(spec.thresholds);
    step.identity = std::move(spec.identity);
    step.residuals = std::move(spec.residuals);

    // Sums modulo 2^32 or 2^64 wrap to the accumulator's bits exactly. 16-bit pairs need operands of 16 bits.
    const bool narrow = fits(step.weights, INT16_MAX) && fits(common.kernel_values, INT16_MAX);
    step.width = common.accumulator_bits > 32 ? Width::bits64 : narrow ? Width::bits16 : Width::bits32;

    step.entry_values.resize(256);
    for (int t = 0; t < 256; ++t)
        step.entry_values[t] = static_cast<int16_t>(step.width == Width::bits16 ? common.kernel_values[t] : t);
    for (int64_t value : common.kernel_values) {
        step.kernel32.push_back(static_cast<uint32_t>(value));
        step.kernel64.push_back(static_cast<uint64_t>(value));
    }
    step.fire.thresholds = step.thresholds.data();  // stays there when the step is moved
    step.fire.T = common.T;
    step.fire.accumulator_bits = common.accumulator_bits;
    for (int t = 0; t < 32; ++t)
        step.fire.low[t] = t < static_cast<int>(step.thresholds.size()) ? static_cast<int32_t>(step.thresholds[t]) : INT32_MIN;

    if (step.kind == Step::Kind::depthwise) {
        plan_depthwise(step, spec.codes);
        return step;
    }
    step.lanes = step.width == Width::bits16 && step.group_outputs() > 32 ? 64 : 32;
    step.lane_blocks = (step.group_outputs() + step.lanes - 1) / step.lanes;
    fill_bias_rows(step);
    cut(step);
    Packer(common, step, spec.codes).pack();
    return step;
}

}  // namespace firstspike
