#include "schedule.hpp"

#include <algorithm>

namespace firstspike {
namespace {

constexpr int most_maps = 16;  // blocks of sums whose greatest count, where a pool follows

// Whether the blocks of sums of a matrix end in spikes, and lie in one tile each.
bool fits_tiles(const Step& step) {
    return step.kind == Step::Kind::matrix && step.matrix.direct && (step.groups == 1 || step.group_outputs() % block_columns == 0);
}

bool writes_tiles(const Step& step) {
    return step.matrix.apart || (fits_tiles(step) && (step.matrix.by_tap || step.matrix.strips));
}

// A pool whose windows share nothing and leave nothing out between them.
bool pools_in_passing(const Step& matrix, const Step& pool) {
    const Geometry& g = pool.geometry;
    const bool parted = g.stride_h == g.kernel_h && g.stride_w == g.kernel_w && g.pad_h == 0 && g.pad_w == 0;
    return pool.kind == Step::Kind::pool && matrix.matrix.by_tap && matrix.residuals.empty() && matrix.parts.empty() && parted &&
           g.kernel_h * g.kernel_w <= most_maps;
}

class Planner {
public:
    Planner(const std::deque<Step>& steps, const Shape& input, bool tiles)
        : steps_(steps), input_(input), tiles_(tiles), readers_(steps.size() + 1) {
        for (int s = 0; s < count(); ++s) each_read(steps[s], [&](int number) { readers_[number].push_back(s); });
        schedule_.passed.resize(steps.size());
        schedule_.forms.resize(steps.size() + 1);
        schedule_.done.resize(steps.size());
    }

    Schedule make() {
        for (int s = 0; s < count(); ++s) schedule_.flows.push_back(flow(s));
        if (tiles_)
            for (int number = 0; number <= count(); ++number) share(number);
        if (tiles_)
            for (int s = 0; s < count(); ++s)
                if (writes_tiles(steps_[s])) write(schedule_.flows[s].to);
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
        if (!tiles_ || schedule_.passed[number] || !writes_tiles(step)) return flow;
        while (readers_[flow.to].size() == 1) {
            const int reader = readers_[flow.to][0];
            const bool renames = steps_[reader].kind == Step::Kind::flatten && steps_[reader].in.pixels() == 1;
            const bool pools = flow.pool < 0 && pools_in_passing(step, steps_[reader]);
            if (!renames && !pools) break;
            if (pools) flow.pool = reader;
            schedule_.passed[reader] = true;
            flow.to = reader + 1;
        }
        return flow;
    }

    // Tiles for all matrices that read an activation, if they agree on the bytes.
    void share(int number) {
        const MatrixValues* values = nullptr;
        for (int reader : readers_[number]) {
            if (!reads_tiles(steps_[reader]) || steps_[reader].source != number) continue;
            const MatrixValues& own = steps_[reader].matrix.values;
            if (values != nullptr && !std::equal(own.byte, own.byte + 256, values->byte)) return;
            values = &own;
        }
        schedule_.forms[number].values = values;
    }

    // What a step writes: tiles if there are readers for them, spike times if there are others.
    void write(int number) {
        Form& form = schedule_.forms[number];
        form.tiles = form.values != nullptr;
        if (!form.tiles) return;
        form.times = std::any_of(readers_[number].begin(), readers_[number].end(), [&](int reader) {
            const Step& step = steps_[reader];
            const bool adds = std::count(step.residuals.begin(), step.residuals.end(), number) > 0;
            return (!adds && !(reads_tiles(step) && step.source == number)) || (adds && !adds_tiles(step, form)) ||
                   (adds && step.source == number && !reads_tiles(step));
        });
    }

    int64_t bytes(int number) const {
        const Form& form = schedule_.forms[number];
        const int64_t times = !form.times ? 0 : number == 0 ? input_.size() : steps_[number - 1].activation_bytes();
        const int64_t channels = (shape(number).channels + tile_depth - 1) / tile_depth * int64_t(tile_depth);
        return times + (form.values == nullptr ? 0 : channels * shape(number).pixels());
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
    bool tiles_;
    std::vector<std::vector<int>> readers_;  // by activation, once for each time that a step reads it
    Schedule schedule_;
};

}  // namespace

bool reads_tiles(const Step& step) {
    if (step.matrix.apart) return true;
    return step.kind == Step::Kind::matrix && step.matrix.by_tap && (step.groups == 1 || step.group_inputs() % tile_depth == 0);
}

bool adds_tiles(const Step& step, const Form& form) {
    return form.tiles && fits_tiles(step) &&
           std::equal(form.values->byte, form.values->byte + 256, step.matrix.residuals.byte);
}

Schedule make_schedule(const std::deque<Step>& steps, const Shape& input, bool tiles) {
    return Planner(steps, input, tiles).make();
}

}  // namespace firstspike
