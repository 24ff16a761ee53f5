// Memory of the threads that work on a group of images.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "threads.hpp"

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

// Memory of one thread.
struct Workspace {
    std::vector<Scratch<uint8_t>> activations;  // by number, channels last
    std::vector<Scratch<uint8_t>> spare;        // memory of activations no longer read
    Scratch<uint32_t> offsets, starts;          // spike lists, or
    Scratch<int16_t> entries, dense;            // dense inputs, of the images of a tile
    Scratch<int64_t> counts;
    Scratch<char> panel, membranes;
};

// Workspaces that no call uses now. They keep their memory: the next call finds it there, and the allocator has nothing
// to hold back.
class Workspaces {
public:
    std::vector<Workspace> take(int count) {
        std::lock_guard lock(mutex_);
        std::vector<Workspace> taken;
        for (int i = 0; i < count; ++i) {
            if (idle_.empty()) idle_.emplace_back();
            taken.push_back(std::move(idle_.back()));
            idle_.pop_back();
        }
        return taken;
    }

    void give_back(std::vector<Workspace> spaces) {
        std::lock_guard lock(mutex_);
        for (Workspace& space : spaces) idle_.push_back(std::move(space));
    }

private:
    std::mutex mutex_;
    std::vector<Workspace> idle_;
};

// The threads that work on one group of images, and their memory; the first is the home of activations and lists.
class Team {
public:
    Team(int threads, Workspace* spaces) : threads(threads), spaces_(spaces) {}

    Workspace& home() { return spaces_[0]; }

    void parallel(int64_t items, const std::function<void(int64_t, Workspace&)>& task) {
        if (threads == 1)
            for (int64_t item = 0; item < items; ++item) task(item, spaces_[0]);
        else
            firstspike::parallel(threads, items, [&](int64_t item, int worker) { task(item, spaces_[worker]); });
    }

    const int threads;

private:
    Workspace* spaces_;
};

}  // namespace firstspike
