// The inner loops of the inference engine. Compiled once per instruction set; `kernels(isa)` picks a table.
//
// Names: an image's activations are spike times, one byte each, pixel by pixel ("channels last"). A layer's input channels
// are cut into blocks, its output channels into lanes (32 or 64). A panel holds, for one chunk of the receptive field, the
// integer weights of every (tap, input channel) row for all lanes.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace firstspike {

// Convolution geometry of one group; a linear layer is a 1x1 image with a 1x1 kernel.
struct Geometry {
    int height, width, out_height, out_width;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    int dilation_h = 1, dilation_w = 1;  // rows and columns from one tap to the next

    bool dilated() const { return dilation_h != 1 || dilation_w != 1; }
};

// Part of the receptive field whose panel fits the level-1 cache: channels c0..c0+cn-1, taps ky0..ky1-1 by kx0..kx1-1.
// A run is one kernel row: (kx1 - kx0) * cn panel rows, rounded up to an even number (the last is zero then).
struct Chunk {
    int block, c0, cn;
    int ky0, ky1, kx0, kx1;
    int run_rows;
    int64_t first_row;  // in the packed weights

    int64_t rows() const { return int64_t(ky1 - ky0) * run_rows; }
};

// Spikes of one image and one channel block, pixel after pixel, an even number each (a spike of value 0 fills up).
// Entry: byte offset (column * cn + channel) * row_bytes, below 2^32 (plan.cpp), and a value: integer kernel value (16 bits) or spike time.
struct SpikeLists {
    const uint32_t* offsets;
    const int16_t* values;
    const uint32_t* starts;  // [height * width + 1]
};

struct PackedRows {
    const uint8_t* bytes;   // codes of `bits` bits, least significant first, 64 codes = 8 * bits bytes
    const int64_t* weight;  // integer weight of every code, [2^bits]
    int bits;
    int64_t bytes_total;
};

struct FireTable {
    const int64_t* thresholds;  // [T], falling
    int T;
    int accumulator_bits;
    int32_t low[32];  // the first 32 thresholds, filled up with the smallest integer
};

struct Kernels {
    // Packed position p of every 64 is unpacked to panel position panel_position[p]. In 16-bit panels, position q of a
    // register is channel channel16[q] (counted over 64 positions).
    int panel_position[64], channel16[64];

    // Panel rows of `count` codes (a multiple of 64) from code number `first` (a multiple of 64) on.
    void (*unpack16)(const PackedRows& rows, int64_t first, int64_t count, int16_t* panel);
    void (*unpack32)(const PackedRows& rows, int64_t first, int64_t count, int32_t* panel);
    void (*unpack64)(const PackedRows& rows, int64_t first, int64_t count, int64_t* panel);

    // Spike lists of channels c0..c0+cn-1; returns the number of spikes. `values` maps a time to an entry's value.
    int64_t (*list)(const uint8_t* times, int pixels, int width, int channels, int c0, int cn, int row_bytes, int T,
                    const int16_t* values, uint32_t* offsets, int16_t* entries, uint32_t* starts);

    // Adds a chunk's products to the membranes of positions ox0..ox1-1 of output row oy, [position][lanes].
    using EventRow = void (*)(const Geometry& g, const Chunk& chunk, const void* panel, const SpikeLists& lists, int oy,
                              int ox0, int ox1, const void* kernel_values, void* membranes);
    EventRow event16[2];  // 32 and 64 lanes, 16-bit operands into 32-bit sums
    EventRow event32;     // 32 lanes, 32-bit operands and sums
    EventRow event64;     // 32 lanes, 64-bit operands and sums

    // The same for dense inputs of kernels that are not dilated: integer kernel values [height + 2 pad_h][width + 2 pad_w][cn], 16-bit operands.
    void (*expand)(const uint8_t* times, const Geometry& g, int channels, int c0, int cn, const int16_t* values, int16_t* dense);
    using DenseRow = void (*)(const Geometry& g, const Chunk& chunk, const int16_t* panel, const int16_t* dense, int oy,
                              int ox0, int ox1, int32_t* membranes);
    DenseRow dense16[2];

    // Membranes wrapped to the accumulator's bits, then shifted to the right, each by its channel's shift.
    void (*shift32)(const int32_t* shifts, int accumulator_bits, int count, int32_t* membranes);
    void (*shift64)(const int32_t* shifts, int accumulator_bits, int count, int64_t* membranes);

    // Spike times of membranes; a tie fires. `fire32` and `fire64` wrap to the accumulator's bits first.
    void (*fire32)(const FireTable& table, const int32_t* membranes, int count, uint8_t* times);
    void (*fire64)(const FireTable& table, const int64_t* membranes, int count, uint8_t* times);

    // The same, [position][channels], for a layer with one input and one output channel a group.
    void (*depthwise32)(const Geometry& g, int channels, const uint8_t* times, const int32_t* weights,
                        const uint32_t* kernel_values, int oy, int ox0, int ox1, int32_t* membranes);
    void (*depthwise64)(const Geometry& g, int channels, const uint8_t* times, const int64_t* weights,
                        const uint64_t* kernel_values, int oy, int ox0, int ox1, int64_t* membranes);

    // out[i] = min(out[i], in[i])
    void (*earliest)(const uint8_t* in, int64_t count, uint8_t* out);
};

const Kernels& kernels(Isa isa);

}  // namespace firstspike
