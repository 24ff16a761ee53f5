// Rows of inputs of layers that are matrices (matrix.hpp), in blocks of 32.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "engine.hpp"

namespace firstspike {

// Inputs as tiles, by image: [pixel][block of images][group][tile of 64 channels][image][64 channels], by position:
// [image][group][tile of 64 channels][row of the map][column][64 channels], with columns of zeros on both sides. From one row of a
// tile to the next are 64 bytes: an image, or a column.
struct TileOrder {
    bool by_image;
    int rows;  // images of a block, or 1
    int group_inputs, group_tiles;
    int64_t tiles, across;  // tiles of a row in all groups, blocks of images
    int height, width, border;

    TileOrder(const Shape& shape, int64_t n, bool by_image, int border, int groups = 1)
        : by_image(by_image), rows(!by_image ? 1 : n > tile_rows ? block_rows : tile_rows), group_inputs(shape.channels / groups),
          group_tiles((group_inputs + tile_depth - 1) / tile_depth), tiles(int64_t(groups) * group_tiles),
          across((n + rows - 1) / rows), height(shape.height), width(shape.width), border(by_image ? 0 : border) {}

    int64_t tile_bytes() const { return by_image ? int64_t(rows) * tile_depth : height * line_bytes(); }
    int64_t bytes() const {
        return by_image ? int64_t(height) * width * pixel_bytes() : across * tiles * tile_bytes() + spare;
    }
    int64_t line_bytes() const { return (int64_t(width) + 2 * border) * tile_depth; }
    // By image.
    int64_t pixel_bytes() const { return across * tiles * tile_bytes(); }

    // The tile of a channel in the row.
    int64_t tile_of(int channel) const {
        return int64_t(channel / group_inputs) * group_tiles + channel % group_inputs / tile_depth;
    }

    int64_t at(int64_t pixel, int64_t image, int channel) const {
        const int c = channel % group_inputs;
        const int64_t tile = image / rows * tiles + tile_of(channel);
        if (by_image) return pixel * pixel_bytes() + tile * tile_bytes() + image % rows * tile_depth + c % tile_depth;
        return tile * tile_bytes() + pixel / width * line_bytes() + (pixel % width + border) * tile_depth + c % tile_depth;
    }

    void clear(uint8_t* tiles) const {
        const int64_t wide = int64_t(border) * tile_depth;
        for (int64_t line = 0; wide > 0 && line < across * this->tiles * height; ++line, tiles += line_bytes()) {
            std::memset(tiles, 0, wide);
            std::memset(tiles + line_bytes() - wide, 0, wide);
        }
    }

private:
    static constexpr int64_t spare = 32 << 10;  // rows of a block may end behind the map, most_step pixels each
};

// What a row of inputs reads: the bytes from the block's inputs to those of its first tap, and which taps there are, rows from
// 0 to 1 and columns from 2 to 3.
struct MatrixField {
    int64_t inputs;
    std::array<int, 4> taps;
};

// A layer and the images that it runs on.
struct MatrixCall {
    const Step& step;
    int64_t n;
    Workspace& home;
    const MatrixKernels& k;
    const Schedule& schedule;
    int to;            // the activation that takes the spikes
    const Shape& out;  // its shape
    const Step* pool;  // on the way there, or null

    const MatrixPlan& plan() const { return step.matrix; }
    bool by_image() const { return schedule.by_image; }
    const Form& form() const { return schedule.forms[to]; }
    TileOrder out_order() const { return TileOrder(out, n, by_image(), form().border); }
    // Whether the layer reads tiles that others may read too.
    bool shares() const { return reads_tiles(step, by_image()) && schedule.forms[step.source].values != nullptr; }
    TileOrder in_order() const {
        const bool parted = step.groups > 1 && !reads_tiles(step, by_image());
        const int border = shares() ? schedule.forms[step.source].border : step.geometry.pad_w;
        return TileOrder(step.in, n, by_image(), border, parted ? step.groups : 1);
    }
    int taps() const { return step.geometry.kernel_h * step.geometry.kernel_w; }
    const uint8_t* times(int64_t image) const { return home.activations[step.source].data() + image * step.in.size(); }

