// The inner loops of matrix.hpp for AMX. No standard containers here: see kernels.cpp.
#include <immintrin.h>

#include "amx_spikes.hpp"

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
template <int rows>
void multiply_left(const int8_t* weights) {
    _tile_loadd(6, weights, tile_depth);
    _tile_dpbusd(0, 4, 6);
    if constexpr (rows == 2) _tile_dpbusd(2, 5, 6);
}

template <int rows>
void multiply_right(const int8_t* weights) {
    _tile_loadd(7, weights, tile_depth);
    _tile_dpbusd(1, 4, 7);
    if constexpr (rows == 2) _tile_dpbusd(3, 5, 7);
}

template <int rows, int columns>
void multiply(const MatrixTask& task) {
    if (task.start != nullptr) {  // one row for all
        _tile_loadd(0, task.start, 0);
        if constexpr (columns == 2) _tile_loadd(1, task.start + tile_columns, 0);
        if constexpr (rows == 2) _tile_loadd(2, task.start, 0);
        if constexpr (rows == 2 && columns == 2) _tile_loadd(3, task.start + tile_columns, 0);
    }
    const int64_t pitch = task.pitch;
    for (int64_t i = 0; i < task.count; ++i) {
        const MatrixTerm& term = task.terms[i];
        const uint8_t* inputs = task.inputs + term.inputs;
        _tile_loadd(4, inputs, pitch);
        if constexpr (rows == 2) _tile_loadd(5, inputs + tile_rows * pitch, pitch);
        const int8_t* weights = task.weights[0] + term.weights[0];
        multiply_left<rows>(weights);
        if constexpr (columns == 2) multiply_right<rows>(task.weights[1] + term.weights[1]);
        for (int plane = 1; plane < term.planes[0]; ++plane) multiply_left<rows>(weights + plane * tile_bytes);
        if constexpr (columns == 2)
            for (int plane = 1; plane < term.planes[1]; ++plane)
                multiply_right<rows>(task.weights[1] + term.weights[1] + plane * tile_bytes);
    }
    if (task.sums == nullptr) return;
    constexpr int64_t line = block_columns * sizeof(int32_t);
    int32_t* lower = task.sums + tile_rows * block_columns;
    _tile_stored(0, task.sums, line);
    if constexpr (columns == 2) _tile_stored(1, task.sums + tile_columns, line);
    if constexpr (rows == 2) _tile_stored(2, lower, line);
    if constexpr (rows == 2 && columns == 2) _tile_stored(3, lower + tile_columns, line);
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

template <class Look>
void look_up_rows(const uint8_t* const* times, int rows, int count, uint8_t* values, const Look& look) {
    const __mmask64 valid = count >= 64 ? ~__mmask64(0) : (__mmask64(1) << count) - 1;
    for (int row = 0; row < rows; ++row) {
        const __mmask64 there = times[row] == nullptr ? 0 : valid;
        const __m512i found = look(_mm512_maskz_loadu_epi8(there, times[row]));
        _mm512_storeu_si512(values + row * tile_depth, _mm512_maskz_mov_epi8(there, found));
    }
}

void look_up(const MatrixValues& values, const uint8_t* const* times, int rows, int count, uint8_t* to) {
    if (!values.brief) return look_up_rows(times, rows, count, to, Table(values.byte));
    const __m512i brief = _mm512_loadu_si512(values.byte), last = _mm512_set1_epi8(63);
    const auto look = [&](__m512i t) { return _mm512_permutexvar_epi8(_mm512_min_epu8(t, last), brief); };
    look_up_rows(times, rows, count, to, look);
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

void unpack(const MatrixWeights& tables, const uint8_t* codes, int bits, int64_t tiles, const uint8_t* further, int8_t* weights) {
    Lines lines(tables, codes, bits);
    for (int64_t tile = 0; tile < tiles; weights += (1 + further[tile]) * tile_bytes, ++tile)
        for (int line = 0; line < tile_bytes; line += 64) {
            const __m512i code = lines.next();
            for (int plane = 0; plane <= further[tile]; ++plane)
                _mm512_storeu_si512(weights + plane * tile_bytes + line, lines.weights(plane, code));
        }
}

template <int rows>
void multiply_rows(const MatrixWeights& tables, const MatrixFew& few) {
    Lines lines(tables, few.codes, few.bits);
    __m512i sums[rows], more[rows];  // two chains hide each other's latency
    for (int row = 0; row < rows; ++row) {
        sums[row] = _mm512_loadu_si512(few.start);
        more[row] = _mm512_setzero_si512();
    }
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
                    more[row] = _mm512_dpbusd_epi32(more[row], four(inputs + row * tile_depth), next);
            }
        }
    for (int row = 0; row < rows; ++row)
        _mm512_storeu_si512(few.sums + row * block_columns, _mm512_add_epi32(sums[row], more[row]));
}

void multiply_few(const MatrixWeights& tables, const MatrixFew& few) {
    few.rows == 1 ? multiply_rows<1>(tables, few) : multiply_rows<few_rows>(tables, few);
}

void membranes(const int32_t* factors, const int32_t* bias, int rows, int32_t* sums) {
    for (int row = 0; row < rows; ++row, sums += block_columns)
        for (int half = 0; half < block_columns; half += tile_columns) {
            const __m512i product = _mm512_mullo_epi32(_mm512_loadu_si512(sums + half), _mm512_loadu_si512(factors + half));
            _mm512_storeu_si512(sums + half, _mm512_add_epi32(_mm512_loadu_si512(bias + half), product));
        }
}

void fire(const MatrixEnd& end) {
    end.addend_count == 0 && end.shifts == nullptr ? Ending<true>(end).run() : Ending<false>(end).run();
}

}  // namespace

// amx_apart.cpp
void spread(const ApartWeights& tables, const uint8_t* codes, int64_t pitch, int channels, int taps, int8_t* weights);
void multiply_apart(const ApartTask& task);

extern const MatrixKernels matrix_table;
constinit const MatrixKernels matrix_table = {
    begin,   end,    {{multiply<1, 1>, multiply<1, 2>}, {multiply<2, 1>, multiply<2, 2>}},
    multiply_few, look_up, unpack, membranes, fire, spread, multiply_apart};

}  // namespace firstspike::amx
