// Layers whose channels stay apart, on bytes: from inputs to spikes, 64 channels at once (matrix.hpp).
#include <algorithm>

#include "matrix_rows.hpp"

namespace firstspike {
namespace {

alignas(64) constexpr std::array<uint8_t, apart_channels> zeros{};

// Up to 64 channels of a layer, and what they begin at.
class Apart {
public:
    Apart(const MatrixCall& call, int tile, Workspace& own)
        : channel(tile * apart_channels), call_(call), form_(call.form()), quads_((call.taps() + 3) / 4), taps_(4 * quads_) {
        const Step& step = call.step;
        const MatrixPlan& plan = call.plan();
        count = std::min(apart_channels, step.out.channels - channel);
        auto* weights = reinterpret_cast<int8_t*>(own.panel.get(int64_t(quads_) * 2 * 4 * apart_channels));
        call.k.spread(plan.digits, step.packed.data() + channel, step.out.channels, count, call.taps(), weights);
        weights_ = weights;
        for (int c = 0; c < count; ++c) {
            const int at = c % 16 / 4 * 16 + c / 16 * 4 + c % 4;
            start_[at] = plan.starts[channel + c];
            if (!step.shifts.empty()) shifts_[at] = step.shifts[channel + c];
        }
        for (int i = 0; form_.tiles && i < 64; ++i) bytes_[i] = form_.values->byte[plan.octaves.times[i]];
    }

    // `rows` positions or images whose taps lie at these places, from the first input on; -1 beside the map.
    // `at` and `step` are the first output and from one to the next, `in_tiles` the first one's place in tiles.
    void run(const uint8_t* inputs, const std::vector<int64_t>& places, int64_t pitch, int rows, int64_t at, int64_t step,
             int64_t in_tiles) {
        std::fill(taps_.begin(), taps_.end(), ApartTap{zeros.data(), 0});
        for (size_t tap = 0; tap < places.size(); ++tap)
            if (places[tap] >= 0) taps_[tap] = {inputs + places[tap], pitch};
        const MatrixPlan& plan = call_.plan();
        const auto& home = call_.home;
        call_.k.multiply_apart({taps_.data(), quads_, rows, count, plan.digits.large, weights_, start_,
                                call_.step.shifts.empty() ? nullptr : shifts_, plan.octaves.start,
                                {form_.times ? home.activations[call_.to].data() + at : nullptr, step, plan.octaves.times},
                                {form_.tiles ? home.tiles[call_.to].data() + in_tiles : nullptr, tile_depth, bytes_}});
    }

    int channel, count;

private:
    const MatrixCall& call_;
    const Form& form_;
    int quads_;
    std::vector<ApartTap> taps_;
    const int8_t* weights_;
    alignas(64) int32_t start_[apart_channels] = {}, shifts_[apart_channels] = {};
    uint8_t bytes_[64] = {};
};

}  // namespace

// Rows are images of one pixel.
void Engine::run_apart_images(const MatrixCall& call, Team& team) const {
    const Geometry& g = call.step.geometry;
    const TileOrder from = call.in_order(), to = call.out_order();
    const uint8_t* inputs = Inputs(call, from, team).data();
    team.parallel(from.tiles * g.out_height, [&](int64_t item, Workspace& own) {
        Apart apart(call, static_cast<int>(item / g.out_height), own);
        std::vector<int64_t> pixels(call.taps()), places(call.taps());
        for (int x = 0; x < g.out_width; ++x) {
            own.check();
            const int64_t pixel = item % g.out_height * g.out_width + x;
            call.sources(pixel, pixels.data());
            for (int64_t image = 0; image < call.n; image += from.rows) {
                const int64_t first = from.at(0, image, apart.channel);
                std::transform(pixels.begin(), pixels.end(), places.begin(),
                               [&](int64_t p) { return p < 0 ? -1 : first + p * from.pixel_bytes(); });
                const int rows = static_cast<int>(std::min<int64_t>(from.rows, call.n - image));
                const int64_t at = (image * call.out.pixels() + pixel) * call.out.channels + apart.channel;
                apart.run(inputs, places, tile_depth, rows, at, call.out.size(), to.at(pixel, image, apart.channel));
            }
        }
    });
}

// Rows are positions of a row of the map, whose columns of zeros reach as far as the windows.
void Engine::run_apart_positions(const MatrixCall& call, Team& team) const {
    const Geometry& g = call.step.geometry;
    const TileOrder from = call.in_order(), to = call.out_order();
    const uint8_t* inputs = Inputs(call, from, team).data();
    team.parallel(call.n * from.tiles * g.out_height, [&](int64_t item, Workspace& own) {
        const int64_t y = item % g.out_height, image = item / g.out_height / from.tiles, pixel = y * g.out_width;
        Apart apart(call, static_cast<int>(item / g.out_height % from.tiles), own);
        std::vector<int64_t> places(call.taps(), -1);
        own.check();
        for (int tap = 0; tap < call.taps(); ++tap) {
            const int64_t row = y * g.stride_h - g.pad_h + int64_t(tap / g.kernel_w) * g.dilation_h;
            const int64_t column = int64_t(tap % g.kernel_w) * g.dilation_w - g.pad_w;
            if (row >= 0 && row < g.height) places[tap] = from.at(row * g.width, image, apart.channel) + column * tile_depth;
        }
        const int64_t at = (image * call.out.pixels() + pixel) * call.out.channels + apart.channel;
        apart.run(inputs, places, int64_t(g.stride_w) * tile_depth, g.out_width, at, call.out.channels, to.at(pixel, image, apart.channel));
    });
}

void Engine::run_apart(int number, int64_t n, Team& team, const Schedule& schedule) const {
    const Step& step = steps_[number];
    const int to = schedule.flows[number].to;
    const MatrixCall call{step, n, team.home(), *matrix_kernels(common_.isa), schedule, to, steps_[to - 1].out, nullptr};
    schedule.by_image ? run_apart_images(call, team) : run_apart_positions(call, team);
}

}  // namespace firstspike