    // Taps of an output pixel that lie on the map, and the input pixel of the first of them.
    MatrixField field(int64_t pixel) const {
        const Geometry& g = step.geometry;
        const auto [y0, y1, y] = taps(static_cast<int>(pixel / g.out_width) * g.stride_h - g.pad_h, g.kernel_h, g.dilation_h, g.height);
        const auto [x0, x1, x] = taps(static_cast<int>(pixel % g.out_width) * g.stride_w - g.pad_w, g.kernel_w, g.dilation_w, g.width);
        return {int64_t(y) * g.width + x, {y0, y1, x0, x1}};
    }

    // Bytes from the first tap of a field to each tap, or -1 beside it.
    std::vector<int64_t> offsets(const MatrixField& field, int64_t down, int64_t across) const {
        const auto [y0, y1, x0, x1] = field.taps;
        std::vector<int64_t> offsets(taps(), -1);
        for (int y = y0; y < y1; ++y)
            for (int x = x0; x < x1; ++x) offsets[int64_t(y) * step.geometry.kernel_w + x] = (y - y0) * down + (x - x0) * across;
        return offsets;
    }

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

private:
    // Taps first..last-1 of an axis that lie on the map, and where the first of them is.
    static std::array<int, 3> taps(int start, int kernel, int dilation, int size) {
        const int first = start < 0 ? (dilation - 1 - start) / dilation : 0;
        const int last = start < size ? std::min(kernel, (size - 1 - start) / dilation + 1) : 0;
        return {first, std::max(first, last), std::min(start + first * dilation, size - 1)};
    }
};

// Where the inputs of a block lie, and its first row's image and output pixel.
struct MatrixBlock {
    const uint8_t* inputs;
    int rows;
    int64_t image, pixel;
};

// The tiles of a layer's source, made from spike times where the step before has not written them.
class Inputs {
public:
    Inputs(const MatrixCall& call, const TileOrder& order, Team& team) : call_(call), order_(order) {
        Scratch<uint8_t>& to = call.shares() ? call.home.tiles[call.step.source] : call.home.values;
        const bool ready = call.shares() && to.data() != nullptr;
        bytes_ = ready ? to.data() : call.shares() ? call.home.take(to, order.bytes()) : to.get(order.bytes());
        if (ready) return;
        order.clear(bytes_);
        if (order.by_image)
            team.parallel(call.step.in.pixels(), [&](int64_t pixel, Workspace&) {
                for (int64_t image = 0; image < call.n; image += order_.rows) copy(pixel, image);
            });
        else
            team.parallel(call.n * call.step.in.height, [&](int64_t line, Workspace&) {
                const int64_t first = line % call.step.in.height * call.step.in.width;
                for (int x = 0; x < call.step.in.width; x += block_rows)
                    copy(first + x, line / call.step.in.height, std::min(block_rows, call.step.in.width - x));
            }, call.n * call.step.in.size());
    }

    const uint8_t* data() const { return bytes_; }

private:
    // A pixel of a block of images.
    void copy(int64_t pixel, int64_t image) {
        const uint8_t* times[block_rows] = {};
        for (int64_t i = image; i < std::min(call_.n, image + order_.rows); ++i)
            times[i - image] = call_.times(i) + pixel * call_.step.in.channels;
        copy(times, order_.rows, pixel, image);
    }

    // Some pixels of an image, one behind the other.
    void copy(int64_t pixel, int64_t image, int count) {
        const uint8_t* times[block_rows] = {};
        for (int i = 0; i < count; ++i) times[i] = call_.times(image) + (pixel + i) * call_.step.in.channels;
        copy(times, count, pixel, image);
    }

    void copy(const uint8_t* const* times, int rows, int64_t pixel, int64_t image) {
        const int inputs = order_.group_inputs;
        for (int first = 0; first < call_.step.in.channels; first += inputs)
            for (int c = 0; c < inputs; c += tile_depth) {
                const uint8_t* from[block_rows] = {};
                for (int i = 0; i < rows; ++i) from[i] = times[i] == nullptr ? nullptr : times[i] + first + c;
                uint8_t* to = bytes_ + order_.at(pixel, image, first + c);
                call_.k.look_up(call_.plan().values, from, rows, std::min(tile_depth, inputs - c), to);
            }
    }

