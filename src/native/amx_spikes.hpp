// From sums to spikes, 16 sums a register: the one place where bytes of matrix.hpp's layers fire.
#pragma once

#include <immintrin.h>

#include "matrix.hpp"

namespace firstspike::amx {
namespace {

// A row of 32 addends of a block, 16 at a time; zeros behind the last row.
__m512i addend(const MatrixAddend& more, int row, int half, __mmask16 there) {
    const auto* from = static_cast<const uint8_t*>(more.from) + row * more.pitch;
    if (more.kind == MatrixAddend::Kind::sums)
        return _mm512_srav_epi32(_mm512_maskz_loadu_epi32(there, from + 4 * half), _mm512_set1_epi32(more.shift));
    __m128i bytes = _mm_maskz_loadu_epi8(there, from + half);
    if (more.kind == MatrixAddend::Kind::times) {
        const __m512i at = _mm512_castsi128_si512(_mm_min_epu8(bytes, _mm_set1_epi8(63)));
        bytes = _mm_maskz_mov_epi8(there, _mm512_castsi512_si128(_mm512_permutexvar_epi8(at, _mm512_loadu_si512(more.bytes))));
    }
    return _mm512_sllv_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(more.shift));
}

// Places in an octave table. The upper half of a sum as a float holds all that counts of it.
struct Octaves {
    __m512i start, last;
    __m512i one_by_one, lane_by_lane;  // orders of the upper words of two registers

    explicit Octaves(int32_t from) : start(_mm512_set1_epi16(static_cast<int16_t>(from))), last(_mm512_set1_epi8(63)) {
        alignas(64) int16_t odd[32], lanes[32];
        for (int i = 0; i < 32; ++i) {
            odd[i] = static_cast<int16_t>(2 * i + 1);
            lanes[i] = static_cast<int16_t>(i % 8 / 4 * 32 + 2 * (i / 8 * 4 + i % 4) + 1);
        }
        one_by_one = _mm512_load_si512(odd);
        lane_by_lane = _mm512_load_si512(lanes);
    }

    static __m512i floats(__m512i sums) {
        return _mm512_castps_si512(_mm512_cvt_roundepi32_ps(sums, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
    }

    // Words of two registers of sums, in this order.
    __m512i words(__m512i first, __m512i second, __m512i order) const {
        const __m512i both = _mm512_permutex2var_epi16(floats(first), order, floats(second));
        return _mm512_subs_epi16(_mm512_srai_epi16(both, 4), start);
    }

    // Bytes: in each 16 eight of the first words and eight of the second.
    __m512i bytes(__m512i first, __m512i second) const { return _mm512_min_epu8(_mm512_packus_epi16(first, second), last); }
};

// Sums of a block as they fire. Plain ones have neither addends nor shifts.
template <bool plain>
struct Ending {
    const MatrixEnd& end;
    Octaves octaves;
    __mmask32 valid;

    explicit Ending(const MatrixEnd& end)
        : end(end), octaves(end.start), valid(end.columns >= 32 ? ~__mmask32(0) : (__mmask32(1) << end.columns) - 1) {}

    static __m512i load(const int32_t* at, uint32_t negated) {
        const __m512i sums = _mm512_loadu_si512(at);
        return _mm512_mask_sub_epi32(sums, static_cast<__mmask16>(negated), _mm512_setzero_si512(), sums);
    }

    // Of one tile of columns, the first or the second.
    __m512i sums(int row, int half) const {
        const uint32_t negated = end.negated >> half;
        const int32_t* at = end.sums + int64_t(row) * block_columns + half;
        __m512i sums = load(at, negated);
        for (int map = 1; map < end.maps; ++map) sums = _mm512_max_epi32(sums, load(at + map * block_sums, negated));
        if constexpr (!plain) {
            const auto there = static_cast<__mmask16>(row < end.rows ? valid >> half : 0);
            for (int i = 0; i < end.addend_count; ++i) sums = _mm512_add_epi32(sums, addend(end.addends[i], row, half, there));
            if (end.shifts != nullptr) sums = _mm512_srav_epi32(sums, _mm512_loadu_si512(end.shifts + half));
        }
        return sums;
    }

    __m512i words(int row) const { return octaves.words(sums(row, 0), sums(row, tile_columns), octaves.one_by_one); }

    void store(const MatrixOut& out, int row, __m512i places) const {
        if (out.to == nullptr) return;
        const __m512i both = _mm512_permutexvar_epi8(places, _mm512_loadu_si512(out.bytes));
        uint8_t* to = out.to + row * out.pitch;
        _mm256_mask_storeu_epi8(to, valid, _mm512_castsi512_si256(both));
        if (row + 1 < end.rows) _mm256_mask_storeu_epi8(to + out.pitch, valid, _mm512_extracti64x4_epi64(both, 1));
    }

    void run() const {
        const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
        for (int row = 0; row < end.rows; row += 2) {
            const __m512i places = _mm512_permutexvar_epi64(order, octaves.bytes(words(row), words(row + 1)));
            store(end.times, row, places);
            store(end.values, row, places);
        }
    }
};

}  // namespace
}  // namespace firstspike::amx
