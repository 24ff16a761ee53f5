// A network run by plain loops, to compare with: every product on its own, modulo 2^64, wrapped at the end.
#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "../engine.hpp"

namespace plain {

using namespace firstspike;

inline bool same(const Shape& a, const Shape& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

// Code number i of a stream.
inline int code_at(const uint8_t* stream, int64_t i, int bits) {
    int code = 0;
    for (int b = 0; b < bits; ++b) code |= (stream[(i * bits + b) / 8] >> ((i * bits + b) % 8) & 1) << b;
    return code;
}

struct Run {
    std::vector<std::vector<uint8_t>> values;  // by number of the activation, [image][channels first]
    std::vector<int64_t> logits;

    Run(const Common& common, const std::deque<Step>& steps, const std::vector<std::pair<int, SynapticSpec>>& specs,
        const std::vector<std::vector<int>>& channels, const std::vector<uint8_t>& times, int64_t n)
        : values{times}, common_(common), n_(n), sums_(steps.size() + 1) {
        auto spec = specs.begin();
        auto rearranged = channels.begin();
        for (size_t s = 0; s < steps.size(); ++s) {
            values.emplace_back(n * steps[s].out.size(), 255);
            if (steps[s].kind == Step::Kind::flatten)
                values.back() = values[steps[s].source];
            else if (steps[s].kind == Step::Kind::channels)
                rearrange(steps[s], *rearranged++);
            else if (steps[s].kind == Step::Kind::shuffle)
                shuffle(steps[s]);
            else if (steps[s].kind == Step::Kind::pool)
                pool(steps[s]);
            else
                synaptic((spec++)->second);
        }
    }

private:
    // f(image, channel, y, x, number of the output)
    template <class F>
    void each(const Shape& shape, F f) const {
        int64_t at = 0;
        for (int64_t i = 0; i < n_; ++i)
            for (int c = 0; c < shape.channels; ++c)
                for (int y = 0; y < shape.height; ++y)
                    for (int x = 0; x < shape.width; ++x) f(i, c, y, x, at++);
    }

    // f(input's number in its image of one channel, tap) for each tap of a window that is not in the padding
    template <class F>
    static void taps(const Geometry& g, int y, int x, F f) {
        for (int ky = 0; ky < g.kernel_h; ++ky)
            for (int kx = 0; kx < g.kernel_w; ++kx) {
                const int iy = y * g.stride_h + ky * g.dilation_h - g.pad_h, ix = x * g.stride_w + kx * g.dilation_w - g.pad_w;
                if (iy >= 0 && iy < g.height && ix >= 0 && ix < g.width) f(iy * g.width + ix, ky * g.kernel_w + kx);
            }
    }

    void pool(const Step& step) {
        const std::vector<uint8_t>& in = values[step.source];
        each(step.out, [&](int64_t i, int c, int y, int x, int64_t at) {
            const uint8_t* map = &in[i * step.in.size() + int64_t(c) * step.in.pixels()];
            taps(step.geometry, y, x, [&](int input, int) { values.back()[at] = std::min(values.back()[at], map[input]); });
        });
    }

    void shuffle(const Step& step) {
        each(step.out, [&](int64_t i, int c, int y, int x, int64_t at) {
            const int channel = (c * step.down + y % step.down) * step.across + x % step.across;
            values.back()[at] = values[step.source][((i * step.in.channels + channel) * step.in.height + y / step.down) * step.in.width +
                                                    x / step.across];
        });
    }

    void rearrange(const Step& step, const std::vector<int>& channels) {
        const int area = step.out.pixels();
        each(step.out, [&](int64_t i, int c, int y, int x, int64_t at) {
            int channel = channels[c];
            for (int source : step.sources) {
                const int here = static_cast<int>(values[source].size() / n_) / area;
                if (channel >= 0 && channel < here)
                    values.back()[at] = values[source][(i * here + channel) * area + y * step.out.width + x];
                channel -= here;
            }
        });
    }

    void synaptic(const SynapticSpec& spec) {
        const std::vector<uint8_t>& in = values[spec.source];
        const int inputs = spec.in.channels / spec.groups, outputs = spec.out.channels / spec.groups;
        const int64_t area = int64_t(spec.geometry.kernel_h) * spec.geometry.kernel_w;
        std::vector<uint64_t> weights(spec.out.channels * inputs * area);
        for (size_t i = 0; i < weights.size(); ++i)
            weights[i] = static_cast<uint64_t>(spec.weights[code_at(spec.stream, i, common_.weight_bits)]);
        each(spec.out, [&](int64_t i, int c, int y, int x, int64_t at) {
            uint64_t u = static_cast<uint64_t>(spec.bias[c]);
            for (int k = 0; k < inputs; ++k) {
                const int64_t channel = int64_t(c / outputs) * inputs + k;
                const uint8_t* map = &in[i * spec.in.size() + channel * spec.in.pixels()];
                const uint64_t* row = &weights[(int64_t(c) * inputs + k) * area];
                taps(spec.geometry, y, x, [&](int input, int tap) {
                    u += static_cast<uint64_t>(spec.spike_values[map[input]]) * row[tap];
                });
            }
            if (spec.partial) return sums_[values.size() - 1].push_back(u);
            for (int part : spec.parts) u += sums_[part][at];
            for (int residual : spec.residuals) u += static_cast<uint64_t>(spec.identity[values[residual][at]]);
            const int unused = 64 - common_.accumulator_bits;
            const int64_t membrane = static_cast<int64_t>(u << unused) >> unused;
            if (!spec.fires) {
                logits.push_back(membrane);
                return;
            }
            for (int t = common_.T - 1; t >= 0; --t)
                if (membrane >> (spec.shifts.empty() ? 0 : spec.shifts[c]) >= spec.thresholds[t]) values.back()[at] = static_cast<uint8_t>(t);
        });
    }

    const Common& common_;
    const int64_t n_;
    std::vector<std::vector<uint64_t>> sums_;  // of parts, by number of the activation
};

}  // namespace plain