    const MatrixCall& call_;
    const TileOrder& order_;
    uint8_t* bytes_;
};

// A layer's output, or that of the pool behind it.
inline const Step& last_step(const MatrixCall& call) { return call.pool == nullptr ? call.step : *call.pool; }

inline int map_count(const MatrixCall& call) {
    return call.pool == nullptr ? 1 : call.pool->geometry.kernel_h * call.pool->geometry.kernel_w;
}

// The output pixel of a layer that is one of the window's of a pixel behind it.
inline int64_t map_pixel(const MatrixCall& call, int64_t pixel, int map) {
    if (call.pool == nullptr) return pixel;
    const Geometry& g = call.pool->geometry;
    return (pixel / g.out_width * g.stride_h + map / g.kernel_w) * g.width + pixel % g.out_width * g.stride_w + map % g.kernel_w;
}

// Rows are images of one pixel: nothing is copied more than once, and taps beside the map are left out. A block is 32 images of one
// pixel; where a pool follows, those of the pixels of its window are its maps.
class ImageRows {
public:
    static constexpr bool holds_all_taps = false, by_image = true;

    ImageRows(const MatrixCall& call, Team& team)
        : call_(call), order_(call.in_order()), inputs_(Inputs(call, order_, team).data()) {}

    int maps() const { return map_count(call_); }
    int64_t blocks() const { return last_step(call_).out.pixels() * order_.across; }
    int64_t tile_bytes() const { return order_.tile_bytes(); }
    int64_t bytes() const { return order_.bytes(); }
    int64_t pitch() const { return tile_depth; }

    MatrixBlock block(int64_t number, int group) const {
        const int64_t image = number % order_.across * order_.rows;
        const int rows = static_cast<int>(std::min<int64_t>(order_.rows, call_.n - image));
        return {inputs_ + order_.at(0, image, group * call_.step.group_inputs()), rows, image, number / order_.across};
    }

    MatrixField field(const MatrixBlock& block, int map) const {
        MatrixField field = call_.field(map_pixel(call_, block.pixel, map));
        field.inputs *= order_.pixel_bytes();
        return field;
    }

    // Bytes from the first tap's inputs to those of each tap of a field, or -1: beside the map. From there on they repeat, each one
    // tile_bytes further.
    std::vector<int64_t> offsets(const MatrixField& field) const {
        const Geometry& g = call_.step.geometry;
        const int64_t pixel = order_.pixel_bytes();
        return call_.offsets(field, g.dilation_h * g.width * pixel, g.dilation_w * pixel);
    }

private:
    const MatrixCall& call_;
    TileOrder order_;
    const uint8_t* inputs_;
};

// Rows are positions of one row of the map: nothing is copied more than once. Where a pool follows, its windows' pixels are the maps.
class MapRows {
public:
    static constexpr bool holds_all_taps = false, by_image = false;

    MapRows(const MatrixCall& call, Team& team)
        : call_(call), order_(call.in_order()), inputs_(Inputs(call, order_, team).data()), out_(last_step(call).out),
          across_((out_.width + block_rows - 1) / block_rows) {}

    int maps() const { return map_count(call_); }
    int64_t blocks() const { return call_.n * out_.height * across_; }
    int64_t tile_bytes() const { return order_.tile_bytes(); }
    int64_t bytes() const { return order_.bytes(); }
    int64_t pitch() const {
        return int64_t(call_.step.geometry.stride_w) * (call_.pool == nullptr ? 1 : call_.pool->geometry.stride_w) * tile_depth;
    }

    MatrixBlock block(int64_t number, int group) const {
        const int x = static_cast<int>(number % across_) * block_rows;
        const int64_t line = number / across_, image = line / out_.height;
        const int64_t tile = image * order_.tiles + order_.tile_of(group * call_.step.group_inputs());
        return {inputs_ + tile * order_.tile_bytes(),
                std::min(block_rows, out_.width - x), image, line % out_.height * out_.width + x};
    }

