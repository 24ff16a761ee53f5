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
    __m512i upper, start, last;

    explicit Octaves(int32_t from) : start(_mm512_set1_epi16(static_cast<int16_t>(from))), last(_mm512_set1_epi8(63)) {
        alignas(64) int16_t odd[32];
        for (int i = 0; i < 32; ++i) odd[i] = static_cast<int16_t>(2 * i + 1);
        upper = _mm512_load_si512(odd);
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

    __m512i words(int row) const { return octaves.words(sums(row, 0), sums(row, tile_columns), octaves.upper); }

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

void fire(const MatrixEnd& end) {
    end.addend_count == 0 && end.shifts == nullptr ? Ending<true>(end).run() : Ending<false>(end).run();
}

}  // namespace

extern const MatrixKernels matrix_table;
constinit const MatrixKernels matrix_table = {
    begin, end, {{multiply<1, 1>, multiply<1, 2>}, {multiply<2, 1>, multiply<2, 2>}}, multiply_few, look_up, unpack, membranes, fire};

}  // namespace firstspike::amx
