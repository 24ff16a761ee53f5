// Layers whose channels stay apart: depthwise convolution (average pooling) and max pooling.
#include <algorithm>
#include <cstring>

#include "engine.hpp"

namespace firstspike {
namespace {

constexpr int64_t piece = 1 << 20;  // operations between two looks at the watch

// Taps of a window that lie inside the map, [first, last).
struct Taps {
    int first, last;

    Taps(int start, int kernel, int size) : first(std::max(0, -start)), last(std::min(kernel, size - start)) {}
};

}  // namespace

void Engine::run_depthwise(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const {
    const Kernels& k = kernels(common_.isa);
    const Geometry& g = step.geometry;
    Workspace& home = team.home();
    const uint8_t* in = home.activations[step.source].data();
    uint8_t* out = logits != nullptr ? nullptr : home.activations[output].data();
    const int channels = step.in.channels;
    const bool narrow = step.sum_bytes() == 4;
    const int64_t codes = static_cast<int64_t>(step.packed.size());
    const int positions = static_cast<int>(std::clamp<int64_t>(piece / codes, 1, g.out_width));
    team.parallel(n * g.out_height, [&](int64_t row, Workspace& own) {
        const int64_t image = row / g.out_height;
        const int oy = static_cast<int>(row % g.out_height);
        char* weights = own.panel.get(codes * step.sum_bytes());
        char* membranes = own.membranes.get(int64_t(positions) * channels * step.sum_bytes());
        const uint8_t* times = in + image * step.in.size();
        const auto run = [&]<class V, class U>(V* w, V* u, const std::vector<U>& kernel, auto depthwise) {
            for (int64_t i = 0; i < codes; ++i) w[i] = static_cast<V>(step.weights[step.packed[i]]);
            for (int ox0 = 0; ox0 < g.out_width; ox0 += positions) {
                const int ox1 = std::min(g.out_width, ox0 + positions);
                own.check();
                for (int x = 0; x < ox1 - ox0; ++x)
                    for (int c = 0; c < channels; ++c) u[int64_t(x) * channels + c] = static_cast<V>(step.bias[c]);
                depthwise(g, channels, times, w, kernel.data(), oy, ox0, ox1, u);
                for (int x = ox0; x < ox1; ++x)
                    finish(step, home, u + int64_t(x - ox0) * channels, image, oy * g.out_width + x, 0, channels, logits, out);
            }
        };
        if (narrow)
            run(reinterpret_cast<int32_t*>(weights), reinterpret_cast<int32_t*>(membranes), step.kernel32, k.depthwise32);
        else
            run(reinterpret_cast<int64_t*>(weights), reinterpret_cast<int64_t*>(membranes), step.kernel64, k.depthwise64);
    });
}

void Engine::run_pool(const Step& step, int64_t n, Team& team, int output) const {
    const Kernels& k = kernels(common_.isa);
    const Geometry& g = step.geometry;
    Workspace& home = team.home();
    const uint8_t* in = home.activations[step.source].data();
    uint8_t* out = home.activations[output].data();
    const int channels = step.in.channels;
    team.parallel(n * g.out_height, [&](int64_t row, Workspace& own) {
        const int top = static_cast<int>(row % g.out_height) * g.stride_h - g.pad_h;
        const uint8_t* image = in + row / g.out_height * step.in.size();
        const Taps down(top, g.kernel_h, g.height);
        int64_t work = 0;
        for (int ox = 0; ox < g.out_width; ++ox) {
            const int left = ox * g.stride_w - g.pad_w;
            const Taps across(left, g.kernel_w, g.width);
            uint8_t* to = out + (row * g.out_width + ox) * channels;
            std::memset(to, 255, channels);
            for (int ky = down.first; ky < down.last; ++ky)
                for (int kx = across.first; kx < across.last; ++kx)
                    k.earliest(image + (int64_t(top + ky) * g.width + left + kx) * channels, channels, to);
            work += int64_t(down.last - down.first) * (across.last - across.first) * channels;
            if (work < piece) continue;
            own.check();
            work = 0;
        }
    }, n * step.in.size());
}

void Engine::run_shuffle(const Step& step, int64_t n, Team& team, int output) const {
    const uint8_t* in = team.home().activations[step.source].data();
    uint8_t* out = team.home().activations[output].data();
    const int channels = step.out.channels, parts = step.down * step.across;
    team.parallel(n * step.out.height, [&](int64_t row, Workspace&) {
        const int64_t image = row / step.out.height;
        const int y = static_cast<int>(row % step.out.height);
        uint8_t* to = out + row * step.out.width * channels;
        for (int x = 0; x < step.out.width; ++x, to += channels) {
            const int64_t pixel = (image * step.in.height + y / step.down) * step.in.width + x / step.across;
            const uint8_t* from = in + pixel * step.in.channels + y % step.down * step.across + x % step.across;
            for (int c = 0; c < channels; ++c) to[c] = from[c * parts];
        }
    });
}

void Engine::run_channels(const Step& step, int64_t n, Team& team, int output) const {
    auto& activations = team.home().activations;
    uint8_t* out = activations[output].data();
    const int64_t pixels = step.out.pixels();
    std::vector<const uint8_t*> maps;
    std::vector<int64_t> channels;
    for (int source : step.sources) {
        maps.push_back(activations[source].data());
        channels.push_back(activation(source).channels);
    }
    team.parallel(n, [&](int64_t image, Workspace&) {
        for (int64_t p = image * pixels; p < (image + 1) * pixels; ++p)
            for (int c = 0; c < step.out.channels; ++c) {
                const auto [place, channel] = step.picks[c];
                out[p * step.out.channels + c] = place < 0 ? 255 : maps[place][p * channels[place] + channel];
            }
    });
}

}  // namespace firstspike
