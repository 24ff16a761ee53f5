// One register of 16-bit weights and two of 32-bit sums, for the instruction set this file is compiled for.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace firstspike::FIRSTSPIKE_ISA {

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define FIRSTSPIKE_SIMD 1
struct Simd {
    using Register = __m512i;
    static constexpr int words = 32;       // 16-bit weights in a register
    static constexpr int registers = 32;
    static Register load(const void* p) { return _mm512_loadu_si512(p); }
    static void store(void* p, Register v) { _mm512_storeu_si512(p, v); }
    static Register zero() { return _mm512_setzero_si512(); }
    static Register pair(int32_t x) { return _mm512_set1_epi32(x); }
    static Register low(Register a, Register b) { return _mm512_unpacklo_epi16(a, b); }
    static Register high(Register a, Register b) { return _mm512_unpackhi_epi16(a, b); }
    static Register add(Register a, Register b) { return _mm512_add_epi32(a, b); }
    // sum + w[2i] x[2i] + w[2i+1] x[2i+1], modulo 2^32
    static Register dot(Register sum, Register w, Register x) { return _mm512_dpwssd_epi32(sum, w, x); }
};
#elif defined(__AVX2__)
#define FIRSTSPIKE_SIMD 1
struct Simd {
    using Register = __m256i;
    static constexpr int words = 16;
    static constexpr int registers = 16;
    static Register load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static void store(void* p, Register v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
    static Register zero() { return _mm256_setzero_si256(); }
    static Register pair(int32_t x) { return _mm256_set1_epi32(x); }
    static Register low(Register a, Register b) { return _mm256_unpacklo_epi16(a, b); }
    static Register high(Register a, Register b) { return _mm256_unpackhi_epi16(a, b); }
    static Register add(Register a, Register b) { return _mm256_add_epi32(a, b); }
    static Register dot(Register sum, Register w, Register x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x)); }
};
#endif

// Channel of a weight at `position` of a register with `words` weights, such that low() and high() of two rows give sums
// in the order of the channels: unpacking works inside lanes of eight words.
constexpr int channel_at(int position, int words) {
    const int lane = position / 8, slot = position % 8;
    return slot < 4 ? 4 * lane + slot : words / 2 + 4 * lane + slot - 4;
}

}  // namespace firstspike::FIRSTSPIKE_ISA
