// Rows of inputs of layers that are matrices (matrix.hpp), in blocks of 32: [block][tile of the row][32 rows][64 values].
#pragma once

#include <algorithm>
#include <cstring>

#include "engine.hpp"

namespace firstspike {

// A layer and the images that it runs on.
struct MatrixCall {
    const Step& step;
    int64_t n;
    Workspace& home;
    const MatrixKernels& k;

    const MatrixPlan& plan() const { return step.matrix; }
    int taps() const { return step.geometry.kernel_h * step.geometry.kernel_w; }
    const uint8_t* times(int64_t image) const { return home.activations[step.source].data() + image * step.in.size(); }

    // Input pixels of the taps of an output pixel, or -1 beside the map.
    void sources(int64_t pixel, int64_t* taps) const {
        const Geometry& g = step.geometry;
        const int64_t top = pixel / g.out_width * g.stride_h - g.pad_h, left = pixel % g.out_width * g.stride_w - g.pad_w;
        for (int ky = 0; ky < g.kernel_h; ++ky)
            for (int kx = 0; kx < g.kernel_w; ++kx) {
                const int64_t y = top + int64_t(ky) * g.dilation_h, x = left + int64_t(kx) * g.dilation_w;
                *taps++ = y < 0 || y >= g.height || x < 0 || x >= g.width ? -1 : y * g.width + x;
            }
    }
};

// Where the inputs of a block lie, and its first row's image and output pixel.
struct MatrixBlock {
    const uint8_t* inputs;
    int rows;
    int64_t image, pixel;
};

// Values and, behind them, scaled ones where the layer wants them.
class MatrixInputs {
public:
    MatrixInputs(const MatrixCall& call, int64_t size)
        : call_(call), scaled_(call.plan().scaled ? size : 0), bytes_(call.home.values.get(size + scaled_)) {}

    const uint8_t* at(int64_t offset) const { return bytes_ + offset; }
    int64_t scaled() const { return scaled_; }  // bytes from a value to the scaled one

    void look_up(const uint8_t* const* times, int count, int64_t offset) const {
        uint8_t* to = bytes_ + offset;
        call_.k.look_up(call_.plan().values, times, count, to, scaled_ > 0 ? to + scaled_ : nullptr);
    }

private:
    const MatrixCall& call_;
    int64_t scaled_;
    uint8_t* bytes_;
};

// Rows are images of one pixel: nothing is copied more than once, and taps beside the map are left out. A block is 32 images of one
// pixel; its inputs are found pixel by pixel, [input pixel][32 images][group][64 channels].
class ImageRows {
public:
    static constexpr bool holds_all_taps = false;

    ImageRows(const MatrixCall& call, Team& team)
        : call_(call), across_((call.n + block_rows - 1) / block_rows),
          group_tiles_((call.step.group_inputs() + tile_depth - 1) / tile_depth),
          inputs_(call, call.step.in.pixels() * pixel_bytes()) {
        team.parallel(call.step.in.pixels(), [&](int64_t pixel, Workspace&) {
            for (int64_t image = 0; image < call.n; image += block_rows) copy(pixel, image);
        });
    }

    int64_t blocks() const { return call_.step.out.pixels() * across_; }
    int64_t row_stride() const { return call_.step.out.size(); }  // of spike times
    int64_t scaled() const { return inputs_.scaled(); }

    MatrixBlock block(int64_t number, int group) const {
        const int64_t image = number % across_ * block_rows;
        const int rows = static_cast<int>(std::min<int64_t>(block_rows, call_.n - image));
        return {inputs_.at(offset(image, group)), rows, image, number / across_};
    }

    // Bytes from the block's inputs to the first tiles of the row, or -1: beside the map. From there on they repeat, each one
    // block_bytes further.
    void offsets(const MatrixBlock& block, std::vector<int64_t>& tiles) const {
        tiles.resize(call_.taps());
        call_.sources(block.pixel, tiles.data());
        for (int64_t& tile : tiles)
            if (tile > 0) tile *= pixel_bytes();
    }

private:
    int64_t pixel_bytes() const { return across_ * call_.step.groups * group_tiles_ * block_bytes; }
    int64_t offset(int64_t image, int group) const {
        return (image / block_rows * call_.step.groups + group) * group_tiles_ * block_bytes;
    }

    void copy(int64_t pixel, int64_t image) {
        const Step& step = call_.step;
        const int inputs = step.group_inputs();
        const uint8_t* times[block_rows] = {};
        for (int group = 0; group < step.groups; ++group)
            for (int c = 0; c < inputs; c += tile_depth) {
                for (int64_t i = image; i < std::min(call_.n, image + block_rows); ++i)
                    times[i - image] = call_.times(i) + pixel * step.in.channels + int64_t(group) * inputs + c;
                const int64_t to = pixel * pixel_bytes() + offset(image, group) + c / tile_depth * block_bytes;
                inputs_.look_up(times, std::min(tile_depth, inputs - c), to);
            }
    }