    // All columns of taps are there: beside the map are zeros.
    MatrixField field(const MatrixBlock& block, int map) const {
        const Geometry& g = call_.step.geometry;
        const int64_t pixel = map_pixel(call_, block.pixel, map);
        const MatrixField field = call_.field(pixel);
        const int64_t column = pixel % g.out_width * g.stride_w - g.pad_w + order_.border;
        return {field.inputs / g.width * order_.line_bytes() + column * tile_depth, {field.taps[0], field.taps[1], 0, g.kernel_w}};
    }

    std::vector<int64_t> offsets(const MatrixField& field) const {
        const Geometry& g = call_.step.geometry;
        return call_.offsets(field, g.dilation_h * order_.line_bytes(), int64_t(g.dilation_w) * tile_depth);
    }

private:
    const MatrixCall& call_;
    TileOrder order_;
    const uint8_t* inputs_;
    const Shape& out_;
    int across_;
};

// Rows are output positions, image after image, first..first+count-1 of them: receptive fields are copied,
// [32 positions][group][tile of the row].
class PositionRows {
public:
    static constexpr bool holds_all_taps = true, by_image = false;
    static constexpr int64_t pitch() { return tile_depth; }

    PositionRows(const MatrixCall& call, int64_t first, int64_t count, Team& team)
        : call_(call), first_(first), count_(count), inputs_(call.home.values.get(blocks() * call.step.groups * group_bytes())) {
        team.parallel(blocks(), [&](int64_t block, Workspace& own) {
            for (int group = 0; group < call.step.groups; ++group)
                call.plan().by_tap ? copy_taps(block, group, own) : copy_fields(block, group, own);
        }, bytes());
    }

    int maps() const { return 1; }
    int64_t blocks() const { return (count_ + block_rows - 1) / block_rows; }
    int64_t tile_bytes() const { return block_bytes; }
    int64_t bytes() const { return blocks() * call_.step.groups * group_bytes(); }

    MatrixBlock block(int64_t number, int group) const {
        const int64_t row = number * block_rows;
        return {inputs_ + offset(number, group), static_cast<int>(std::min<int64_t>(block_rows, count_ - row)),
                (first_ + row) / pixels(), (first_ + row) % pixels()};
    }

    MatrixField field(const MatrixBlock&, int) const { return {}; }
    std::vector<int64_t> offsets(const MatrixField&) const { return {0}; }

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
                uint8_t* to = inputs_ + offset(block, group) + tile * block_bytes;
                call_.k.look_up(call_.plan().values, times, block_rows, std::min(tile_depth, inputs - c), to);
                for (int row = 0; row < block_rows; ++row)
                    if (times[row] != nullptr) times[row] += tile_depth;
            }
    }

    // Few channels: the times of a whole field first, silence behind them.
    void copy_fields(int64_t block, int group, Workspace& own) const {
        const int inputs = call_.step.group_inputs();
        const int64_t depth = int64_t(call_.plan().row_tiles) * tile_depth;
        uint8_t* fields = own.rows.get(block_rows * depth);
        std::memset(fields, 255, block_rows * depth);
        const uint8_t** times = sources(block, group, own);
        const Geometry& g = call_.step.geometry;
        for (int tap = 0; tap < call_.taps(); ++tap, times += block_rows) {
            const int64_t place = tap % g.kernel_w * g.kernel_h + tap / g.kernel_w;  // column by column
            for (int row = 0; row < block_rows; ++row)
                if (times[row] != nullptr) std::memcpy(fields + row * depth + place * inputs, times[row], inputs);
        }
        for (int tile = 0; tile < call_.plan().row_tiles; ++tile) {
            const uint8_t* rows[block_rows];
            for (int row = 0; row < block_rows; ++row) rows[row] = fields + row * depth + tile * tile_depth;
            call_.k.look_up(call_.plan().values, rows, block_rows, tile_depth, inputs_ + offset(block, group) + tile * block_bytes);
        }
    }

    const MatrixCall& call_;
    int64_t first_, count_;
    uint8_t* inputs_;
};

