// Dense membranes: every input is multiplied, spike or not. Pays where almost every input fires. Included by kernels.cpp.
#pragma once

#include "event.hpp"

namespace firstspike::FIRSTSPIKE_ISA {
namespace {

// Pixels of one image and channel block as integer kernel values, silent padding around: [height + 2 pad][width + 2 pad][cn].
void expand(const uint8_t* times, const Geometry& g, int channels, int c0, int cn, const int16_t* values, int16_t* dense) {
    const int width = g.width + 2 * g.pad_w;
    std::memset(dense, 0, sizeof(int16_t) * (int64_t(g.height + 2 * g.pad_h) * width * cn + 2));
    for (int y = 0; y < g.height; ++y)
        for (int x = 0; x < g.width; ++x) {
            const uint8_t* in = times + (int64_t(y) * g.width + x) * channels + c0;
            int16_t* out = dense + (int64_t(y + g.pad_h) * width + x + g.pad_w) * cn;
            for (int c = 0; c < cn; ++c) out[c] = values[in[c]];
        }
}

#ifdef FIRSTSPIKE_SIMD
// `Positions` neighbouring outputs by one register of channels: a weight row is loaded once for all of them.
template <int Positions, int Lanes>
void dense_block(const int16_t* panel, const int16_t* dense, int64_t step, int pairs, int32_t* membranes) {
    using R = Simd::Register;
    constexpr int half = Simd::words / 2;
    R sum[Positions][2];
    for (int p = 0; p < Positions; ++p)
        for (int h = 0; h < 2; ++h) sum[p][h] = Simd::load(membranes + p * Lanes + h * half);
    for (int k = 0; k < pairs; ++k) {
        const R first = Simd::load(panel + 2 * k * Lanes), second = Simd::load(panel + (2 * k + 1) * Lanes);
        const R low = Simd::low(first, second), high = Simd::high(first, second);
        for (int p = 0; p < Positions; ++p) {
            const R x = Simd::pair(value_pair(dense + p * step + 2 * k));
            sum[p][0] = Simd::dot(sum[p][0], low, x);
            sum[p][1] = Simd::dot(sum[p][1], high, x);
        }
    }
    for (int p = 0; p < Positions; ++p)
        for (int h = 0; h < 2; ++h) Simd::store(membranes + p * Lanes + h * half, sum[p][h]);
}

template <int Lanes>
void dense_run(int width, const int16_t* panel, const int16_t* dense, int64_t step, int pairs, int32_t* membranes) {
    constexpr int positions = Simd::registers == 32 ? 12 : 4;
    for (int lane = 0; lane < Lanes; lane += Simd::words) {
        int ox = 0;
        for (; ox + positions <= width; ox += positions)
            dense_block<positions, Lanes>(panel + lane, dense + ox * step, step, pairs, membranes + ox * Lanes + lane);
        for (; ox + 4 <= width; ox += 4)
            dense_block<4, Lanes>(panel + lane, dense + ox * step, step, pairs, membranes + ox * Lanes + lane);
        for (; ox < width; ++ox)
            dense_block<1, Lanes>(panel + lane, dense + ox * step, step, pairs, membranes + ox * Lanes + lane);
    }
}
#else
template <int Lanes>
void dense_run(int width, const int16_t* panel, const int16_t* dense, int64_t step, int pairs, int32_t* membranes) {
    for (int ox = 0; ox < width; ++ox) {
        PairSums<Lanes> sums;
        sums.load(membranes + ox * Lanes);
        for (int k = 0; k < pairs; ++k) {
            const uint32_t offsets[2] = {uint32_t(2 * k) * 2 * Lanes, uint32_t(2 * k + 1) * 2 * Lanes};
            sums.add(reinterpret_cast<const char*>(panel), offsets, dense + ox * step + 2 * k, nullptr, 2);
        }
        sums.store(membranes + ox * Lanes);
    }
}
#endif

// An odd run reads one value past its end: the panel's row for it is zero.
template <int Lanes>
void dense_row(const Geometry& g, const Chunk& chunk, const int16_t* panel, const int16_t* dense, int oy, int ox0, int ox1,
               int32_t* membranes) {
    const int64_t width = g.width + 2 * g.pad_w;
    for (int ky = chunk.ky0; ky < chunk.ky1; ++ky) {
        const int16_t* row = dense + ((int64_t(oy) * g.stride_h + ky) * width + int64_t(ox0) * g.stride_w + chunk.kx0) * chunk.cn;
        dense_run<Lanes>(ox1 - ox0, panel + int64_t(ky - chunk.ky0) * chunk.run_rows * Lanes, row, int64_t(g.stride_w) * chunk.cn,
                         chunk.run_rows / 2, membranes);
    }
}

}  // namespace
}  // namespace firstspike::FIRSTSPIKE_ISA
