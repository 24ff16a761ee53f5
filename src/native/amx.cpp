// The inner loops of matrix.hpp for AMX. No standard containers here: see kernels.cpp.
#include <immintrin.h>

#include "matrix.hpp"

namespace firstspike::amx {
namespace {

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig config;

void begin() { _tile_loadconfig(&config); }

void end() { _tile_release(); }

// Tiles 0..3 are sums [row tile][column tile], 4 and 5 inputs, 6 and 7 weights.
template <int rows, int columns>
void multiply(const MatrixTask& task) {
    if (task.begins) {
        _tile_zero(0);
        if constexpr (columns == 2) _tile_zero(1);
        if constexpr (rows == 2) _tile_zero(2);
        if constexpr (rows == 2 && columns == 2) _tile_zero(3);
    }
    for (int64_t i = 0; i < task.count; ++i) {
        const uint8_t* inputs = task.inputs + task.terms[i].inputs;
        const int64_t weights = task.terms[i].weights;
        _tile_loadd(4, inputs, tile_depth);
        _tile_loadd(6, task.weights[0] + weights, tile_depth);
        _tile_dpbusd(0, 4, 6);
        if constexpr (rows == 2) {
            _tile_loadd(5, inputs + tile_bytes, tile_depth);
            _tile_dpbusd(2, 5, 6);
        }
        if constexpr (columns == 2) {
            _tile_loadd(7, task.weights[1] + weights, tile_depth);
            _tile_dpbusd(1, 4, 7);
            if constexpr (rows == 2) _tile_dpbusd(3, 5, 7);
        }
    }
    if (!task.ends) return;
    constexpr int64_t pitch = block_columns * sizeof(int32_t);
    int32_t* lower = task.sums + tile_rows * block_columns;
    _tile_stored(0, task.sums, pitch);
    if constexpr (columns == 2) _tile_stored(1, task.sums + tile_columns, pitch);
    if constexpr (rows == 2) _tile_stored(2, lower, pitch);
    if constexpr (rows == 2 && columns == 2) _tile_stored(3, lower + tile_columns, pitch);
}

// A table of 256 bytes in registers.
struct Table {
    __m512i quarter[4];

    explicit Table(const uint8_t* bytes) {
        for (int i = 0; i < 4; ++i) quarter[i] = _mm512_loadu_si512(bytes + 64 * i);
    }
    __m512i operator()(__m512i at) const {
        const __m512i early = _mm512_permutex2var_epi8(quarter[0], at, quarter[1]);
        const __m512i late = _mm512_permutex2var_epi8(quarter[2], at, quarter[3]);
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), early, late);
    }
};

struct Pair {
    const uint8_t* table;
    uint8_t* to;
};

template <class Look>
void look_up_rows(const uint8_t* const* times, int count, uint8_t* values, const Look& look) {
    const __mmask64 valid = count >= 64 ? ~__mmask64(0) : (__mmask64(1) << count) - 1;
    for (int row = 0; row < block_rows; ++row) {
        const __mmask64 there = times[row] == nullptr ? 0 : valid;
        const __m512i found = look(_mm512_maskz_loadu_epi8(there, times[row]));
        _mm512_storeu_si512(values + row * tile_depth, _mm512_maskz_mov_epi8(there, found));
    }
}

void look_up(const MatrixValues& values, const uint8_t* const* times, int count, uint8_t* plain, uint8_t* scaled) {
    const Pair both[] = {{values.plain, plain}, {values.scaled, scaled}};
    for (const auto& [table, to] : both) {
        if (to == nullptr) continue;
        if (values.brief) {
            const __m512i brief = _mm512_loadu_si512(table), last = _mm512_set1_epi8(63);
            look_up_rows(times, count, to, [&](__m512i t) { return _mm512_permutexvar_epi8(_mm512_min_epu8(t, last), brief); });
        } else {
            look_up_rows(times, count, to, Table(table));
        }
    }
}

// Lines of 64 bytes of weights from packed codes: four rows of 16 output channels.
struct Lines {
    const uint8_t* codes;
    int bytes;
    __m512i spread, shift, plane[planes];

    Lines(const MatrixWeights& tables, const uint8_t* codes, int bits)
        : codes(codes), bytes(8 * bits), spread(_mm512_loadu_si512(tables.spread)), shift(_mm512_loadu_si512(tables.shift)) {
        for (int i = 0; i < planes; ++i) plane[i] = _mm512_loadu_si512(tables.plane[i]);
    }
    __m512i next() {
        constexpr int64_t ahead = 8192;  // the codes come from far away
        _mm_prefetch(reinterpret_cast<const char*>(codes) + ahead, _MM_HINT_T0);
        const __m512i packed = _mm512_maskz_loadu_epi8((uint64_t(1) << bytes) - 1, codes);
        codes += bytes;
        return _mm512_multishift_epi64_epi8(shift, _mm512_permutexvar_epi8(spread, packed));
    }
    __m512i weights(int number, __m512i code) const { return _mm512_permutexvar_epi8(code, plane[number]); }
};

