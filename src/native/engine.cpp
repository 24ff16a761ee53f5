#include "engine.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "matrix_rows.hpp"
#include "threads.hpp"

namespace firstspike {

namespace {

constexpr int64_t group_images = 32;          // images in flight per thread
constexpr int64_t group_bytes = 64ll << 20;   // or as many as have activations of this size

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

bool same(const Shape& a, const Shape& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

bool is_readout(const Step& step) {
    return step.has_weights() && !step.fires && !step.partial;
}

template <class V, class U>
void add_sums(const void* sums, int count, V* membranes) {
    const V* more = static_cast<const V*>(sums);
    for (int i = 0; i < count; ++i) membranes[i] = static_cast<V>(static_cast<U>(membranes[i]) + static_cast<U>(more[i]));
}

}  // namespace

// ---- building

Engine::Engine(Common common, Shape input, Path path) : common_(std::move(common)), input_(input), path_(path) {
    check(common_);
    check("input", input_);
}

void Engine::check_source(int source, const Shape& in) const {
    if (source < 0 || source > static_cast<int>(steps_.size()))
        throw std::invalid_argument("source must be the number of an activation, not " + std::to_string(source));
    if (is_partial(source)) throw std::invalid_argument("source must not be the sums of a part, not " + std::to_string(source));
    if (!same(in, activation(source))) throw std::invalid_argument("in_shape must be that of its source");
    if (!steps_.empty() && is_readout(steps_.back())) throw std::invalid_argument("nothing may follow a read-out");
}

Step Engine::plan(SynapticSpec spec, Watch& watch) const {
    check_source(spec.source, spec.in);
    check(common_, spec);
    for (int residual : spec.residuals)
        if (residual < 0 || residual > static_cast<int>(steps_.size()) || !same(activation(residual), spec.out) ||
            is_partial(residual))
            throw std::invalid_argument("residuals must be activations of out_shape, not " + std::to_string(residual));
    for (int part : spec.parts)
        if (part < 1 || part > static_cast<int>(steps_.size()) || !same(activation(part), spec.out) || !is_partial(part))
            throw std::invalid_argument("parts must be sums of out_shape, not " + std::to_string(part));
    for (int part : spec.parts) spec.part_reach.push_back(&steps_[part - 1].reach);
    if (spec.partial && (spec.fires || !spec.residuals.empty() || !spec.parts.empty()))
        throw std::invalid_argument("a part must neither fire nor add others");
    return plan_synaptic(common_, std::move(spec), path_, watch);
}

void Engine::add_pool(int source, Shape in, Shape out, Geometry geometry) {
    check_source(source, in);
    check(in, out, geometry);
    if (out.channels != in.channels) throw std::invalid_argument("out_shape must have the channels of in_shape");
    Step step{};
    step.kind = Step::Kind::pool;
    step.source = source;
    step.in = in;
    step.out = out;
    step.geometry = geometry;
    steps_.push_back(std::move(step));
}

void Engine::add_flatten(int source, Shape in) {
    check_source(source, in);
    Step step{};
    step.kind = Step::Kind::flatten;
    step.source = source;
    step.in = in;
    step.out = {static_cast<int>(in.size()), 1, 1};
    steps_.push_back(std::move(step));
}

void Engine::add_shuffle(int source, Shape in, int down, int across) {
    check_source(source, in);
    if (down < 1 || across < 1 || down > in.channels || across > in.channels || in.channels % (int64_t(down) * across) != 0)
        throw std::invalid_argument("factor must divide the channels, not " + std::to_string(down) + " x " + std::to_string(across));
    Step step{};
    step.kind = Step::Kind::shuffle;
    step.source = source;
    step.in = in;
    step.down = down;
    step.across = across;
    if (int64_t(in.height) * down > max_extent || int64_t(in.width) * across > max_extent)
        throw std::invalid_argument("factor must leave at most 65536 rows and columns");
    step.out = {in.channels / (down * across), in.height * down, in.width * across};
    steps_.push_back(std::move(step));
}

void Engine::add_channels(std::vector<int> sources, Shape out, const std::vector<int>& channels) {
    check("out_shape", out);
    if (sources.empty() || sources.size() > size_t(max_extent)) throw std::invalid_argument("sources must hold 1..65536 activations");
    Step step{};
    step.kind = Step::Kind::channels;
    std::vector<std::pair<int, int>> all;
    for (size_t i = 0; i < sources.size(); ++i) {
        if (sources[i] < 0 || sources[i] > static_cast<int>(steps_.size()))
            throw std::invalid_argument("source must be the number of an activation, not " + std::to_string(sources[i]));
        const Shape from = activation(sources[i]);
        check_source(sources[i], from);
        if (from.height != out.height || from.width != out.width) throw std::invalid_argument("out_shape must have the pixels of its sources");
        if (all.size() + from.channels > size_t(max_outputs)) throw std::invalid_argument("sources must have at most 2^24 channels");
        for (int c = 0; c < from.channels; ++c) all.emplace_back(static_cast<int>(i), c);
    }
    if (static_cast<int64_t>(channels.size()) != out.channels) throw std::invalid_argument("channels must hold one entry per output channel");
    for (int channel : channels) {
        if (channel < -1 || channel >= static_cast<int>(all.size()))
            throw std::invalid_argument("channels must be those of the sources or -1, not " + std::to_string(channel));
        step.picks.push_back(channel < 0 ? std::pair<int, int>(-1, 0) : all[channel]);
    }
    step.source = sources[0];
    step.in = activation(sources[0]);
    step.out = out;
    step.sources = std::move(sources);
    steps_.push_back(std::move(step));
}

void Engine::check_complete() const {
    if (steps_.empty() || !is_readout(steps_.back())) throw std::invalid_argument("the engine must end in a read-out");
}

int64_t Engine::weight_bytes() const {
    int64_t total = 0;
    for (const Step& step : steps_) total += static_cast<int64_t>(step.packed.size());
    return total;
}

// ---- running

void Engine::run(const uint8_t* times, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces, int threads,
                 Watch& watch) const {
    check_complete();
    if (n == 0) return;
    const bool untraced = traces.empty();
    const Schedule by_image = make_schedule(steps_, input_, true, untraced), by_position = make_schedule(steps_, input_, false, untraced);
    const int64_t live_bytes = std::max(by_image.live_bytes, by_position.live_bytes);
    const int64_t images = std::clamp<int64_t>(group_bytes / live_bytes, 1, group_images);
    const auto group = [&](int64_t first, int64_t count, Team& team) {
        run_group(times, first, count, logits, traces, count >= tile_rows ? by_image : by_position, team);
    };
    std::vector<Workspace> spaces = workspaces_.take(threads, static_cast<int>(steps_.size()) + 1, watch);
    // few images, or large ones, or just one block of rows: all threads share the work of each layer
    const bool matrices = std::any_of(steps_.begin(), steps_.end(), [](const Step& s) { return s.kind == Step::Kind::matrix; });
    if (n < 2 * threads || images == 1 || (matrices && n <= block_rows)) {
        Team team(threads, spaces.data());
        for (int64_t first = 0; first < n; first += images)
            group(first, std::min(images, n - first), team);
    } else {
        const int64_t rounds = (n + images * threads - 1) / (images * threads), groups = rounds * threads;
        const auto turn = [&](int64_t number, int worker) {
            Team team(1, &spaces[worker]);
            const int64_t first = n * number / groups, last = n * (number + 1) / groups;
            if (last > first) group(first, last - first, team);
        };
        parallel(threads, groups, turn, watch);
    }
    workspaces_.give_back(std::move(spaces));
}

void Engine::run_group(const uint8_t* times, int64_t first, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces,
                       const Schedule& schedule, Team& team) const {
    Workspace& home = team.home();
    home.clear();
    uint8_t* input = home.take(home.activations[0], n * input_.size());
    team.parallel(n, [&](int64_t i, Workspace&) {
        to_channels_last(times + (first + i) * input_.size(), input_, input + i * input_.size());
    }, n * input_.size());
    const int steps = static_cast<int>(steps_.size());
    for (int s = 0; s < steps; ++s) {
        if (schedule.passed[s]) continue;
        const Step& step = steps_[s];
        const bool readout = s + 1 == steps;
        const int to = schedule.flows[s].to;
        const Shape& shape = steps_[to - 1].out;
        if (!readout && schedule.forms[to].times) home.take(home.activations[to], n * steps_[to - 1].activation_bytes());
        if (!readout && schedule.forms[to].tiles) {
            const TileOrder order(shape, n, schedule.by_image, schedule.forms[to].border);
            order.clear(home.take(home.tiles[to], order.bytes()));
        }
        int64_t* own_logits = readout ? logits + first * step.out.size() : nullptr;
        if (step.kind == Step::Kind::matrix)
            run_matrix(s, n, own_logits, team, schedule);
        else if (step.matrix.apart)
            run_apart(s, n, team, schedule);
        else
            run_step(step, n, own_logits, team, s + 1);
        if (!traces.empty() && !readout && !step.partial)
            team.parallel(n, [&](int64_t i, Workspace&) {
                to_channels_first(home.activations[to].data() + i * step.out.size(), step.out, traces[s] + (first + i) * step.out.size());
            });
        for (int number : schedule.done[s]) home.give_back(number);
    }
}

void Engine::run_step(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const {
    switch (step.kind) {
        case Step::Kind::synaptic: run_synaptic(step, n, logits, team, output); break;
        case Step::Kind::matrix: break;  // run_matrix()
        case Step::Kind::depthwise: run_depthwise(step, n, logits, team, output); break;
        case Step::Kind::pool: run_pool(step, n, team, output); break;
        case Step::Kind::channels: run_channels(step, n, team, output); break;
        case Step::Kind::shuffle: run_shuffle(step, n, team, output); break;
        case Step::Kind::flatten: {
            const uint8_t* in = team.home().activations[step.source].data();
            uint8_t* out = team.home().activations[output].data();
            team.parallel(n, [&](int64_t i, Workspace&) {
                to_channels_first(in + i * step.in.size(), step.in, out + i * step.in.size());
            });
            break;
        }
    }
}

// Parts and residuals, then spike times, logits or a part's sums, of `count` channels at one position.
void Engine::finish(const Step& step, const Workspace& home, const void* membranes, int64_t image, int position, int channel,
                    int count, int64_t* logits, uint8_t* out) const {
    const Kernels& k = kernels(common_.isa);
    const int64_t at = (image * step.out.pixels() + position) * step.out.channels + channel;
    auto* narrow = static_cast<int32_t*>(const_cast<void*>(membranes));
    auto* large = static_cast<int64_t*>(const_cast<void*>(membranes));
    const bool is_narrow = step.sum_bytes() == 4;
    if (step.partial) {
        std::memcpy(out + at * step.sum_bytes(), membranes, int64_t(count) * step.sum_bytes());
        return;
    }
    for (int part : step.parts) {
        const uint8_t* sums = home.activations[part].data() + at * step.sum_bytes();
        if (is_narrow)
            add_sums<int32_t, uint32_t>(sums, count, narrow);
        else
            add_sums<int64_t, uint64_t>(sums, count, large);
    }
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
    if (!step.shifts.empty()) {
        const int32_t* shifts = step.shifts.data() + channel;
        if (is_narrow)
            k.shift32(shifts, common_.accumulator_bits, count, narrow);
        else
            k.shift64(shifts, common_.accumulator_bits, count, large);
    }
    if (is_narrow)
        k.fire32(step.fire, narrow, count, out + at);
    else
        k.fire64(step.fire, large, count, out + at);
}

}  // namespace firstspike
