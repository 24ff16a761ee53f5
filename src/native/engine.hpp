// The native inference engine: event-driven or dense, layer by layer, bit-exact (docs/explanation/engines.md).
#pragma once

#include <cstdint>
#include <vector>

#include "plan.hpp"
#include "workspace.hpp"

namespace firstspike {

enum class Path { automatic, event, dense };

class Engine {
public:
    Engine(Common common, Shape input, Path path) : common_(std::move(common)), input_(input), path_(path) {}

    void add_synaptic(SynapticSpec spec) { steps_.push_back(plan_synaptic(common_, std::move(spec))); }
    void add_pool(int source, Shape in, Shape out, Geometry geometry);
    void add_flatten(int source, Shape in);

    // Runs n images. times: [n][input, channels first]. logits: [n][read-out]. traces: per step but the last its spike
    // times, channels first, [n][...], or empty.
    void run(const uint8_t* times, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces, int threads) const;

    Shape input() const { return input_; }
    const std::vector<Step>& steps() const { return steps_; }
    const Common& common() const { return common_; }
    int64_t weight_bytes() const;

private:
    void run_group(const uint8_t* times, int64_t first, int64_t n, int64_t* logits, const std::vector<uint8_t*>& traces,
                   Team& team) const;
    void run_synaptic(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;  // synaptic.cpp
    void run_depthwise(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;
    void run_pool(const Step& step, int64_t n, Team& team, int output) const;
    void finish(const Step& step, const Workspace& home, const void* membranes, int64_t image, int position, int channel,
                int count, int64_t* logits, uint8_t* out) const;
    std::vector<int> last_use() const;

    Common common_;
    Shape input_;
    Path path_;
    std::vector<Step> steps_;
    mutable Workspaces workspaces_;
};

}  // namespace firstspike
