// Event-driven membranes: only spikes are visited. Included by kernels.cpp, once per instruction set.
#pragma once

#include <cstring>

#include "kernels.hpp"
#include "simd.hpp"

namespace firstspike::FIRSTSPIKE_ISA {
namespace {

inline int32_t value_pair(const int16_t* values) {
    int32_t pair;
    std::memcpy(&pair, values, sizeof pair);
    return pair;
}

#ifdef FIRSTSPIKE_SIMD
// Sums of one output position over `Lanes` channels, in registers. Two spikes are taken at a time: their weight rows are
// interleaved, so that one instruction multiplies and adds both. Several sets of sums hide its latency.
template <int Lanes>
struct PairSums {
    using R = Simd::Register;
    static constexpr int lanes = Lanes;
    static constexpr int row_bytes = 2 * Lanes;
    static constexpr int sum_bytes = 4;
    static constexpr int rows = Lanes / Simd::words;          // registers of a weight row
    static constexpr int sums = 2 * rows;                     // registers of a position's sums
    static constexpr int sets = sums >= 8 ? 1 : 8 / sums;
    R sum[sets][sums];

    void load(const void* membranes) {
        for (int i = 0; i < sums; ++i) sum[0][i] = Simd::load(static_cast<const int32_t*>(membranes) + i * Simd::words / 2);
        for (int s = 1; s < sets; ++s)
            for (int i = 0; i < sums; ++i) sum[s][i] = Simd::zero();
    }

    void store(void* membranes) {
        for (int i = 0; i < sums; ++i) {
            for (int s = 1; s < sets; ++s) sum[0][i] = Simd::add(sum[0][i], sum[s][i]);
            Simd::store(static_cast<int32_t*>(membranes) + i * Simd::words / 2, sum[0][i]);
        }
    }

    void pair(R (&to)[sums], const char* panel, const uint32_t* offsets, const int16_t* values) {
        const char *a = panel + offsets[0], *b = panel + offsets[1];
        const R x = Simd::pair(value_pair(values));
        for (int i = 0; i < rows; ++i) {
            const R first = Simd::load(a + i * sizeof(R)), second = Simd::load(b + i * sizeof(R));
            to[2 * i] = Simd::dot(to[2 * i], Simd::low(first, second), x);
            to[2 * i + 1] = Simd::dot(to[2 * i + 1], Simd::high(first, second), x);
        }
    }

    void add(const char* panel, const uint32_t* offsets, const int16_t* values, const void*, int64_t count) {
        int64_t i = 0;
        for (; i + 2 * sets <= count; i += 2 * sets)
            for (int s = 0; s < sets; ++s) pair(sum[s], panel, offsets + i + 2 * s, values + i + 2 * s);
        for (; i < count; i += 2) pair(sum[0], panel, offsets + i, values + i);
    }
};
#else
template <int Lanes>
struct PairSums {
    static constexpr int lanes = Lanes;
    static constexpr int row_bytes = 2 * Lanes;
    static constexpr int sum_bytes = 4;
    uint32_t sum[Lanes];

    void load(const void* membranes) { std::memcpy(sum, membranes, sizeof sum); }
    void store(void* membranes) { std::memcpy(membranes, sum, sizeof sum); }

    void add(const char* panel, const uint32_t* offsets, const int16_t* values, const void*, int64_t count) {
        for (int64_t i = 0; i < count; i += 2) {
            const int16_t *a = reinterpret_cast<const int16_t*>(panel + offsets[i]),
                          *b = reinterpret_cast<const int16_t*>(panel + offsets[i + 1]);
            const int16_t x = values[i], y = values[i + 1];
            for (int l = 0; l < Lanes; ++l) sum[l] += static_cast<uint32_t>(a[l] * x) + static_cast<uint32_t>(b[l] * y);
        }
    }
};
#endif

// One spike at a time, operands and sums of type V (unsigned: sums wrap), for parameters beyond 16 bits.
template <class V, int Lanes>
struct SingleSums {
    static constexpr int lanes = Lanes;
    static constexpr int row_bytes = sizeof(V) * Lanes;
    static constexpr int sum_bytes = sizeof(V);
    V sum[Lanes];

