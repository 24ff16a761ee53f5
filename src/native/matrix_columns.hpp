// Columns of layers that are matrices: the weights of two tiles of output channels, and the products with them.
#pragma once

#include <algorithm>

#include "matrix_rows.hpp"

namespace firstspike {

// Two tiles of output channels of one group, and those of their weights that are unpacked.
class Columns {
public:
    // Bytes of weights of as many tiles of the row as are unpacked at once.
    static int64_t bytes(const MatrixPlan& plan, int tiles) { return int64_t(2) * tiles * plan.planes * tile_bytes; }

    Columns(const Common& common, const MatrixCall& call, int number, int most_tiles, char* memory) : common_(common), call_(call) {
        const MatrixPlan& plan = call.plan();
        const int pairs = (plan.column_tiles + 1) / 2, column = number % pairs * 2, outputs = call.step.group_outputs();
        group = number / pairs;
        tiles = std::min(2, plan.column_tiles - column);
        channel = group * outputs + column * tile_columns;
        count = std::min(block_columns, (group + 1) * outputs - channel);
        for (int c = 0; c < count; ++c) {
            const bool negative = plan.negated[channel + c] != 0;
            bias[c] = static_cast<int32_t>(call.step.bias[channel + c]);
            factor[c] = static_cast<int32_t>(negative ? -plan.factor : plan.factor);
            start[c] = plan.starts[channel + c];
            if (!call.step.shifts.empty()) shifts[c] = call.step.shifts[channel + c];
            negated |= uint32_t(negative) << c;
        }
        first_ = (int64_t(group) * plan.column_tiles + column) * plan.row_tiles;
        weights[0] = reinterpret_cast<int8_t*>(memory);
        weights[1] = weights[0] + bytes(plan, most_tiles) / 2;
    }

    // Weights of tiles from..to-1 of the row.
    void unpack(int from, int to) {
        const MatrixPlan& plan = call_.plan();
        from_ = from, to_ = to;
        lists_.clear();
        for (int t = 0; t < tiles; ++t) {
            const int64_t tile = first_ + int64_t(t) * plan.row_tiles + from;
            further[t] = plan.further.data() + tile;
            call_.k.unpack(plan.weights, call_.step.packed.data() + tile * tile_bytes / 8 * common_.weight_bits, common_.weight_bits,
                           to - from, further[t], weights[t]);
        }
    }

    // Products of a field with what is unpacked. There are few different ones: those at the edges of the map, and all others.
    template <class Rows>
    const std::vector<MatrixTerm>& terms(const Rows& rows, const MatrixField& field) {
        for (const auto& [taps, terms] : lists_)
            if (taps == field.taps) return terms;
        lists_.emplace_back(field.taps, list(rows.offsets(field), rows.tile_bytes()));
        return lists_.back().second;
    }

    // The same with a row's tiles at these offsets, -1 where there is none; from there on they repeat, each one `stride` further.
    std::vector<MatrixTerm> list(const std::vector<int64_t>& offsets, int64_t stride) const {
        std::vector<MatrixTerm> terms;
        const int period = static_cast<int>(offsets.size());
        int64_t beyond = from_ / period * stride;
        int at = from_ % period;
        MatrixTerm term{};
        for (int tile = 0; tile < to_ - from_; ++tile) {
            for (int t = 0; t < tiles; ++t) term.planes[t] = 1 + further[t][tile];
            if (offsets[at] >= 0) {
                term.inputs = offsets[at] + beyond;
                terms.push_back(term);
            }
            for (int t = 0; t < tiles; ++t) term.weights[t] += term.planes[t] * tile_bytes;
            if (++at < period) continue;
            at = 0;
            beyond += stride;
        }
        return terms;
    }

    // Sums of a block of few rows with all weights.
    void multiply_few(const MatrixBlock& block, int32_t* sums) const {
        const MatrixPlan& plan = call_.plan();
        for (int t = 0; t < tiles; ++t) {
            const int64_t tile = first_ + int64_t(t) * plan.row_tiles;
            const uint8_t* codes = call_.step.packed.data() + tile * tile_bytes / 8 * common_.weight_bits;
            call_.k.multiply_few(plan.weights, {codes, common_.weight_bits, block.rows, plan.row_tiles, plan.further.data() + tile,
                                                block.inputs, start + t * tile_columns, sums + t * tile_columns});
        }
    }

    int group, tiles, channel, count;
    int8_t* weights[2];
    const uint8_t* further[2] = {};  // of the tiles unpacked: planes besides the first
    uint32_t negated = 0;            // bit by bit, of the columns
    alignas(64) int32_t bias[block_columns] = {}, factor[block_columns] = {}, start[block_columns] = {}, shifts[block_columns] = {};

private:
    const Common& common_;
    const MatrixCall& call_;
    int64_t first_;
    int from_ = 0, to_ = 0;
    std::vector<std::pair<std::array<int, 4>, std::vector<MatrixTerm>>> lists_;
};

// The tiles of a thread while it works on an item.
class Tiles {
public:
    explicit Tiles(const MatrixKernels& k) : k_(k) { k_.begin(); }
    ~Tiles() { k_.end(); }
    Tiles(const Tiles&) = delete;

private:
    const MatrixKernels& k_;
};

}  // namespace firstspike
