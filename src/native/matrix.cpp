// Layers that are matrices of bytes: rows of inputs (matrix_rows.hpp), then sums of 32 rows by 32 output channels at once.
#include <algorithm>

#include "matrix_rows.hpp"

namespace firstspike {
namespace {

constexpr int64_t gathered_bytes = 1 << 20;  // inputs of positions at once
constexpr int few_tiles = 16;                // of a row: their weights stay in the level-1 cache

// Two tiles of output channels of one group, and those of their weights that are unpacked.
class Columns {
public:
    Columns(const Common& common, const MatrixCall& call, int number, int most_tiles, Workspace& own)
        : common_(common), call_(call) {
        const MatrixPlan& plan = call.plan();
        const int pairs = (plan.column_tiles + 1) / 2, column = number % pairs * 2, outputs = call.step.group_outputs();
        group = number / pairs;
        tiles = std::min(2, plan.column_tiles - column);
        channel = group * outputs + column * tile_columns;
        count = std::min(block_columns, (group + 1) * outputs - channel);
        for (int c = 0; c < count; ++c) bias[c] = static_cast<int32_t>(call.step.bias[channel + c]);
        first_ = (int64_t(group) * plan.column_tiles + column) * plan.row_tiles;
        column_bytes_ = int64_t(most_tiles) * (plan.scaled ? planes : 1) * tile_bytes;
        weights[0] = reinterpret_cast<int8_t*>(own.panel.get(2 * column_bytes_));
        weights[1] = weights[0] + column_bytes_;
        further.resize(most_tiles);
    }

    // Weights of tiles from..to-1 of the row: the first planes, then the further ones.
    void unpack(int from, int to) {
        const MatrixPlan& plan = call_.plan();
        const uint8_t* wanted = plan.further.data() + first_;
        for (int tile = from; tile < to; ++tile)
            further[tile - from] = std::max(wanted[tile], tiles == 2 ? wanted[tile + plan.row_tiles] : uint8_t(0));
        for (int t = 0; t < tiles; ++t) {
            const int64_t code = (first_ + int64_t(t) * plan.row_tiles + from) * tile_bytes;
            call_.k.unpack(plan.weights, call_.step.packed.data() + code / 8 * common_.weight_bits, common_.weight_bits, to - from,
                           further.data(), weights[t], weights[t] + int64_t(to - from) * tile_bytes);
        }
    }

    // Sums of a block of few rows with all weights.
    void multiply_few(const MatrixBlock& block, int64_t scaled, int32_t* sums) const {
        const MatrixPlan& plan = call_.plan();
        for (int t = 0; t < tiles; ++t) {
            const int64_t tile = first_ + int64_t(t) * plan.row_tiles;
            const uint8_t* codes = call_.step.packed.data() + tile * tile_bytes / 8 * common_.weight_bits;
            call_.k.multiply_few(plan.weights, {codes, common_.weight_bits, block.rows, plan.row_tiles, plan.further.data() + tile,
                                                block.inputs, scaled, sums + t * tile_columns});
        }
    }

