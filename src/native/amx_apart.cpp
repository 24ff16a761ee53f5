// Layers whose channels stay apart (depthwise), on the bytes of matrix.hpp. No standard containers here: see kernels.cpp.
#include "amx_spikes.hpp"

namespace firstspike::amx {
namespace {

// The bytes of four taps side by side, 16 channels a register: in lane l of register r are channels 16 l + 4 r to 16 l + 4 r + 3.
struct Quad {
    __m512i part[4];

    Quad(__m512i a, __m512i b, __m512i c, __m512i d) {
        const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
        const __m512i more_ab = _mm512_unpackhi_epi8(a, b), more_cd = _mm512_unpackhi_epi8(c, d);
        part[0] = _mm512_unpacklo_epi16(ab, cd);
        part[1] = _mm512_unpackhi_epi16(ab, cd);
        part[2] = _mm512_unpacklo_epi16(more_ab, more_cd);
        part[3] = _mm512_unpackhi_epi16(more_ab, more_cd);
    }
};

__mmask64 first(int count) { return count >= 64 ? ~__mmask64(0) : (__mmask64(1) << count) - 1; }

template <bool large>
void multiply_rows(const ApartTask& task) {
    const __mmask64 valid = first(task.channels);
    const auto load = [&](const ApartTap& tap, int row) { return _mm512_maskz_loadu_epi8(valid, tap.from + row * tap.pitch); };
    const Octaves octaves(task.octave);
    for (int row = 0; row < task.rows; ++row) {
        __m512i sums[4], high[4];
        for (int i = 0; i < 4; ++i) {
            sums[i] = _mm512_loadu_si512(task.start + 16 * i);
            high[i] = _mm512_setzero_si512();
        }
        const int8_t* weights = task.weights;
        for (const ApartTap *tap = task.taps, *end = tap + 4 * task.quads; tap < end; tap += 4) {
            const Quad quad(load(tap[0], row), load(tap[1], row), load(tap[2], row), load(tap[3], row));
            for (int i = 0; i < 4; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], quad.part[i], _mm512_loadu_si512(weights + 64 * i));
            weights += 256;
            if constexpr (!large) continue;
            for (int i = 0; i < 4; ++i) high[i] = _mm512_dpbusd_epi32(high[i], quad.part[i], _mm512_loadu_si512(weights + 64 * i));
            weights += 256;
        }
        for (int i = 0; i < 4; ++i) {
            if constexpr (large) sums[i] = _mm512_add_epi32(sums[i], _mm512_slli_epi32(high[i], apart_digit));
            if (task.shifts != nullptr) sums[i] = _mm512_srav_epi32(sums[i], _mm512_loadu_si512(task.shifts + 16 * i));
        }
        const auto words = [&](int i) { return octaves.words(sums[i], sums[i + 1], octaves.lane_by_lane); };
        const __m512i places = octaves.bytes(words(0), words(2));
        for (const MatrixOut* out : {&task.times, &task.values})
            if (out->to != nullptr)
                _mm512_mask_storeu_epi8(out->to + row * out->pitch, valid, _mm512_permutexvar_epi8(places, _mm512_loadu_si512(out->bytes)));
    }
}

}  // namespace

void spread(const ApartWeights& tables, const uint8_t* codes, int64_t pitch, int channels, int taps, int8_t* weights) {
    const __mmask64 valid = first(channels);
    const __m512i low = _mm512_loadu_si512(tables.digit[0]), high = _mm512_loadu_si512(tables.digit[1]);
    for (int tap = 0; tap < taps; tap += 4) {
        const auto digits = [&](int i, __m512i table) {
            const __mmask64 there = tap + i < taps ? valid : 0;
            const __m512i code = _mm512_maskz_loadu_epi8(there, codes + (tap + i) * pitch);
            return _mm512_maskz_permutexvar_epi8(there, code, table);
        };
        const auto store = [&](__m512i table) {
            const Quad quad(digits(0, table), digits(1, table), digits(2, table), digits(3, table));
            for (int i = 0; i < 4; ++i, weights += 64) _mm512_storeu_si512(weights, quad.part[i]);
        };
        store(low);
        if (tables.large) store(high);
    }
}

void multiply_apart(const ApartTask& task) { task.large ? multiply_rows<true>(task) : multiply_rows<false>(task); }

}  // namespace firstspike::amx
