#include "engine.hpp"

#include <algorithm>
#include <cstring>
#include <functional>

#include "threads.hpp"

namespace firstspike {

namespace {

constexpr int64_t group_images = 32;  // images in flight per thread

void to_channels_last(const uint8_t* in, Shape shape, uint8_t* out) {
    const int pixels = shape.pixels();
    for (int c = 0; c < shape.channels; ++c)
        for (int p = 0; p < pixels; ++p) out[int64_t(p) * shape.channels + c] = in[int64_t(c) * pixels + p];
}

void to_channels_first(const uint8_t* in, Shape shape, uint8_t* out) {
    const int pixels = shape.pixels();
    for (int c = 0; c < shape.channels; ++c)
        for (int p = 0; p < pixels; ++p) out[int64_t(c) * pixels + p] = in[int64_t(p) * shape.channels + c];
}

template <class V, class U>
void add_identity(const uint8_t* times, const int64_t* identity, int count, V* membranes) {
    for (int i = 0; i < count; ++i) membranes[i] = static_cast<V>(static_cast<U>(membranes[i]) + static_cast<U>(identity[times[i]]));
}

int64_t wrap(int64_t value, int bits) {
    return static_cast<int64_t>(static_cast<uint64_t>(value) << (64 - bits)) >> (64 - bits);
}

}  // namespace

void Engine::add_pool(int source, Shape in, Shape out, Geometry geometry) {
    Step step{};
    step.kind = Step::Kind::pool;
    step.source = source;
    step.in = in;
    step.out = out;
    step.geometry = geometry;
    steps_.push_back(std::move(step));
}

void Engine::add_flatten(int source, Shape in) {
    Step step{};
    step.kind = Step::Kind::flatten;
    step.source = source;
    step.in = in;
    step.out = {static_cast<int>(in.size()), 1, 1};
    steps_.push_back(std::move(step));
}

int64_t Engine::weight_bytes() const {
    int64_t total = 0;
    for (const Step& step : steps_) total += static_cast<int64_t>(step.packed.size());
    return total;
}

// By activation, the last step that reads it.
std::vector<int> Engine::last_use() const {
    std::vector<int> last(steps_.size() + 1, 0);
    for (size_t i = 0; i < steps_.size(); ++i) {
        last[steps_[i].source] = static_cast<int>(i);
        for (int residual : steps_[i].residuals) last[residual] = static_cast<int>(i);
    }
    return last;
}

void Engine::run(const uint8_t* times, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces, int threads) const {
    if (n == 0) return;
    std::vector<Workspace> spaces = workspaces_.take(threads);
    for (Workspace& space : spaces) space.activations.resize(steps_.size() + 1);
    if (n < 2 * threads) {  // few images: all threads share the work of each layer
        Team team(threads, spaces.data());
        run_group(times, 0, n, logits, traces, team);
    } else {
        const int64_t rounds = (n + group_images * threads - 1) / (group_images * threads), groups = rounds * threads;
        parallel(threads, groups, [&](int64_t group, int worker) {
            Team team(1, &spaces[worker]);
            const int64_t first = n * group / groups, last = n * (group + 1) / groups;
            if (last > first) run_group(times, first, last - first, logits, traces, team);
        });
    }
    workspaces_.give_back(std::move(spaces));
}

void Engine::run_group(const uint8_t* times, int64_t first, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces,
                       Team& team) const {
    auto& activations = team.home().activations;
    const std::vector<int> last = last_use();
    auto& spare = team.home().spare;
    const auto take = [&](int number, int64_t size) {
        if (!spare.empty()) {
            activations[number] = std::move(spare.back());
            spare.pop_back();
        }
        return activations[number].get(size);
    };
    uint8_t* input = take(0, n * input_.size());
    team.parallel(n, [&](int64_t i, Workspace&) {
        to_channels_last(times + (first + i) * input_.size(), input_, input + i * input_.size());
    });
    for (size_t s = 0; s < steps_.size(); ++s) {
        const Step& step = steps_[s];
        const int output = static_cast<int>(s) + 1;
        const bool readout = s + 1 == steps_.size();
        uint8_t* out = readout ? nullptr : take(output, n * step.out.size());
        int64_t* sums = readout ? logits + first * step.out.size() : nullptr;
        switch (step.kind) {
            case Step::Kind::synaptic: run_synaptic(step, n, sums, team, output); break;
            case Step::Kind::depthwise: run_depthwise(step, n, sums, team, output); break;
            case Step::Kind::pool: run_pool(step, n, team, output); break;
            case Step::Kind::flatten:
                for (int64_t i = 0; i < n; ++i)
                    to_channels_first(activations[step.source].data() + i * step.in.size(), step.in, out + i * step.in.size());
                break;
        }
        if (!traces.empty() && !readout)
            team.parallel(n, [&](int64_t i, Workspace&) {
                to_channels_first(out + i * step.out.size(), step.out, traces[s] + (first + i) * step.out.size());
            });
        for (size_t a = 0; a <= s; ++a)
            if (last[a] == static_cast<int>(s) && activations[a].data() != nullptr) spare.push_back(std::move(activations[a]));
    }
    for (auto& memory : activations)
        if (memory.data() != nullptr) spare.push_back(std::move(memory));
}

// Residuals, then spike times or logits, of `count` channels at one position.
void Engine::finish(const Step& step, const Workspace& home, const void* membranes, int64_t image, int position, int channel,
                    int count, int64_t* logits, uint8_t* out) const {
    const Kernels& k = kernels(common_.isa);
    const int64_t at = (image * step.out.pixels() + position) * step.out.channels + channel;
    auto* narrow = static_cast<int32_t*>(const_cast<void*>(membranes));
    auto* large = static_cast<int64_t*>(const_cast<void*>(membranes));
    const bool is_narrow = step.sum_bytes() == 4;
    for (int residual : step.residuals) {
        const uint8_t* times = home.activations[residual].data() + at;
        if (is_narrow)
            add_identity<int32_t, uint32_t>(times, step.identity.data(), count, narrow);
        else
            add_identity<int64_t, uint64_t>(times, step.identity.data(), count, large);
    }
    if (logits != nullptr) {
        for (int c = 0; c < count; ++c)
            logits[(image * step.out.channels + channel + c) * step.out.pixels() + position] =
                wrap(is_narrow ? narrow[c] : large[c], common_.accumulator_bits);
        return;
    }
    if (is_narrow)
        k.fire32(step.fire, narrow, count, out + at);
    else
        k.fire64(step.fire, large, count, out + at);
}

void Engine::run_depthwise(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const {
    const Kernels& k = kernels(common_.isa);
    const Geometry& g = step.geometry;
    Workspace& home = team.home();
    const uint8_t* in = home.activations[step.source].data();
    uint8_t* out = logits != nullptr ? nullptr : home.activations[output].data();
    const int channels = step.in.channels;
    const bool narrow = step.sum_bytes() == 4;
    const int64_t codes = static_cast<int64_t>(step.packed.size());
    team.parallel(n * g.out_height, [&](int64_t row, Workspace& own) {
        const int64_t image = row / g.out_height, sums = int64_t(g.out_width) * channels;
        const int oy = static_cast<int>(row % g.out_height);
        char* weights = own.panel.get(codes * step.sum_bytes());
        char* membranes = own.membranes.get(sums * step.sum_bytes());
        const auto fill = [&]<class V>(V* w, V* u) {
            for (int64_t i = 0; i < codes; ++i) w[i] = static_cast<V>(step.weights[step.packed[i]]);
            for (int64_t i = 0; i < sums; ++i) u[i] = static_cast<V>(step.bias[i % channels]);
        };
        const uint8_t* times = in + image * step.in.size();
        if (narrow) {
            auto *w = reinterpret_cast<int32_t*>(weights), *u = reinterpret_cast<int32_t*>(membranes);
            fill(w, u);
            k.depthwise32(g, channels, times, w, step.kernel32.data(), oy, u);
        } else {
            auto *w = reinterpret_cast<int64_t*>(weights), *u = reinterpret_cast<int64_t*>(membranes);
            fill(w, u);
            k.depthwise64(g, channels, times, w, step.kernel64.data(), oy, u);
        }
        for (int x = 0; x < g.out_width; ++x)
            finish(step, home, membranes + int64_t(x) * channels * step.sum_bytes(), image, oy * g.out_width + x, 0, channels,
                   logits, out);
    });
}

void Engine::run_pool(const Step& step, int64_t n, Team& team, int output) const {
    const Kernels& k = kernels(common_.isa);
    const Geometry& g = step.geometry;
    Workspace& home = team.home();
    const uint8_t* in = home.activations[step.source].data();
    uint8_t* out = home.activations[output].data();
    const int channels = step.in.channels;
    team.parallel(n * g.out_height, [&](int64_t row, Workspace&) {
        const int oy = static_cast<int>(row % g.out_height);
        const uint8_t* image = in + row / g.out_height * step.in.size();
        for (int ox = 0; ox < g.out_width; ++ox) {
            uint8_t* to = out + (row * g.out_width + ox) * channels;
            std::memset(to, 255, channels);
            for (int ky = 0; ky < g.kernel_h; ++ky)
                for (int kx = 0; kx < g.kernel_w; ++kx) {
                    const int iy = oy * g.stride_h - g.pad_h + ky, ix = ox * g.stride_w - g.pad_w + kx;
                    if (iy >= 0 && iy < g.height && ix >= 0 && ix < g.width)
                        k.earliest(image + (int64_t(iy) * g.width + ix) * channels, channels, to);
                }
        }
    });
}

}  // namespace firstspike
