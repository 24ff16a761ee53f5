// Layers whose operands fit bytes, as products of matrices of bytes on the processor's tiles (AMX).
//
// u = bias + factor * sum of (w0 + w1 + ...) x, modulo 2^32: x is a spike's value as an unsigned byte, and w0, w1, ... are signed bytes
// of a weight, its planes. A tile of inputs is 16 rows of 64 values, a tile of weights 64 rows for 16 output channels: the bytes of
// four rows lie side by side.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace firstspike {

constexpr int tile_rows = 16;     // of inputs and sums
constexpr int tile_depth = 64;    // values in a row of inputs
constexpr int tile_columns = 16;  // output channels
static_assert(tile_rows * tile_depth == 1024 && tile_depth * tile_columns == 1024);
constexpr int tile_bytes = 1024;  // of inputs and of weights
constexpr int64_t block_bytes = 2 * tile_bytes;  // of inputs of two tiles of rows
constexpr int planes = 12;  // at most

constexpr int block_rows = 2 * tile_rows;
constexpr int block_columns = 2 * tile_columns;
constexpr int block_sums = block_rows * block_columns;

// Planes of weights by code (codes of fewer than 6 bits are repeated), and how 64 packed codes spread over 64 bytes.
struct MatrixWeights {
    int8_t plane[planes][64];
    uint8_t spread[64], shift[64];
};

// x by the source's byte.
struct MatrixValues {
    uint8_t byte[256];
    bool brief;  // zero from 63 on
};

// Spike times of sums > 0 by octave and the three bits behind the leading one: bits 20.. of the sum as a float rounded
// towards zero. times[i] holds for start + i, the ends for all beyond.
struct OctaveTable {
    uint8_t times[64];
    int32_t start;
    bool exact;  // false: the thresholds have more bits
};

// One tile of inputs and the tiles of weights that it is multiplied with in both tiles of columns, as offsets in bytes: planes of the
// same weights lie one behind the other.
struct MatrixTerm {
    int64_t inputs, weights[2];
    int planes[2];
};

// Sums of one or two tiles of rows and of columns over all terms. They stay in the thread's tiles from task to task until one ends.
struct MatrixTask {
    const uint8_t* inputs;  // two tiles of rows lie one behind the other
    int64_t pitch;          // bytes from row to row
    const int8_t* weights[2];
    const MatrixTerm* terms;
    int64_t count;
    const int32_t* start;  // [block_columns], where every row's sums begin; null: go on
    int32_t* sums;         // [block_rows][block_columns], where they end; null: they do not
};

constexpr int few_rows = 4;

// Sums of at most few_rows rows with one tile of columns, straight from packed codes: so few rows are not worth unpacking for.
struct MatrixFew {
    const uint8_t* codes;
    int bits, rows;
    int64_t tiles;           // of a row, block_bytes from one to the next
    const uint8_t* further;  // planes of each tile besides the first
    const uint8_t* inputs;
    const int32_t* start;  // [tile_columns]
    int32_t* sums;         // [row][block_columns]
};

// What is added to each sum of a block before it fires: bytes of residual spikes, shifted to the left, or a part's 32-bit sums, shifted to
// the right.
struct MatrixAddend {
    enum class Kind { values, times, sums } kind;
    const void* from;
    int64_t pitch;         // bytes from row to row
    const uint8_t* bytes;  // [64] by spike time, of times; beyond 63 as 63
    int shift;
};

// Where the spikes of a block go, a byte for each: that of its place in an octave table.
struct MatrixOut {
    uint8_t* to;  // or null
    int64_t pitch;         // bytes from row to row
    const uint8_t* bytes;  // [64]
};

// A block of sums that ends in spikes.
struct MatrixEnd {
    const int32_t* sums;  // of `maps` blocks one behind the other: the greatest counts
    int maps, rows, columns;
    uint32_t negated;       // bit by bit the columns that hold sums of -w x
    const int32_t* shifts;  // [block_columns], of each column's sums to the right; null for none
    int32_t start;          // OctaveTable's
    const MatrixAddend* addends;
    int addend_count;
    MatrixOut times, values;
};

// A layer whose channels stay apart: w = digit[0] + 2^apart_digit digit[1] by code. Sums of four taps and 16 channels are one
// register; channel 16 l + 4 r + i of 64 is number 16 r + 4 l + i there.
constexpr int apart_digit = 7;
constexpr int apart_channels = 64;

struct ApartWeights {
    int8_t digit[2][64];
    bool large;  // some weight has a second digit
};

struct ApartTap {
    const uint8_t* from;
    int64_t pitch;  // bytes from row to row
};

// Up to 64 channels of some positions or images, from inputs to spikes.
struct ApartTask {
    const ApartTap* taps;  // [4 quads]
    int quads, rows, channels;
    bool large;
    const int8_t* weights;  // as spread() leaves them
    const int32_t* start;   // [64] as registers have them
    const int32_t* shifts;  // the same, or null
    int32_t octave;         // OctaveTable's start
    MatrixOut times, values;
};

struct MatrixKernels {
    // A thread's tiles: taken before multiply(), and given back.
    void (*begin)();
    void (*end)();
    void (*multiply[2][2])(const MatrixTask& task);  // [two tiles of rows][two tiles of columns]

    void (*multiply_few)(const MatrixWeights& tables, const MatrixFew& few);

    // Rows of a tile from up to 64 spike times each, zeros for null and behind them.
    void (*look_up)(const MatrixValues& values, const uint8_t* const* times, int rows, int count, uint8_t* to);

    // All planes of `tiles` tiles from packed codes, those of a tile one behind the other.
    void (*unpack)(const MatrixWeights& tables, const uint8_t* codes, int bits, int64_t tiles, const uint8_t* further, int8_t* weights);

    // Membranes bias + factor * sum of each column, modulo 2^32, in place of a block's sums.
    void (*membranes)(const int32_t* factors, const int32_t* bias, int rows, int32_t* sums);

    void (*fire)(const MatrixEnd& end);

    // Weights of up to 64 channels of a layer whose channels stay apart, from a byte a code, `pitch` bytes from tap to tap.
    void (*spread)(const ApartWeights& tables, const uint8_t* codes, int64_t pitch, int channels, int taps, int8_t* weights);

    void (*multiply_apart)(const ApartTask& task);
};

// Null where the instruction set has no tiles.
const MatrixKernels* matrix_kernels(Isa isa);

}  // namespace firstspike