    int group, tiles, channel, count;
    int8_t* weights[2];
    std::vector<uint8_t> further;  // of the tiles unpacked: planes besides the first
    alignas(64) int32_t bias[block_columns] = {};

private:
    const Common& common_;
    const MatrixCall& call_;
    int64_t first_, column_bytes_;
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

// The products of a block with the weights of tiles from..to-1 of its rows. Offsets: see Rows.
void list_terms(const std::vector<int64_t>& offsets, int64_t scaled, const Columns& columns, int from, int to,
                std::vector<MatrixTerm>& terms) {
    terms.clear();
    const int period = static_cast<int>(offsets.size());
    int64_t further = int64_t(to - from) * tile_bytes, beyond = from / period * block_bytes;
    int at = from % period;
    for (int tile = 0; tile < to - from; ++tile) {
        const int64_t inputs = offsets[at] + beyond;
        const int more = columns.further[tile];
        if (offsets[at] >= 0) {
            terms.push_back({inputs, int64_t(tile) * tile_bytes});
            for (int i = 0; i < more; ++i) terms.push_back({inputs + scaled, further + i * tile_bytes});
        }
        further += more * tile_bytes;
        if (++at < period) continue;
        at = 0;
        beyond += block_bytes;
    }
}

}  // namespace

template <class Rows>
void Engine::run_blocks(const MatrixCall& call, const Rows& rows, int64_t* logits, Team& team, int output) const {
    const Step& step = call.step;
    const MatrixPlan& plan = call.plan();
    uint8_t* out = logits != nullptr ? nullptr : team.home().activations[output].data();
    const bool direct = plan.octaves.exact && step.residuals.empty() && step.parts.empty();
    const auto finish_block = [&](const Columns& columns, const MatrixBlock& block, int32_t* sums) {
        const MatrixEnd end{plan.factor, columns.bias, block.rows, columns.count};
        const int64_t at = (block.image * step.out.pixels() + block.pixel) * step.out.channels + columns.channel;
        if (direct) return call.k.fire(end, plan.octaves, sums, rows.row_stride(), out + at);
        call.k.membranes(end, sums);
        for (int row = 0; row < block.rows; ++row) {
            const int64_t position = (at + row * rows.row_stride()) / step.out.channels, pixels = step.out.pixels();
            finish(step, team.home(), sums + int64_t(row) * block_columns, position / pixels, static_cast<int>(position % pixels),
                   columns.channel, columns.count, logits, out);
        }
    };
    const int pairs = step.groups * ((plan.column_tiles + 1) / 2);
    const int64_t shares = team.threads == 1 ? 1 : (2 * team.threads + pairs - 1) / pairs;
    const int64_t part = (rows.blocks() + shares - 1) / shares, parts = (rows.blocks() + part - 1) / part;
    // one block alone keeps its sums in the tiles while weights come bit by bit; else all weights of the columns come first
    const int most_tiles = part == 1 ? std::min(few_tiles, plan.row_tiles) : plan.row_tiles;
    const bool few = rows.blocks() == 1 && Rows::holds_all_taps && rows.block(0, 0).rows <= few_rows;
    team.parallel(parts * pairs, [&](int64_t item, Workspace& own) {
        Columns columns(common_, call, static_cast<int>(item / parts), most_tiles, own);
        std::vector<int64_t> offsets;
        std::vector<MatrixTerm> terms;
        const Tiles tiles(call.k);
        auto* sums = reinterpret_cast<int32_t*>(own.membranes.get(block_sums * int64_t(sizeof(int32_t))));
        if (few) {
            const MatrixBlock block = rows.block(0, columns.group);
            columns.multiply_few(block, rows.scaled(), sums);
            return finish_block(columns, block, sums);
        }
        const int64_t first = item % parts * part, last = std::min(rows.blocks(), first + part);
        for (int from = 0; from < plan.row_tiles; from += most_tiles) {
            const int to = std::min(plan.row_tiles, from + most_tiles);
            columns.unpack(from, to);
            for (int64_t number = first; number < last; ++number) {
                own.check();
                const MatrixBlock block = rows.block(number, columns.group);
                rows.offsets(block, offsets);
                list_terms(offsets, rows.scaled(), columns, from, to, terms);
                call.k.multiply[block.rows > tile_rows][columns.tiles - 1](
                    {block.inputs, {columns.weights[0], columns.weights[1]}, terms.data(), static_cast<int64_t>(terms.size()),
                     from == 0, to == plan.row_tiles, sums});
                if (to == plan.row_tiles) finish_block(columns, block, sums);
            }
        }
    });
}

void Engine::run_matrix(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const {
    const MatrixCall call{step, n, team.home(), *matrix_kernels(common_.isa)};
    if (step.matrix.by_tap && n >= tile_rows) {
        run_blocks(call, ImageRows(call, team), logits, team, output);
        return;
    }
    const int64_t row_bytes = int64_t(step.matrix.row_tiles) * tile_depth * step.groups, positions = n * step.out.pixels();
    const int64_t most = std::max<int64_t>(1, gathered_bytes / row_bytes / block_rows) * block_rows;
    for (int64_t first = 0; first < positions; first += most)
        run_blocks(call, PositionRows(call, first, std::min(most, positions - first), team), logits, team, output);
}

}  // namespace firstspike
