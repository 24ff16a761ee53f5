// Layers that are matrices of bytes: rows of inputs (matrix_rows.hpp), then sums of 32 rows by 32 output channels at once.
#include <algorithm>

#include "matrix_columns.hpp"

namespace firstspike {
namespace {

constexpr int64_t gathered_bytes = 1 << 20;  // inputs of positions at once
constexpr int few_tiles = 16;                // of a row: their weights stay in the level-1 cache
constexpr int watched_blocks = 32;           // from one look at the watch to the next
constexpr int64_t kept_weights = 512 << 10, kept_inputs = 256 << 10;  // of the level-2 cache

}  // namespace

// Blocks of sums of a layer that become spikes, as times, as values in tiles, or as both.
class Engine::MatrixSpikes {
public:
    explicit MatrixSpikes(const MatrixCall& call)
        : call_(call), form_(call.form()), tiles_(call.out_order()),
          times_(form_.times ? call.home.activations[call.to].data() : nullptr),
          values_(form_.tiles ? call.home.tiles[call.to].data() : nullptr) {
        const OctaveTable& octaves = call.plan().octaves;
        for (int i = 0; form_.tiles && i < 64; ++i) bytes_[i] = form_.values->byte[octaves.times[i]];
        for (int residual : call.step.residuals) {
            const Form& form = call.schedule.forms[residual];
            in_tiles_.push_back(adds_tiles(call.step, form, call.by_image()));
            orders_.emplace_back(call.out, call.n, call.by_image(), form.border);
        }
    }

    void operator()(const Columns& columns, const MatrixBlock& block, bool by_image, int maps, const int32_t* sums) const {
        const Place place = this->place(columns, block, by_image);
        MatrixAddend addends[most_addends];
        const int added = list(place, block, columns.channel, addends);
        const int32_t* shifts = call_.step.shifts.empty() ? nullptr : columns.shifts;
        const OctaveTable& octaves = call_.plan().octaves;
        call_.k.fire({sums, maps, block.rows, columns.count, columns.negated, shifts, octaves.start, addends, added,
                      {times_ == nullptr ? nullptr : times_ + place.at, place.pitch, octaves.times},
                      {values_ == nullptr ? nullptr : values_ + tiles_.at(block.pixel, block.image, columns.channel), tile_depth, bytes_}});
    }

private:
    // Of a block's first row in an activation of one byte each, and the bytes from row to row.
    struct Place {
        int64_t at, pitch;
    };

    Place place(const Columns& columns, const MatrixBlock& block, bool by_image) const {
        const Shape& shape = call_.out;
        return {(block.image * shape.pixels() + block.pixel) * shape.channels + columns.channel,
                by_image ? shape.size() : shape.channels};
    }

    int list(const Place& place, const MatrixBlock& block, int channel, MatrixAddend* addends) const {
        using Kind = MatrixAddend::Kind;
        const MatrixResiduals& residuals = call_.plan().residuals;
        int count = 0;
        for (size_t i = 0; i < in_tiles_.size(); ++i) {
            const int from = call_.step.residuals[i];
            if (in_tiles_[i]) {
                const uint8_t* tiles = call_.home.tiles[from].data() + orders_[i].at(block.pixel, block.image, channel);
                addends[count++] = {Kind::values, tiles, tile_depth, nullptr, residuals.shift};
            } else {
                const uint8_t* times = call_.home.activations[from].data() + place.at;
                addends[count++] = {Kind::times, times, place.pitch, residuals.first, residuals.shift};
            }
        }
        for (int part : call_.step.parts) {
            const uint8_t* sums = call_.home.activations[part].data() + 4 * place.at;
            addends[count++] = {Kind::sums, sums, 4 * place.pitch, nullptr, call_.plan().unit};
        }
        return count;
    }

