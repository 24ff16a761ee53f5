// Everything in kernels.hpp, compiled once per instruction set (FIRSTSPIKE_ISA). No standard containers here: their inline
// functions, compiled for a newer processor, could replace those of the other files.
#include "kernels.hpp"

#include <cstring>

#include "dense.hpp"
#include "event.hpp"
#include "simd.hpp"

namespace firstspike::FIRSTSPIKE_ISA {
namespace {

// ---- weights: packed codes to integer panels

struct Order {
    int position[64];
};

#if defined(__AVX512VBMI__)
constexpr Order stream_order() {
    // unpack16 looks up low and high bytes of 64 codes and interleaves them inside lanes of 16 bytes.
    Order order{};
    for (int lane = 0; lane < 4; ++lane)
        for (int i = 0; i < 8; ++i) {
            order.position[16 * lane + i] = 8 * lane + i;
            order.position[16 * lane + 8 + i] = 32 + 8 * lane + i;
        }
    return order;
}
#else
constexpr Order stream_order() {
    Order order{};
    for (int i = 0; i < 64; ++i) order.position[i] = i;
    return order;
}
#endif
constexpr Order stream = stream_order();

// Code number i of a stream of B-bit codes: eight codes fill B whole bytes.
template <class V>
void unpack_any(const PackedRows& rows, int64_t first, int64_t count, V* panel) {
    const int mask = (1 << rows.bits) - 1;
    for (int64_t i = 0; i < count; i += 8) {
        uint64_t eight = 0;
        std::memcpy(&eight, rows.bytes + (first + i) / 8 * rows.bits, rows.bits);
        for (int j = 0; j < 8; ++j) {
            const int64_t at = (i & ~int64_t(63)) + stream.position[(i & 63) + j];
            panel[at] = static_cast<V>(rows.weight[(eight >> (j * rows.bits)) & mask]);
        }
    }
}

void unpack16(const PackedRows& rows, int64_t first, int64_t count, int16_t* panel) {
#if defined(__AVX512VBMI__)
    if (rows.bits <= 6) {
        alignas(64) uint8_t spread[64], shift[64], low[64], high[64];
        for (int i = 0; i < 64; ++i) {
            spread[i] = static_cast<uint8_t>(i / 8 * rows.bits + (i % 8 < rows.bits ? i % 8 : 0));
            shift[i] = static_cast<uint8_t>(i % 8 * rows.bits);
            const auto weight = static_cast<uint16_t>(rows.weight[i & ((1 << rows.bits) - 1)]);  // upper index bits: next code
            low[i] = static_cast<uint8_t>(weight);
            high[i] = static_cast<uint8_t>(weight >> 8);
        }
        const __m512i to_groups = _mm512_load_si512(spread), shifts = _mm512_load_si512(shift);
        const __m512i low_table = _mm512_load_si512(low), high_table = _mm512_load_si512(high);
        const __mmask64 bytes = (uint64_t(1) << (8 * rows.bits)) - 1;
        const uint8_t* in = rows.bytes + first / 8 * rows.bits;
        for (int64_t i = 0; i < count; i += 64, in += 8 * rows.bits, panel += 64) {
            const __m512i groups = _mm512_permutexvar_epi8(to_groups, _mm512_maskz_loadu_epi8(bytes, in));
            const __m512i codes = _mm512_multishift_epi64_epi8(shifts, groups);
            const __m512i l = _mm512_permutexvar_epi8(codes, low_table), h = _mm512_permutexvar_epi8(codes, high_table);
            _mm512_storeu_si512(panel, _mm512_unpacklo_epi8(l, h));
            _mm512_storeu_si512(panel + 32, _mm512_unpackhi_epi8(l, h));
        }
        return;
    }
#endif
    unpack_any(rows, first, count, panel);
}

// ---- spikes

int64_t list(const uint8_t* times, int pixels, int width, int channels, int c0, int cn, int row_bytes, int T,
             const int16_t* values, uint32_t* offsets, int16_t* entries, uint32_t* starts) {
    uint32_t n = 0;
    int64_t spikes = 0;
#if defined(__AVX512VBMI2__)
    const __m512i numbers = _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43,
                                            42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22,
                                            21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i values0 = _mm512_loadu_si512(values), values1 = _mm512_loadu_si512(values + 32);
    const __m512i stride = _mm512_set1_epi32(row_bytes);
#endif
    for (int p = 0; p < pixels; ++p) {
        starts[p] = n;
        const uint32_t base = static_cast<uint32_t>(p % width) * cn * row_bytes;
        const uint8_t* in = times + int64_t(p) * channels + c0;
#if defined(__AVX512VBMI2__)
        for (int c = 0; c < cn; c += 64) {
            const __mmask64 valid = cn - c >= 64 ? ~__mmask64(0) : (__mmask64(1) << (cn - c)) - 1;
            const __m512i t = _mm512_maskz_loadu_epi8(valid, in + c);
            const __mmask64 fired = _mm512_mask_cmplt_epu8_mask(valid, t, _mm512_set1_epi8(static_cast<char>(T)));
            const int found = __builtin_popcountll(fired);
            const __m512i at = _mm512_maskz_compress_epi8(fired, numbers), when = _mm512_maskz_compress_epi8(fired, t);
            const __m512i start = _mm512_set1_epi32(static_cast<int>(base + static_cast<uint32_t>(c) * row_bytes));
            alignas(64) uint8_t channel[64], time[64];
            _mm512_store_si512(channel, at);
            _mm512_store_si512(time, when);
            for (int i = 0; i < found; i += 16) {
                const __m512i wide = _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(channel + i)));
                _mm512_storeu_si512(offsets + n + i, _mm512_add_epi32(start, _mm512_mullo_epi32(wide, stride)));
            }
            if (T <= 64)
                for (int i = 0; i < found; i += 32) {
                    const __m512i wide = _mm512_cvtepu8_epi16(_mm256_load_si256(reinterpret_cast<const __m256i*>(time + i)));
                    _mm512_storeu_si512(entries + n + i, _mm512_permutex2var_epi16(values0, wide, values1));
                }
            else
                for (int i = 0; i < found; ++i) entries[n + i] = values[time[i]];
            n += found;
        }
#else
        for (int c = 0; c < cn; ++c) {
            offsets[n] = base + static_cast<uint32_t>(c) * row_bytes;
            entries[n] = values[in[c]];
            n += in[c] < T;
        }
#endif
        spikes += n - starts[p];
        if ((n - starts[p]) & 1) {
            offsets[n] = base;
            entries[n++] = values[255];
        }
    }
    starts[pixels] = n;
    return spikes;
}

