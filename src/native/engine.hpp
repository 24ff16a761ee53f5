// The native inference engine: event-driven or dense, layer by layer, bit-exact (docs/explanation/engines.md).
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "schedule.hpp"
#include "workspace.hpp"

namespace firstspike {

struct MatrixBlock;  // matrix_rows.hpp
struct MatrixCall;
class Columns;  // matrix_columns.hpp

// Steps are added in order; the first run or read of codes ends that. Whatever does not fit together is refused with
// std::invalid_argument: see check.hpp. One thread adds; any number of threads run at once.
class Engine {
public:
    Engine(Common common, Shape input, Path path);
    Engine(const Engine&) = delete;

    // A layer with weights takes time to plan, in which others may read the steps that are there.
    Step plan(SynapticSpec spec, Watch& watch) const;
    void add(Step step) { steps_.push_back(std::move(step)); }
    void add_pool(int source, Shape in, Shape out, Geometry geometry);
    void add_flatten(int source, Shape in);
    // Output (c, down y + i, across x + j) is input (c down across + i across + j, y, x).
    void add_shuffle(int source, Shape in, int down, int across);
    void add_channels(std::vector<int> sources, Shape out, const std::vector<int>& channels);

    // Throws unless the last step is a read-out, and there is no other.
    void check_complete() const;

    // Runs n images. times: [n][input, channels first]. logits: [n][read-out]. traces: per step but the last its spike
    // times, channels first, [n][...], or empty. What the watch throws ends it; the engine can run again.
    void run(const uint8_t* times, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces, int threads,
             Watch& watch) const;

    Shape input() const { return input_; }
    const std::deque<Step>& steps() const { return steps_; }
    const Common& common() const { return common_; }
    int64_t weight_bytes() const;

private:
    void check_source(int source, const Shape& in) const;
    bool is_partial(int number) const { return number > 0 && steps_[number - 1].partial; }
    void run_channels(const Step& step, int64_t n, Team& team, int output) const;  // channelwise.cpp
    void run_shuffle(const Step& step, int64_t n, Team& team, int output) const;   // channelwise.cpp
    Shape activation(int number) const { return number == 0 ? input_ : steps_[number - 1].out; }
    void run_group(const uint8_t* times, int64_t first, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces,
                   const Schedule& schedule, Team& team) const;
    void run_step(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;
    void run_synaptic(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;   // synaptic.cpp
    class MatrixSpikes;
    void run_matrix(int number, int64_t n, int64_t* logits, Team& team, const Schedule& schedule) const;  // matrix.cpp
    void run_apart(int number, int64_t n, Team& team, const Schedule& schedule) const;  // matrix_apart.cpp
    void run_apart_images(const MatrixCall& call, Team& team) const;
    void run_apart_positions(const MatrixCall& call, Team& team) const;
    template <class Rows>
    void run_blocks(const MatrixCall& call, const Rows& rows, int64_t* logits, Team& team, uint8_t* out) const;
    void run_strips(const MatrixCall& call, int64_t* logits, Team& team, uint8_t* out) const;
    void finish_rows(const MatrixCall& call, const Columns& columns, const MatrixBlock& block, bool by_image, int32_t* sums,
                     int64_t* logits, uint8_t* out) const;
    void run_depthwise(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;  // channelwise.cpp
    void run_pool(const Step& step, int64_t n, Team& team, int output) const;                        // channelwise.cpp
    void finish(const Step& step, const Workspace& home, const void* membranes, int64_t image, int position, int channel,
                int count, int64_t* logits, uint8_t* out) const;

    Common common_;
    Shape input_;
    Path path_;
    std::deque<Step> steps_;  // a reference to a step outlives the adding of others
    mutable Workspaces workspaces_;
};

}  // namespace firstspike
