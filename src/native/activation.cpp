// Compiled once per instruction set (FIRSTSPIKE_ISA); plain loops that the compiler turns into vectors.
// All comparisons are on bit patterns: for x >= 0 the order of IEEE numbers is the order of their bits as integers.
#include "activation.hpp"

#include <bit>
#include <cmath>

namespace firstspike::FIRSTSPIKE_ISA {
namespace {

template <class U>
struct Format;
template <>
struct Format<uint32_t> {
    using Signed = int32_t;
    static constexpr uint32_t one = 0x3f800000, infinity = 0x7f800000, magnitude = 0x7fffffff, fraction = 0x007fffff;
};
template <>
struct Format<uint16_t> {  // bfloat16
    using Signed = int16_t;
    static constexpr uint16_t one = 0x3f80, infinity = 0x7f80, magnitude = 0x7fff, fraction = 0x007f;
};

constexpr int block = 512;

template <class U>
inline U finish(U bits, U rounded, U lowest) {
    using F = Format<U>;
    using S = typename F::Signed;
    const S x = static_cast<S>(bits);
    U y = x >= static_cast<S>(F::one) ? F::one : rounded;
    y = x >= static_cast<S>(lowest) ? y : U(0);
    return static_cast<U>(bits & F::magnitude) > F::infinity ? bits : y;  // NaN stays NaN: training must notice
}

template <class U>
inline uint8_t inside(U bits) {
    using S = typename Format<U>::Signed;
    const S x = static_cast<S>(bits);
    return static_cast<uint8_t>((x > 0) & (x < static_cast<S>(Format<U>::one)));
}

// Levels repeat in every octave: keep the exponent, round the fraction down to one of N levels.
template <class U, int N>
void ttfs_octaves(const U* in, U* out, uint8_t* mask, int64_t count, const KernelTable& table) {
    using F = Format<U>;
    U level[N > 0 ? N : 1] = {};
    for (int f = 0; f < N; ++f) level[f] = static_cast<U>(table.fraction[f]);
    const U lowest = static_cast<U>(table.ascending[0]);
    for (int64_t start = 0; start < count; start += block) {
        const int n = static_cast<int>(count - start < block ? count - start : block);
        U x[block];
        for (int i = 0; i < n; ++i) x[i] = in[start + i];
        if (mask != nullptr)
            for (int i = 0; i < n; ++i) mask[start + i] = inside<U>(x[i]);
        for (int i = 0; i < n; ++i) {
            const U fraction = x[i] & F::fraction;
            U kept = 0;
            for (int f = 0; f < N; ++f) kept = fraction >= level[f] ? level[f] : kept;
            out[start + i] = finish<U>(x[i], static_cast<U>((x[i] & static_cast<U>(~F::fraction)) | kept), lowest);
        }
    }
}

// Any ascending table: the last level not above x.
template <class U>
void ttfs_any(const U* in, U* out, uint8_t* mask, int64_t count, const KernelTable& table) {
    using S = typename Format<U>::Signed;
    const U lowest = static_cast<U>(table.ascending[0]);
    for (int64_t start = 0; start < count; start += block) {
        const int n = static_cast<int>(count - start < block ? count - start : block);
        U x[block], kept[block];
        for (int i = 0; i < n; ++i) x[i] = in[start + i];
        for (int i = 0; i < n; ++i) kept[i] = 0;
        if (mask != nullptr)
            for (int i = 0; i < n; ++i) mask[start + i] = inside<U>(x[i]);
        for (int k = 0; k < table.count; ++k) {
            const U level = static_cast<U>(table.ascending[k]);
            for (int i = 0; i < n; ++i)
                kept[i] = static_cast<S>(x[i]) >= static_cast<S>(level) ? level : kept[i];
        }
        for (int i = 0; i < n; ++i) out[start + i] = finish<U>(x[i], kept[i], lowest);
    }
}

template <class U>
void ttfs(const U* in, U* out, uint8_t* mask, int64_t count, const KernelTable& table) {
    if (table.octaves) {
        switch (table.fractions) {
            case 0: return ttfs_octaves<U, 0>(in, out, mask, count, table);
            case 1: return ttfs_octaves<U, 1>(in, out, mask, count, table);
            case 3: return ttfs_octaves<U, 3>(in, out, mask, count, table);
            case 7: return ttfs_octaves<U, 7>(in, out, mask, count, table);
            default: break;
        }
    }
    ttfs_any<U>(in, out, mask, count, table);
}

template <class U>
void clip(const U* in, U* out, uint8_t* mask, int64_t count) {
    for (int64_t start = 0; start < count; start += block) {
        const int n = static_cast<int>(count - start < block ? count - start : block);
        U x[block];
        for (int i = 0; i < n; ++i) x[i] = in[start + i];
        if (mask != nullptr)
            for (int i = 0; i < n; ++i) mask[start + i] = inside<U>(x[i]);
        for (int i = 0; i < n; ++i) out[start + i] = finish<U>(x[i], x[i], U(0));
    }
}

inline float to_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

template <class U>
inline U from_float(float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    if constexpr (sizeof(U) == 4) return bits;
    return static_cast<U>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);  // to nearest even; NaN has no low bits here
}

template <class U>
void masked(const U* grad, const uint8_t* mask, U* out, int64_t count, float constant) {
    if (constant == 0.0f) {
        for (int64_t i = 0; i < count; ++i) out[i] = static_cast<U>(grad[i] & static_cast<U>(-static_cast<U>(mask[i])));
        return;
    }
    for (int64_t i = 0; i < count; ++i) {
        const U moved = from_float<U>(to_float(grad[i]) + constant);
        out[i] = static_cast<U>(moved & static_cast<U>(-static_cast<U>(mask[i])));
    }
}

// Sixteen partial sums, so that the order of additions does not depend on the instruction set.
template <class U>
double sum(const U* in, int64_t count) {
    constexpr int lanes = 16;
    float part[lanes] = {};
    int64_t start = 0;
    for (; start + lanes <= count; start += lanes)
        for (int i = 0; i < lanes; ++i) part[i] += to_float(in[start + i]);
    double total = 0.0;
    for (; start < count; ++start) total += to_float(in[start]);
    for (int i = 0; i < lanes; ++i) total += part[i];
    return total;
}

void quantise(const float* w, float* out, int64_t count, const float* boundaries, const float* levels, int levels_count) {
    for (int64_t start = 0; start < count; start += block) {
        const int n = static_cast<int>(count - start < block ? count - start : block);
        float size[block], kept[block];
        for (int i = 0; i < n; ++i) size[i] = std::fabs(w[start + i]);
        for (int i = 0; i < n; ++i) kept[i] = levels[0];
        for (int k = 1; k < levels_count; ++k) {
            const float boundary = boundaries[k - 1], level = levels[k];
            for (int i = 0; i < n; ++i) kept[i] = size[i] >= boundary ? level : kept[i];
        }
        for (int i = 0; i < n; ++i) {
            const float x = w[start + i];
            out[start + i] = x != x ? x : std::copysign(kept[i], x);
        }
    }
}

template <class F>
void encode(const F* in, uint8_t* times, int64_t count, const F* ascending, int T) {
    for (int64_t start = 0; start < count; start += block) {
        const int n = static_cast<int>(count - start < block ? count - start : block);
        uint8_t above[block] = {};  // kernel values above x: the first that x reaches comes after them
        for (int k = 0; k < T; ++k) {
            const F level = ascending[k];
            for (int i = 0; i < n; ++i) above[i] = static_cast<uint8_t>(above[i] + !(in[start + i] >= level));
        }
        for (int i = 0; i < n; ++i) times[start + i] = above[i] == T ? 255 : above[i];
    }
}

}  // namespace

extern const ActivationKernels activation_table;
constinit const ActivationKernels activation_table{
    ttfs<uint32_t>, ttfs<uint16_t>, clip<uint32_t>, clip<uint16_t>, masked<uint32_t>, masked<uint16_t>, sum<uint32_t>, sum<uint16_t>,
    quantise,
    encode<float>, encode<double>,
};

}  // namespace firstspike::FIRSTSPIKE_ISA
