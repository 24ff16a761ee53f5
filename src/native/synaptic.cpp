// Layers with weights: spike lists or dense inputs of a tile of images, then membranes chunk by chunk, then spike times.
#include <algorithm>
#include <cstring>

#include "engine.hpp"

namespace firstspike {
namespace {

constexpr int64_t tile_inputs = 1 << 17;  // inputs of the images whose lists are built at once
constexpr int tile_positions = 512;       // output positions whose membranes are held at once

// Above this share of spiking inputs the dense path is the faster one, as measured (docs/explanation/engines.md).
double dense_density(Isa isa) {
    switch (isa) {
        case Isa::amx:
        case Isa::avx512: return 0.95;
        case Isa::avx2: return 0.75;
        default: return 0.35;
    }
}

// The next chunk's codes come from far away; they arrive while this chunk is worked on.
void prefetch(const PackedRows& rows, int64_t from, int64_t bytes) {
    const int64_t end = std::min(from + bytes, rows.bytes_total);
    for (int64_t at = from; at < end; at += 64) __builtin_prefetch(rows.bytes + at, 0, 2);
}

// One layer on the images of one tile.
class SynapticTile {
public:
    SynapticTile(const Common& common, const Step& step, Workspace& home, int64_t first, int64_t images)
        : common_(common), step_(step), k_(kernels(common.isa)), home_(home), first_(first), images_(images),
          pixels_(step.in.pixels()), blocks_(step.groups * step.blocks), regions_(images * blocks_) {}

    // Spike lists of every image and channel block; dense inputs instead if the path says so or they pay.
    void read(Path path, Team& team) {
        list_size_ = int64_t(pixels_) * ((step_.block_channels + 1) / 2 * 2) + 64;  // the kernels write whole registers
        offsets_ = home_.offsets.get(regions_ * list_size_);
        entries_ = home_.entries.get(regions_ * list_size_);
        starts_ = home_.starts.get(regions_ * (pixels_ + 1));
        int64_t* counts = home_.counts.get(regions_);
        team.parallel(regions_, [&](int64_t r, Workspace&) {
            const Block block = block_of(r);
            counts[r] = k_.list(block.times, pixels_, step_.in.width, step_.in.channels, block.c0, block.cn, step_.row_bytes(),
                                step_.silence, step_.entry_values.data(), offsets_ + r * list_size_, entries_ + r * list_size_,
                                starts_ + r * (pixels_ + 1));
        });
        double spikes = 0;
        for (int64_t r = 0; r < regions_; ++r) spikes += static_cast<double>(counts[r]);
        const double inputs = static_cast<double>(images_ * step_.in.size());
        const bool worth = path == Path::automatic && spikes > dense_density(common_.isa) * inputs;
        if (step_.width == Width::bits16 && !step_.geometry.dilated() && (path == Path::dense || worth)) expand(team);
    }

    // Membranes of output rows row0..row1-1, counted over all images, and the channels of one lane block.
    char* integrate(int lane_block, int64_t row0, int64_t row1, Workspace& own) const {
        const int64_t position_bytes = int64_t(step_.lanes) * step_.sum_bytes();
        const int64_t row_sums = step_.geometry.out_width * position_bytes;
        char* membranes = own.membranes.get((row1 - row0) * row_sums);
        for (int64_t p = 0; p < (row1 - row0) * step_.geometry.out_width; ++p)
            std::memcpy(membranes + p * position_bytes, step_.bias_rows.data() + lane_block * position_bytes, position_bytes);
        for (const Chunk& chunk : step_.chunks) {
            own.check();
            const char* panel = unpack(chunk, lane_block, own);
            for (int64_t row = row0; row < row1; ++row)
                add_row(chunk, lane_block / step_.lane_blocks, row, panel, membranes + (row - row0) * row_sums, own);
        }
        return membranes;
    }

private:
    struct Block {
        const uint8_t* times;
        int c0, cn;
    };

    // Region r: image r / blocks, channel block r % blocks, counted over all groups.
    Block block_of(int64_t r) const {
        const int number = static_cast<int>(r % blocks_), block = number % step_.blocks, group = number / step_.blocks;
        const uint8_t* times = home_.activations[step_.source].data() + (first_ + r / blocks_) * step_.in.size();
        return {times, group * step_.group_inputs() + block * step_.block_channels,
                std::min(step_.block_channels, step_.group_inputs() - block * step_.block_channels)};
    }

    void expand(Team& team) {
        const Geometry& g = step_.geometry;
        dense_size_ = int64_t(g.height + 2 * g.pad_h) * (g.width + 2 * g.pad_w) * step_.block_channels + 2;
        dense_ = home_.dense.get(regions_ * dense_size_);
        team.parallel(regions_, [&](int64_t r, Workspace&) {
            const Block block = block_of(r);
            k_.expand(block.times, g, step_.in.channels, block.c0, block.cn, step_.entry_values.data(), dense_ + r * dense_size_);
        });
    }