    void load(const void* membranes) { std::memcpy(sum, membranes, sizeof sum); }
    void store(void* membranes) { std::memcpy(membranes, sum, sizeof sum); }

    void add(const char* panel, const uint32_t* offsets, const int16_t* times, const void* kernel_values, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
            const V x = static_cast<const V*>(kernel_values)[times[i]];
            const V* w = reinterpret_cast<const V*>(panel + offsets[i]);
            for (int l = 0; l < Lanes; ++l) sum[l] += w[l] * x;
        }
    }
};

// The same with gaps between the taps: each is a run of one pixel.
template <class Sums>
void dilated_row(const Geometry& g, const Chunk& chunk, const void* panel, const SpikeLists& lists, int oy, int ox0, int ox1,
                 const void* kernel_values, void* membranes) {
    const int64_t pixel_bytes = int64_t(chunk.cn) * Sums::row_bytes;
    const int64_t run_bytes = int64_t(chunk.run_rows) * Sums::row_bytes;
    char* out = static_cast<char*>(membranes);
    for (int ox = ox0; ox < ox1; ++ox, out += Sums::lanes * Sums::sum_bytes) {
        Sums sums;
        sums.load(out);
        for (int ky = chunk.ky0; ky < chunk.ky1; ++ky) {
            const int64_t iy = int64_t(oy) * g.stride_h - g.pad_h + int64_t(ky) * g.dilation_h;
            if (iy < 0 || iy >= g.height) continue;
            for (int kx = chunk.kx0; kx < chunk.kx1; ++kx) {
                const int64_t ix = int64_t(ox) * g.stride_w - g.pad_w + int64_t(kx) * g.dilation_w;
                if (ix < 0 || ix >= g.width) continue;
                const uint32_t* starts = lists.starts + iy * g.width + ix;
                const char* row = static_cast<const char*>(panel) + (ky - chunk.ky0) * run_bytes;
                sums.add(row + (kx - chunk.kx0 - ix) * pixel_bytes, lists.offsets + starts[0], lists.values + starts[0],
                         kernel_values, starts[1] - starts[0]);
            }
        }
        sums.store(out);
    }
}

template <class Sums>
void event_row(const Geometry& g, const Chunk& chunk, const void* panel, const SpikeLists& lists, int oy, int ox0, int ox1,
               const void* kernel_values, void* membranes) {
    if (g.dilated()) return dilated_row<Sums>(g, chunk, panel, lists, oy, ox0, ox1, kernel_values, membranes);
    const int64_t pixel_bytes = int64_t(chunk.cn) * Sums::row_bytes;
    const int64_t run_bytes = int64_t(chunk.run_rows) * Sums::row_bytes;
    const int top = oy * g.stride_h - g.pad_h;
    const int ky0 = top + chunk.ky0 < 0 ? -top : chunk.ky0;
    const int ky1 = top + chunk.ky1 > g.height ? g.height - top : chunk.ky1;
    char* out = static_cast<char*>(membranes);
    for (int ox = ox0; ox < ox1; ++ox, out += Sums::lanes * Sums::sum_bytes) {
        const int left = ox * g.stride_w - g.pad_w + chunk.kx0;
        const int right = left + chunk.kx1 - chunk.kx0;
        const int ix0 = left < 0 ? 0 : left, ix1 = right > g.width ? g.width : right;
        if (ix0 >= ix1) continue;
        Sums sums;
        sums.load(out);
        for (int ky = ky0; ky < ky1; ++ky) {
            const uint32_t* starts = lists.starts + int64_t(top + ky) * g.width;
            const uint32_t begin = starts[ix0], end = starts[ix1];
            const char* rows = static_cast<const char*>(panel) + (ky - chunk.ky0) * run_bytes - left * pixel_bytes;
            sums.add(rows, lists.offsets + begin, lists.values + begin, kernel_values, end - begin);
        }
        sums.store(out);
    }
}

}  // namespace
}  // namespace firstspike::FIRSTSPIKE_ISA
