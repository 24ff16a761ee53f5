// Memory of the threads that work on a group of images.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "threads.hpp"

namespace firstspike {

// Memory that grows and keeps no values, aligned to a cache line. Without memory it is empty, and knows it: after a failed
// get() and after a move too.
template <class T>
class Scratch {
public:
    Scratch() = default;
    Scratch(Scratch&& other) noexcept : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
    Scratch& operator=(Scratch&& other) noexcept {
        memory_ = std::move(other.memory_);
        size_ = std::exchange(other.size_, 0);
        return *this;
    }

    T* get(int64_t count) {
        if (count > size_) {
            size_ = 0;
            memory_.reset();  // first: both at once would be more than is needed
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

// Memory of one thread, and its number in the call that uses it.
struct Workspace {
    std::vector<Scratch<uint8_t>> activations;  // by number, channels last
    std::vector<Scratch<uint8_t>> tiles;        // of the same, in the order of TileOrder
    std::vector<Scratch<uint8_t>> spare;        // memory of what is no longer read; has room for all
    Scratch<uint32_t> offsets, starts;          // spike lists, or
    Scratch<int16_t> entries, dense;            // dense inputs, of the images of a tile
    Scratch<int64_t> counts;
    Scratch<uint8_t> values, rows;              // of a layer that is a matrix, with
    Scratch<const uint8_t*> sources;            // what its rows read
    Scratch<char> panel, membranes;
    Watch* watch = nullptr;
    int worker = 0;

    void check() const { watch->check(worker); }

    // Memory for an activation or its tiles.
    uint8_t* take(Scratch<uint8_t>& to, int64_t bytes) {
        if (!spare.empty()) {
            to = std::move(spare.back());
            spare.pop_back();
        }
        return to.get(bytes);
    }

    // Takes back the memory of an activation.
    void give_back(int number) {
        for (Scratch<uint8_t>* from : {&activations[number], &tiles[number]})
            if (from->data() != nullptr) spare.push_back(std::move(*from));
    }

    // Takes back all, also what a call that failed has left.
    void clear() {
        for (size_t number = 0; number < activations.size(); ++number) give_back(static_cast<int>(number));
    }
};

// Workspaces that no call uses now. They keep their memory: the next call finds it there, and the allocator has nothing
// to hold back.
class Workspaces {
public:
    std::vector<Workspace> take(int count, int activations, Watch& watch) {
        std::vector<Workspace> taken;
        taken.reserve(count);
        {
            std::lock_guard lock(shared_lock());
            for (; static_cast<int>(taken.size()) < count && !idle_.empty(); idle_.pop_back())
                taken.push_back(std::move(idle_.back()));
        }
        taken.resize(count);
        for (int i = 0; i < count; ++i) {
            taken[i].activations.resize(activations);
            taken[i].tiles.resize(activations);
            taken[i].spare.reserve(2 * activations);
            taken[i].watch = &watch;
            taken[i].worker = i;
        }
        return taken;
    }

    // Memory that finds no room in the list is let go: the results are there all the same.
    void give_back(std::vector<Workspace> spaces) noexcept {
        try {
            std::lock_guard lock(shared_lock());
            idle_.reserve(idle_.size() + spaces.size());
            while (!spaces.empty()) {  // the last first: a call finds each thread's memory in its place again
                idle_.push_back(std::move(spaces.back()));
                spaces.pop_back();
            }
        } catch (const std::bad_alloc&) {
        }
    }

private:
    std::vector<Workspace> idle_;
};

// The threads that work on one group of images, and their memory; the first is the home of activations and lists.
class Team {
public:
    Team(int threads, Workspace* spaces) : threads(threads), spaces_(spaces) {}

    Workspace& home() { return spaces_[0]; }

    // Bytes: what all items move. A few are moved before another thread has come.
    void parallel(int64_t items, const std::function<void(int64_t, Workspace&)>& task, int64_t bytes = worth) {
        if (threads == 1 || bytes < worth) {
            for (int64_t item = 0; item < items; ++item) {
                spaces_[0].check();
                task(item, spaces_[0]);
            }
            return;
        }
        const auto own = [&](int64_t item, int worker) { task(item, spaces_[worker]); };
        firstspike::parallel(threads, items, own, *spaces_[0].watch);
    }

    const int threads;

private:
    static constexpr int64_t worth = 64 << 10;

    Workspace* spaces_;
};

}  // namespace firstspike