    const MatrixCall& call_;
    const Form& form_;
    TileOrder tiles_;
    uint8_t *times_, *values_;
    std::vector<bool> in_tiles_;  // by residual, and then
    std::vector<TileOrder> orders_;
    uint8_t bytes_[64] = {};
};

// Rows of a block that need their membranes: parts and residuals are added, or it is the read-out.
void Engine::finish_rows(const MatrixCall& call, const Columns& columns, const MatrixBlock& block, bool by_image, int32_t* sums,
                         int64_t* logits, uint8_t* out) const {
    const int64_t pixels = call.step.out.pixels(), position = block.image * pixels + block.pixel;
    call.k.membranes(columns.factor, columns.bias, block.rows, sums);
    for (int row = 0; row < block.rows; ++row, sums += block_columns) {
        const int64_t at = position + row * (by_image ? pixels : 1);
        finish(call.step, call.home, sums, at / pixels, static_cast<int>(at % pixels), columns.channel, columns.count, logits, out);
    }
}

template <class Rows>
void Engine::run_blocks(const MatrixCall& call, const Rows& rows, int64_t* logits, Team& team, uint8_t* out) const {
    const MatrixPlan& plan = call.plan();
    const MatrixSpikes spikes(call);
    const auto finish_block = [&](const Columns& columns, const MatrixBlock& block, int32_t* sums) {
        if (plan.direct) return spikes(columns, block, Rows::by_image, rows.maps(), sums);
        finish_rows(call, columns, block, Rows::by_image, sums, logits, out);
    };
    // where all weights fit the level-2 cache and all inputs do not, an item has all columns of a group; else two tiles of them
    const int group_pairs = (plan.column_tiles + 1) / 2, maps = rows.maps();
    const bool all = group_pairs * Columns::bytes(plan, plan.row_tiles) <= kept_weights && rows.bytes() > kept_inputs;
    const int own_pairs = all ? group_pairs : 1, items = call.step.groups * group_pairs / own_pairs;
    const int64_t shares = team.threads == 1 ? 1 : (2 * team.threads + items - 1) / items;
    const int64_t part = (rows.blocks() + shares - 1) / shares, parts = (rows.blocks() + part - 1) / part;
    // one block alone keeps its sums in the tiles while weights come bit by bit; else all weights of the columns come first
    const int most_tiles = part * maps * own_pairs == 1 ? std::min(few_tiles, plan.row_tiles) : plan.row_tiles;
    const bool few = rows.blocks() == 1 && Rows::holds_all_taps && rows.block(0, 0).rows <= few_rows;
    team.parallel(parts * items, [&](int64_t item, Workspace& own) {
        std::vector<Columns> columns;
        const int64_t bytes = Columns::bytes(plan, most_tiles), first = item % parts * part, last = std::min(rows.blocks(), first + part);
        char* panel = own.panel.get(own_pairs * bytes);
        for (int pair = 0; pair < own_pairs; ++pair)
            columns.emplace_back(common_, call, static_cast<int>(item / parts) * own_pairs + pair, most_tiles, panel + pair * bytes);
        std::vector<MatrixField> fields(maps);
        const Tiles tiles(call.k);
        auto* sums = reinterpret_cast<int32_t*>(own.membranes.get(maps * block_sums * int64_t(sizeof(int32_t))));
        for (int from = 0; from < plan.row_tiles && !few; from += most_tiles) {
            const int to = std::min(plan.row_tiles, from + most_tiles);
            for (Columns& c : columns) c.unpack(from, to);
            for (int64_t number = first; number < last; ++number) {
                if (number % watched_blocks == 0) own.check();
                const MatrixBlock block = rows.block(number, columns[0].group);
                for (int map = 0; map < maps; ++map) fields[map] = rows.field(block, map);
                for (Columns& c : columns) {
                    for (int map = 0; map < maps; ++map) {
                        const std::vector<MatrixTerm>& terms = c.terms(rows, fields[map]);
                        call.k.multiply[block.rows > tile_rows][c.tiles - 1](
                            {block.inputs + fields[map].inputs, rows.pitch(), {c.weights[0], c.weights[1]}, terms.data(),
                             static_cast<int64_t>(terms.size()), from == 0 ? c.start : nullptr,
                             to == plan.row_tiles ? sums + map * block_sums : nullptr});
                    }
                    if (to == plan.row_tiles) finish_block(c, block, sums);
                }
            }
        }
        if (!few) return;
        const MatrixBlock block = rows.block(0, columns[0].group);
        for (const Columns& c : columns) {
            c.multiply_few(block, sums);
            finish_block(c, block, sums);
        }
    });
}

void Engine::run_strips(const MatrixCall& call, int64_t* logits, Team& team, uint8_t* out) const {
    const MatrixPlan& plan = call.plan();
    const MatrixSpikes spikes(call);
    const Strips strips(call, team);
    const int pairs = (plan.column_tiles + 1) / 2, width = call.step.geometry.out_width;
    const int64_t bytes = Columns::bytes(plan, plan.row_tiles);
    const bool by_image = call.by_image();
    team.parallel(call.step.geometry.out_height, [&](int64_t y, Workspace& own) {
        std::vector<Columns> columns;
        std::vector<std::vector<MatrixTerm>> terms(pairs);
        char* panel = own.panel.get(pairs * bytes);
        for (int pair = 0; pair < pairs; ++pair) {
            columns.emplace_back(common_, call, pair, plan.row_tiles, panel + pair * bytes);
            columns[pair].unpack(0, plan.row_tiles);
            terms[pair] = columns[pair].list({0}, tile_depth);
        }
        const Tiles tiles(call.k);
        auto* sums = reinterpret_cast<int32_t*>(own.membranes.get(block_sums * int64_t(sizeof(int32_t))));
        const int64_t together = by_image ? block_rows : 1;
        for (int64_t image = 0; image < call.n; image += together) {
            own.check();
            const int images = static_cast<int>(std::min(together, call.n - image));
            const uint8_t* from = strips.rows(image, images, y, own);
            for (int x = 0; x < width; x += by_image ? 1 : block_rows)
                for (int pair = 0; pair < pairs; ++pair) {
                    const Columns& c = columns[pair];
                    const int rows = by_image ? images : std::min(block_rows, width - x);
                    const MatrixBlock block{from + x * strips.step(), rows, image, y * width + x};
                    call.k.multiply[rows > tile_rows][c.tiles - 1](
                        {block.inputs, by_image ? strips.pitch() : strips.step(), {c.weights[0], c.weights[1]}, terms[pair].data(),
                         static_cast<int64_t>(terms[pair].size()), c.start, sums});
                    if (plan.direct)
                        spikes(c, block, by_image, 1, sums);
                    else
                        finish_rows(call, c, block, by_image, sums, logits, out);
                }
        }
    });
}

void Engine::run_matrix(int number, int64_t n, int64_t* logits, Team& team, const Schedule& schedule) const {
    const Step& step = steps_[number];
    const Flow& flow = schedule.flows[number];
    const MatrixCall call{step, n, team.home(), *matrix_kernels(common_.isa), schedule, flow.to, steps_[flow.to - 1].out,
                          flow.pool < 0 ? nullptr : &steps_[flow.pool]};
    uint8_t* out = logits != nullptr ? nullptr : team.home().activations[flow.to].data();
    if (step.matrix.strips) return run_strips(call, logits, team, out);
    if (step.matrix.by_tap && schedule.by_image) return run_blocks(call, ImageRows(call, team), logits, team, out);
    if (reads_tiles(step, false)) return run_blocks(call, MapRows(call, team), logits, team, out);
    const int64_t row_bytes = int64_t(step.matrix.row_tiles) * tile_depth * step.groups, positions = n * step.out.pixels();
    const int64_t most = std::max<int64_t>(1, gathered_bytes / row_bytes / block_rows) * block_rows;
    for (int64_t first = 0; first < positions; first += most)
        run_blocks(call, PositionRows(call, first, std::min(most, positions - first), team), logits, team, out);
}

}  // namespace firstspike