// ---- membranes to spike times

template <class V, class U>
void shift_any(const int32_t* shifts, int accumulator_bits, int count, V* membranes) {
    const int unused = static_cast<int>(8 * sizeof(V)) - accumulator_bits;
    for (int i = 0; i < count; ++i)
        membranes[i] = static_cast<V>(static_cast<U>(membranes[i]) << unused) >> unused >> shifts[i];
}

// The number of thresholds above u: the first that u reaches. Thresholds fall, so that is the spike time.
template <class V, class U>
void fire_any(const FireTable& table, const V* membranes, int count, uint8_t* times) {
    constexpr int block = 64, bits = 8 * sizeof(V);
    const int unused = bits - table.accumulator_bits;
    for (int start = 0; start < count; start += block) {
        const int n = count - start < block ? count - start : block;
        V u[block];
        uint8_t above[block] = {};
        for (int i = 0; i < n; ++i) u[i] = static_cast<V>(static_cast<U>(membranes[start + i]) << unused) >> unused;
        for (int t = 0; t < table.T; ++t) {
            const V threshold = static_cast<V>(table.thresholds[t]);
            for (int i = 0; i < n; ++i) above[i] = static_cast<uint8_t>(above[i] + (threshold > u[i]));
        }
        for (int i = 0; i < n; ++i) times[start + i] = above[i] == table.T ? 255 : above[i];
    }
}