// Few channels: receptive fields overlap in memory. A strip holds what a row of the output reads, [column][kernel row][channel], so that
// a receptive field is a run of bytes, and the next one begins `step()` further. Rows are positions of one image or, with many
// images, a position of each: strips of images lie `pitch()` apart.
class Strips {
public:
    Strips(const MatrixCall& call, Team& team)
        : call_(call), g_(call.step.geometry), channels_(call.step.in.channels), column_(g_.kernel_h * channels_),
          order_(call.step.in, call.n, call.by_image(), call.schedule.forms[call.step.source].border),
          tiles_(strips_from_tiles(call.step, call.schedule.forms[call.step.source])) {
        if (tiles_)
            values_ = call.home.tiles[call.step.source].data();
        else
            look_up(call.home.values.get(call.n * call.step.in.size() + spare), team);
    }

    int64_t step() const { return int64_t(g_.stride_w) * column_; }

    // An odd number of cache lines. The last rows of tiles end behind the map: what they read is multiplied with zeros, or no output.
    int64_t pitch() const {
        const int64_t read = (g_.width + 2 * g_.pad_w) * column_ + block_rows * step() + call_.plan().row_tiles * int64_t(tile_depth);
        return (read + spare + 127) / 128 * 128 + 64;
    }

    // Strips of `count` images from `image` on, for row y of the output.
    const uint8_t* rows(int64_t image, int64_t count, int64_t y, Workspace& own) const {
        uint8_t* strips = own.rows.get(block_rows * pitch() + channels_ + spare);
        uint8_t* silent = strips + block_rows * pitch();
        std::memset(silent, 0, channels_ + spare);
        std::vector<Line> lines(g_.kernel_h);
        for (int64_t i = 0; i < count; ++i) {
            for (int ky = 0; ky < g_.kernel_h; ++ky) {
                const int64_t row = y * g_.stride_h - g_.pad_h + int64_t(ky) * g_.dilation_h;
                lines[ky] = row < 0 || row >= g_.height ? Line{silent, 0} : line(image + i, row);
            }
            uint8_t* to = strips + i * pitch();
            switch (channels_) {  // of known length: one move
                case 1: case 2: case 3: case spare: fill(lines, to, std::integral_constant<int, spare>{}); break;
                case 16: fill(lines, to, std::integral_constant<int, 16>{}); break;
                case 32: fill(lines, to, std::integral_constant<int, 32>{}); break;
                default: fill(lines, to, channels_);
            }
        }
        return strips;
    }

private:
    static constexpr int spare = 4;  // bytes that a copy may be too long

    // A row of the map, and the bytes from pixel to pixel.
    struct Line {
        const uint8_t* from;
        int64_t step;
    };

    Line line(int64_t image, int64_t row) const {
        if (tiles_) return {values_ + order_.at(row * g_.width, image, 0), order_.by_image ? order_.pixel_bytes() : tile_depth};
        return {values_ + (image * g_.height + row) * g_.width * channels_, channels_};
    }

    void look_up(uint8_t* values, Team& team) {
        const MatrixCall& call = call_;
        values_ = values;
        team.parallel(call.n, [&](int64_t image, Workspace&) {
            const int64_t first = image * call.step.in.size(), last = first + call.step.in.size();
            for (int64_t at = first; at < last; at += tile_depth) {
                const uint8_t* times = call.times(0) + at;
                const int count = static_cast<int>(std::min<int64_t>(tile_depth, last - at));
                if (count == tile_depth)
                    call.k.look_up(call.plan().values, &times, 1, tile_depth, values + at);
                else  // what follows is another thread's
                    std::transform(times, times + count, values + at, [&](uint8_t time) { return call.plan().values.byte[time]; });
            }
        }, call.n * call.step.in.size());
    }

    template <class Length>
    void fill(const std::vector<Line>& lines, uint8_t* to, Length length) const {
        std::memset(to, 0, g_.pad_w * column_);
        to += g_.pad_w * column_;
        for (int64_t x = 0; x < g_.width; ++x)
            for (const Line& line : lines) {
                std::memcpy(to, line.from + x * line.step, length);
                to += channels_;
            }
        std::memset(to, 0, g_.pad_w * column_ + spare);
    }

    const MatrixCall& call_;
    const Geometry& g_;
    int channels_;
    int64_t column_;  // bytes of a column of a strip
    TileOrder order_;
    bool tiles_;  // the source is there as tiles
    const uint8_t* values_ = nullptr;
};

}  // namespace firstspike