void unpack(const MatrixWeights& tables, const uint8_t* codes, int bits, int64_t tiles, const uint8_t* further, int8_t* weights,
            int8_t* more) {
    Lines lines(tables, codes, bits);
    for (int64_t tile = 0; tile < tiles; weights += tile_bytes, more += further[tile] * tile_bytes, ++tile)
        for (int line = 0; line < tile_bytes; line += 64) {
            const __m512i code = lines.next();
            _mm512_storeu_si512(weights + line, lines.weights(0, code));
            for (int i = 0; i < further[tile]; ++i)
                _mm512_storeu_si512(more + i * tile_bytes + line, lines.weights(1 + i, code));
        }
}

template <int rows>
void multiply_rows(const MatrixWeights& tables, const MatrixFew& few) {
    Lines lines(tables, few.codes, few.bits);
    __m512i sums[rows], more[rows];  // two chains hide each other's latency
    for (int row = 0; row < rows; ++row) sums[row] = more[row] = _mm512_setzero_si512();
    const auto four = [](const uint8_t* at) {
        int32_t values;
        __builtin_memcpy(&values, at, 4);
        return _mm512_set1_epi32(values);
    };
    for (int64_t tile = 0; tile < few.tiles; ++tile)
        for (int line = 0; line < tile_depth; line += 4) {
            const uint8_t* inputs = few.inputs + tile * block_bytes + line;
            const __m512i code = lines.next(), first = lines.weights(0, code);
            for (int row = 0; row < rows; ++row) sums[row] = _mm512_dpbusd_epi32(sums[row], four(inputs + row * tile_depth), first);
            for (int i = 0; i < few.further[tile]; ++i) {
                const __m512i next = lines.weights(1 + i, code);
                for (int row = 0; row < rows; ++row)
                    more[row] = _mm512_dpbusd_epi32(more[row], four(inputs + few.scaled + row * tile_depth), next);
            }
        }
    for (int row = 0; row < rows; ++row)
        _mm512_storeu_si512(few.sums + row * block_columns, _mm512_add_epi32(sums[row], more[row]));
}

void multiply_few(const MatrixWeights& tables, const MatrixFew& few) {
    few.rows == 1 ? multiply_rows<1>(tables, few) : multiply_rows<few_rows>(tables, few);
}

// One half of a row of membranes.
struct Membranes {
    __m512i factor, bias[2];
    const int32_t* sums;

    Membranes(const MatrixEnd& end, const int32_t* sums)
        : factor(_mm512_set1_epi32(static_cast<int>(end.factor))),
          bias{_mm512_loadu_si512(end.bias), _mm512_loadu_si512(end.bias + tile_columns)}, sums(sums) {}

    __m512i operator()(int row, int half) const {
        const int64_t at = int64_t(row) * block_columns + half * tile_columns;
        return _mm512_add_epi32(bias[half], _mm512_mullo_epi32(_mm512_loadu_si512(sums + at), factor));
    }
};

void membranes(const MatrixEnd& end, int32_t* sums) {
    const Membranes at(end, sums);
    for (int row = 0; row < end.rows; ++row)
        for (int half = 0; half < 2; ++half)
            _mm512_storeu_si512(sums + int64_t(row) * block_columns + half * tile_columns, at(row, half));
}

void fire(const MatrixEnd& end, const OctaveTable& table, const int32_t* sums, int64_t pitch, uint8_t* times) {
    const Membranes at(end, sums);
    const __m512i unused = _mm512_set1_epi32(table.unused_bits), start = _mm512_set1_epi32(table.start);
    const __m512i least = _mm512_setzero_si512(), most = _mm512_set1_epi32(63);
    const __m256i early = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table.times));
    const __m256i late = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table.times + 32));
    const __mmask32 valid = end.columns >= 32 ? ~__mmask32(0) : (__mmask32(1) << end.columns) - 1;
    const auto place = [&](int row, int half) {
        const __m512i u = _mm512_srav_epi32(_mm512_sllv_epi32(at(row, half), unused), unused);
        const __m512i octave = _mm512_castps_si512(_mm512_cvt_roundepi32_ps(u, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
        const __m512i key = _mm512_sub_epi32(_mm512_srai_epi32(octave, 20), start);
        return _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(key, least), most));
    };
    for (int row = 0; row < end.rows; ++row, times += pitch) {
        const __m256i places = _mm256_set_m128i(place(row, 1), place(row, 0));
        _mm256_mask_storeu_epi8(times, valid, _mm256_permutex2var_epi8(early, places, late));
    }
}

}  // namespace

extern const MatrixKernels matrix_table;
constinit const MatrixKernels matrix_table = {
    begin, end, {{multiply<1, 1>, multiply<1, 2>}, {multiply<2, 1>, multiply<2, 2>}}, multiply_few, look_up, unpack, membranes, fire};

}  // namespace firstspike::amx
