// Layers whose operands fit bytes, as products of matrices of bytes on the processor's tiles (AMX).
//
// u = bias + factor * sum of (w0 + scale (w1 + w2 + w3)) x, modulo 2^32: x is a spike's value as an unsigned byte, scale * x one too,
// and w0 .. w3 are signed bytes of a weight, its planes. A tile of inputs is 16 rows of 64 values, a tile of weights 64 rows for
// 16 output channels: the bytes of four rows lie side by side.
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
constexpr int planes = 4;

constexpr int block_rows = 2 * tile_rows;
constexpr int block_columns = 2 * tile_columns;
constexpr int block_sums = block_rows * block_columns;

// Planes of weights by code (codes of fewer than 6 bits are repeated), and how 64 packed codes spread over 64 bytes.
struct MatrixWeights {
    int8_t plane[planes][64];
    uint8_t spread[64], shift[64];
};

// x and scale * x by the source's byte.
struct MatrixValues {
    uint8_t plain[256], scaled[256];
    bool brief;  // zero from 63 on
};

// Spike times of membranes u > 0 by octave and the three bits behind the leading one: bits 20.. of u as a float rounded
// towards zero. times[i] holds for start + i, the ends for all beyond.
struct OctaveTable {
    uint8_t times[64];
    int32_t start;
    int unused_bits;  // of 32: a membrane has fewer
    bool exact;       // false: the thresholds have more bits
};

// One tile of inputs and the tile of weights that it is multiplied with, as offsets in bytes.
struct MatrixTerm {
    int64_t inputs, weights;
};

// Sums of one or two tiles of rows and of columns over all terms. They stay in the thread's tiles from task to task until one ends.
struct MatrixTask {
    const uint8_t* inputs;  // two tiles of rows lie one behind the other
    const int8_t* weights[2];
    const MatrixTerm* terms;
    int64_t count;
    bool begins, ends;
    int32_t* sums;  // [block_rows][block_columns], when it ends
};

constexpr int few_rows = 4;

// Sums of at most few_rows rows with one tile of columns, straight from packed codes: so few rows are not worth unpacking for.
struct MatrixFew {
    const uint8_t* codes;
    int bits, rows;
    int64_t tiles;           // of a row, block_bytes from one to the next
    const uint8_t* further;  // planes of each tile besides the first
    const uint8_t* inputs;
    int64_t scaled;  // bytes from a value to the scaled one
    int32_t* sums;   // [row][block_columns]
};

// What is to be done with the sums of a block.
struct MatrixEnd {
    uint32_t factor;
    const int32_t* bias;  // [block_columns]
    int rows, columns;
};

struct MatrixKernels {
    // A thread's tiles: taken before multiply(), and given back.
    void (*begin)();
    void (*end)();
    void (*multiply[2][2])(const MatrixTask& task);  // [two tiles of rows][two tiles of columns]

    void (*multiply_few)(const MatrixWeights& tables, const MatrixFew& few);

    // Two tiles of rows from up to 64 spike times each, zeros for null and behind them; scaled: null if it is not wanted.
    void (*look_up)(const MatrixValues& values, const uint8_t* const* times, int count, uint8_t* plain, uint8_t* scaled);

    // First planes of `tiles` tiles from packed codes into weights, and tile after tile as many further ones as it needs into more.
    void (*unpack)(const MatrixWeights& tables, const uint8_t* codes, int bits, int64_t tiles, const uint8_t* further,
                   int8_t* weights, int8_t* more);

    // Membranes in place of sums.
    void (*membranes)(const MatrixEnd& end, int32_t* sums);

    // Spike times of sums, `pitch` bytes from row to row.
    void (*fire)(const MatrixEnd& end, const OctaveTable& table, const int32_t* sums, int64_t pitch, uint8_t* times);
};

// Null where the instruction set has no tiles.
const MatrixKernels* matrix_kernels(Isa isa);

}  // namespace firstspike