    const MatrixCall& call_;
    int64_t across_;
    int group_tiles_;
    MatrixInputs inputs_;
};

// Rows are output positions, image after image, first..first+count-1 of them: receptive fields are copied,
// [32 positions][group][tile of the row].
class PositionRows {
public:
    static constexpr bool holds_all_taps = true;

    PositionRows(const MatrixCall& call, int64_t first, int64_t count, Team& team)
        : call_(call), first_(first), count_(count), inputs_(call, blocks() * call.step.groups * group_bytes()) {
        team.parallel(blocks(), [&](int64_t block, Workspace& own) {
            for (int group = 0; group < call.step.groups; ++group)
                call.plan().by_tap ? copy_taps(block, group, own) : copy_fields(block, group, own);
        });
    }

    int64_t blocks() const { return (count_ + block_rows - 1) / block_rows; }
    int64_t row_stride() const { return call_.step.out.channels; }
    int64_t scaled() const { return inputs_.scaled(); }

    MatrixBlock block(int64_t number, int group) const {
        const int64_t row = number * block_rows;
        return {inputs_.at(offset(number, group)), static_cast<int>(std::min<int64_t>(block_rows, count_ - row)),
                (first_ + row) / pixels(), (first_ + row) % pixels()};
    }

    void offsets(const MatrixBlock&, std::vector<int64_t>& tiles) const { tiles.assign(1, 0); }

private:
    int64_t pixels() const { return call_.step.out.pixels(); }
    int64_t group_bytes() const { return call_.plan().row_tiles * block_bytes; }
    int64_t offset(int64_t block, int group) const { return (block * call_.step.groups + group) * group_bytes(); }

    // What each row of a block reads, [tap][row]; null beside the map and behind the last row.
    const uint8_t** sources(int64_t block, int group, Workspace& own) const {
        const int taps = call_.taps();
        const uint8_t** times = own.sources.get(int64_t(taps) * block_rows);
        int64_t* pixels = own.counts.get(taps);
        std::fill_n(times, int64_t(taps) * block_rows, nullptr);
        for (int64_t at = block * block_rows; at < std::min(count_, (block + 1) * block_rows); ++at) {
            const uint8_t* image = call_.times((first_ + at) / this->pixels()) + int64_t(group) * call_.step.group_inputs();
            call_.sources((first_ + at) % this->pixels(), pixels);
            for (int tap = 0; tap < taps; ++tap)
                if (pixels[tap] >= 0)
                    times[int64_t(tap) * block_rows + at % block_rows] = image + pixels[tap] * call_.step.in.channels;
        }
        return times;
    }

    void copy_taps(int64_t block, int group, Workspace& own) const {
        const int inputs = call_.step.group_inputs(), taps = call_.taps();
        const uint8_t** times = sources(block, group, own);
        for (int tap = 0; tap < taps; ++tap, times += block_rows)
            for (int c = 0; c < inputs; c += tile_depth) {
                const int64_t tile = int64_t(c / tile_depth) * taps + tap;
                inputs_.look_up(times, std::min(tile_depth, inputs - c), offset(block, group) + tile * block_bytes);
                for (int row = 0; row < block_rows; ++row)
                    if (times[row] != nullptr) times[row] += tile_depth;
            }
    }

    // Few channels: the times of a whole field first, silence behind them.
    void copy_fields(int64_t block, int group, Workspace& own) const {
        const int inputs = call_.step.group_inputs(), depth = call_.plan().row_tiles * tile_depth;
        uint8_t* fields = own.rows.get(int64_t(block_rows) * depth);
        std::memset(fields, 255, int64_t(block_rows) * depth);
        const uint8_t** times = sources(block, group, own);
        for (int tap = 0; tap < call_.taps(); ++tap, times += block_rows)
            for (int row = 0; row < block_rows; ++row)
                if (times[row] != nullptr) std::memcpy(fields + int64_t(row) * depth + int64_t(tap) * inputs, times[row], inputs);
        for (int tile = 0; tile < call_.plan().row_tiles; ++tile) {
            const uint8_t* rows[block_rows];
            for (int row = 0; row < block_rows; ++row) rows[row] = fields + int64_t(row) * depth + tile * tile_depth;
            inputs_.look_up(rows, tile_depth, offset(block, group) + tile * block_bytes);
        }
    }

    const MatrixCall& call_;
    int64_t first_, count_;
    MatrixInputs inputs_;
};

}  // namespace firstspike
