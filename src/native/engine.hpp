// The native inference engine: event-driven or dense, layer by layer, bit-exact (docs/engine.md).
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "plan.hpp"

namespace firstspike {

// Memory that grows and keeps no values, aligned to a cache line.
template <class T>
class Scratch {
public:
    T* get(int64_t count) {
        if (count > size_) {
            memory_.reset();
            memory_.reset(static_cast<T*>(::operator new(sizeof(T) * count, std::align_val_t(64))));
            size_ = count;
        }
        return memory_.get();
    }
    T* data() const { return memory_.get(); }

private:
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
    };
    std::unique_ptr<T, Free> memory_;
    int64_t size_ = 0;
};

enum class Path { automatic, event, dense };

struct Workspace;
class Team;

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
    void run_synaptic(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;
    void run_depthwise(const Step& step, int64_t n, int64_t* logits, Team& team, int output) const;
    void run_pool(const Step& step, int64_t n, Team& team, int output) const;
    void finish(const Step& step, const Workspace& home, const void* membranes, int64_t image, int position, int channel,
                int count, int64_t* logits, uint8_t* out) const;
    std::vector<int> last_use() const;

    Common common_;
    Shape input_;
    Path path_;
    std::vector<Step> steps_;
};

}  // namespace firstspike
