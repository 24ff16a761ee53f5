#include "schedule.hpp"

#include <algorithm>

namespace firstspike {
namespace {

constexpr int most_maps = 16;  // blocks of sums whose greatest count, where a pool follows
constexpr int most_step = 8;   // pixels from one row of a tile to the next

// Whether no group of a matrix shares a tile of inputs with another.
bool keeps_groups_apart(const Step& step) { return step.groups == 1 || step.group_inputs() % tile_depth == 0; }

bool reads_map(const Step& step) {
    const Geometry& g = step.geometry;
    return step.matrix.by_tap && keeps_groups_apart(step) && fills_tiles(g.out_width) && g.stride_w <= most_step && g.pad_w <= most_border;
}

// Whether the rows of a block of a matrix are images, or positions of one row of the map.
bool has_row_blocks(const Step& step, bool by_image) {
    return step.matrix.strips || (step.matrix.by_tap && by_image) || reads_map(step);
}

// Whether the blocks of sums of a matrix end in spikes, and lie in one tile each.
bool fits_tiles(const Step& step, bool by_image) {
    return step.kind == Step::Kind::matrix && step.matrix.direct && has_row_blocks(step, by_image) &&
           (step.groups == 1 || step.group_outputs() % block_columns == 0);
}

bool writes_tiles(const Step& step, bool by_image) { return step.matrix.apart || fits_tiles(step, by_image); }

// A pool whose windows share nothing and leave nothing out between them.
bool pools_in_passing(const Step& matrix, const Step& pool, bool by_image) {
    const Geometry& g = pool.geometry;
    if (pool.kind != Step::Kind::pool || matrix.matrix.strips || matrix.matrix.apart || !matrix.residuals.empty() || !matrix.parts.empty())
        return false;
    const bool alone = g.out_height == 1 && g.out_width == 1;
    const bool parted = alone || (g.stride_h == g.kernel_h && g.stride_w == g.kernel_w);
    const bool filled = by_image || (fills_tiles(g.out_width) && g.kernel_w * matrix.geometry.stride_w <= most_step);
    return parted && filled && g.pad_h == 0 && g.pad_w == 0 && g.kernel_h * g.kernel_w <= most_maps;
}

// Whether the pixels of a map that is read in strips are one tile each.
bool strips_in_tile(const Step& step) {
    return step.kind == Step::Kind::matrix && step.matrix.strips && step.in.channels <= tile_depth;
}

class Planner {
public:
    Planner(const std::deque<Step>& steps, const Shape& input, bool by_image, bool tiles)
        : steps_(steps), input_(input), by_image_(by_image), tiles_(tiles), readers_(steps.size() + 1) {
        schedule_.by_image = by_image;
        for (int s = 0; s < count(); ++s) each_read(steps[s], [&](int number) { readers_[number].push_back(s); });
        schedule_.passed.resize(steps.size());
        schedule_.forms.resize(steps.size() + 1);
        schedule_.done.resize(steps.size());
    }

    Schedule make() {
        for (int s = 0; s < count(); ++s) schedule_.flows.push_back(flow(s));
        std::vector<bool> written(steps_.size() + 1);
        for (int s = 0; s < count(); ++s)
            if (tiles_ && !schedule_.passed[s] && writes_tiles(steps_[s], by_image_)) written[schedule_.flows[s].to] = true;
        for (int number = 0; tiles_ && number <= count(); ++number) {
            share(number, written[number]);
            if (written[number]) write(number);
        }
        count_bytes();
        return std::move(schedule_);
    }

private:
    int count() const { return static_cast<int>(steps_.size()); }
    const Shape& shape(int number) const { return number == 0 ? input_ : steps_[number - 1].out; }

    template <class Visit>
    static void each_read(const Step& step, Visit visit) {
        if (step.sources.empty()) visit(step.source);
        for (int source : step.sources) visit(source);
        for (int part : step.parts) visit(part);
        for (int residual : step.residuals) visit(residual);
    }

    Flow flow(int number) {
        Flow flow{number + 1};
        const Step& step = steps_[number];
        if (!tiles_ || schedule_.passed[number] || !writes_tiles(step, by_image_)) return flow;
        while (readers_[flow.to].size() == 1) {
            const int reader = readers_[flow.to][0];
            const bool renames = steps_[reader].kind == Step::Kind::flatten && steps_[reader].in.pixels() == 1;
            const bool pools = flow.pool < 0 && pools_in_passing(step, steps_[reader], by_image_);
            if (!renames && !pools) break;
            if (pools) flow.pool = reader;
            schedule_.passed[reader] = true;
            flow.to = reader + 1;
        }
        return flow;
    }

