// A network as the native engine keeps it: geometry, packed weight codes, tables. Built once, read by all threads.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "matrix.hpp"
#include "threads.hpp"

namespace firstspike {

// Operands of a layer: 16-bit pairs, 32-bit or 64-bit. Sums are as wide as the operands, at least 32 bits.
enum class Width { bits16, bits32, bits64 };

struct Shape {
    int channels, height, width;  // a flat activation is one pixel

    int64_t size() const { return int64_t(channels) * height * width; }
    int pixels() const { return height * width; }
};

struct Common {
    Isa isa;
    int T, weight_bits, accumulator_bits;
};

// What residual spikes add to the sums of a matrix: byte << shift by the source's byte.
struct MatrixResiduals {
    uint8_t byte[256], first[64];  // the first of them, where the others are zero
    int shift;
};

// The bounds of a part's sums by output channel, and of how many bits all are multiples.
struct Reach {
    std::vector<int64_t> least, greatest;
    int zeros;
};

constexpr int most_addends = 4;  // residuals and parts of a matrix whose spikes come from sums

// A layer whose operands fit bytes (matrix.hpp). A row of inputs is the receptive field of one output position in one group.
struct MatrixPlan {
    bool by_tap = false;   // tiles of the row are [64 channels][tap], zeros behind the channels; else [column of taps][row][channel]
    bool strips = false;   // rows of inputs overlap in memory: matrix_strips.cpp
    bool apart = false;    // of a depthwise layer, whose codes are not packed so: matrix_apart.cpp
    bool direct = false;   // spikes come from sums without membranes
    int unit = 0;          // if direct: sums are in units of 2^unit
    int row_tiles = 0;     // of a row
    int column_tiles = 0;  // of one group
    uint32_t factor = 1;
    int planes = 1;  // of weights at most
    MatrixValues values{};
    MatrixWeights weights{};
    OctaveTable octaves{};
    MatrixResiduals residuals{};  // if direct
    ApartWeights digits{};        // if apart
    std::vector<uint8_t> negated;  // [out.channels]: the packed codes are those of -w
    std::vector<int32_t> starts;   // [out.channels], of sums: the bias in units of the sums if direct, else 0
    std::vector<uint8_t> further;  // [group][column tile][tile of the row]: planes there besides the first
};

// What every step knows: which activation it reads (0 is the input, step i writes i + 1) and both shapes.
struct Step {
    enum class Kind { synaptic, matrix, depthwise, pool, flatten, channels, shuffle } kind;
    int source;
    Shape in, out;
    Geometry geometry;  // of layers with weights and pool

    // Synaptic layers and depthwise ones
    int groups = 1;
    bool fires = false;
    bool partial = false;    // writes its sums, which the layer that it is a part of adds
    std::vector<int> parts;  // activations that are such sums
    int silence = 255;       // bytes of the source from here on are no spike
    Width width = Width::bits16;
    std::vector<int64_t> weights;  // integer weight of every code
    std::vector<int64_t> bias;     // [out.channels]
    std::vector<char> bias_rows;   // [lane block][lane] as sums, 0 where there is no channel
    std::vector<int64_t> thresholds;
    std::vector<int32_t> shifts;  // [out.channels], of membranes before they fire; or empty
    FireTable fire{};
    std::vector<int> residuals;
    std::vector<int64_t> identity;  // [256], what a residual spike adds
    std::vector<int16_t> entry_values;  // [256], value of a list entry by the source's byte
    std::vector<uint32_t> kernel32;     // [256]
    std::vector<uint64_t> kernel64;

    int down = 1, across = 1;  // of shuffle: rows and columns that channels become

    // Channels: for each output channel the activation and the channel there, or -1 for silence
    std::vector<int> sources;
    std::vector<std::pair<int, int>> picks;  // place in sources, channel

    Reach reach;        // of a part that is a matrix
    MatrixPlan matrix;  // packed codes: [group][column tile][tile of the row][16 rows][16 columns][4 rows]

    // Packed codes, [group][lane block][row][lane], rows chunk after chunk; depthwise: one code a byte, [tap][channel]
    std::vector<uint8_t> packed;
    int lanes = 64, lane_blocks = 0, blocks = 0, block_channels = 0;  // lane blocks and channel blocks per group
    int64_t rows = 0;                                                 // of one lane block
    std::vector<Chunk> chunks;

    bool has_weights() const { return kind == Kind::synaptic || kind == Kind::matrix || kind == Kind::depthwise; }
    int64_t activation_bytes() const { return out.size() * (partial ? sum_bytes() : 1); }
    int group_inputs() const { return in.channels / groups; }
    int group_outputs() const { return out.channels / groups; }
    int sum_bytes() const { return width == Width::bits64 ? 8 : 4; }
    int row_bytes() const { return lanes * (width == Width::bits16 ? 2 : sum_bytes()); }
    PackedRows packed_rows(int weight_bits) const {
        return {packed.data(), weights.data(), weight_bits, static_cast<int64_t>(packed.size())};
    }
};

// A layer with weights, ready to run. stream: its codes [outputs][in channels / groups][kernel_h][kernel_w] as in the model
// file, weight_bits each, lowest bit first.
struct SynapticSpec {
    int source;
    Shape in, out;
    Geometry geometry;
    int groups;
    bool fires;
    int silence;
    const uint8_t* stream;
    int64_t stream_bytes;
    std::vector<int64_t> spike_values;  // [256] by the source's byte, 0 for silence
    std::vector<int64_t> weights, bias, thresholds, identity;
    std::vector<int> residuals, parts;
    bool partial;
    std::vector<int64_t> shifts;  // [out.channels] or empty
    std::vector<const Reach*> part_reach = {};  // of the parts
};

enum class Path { automatic, event, dense };

// The spec must have passed check().
Step plan_synaptic(const Common& common, SynapticSpec spec, Path path, Watch& watch);

// Makes a matrix of a step whose other fields are filled in, if its operands fit and the path allows it; else false.
bool plan_matrix(const Common& common, const SynapticSpec& spec, Path path, Watch& watch, Step& step);

constexpr int most_border = 64;  // columns of zeros beside a map in tiles

// Whether positions of a row of a map fill most rows of tiles.
bool fills_tiles(int width);

// Makes a depthwise step run on bytes too, if it may.
void plan_apart(const Common& common, const SynapticSpec& spec, Path path, Watch& watch, Step& step);
void read_matrix(const Common& common, const Step& step, uint8_t* stream, Watch& watch);

// Codes of a layer with weights, and bytes of their stream.
int64_t code_count(const Step& step);
int64_t stream_size(const Common& common, const Step& step);

// The stream a step was planned from, into memory of zero bytes.
void read_codes(const Common& common, const Step& step, uint8_t* stream, Watch& watch);

}  // namespace firstspike