    char* unpack(const Chunk& chunk, int lane_block, Workspace& own) const {
        const int64_t first = (int64_t(lane_block) * step_.rows + chunk.first_row) * step_.lanes, count = chunk.rows() * step_.lanes;
        const PackedRows packed = step_.packed_rows(common_.weight_bits);
        char* panel = own.panel.get(chunk.rows() * step_.row_bytes());
        switch (step_.width) {
            case Width::bits16: k_.unpack16(packed, first, count, reinterpret_cast<int16_t*>(panel)); break;
            case Width::bits32: k_.unpack32(packed, first, count, reinterpret_cast<int32_t*>(panel)); break;
            case Width::bits64: k_.unpack64(packed, first, count, reinterpret_cast<int64_t*>(panel)); break;
        }
        prefetch(packed, (first + count) / 8 * common_.weight_bits, count / 8 * common_.weight_bits);
        return panel;
    }

    void add_row(const Chunk& chunk, int group, int64_t row, const char* panel, char* sums, const Workspace& own) const {
        const int width = step_.geometry.out_width;
        for (int ox = 0; ox < width; ox += tile_positions) {
            if (ox > 0) own.check();
            const int64_t at = int64_t(ox) * step_.lanes * step_.sum_bytes();
            add_positions(chunk, group, row, ox, std::min(width, ox + tile_positions), panel, sums + at);
        }
    }

    void add_positions(const Chunk& chunk, int group, int64_t row, int ox0, int ox1, const char* panel, char* sums) const {
        const Geometry& g = step_.geometry;
        const int64_t r = row / g.out_height * blocks_ + group * step_.blocks + chunk.block;
        const int oy = static_cast<int>(row % g.out_height), wide = step_.lanes == 64;
        if (dense_ != nullptr) {
            const auto* weights = reinterpret_cast<const int16_t*>(panel);
            k_.dense16[wide](g, chunk, weights, dense_ + r * dense_size_, oy, ox0, ox1, reinterpret_cast<int32_t*>(sums));
            return;
        }
        const SpikeLists lists{offsets_ + r * list_size_, entries_ + r * list_size_, starts_ + r * (pixels_ + 1)};
        switch (step_.width) {
            case Width::bits16: k_.event16[wide](g, chunk, panel, lists, oy, ox0, ox1, nullptr, sums); break;
            case Width::bits32: k_.event32(g, chunk, panel, lists, oy, ox0, ox1, step_.kernel32.data(), sums); break;
            case Width::bits64: k_.event64(g, chunk, panel, lists, oy, ox0, ox1, step_.kernel64.data(), sums); break;
        }
    }

    const Common& common_;
    const Step& step_;
    const Kernels& k_;
    Workspace& home_;
    int64_t first_, images_;
    int pixels_, blocks_;
    int64_t regions_, list_size_ = 0, dense_size_ = 0;
    uint32_t *offsets_ = nullptr, *starts_ = nullptr;
    int16_t *entries_ = nullptr, *dense_ = nullptr;
};

}  // namespace

void Engine::run_synaptic(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const {
    const Geometry& g = step.geometry;
    Workspace& home = team.home();
    uint8_t* out = logits != nullptr ? nullptr : home.activations[output].data();
    const int64_t tile_images = std::clamp<int64_t>(tile_inputs / step.in.size(), 1, n);
    const int lane_blocks = step.groups * step.lane_blocks;
    for (int64_t first = 0; first < n; first += tile_images) {
        const int64_t images = std::min(tile_images, n - first), rows = images * g.out_height;
        SynapticTile tile(common_, step, home, first, images);
        tile.read(path_, team);
        // several threads: at least two items for each
        const int64_t shares = team.threads == 1 ? 1 : (2 * team.threads + lane_blocks - 1) / lane_blocks;
        const int64_t wanted = std::min<int64_t>(tile_positions / g.out_width, (rows + shares - 1) / shares);
        const int64_t item_rows = std::max<int64_t>(1, wanted), row_items = (rows + item_rows - 1) / item_rows;
        team.parallel(row_items * lane_blocks, [&](int64_t item, Workspace& own) {
            const int64_t row0 = item % row_items * item_rows, row1 = std::min(rows, row0 + item_rows);
            const int lane_block = static_cast<int>(item / row_items), group = lane_block / step.lane_blocks;
            const int channel = group * step.group_outputs() + lane_block % step.lane_blocks * step.lanes;
            const int count = std::min(step.lanes, (group + 1) * step.group_outputs() - channel);
            const char* membranes = tile.integrate(lane_block, row0, row1, own);
            for (int64_t at = row0 * g.out_width; at < row1 * g.out_width; ++at, membranes += int64_t(step.lanes) * step.sum_bytes())
                finish(step, home, membranes, first + at / step.out.pixels(), static_cast<int>(at % step.out.pixels()), channel,
                       count, logits, out);
        });
    }
}

}  // namespace firstspike