    // Tiles for all that read an activation so, if they agree on the bytes.
    void share(int number, bool written) {
        const MatrixValues* values = nullptr;
        int border = 0;
        for (int reader : readers_[number]) {
            const Step& step = steps_[reader];
            const bool reads = reads_tiles(step, by_image_) || (written && strips_in_tile(step));
            if (!reads || step.source != number || !step.sources.empty()) continue;
            const MatrixValues& own = steps_[reader].matrix.values;
            if (values != nullptr && !std::equal(own.byte, own.byte + 256, values->byte)) return;
            values = &own;
            border = std::max(border, by_image_ ? 0 : steps_[reader].geometry.pad_w);
        }
        schedule_.forms[number].values = values;
        schedule_.forms[number].border = border;
    }

    // What a step writes: tiles if there are readers for them, spike times if there are others.
    void write(int number) {
        Form& form = schedule_.forms[number];
        form.tiles = form.values != nullptr;
        if (!form.tiles) return;
        form.times = std::any_of(readers_[number].begin(), readers_[number].end(), [&](int reader) {
            const Step& step = steps_[reader];
            const bool adds = std::count(step.residuals.begin(), step.residuals.end(), number) > 0;
            const bool takes = step.source == number && step.sources.empty();
            const bool other = std::count(step.sources.begin(), step.sources.end(), number) > 0;
            const bool reads = reads_tiles(step, by_image_) || strips_in_tile(step);
            return other || (takes && !reads) || (adds && !adds_tiles(step, form, by_image_));
        });
    }

    int64_t bytes(int number) const {
        const Form& form = schedule_.forms[number];
        const int64_t times = !form.times ? 0 : number == 0 ? input_.size() : steps_[number - 1].activation_bytes();
        const int64_t channels = (shape(number).channels + tile_depth - 1) / tile_depth * int64_t(tile_depth);
        const int64_t pixels = shape(number).height * (int64_t(shape(number).width) + 2 * form.border);
        return times + (form.values == nullptr ? 0 : channels * pixels);
    }

    void count_bytes() {
        std::vector<int> last(steps_.size() + 1, -1);
        for (int s = 0; s < count(); ++s) {
            if (schedule_.passed[s]) continue;
            last[schedule_.flows[s].to] = s;  // what nobody reads
        }
        for (int s = 0; s < count(); ++s)
            if (!schedule_.passed[s]) each_read(steps_[s], [&](int number) { last[number] = std::max(last[number], s); });
        for (int number = 0; number <= count(); ++number)
            if (last[number] >= 0 || number == 0) schedule_.done[std::max(last[number], 0)].push_back(number);
        int64_t live = bytes(0);
        schedule_.live_bytes = 0;
        for (int s = 0; s < count(); ++s) {
            if (!schedule_.passed[s]) live += bytes(schedule_.flows[s].to);
            schedule_.live_bytes = std::max(schedule_.live_bytes, live);
            for (int number : schedule_.done[s]) live -= bytes(number);
        }
    }

    const std::deque<Step>& steps_;
    const Shape& input_;
    bool by_image_, tiles_;
    std::vector<std::vector<int>> readers_;  // by activation, once for each time that a step reads it
    Schedule schedule_;
};

}  // namespace

bool reads_tiles(const Step& step, bool by_image) {
    if (step.matrix.apart) return true;
    return step.kind == Step::Kind::matrix && step.matrix.by_tap && keeps_groups_apart(step) && (by_image || reads_map(step));
}

bool strips_from_tiles(const Step& step, const Form& form) { return form.tiles && strips_in_tile(step); }

bool adds_tiles(const Step& step, const Form& form, bool by_image) {
    return form.tiles && fits_tiles(step, by_image) &&
           std::equal(form.values->byte, form.values->byte + 256, step.matrix.residuals.byte);
}

Schedule make_schedule(const std::deque<Step>& steps, const Shape& input, bool by_image, bool tiles) {
    return Planner(steps, input, by_image, tiles).make();
}

}  // namespace firstspike