void fire32(const FireTable& table, const int32_t* membranes, int count, uint8_t* times) {
#if defined(__AVX512VBMI2__)
    if (table.T < 32) {
        // Binary search in two registers.
        const __m512i low = _mm512_loadu_si512(table.low), high = _mm512_loadu_si512(table.low + 16);
        const __m512i unused = _mm512_set1_epi32(32 - table.accumulator_bits);
        for (int start = 0; start < count; start += 64) {  // four searches at once hide each other's latency
            __mmask16 valid[4];
            __m512i u[4], t[4];
            for (int i = 0; i < 4; ++i) {
                const int left = count - start - 16 * i;
                valid[i] = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1 << left) - 1);
                const __m512i raw = _mm512_maskz_loadu_epi32(valid[i], membranes + start + 16 * i);
                u[i] = _mm512_srav_epi32(_mm512_sllv_epi32(raw, unused), unused);
                t[i] = _mm512_setzero_si512();
            }
            for (int step = 16; step > 0; step /= 2)
                for (int i = 0; i < 4; ++i) {
                    const __m512i probe = _mm512_add_epi32(t[i], _mm512_set1_epi32(step - 1));
                    const __mmask16 above = _mm512_cmpgt_epi32_mask(_mm512_permutex2var_epi32(low, probe, high), u[i]);
                    t[i] = _mm512_mask_add_epi32(t[i], above, t[i], _mm512_set1_epi32(step));
                }
            for (int i = 0; i < 4; ++i) {
                const __mmask16 silent = _mm512_cmpge_epi32_mask(t[i], _mm512_set1_epi32(table.T));
                t[i] = _mm512_mask_mov_epi32(t[i], silent, _mm512_set1_epi32(255));
                _mm512_mask_cvtepi32_storeu_epi8(times + start + 16 * i, valid[i], t[i]);
            }
        }
        return;
    }
#endif
    fire_any<int32_t, uint32_t>(table, membranes, count, times);
}

// ---- layers without lists

template <class V, class U>
void depthwise(const Geometry& g, int channels, const uint8_t* times, const V* weights, const U* kernel_values, int oy, int ox0,
               int ox1, V* membranes) {
    for (int ox = ox0; ox < ox1; ++ox, membranes += channels)
        for (int ky = 0; ky < g.kernel_h; ++ky)
            for (int kx = 0; kx < g.kernel_w; ++kx) {
                const int iy = oy * g.stride_h - g.pad_h + ky * g.dilation_h, ix = ox * g.stride_w - g.pad_w + kx * g.dilation_w;
                if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
                const uint8_t* in = times + (int64_t(iy) * g.width + ix) * channels;
                const V* w = weights + (int64_t(ky) * g.kernel_w + kx) * channels;
                for (int c = 0; c < channels; ++c)
                    membranes[c] = static_cast<V>(static_cast<U>(membranes[c]) + static_cast<U>(w[c]) * kernel_values[in[c]]);
            }
}

void earliest(const uint8_t* in, int64_t count, uint8_t* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = in[i] < out[i] ? in[i] : out[i];
}

constexpr Kernels make_table() {
    Kernels k{};
    for (int i = 0; i < 64; ++i) {
        k.panel_position[i] = stream.position[i];
#ifdef FIRSTSPIKE_SIMD
        k.channel16[i] = i / Simd::words * Simd::words + channel_at(i % Simd::words, Simd::words);
#else
        k.channel16[i] = i;
#endif
    }
    k.unpack16 = unpack16;
    k.unpack32 = unpack_any<int32_t>;
    k.unpack64 = unpack_any<int64_t>;
    k.list = list;
    k.event16[0] = event_row<PairSums<32>>;
    k.event16[1] = event_row<PairSums<64>>;
    k.event32 = event_row<SingleSums<uint32_t, 32>>;
    k.event64 = event_row<SingleSums<uint64_t, 32>>;
    k.expand = expand;
    k.dense16[0] = dense_row<32>;
    k.dense16[1] = dense_row<64>;
    k.shift32 = shift_any<int32_t, uint32_t>;
    k.shift64 = shift_any<int64_t, uint64_t>;
    k.fire32 = fire32;
    k.fire64 = fire_any<int64_t, uint64_t>;
    k.depthwise32 = depthwise<int32_t, uint32_t>;
    k.depthwise64 = depthwise<int64_t, uint64_t>;
    k.earliest = earliest;
    return k;
}

}  // namespace

extern const Kernels kernel_table;
constinit const Kernels kernel_table = make_table();  // no code of this file runs before it is chosen

}  // namespace firstspike::FIRSTSPIKE_ISA
