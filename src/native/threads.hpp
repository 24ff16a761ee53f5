// A small persistent thread pool, one job at a time, the caller works along; and how work ends early.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

namespace firstspike {

// Thrown inside a piece of work when the whole has ended; parallel() does not let it out.
struct Stopped {};

// Ends the work of one call early: the calling thread looks for a reason now and then (a pending Ctrl+C), and the other
// threads see that there is one, or that one of them failed.
class Watch {
public:
    static constexpr std::chrono::milliseconds period{40};

    // look() runs on the thread of the call at most once a period, and throws to end the work; empty: nothing to look for.
    explicit Watch(std::function<void()> look = {}) : look_(std::move(look)), due_(Clock::now() + period) {}

    // Between two pieces of work, a few milliseconds at most apart. Worker 0 is the calling thread.
    void check(int worker) {
        if (stopped_.load(std::memory_order_relaxed)) throw Stopped{};
        if (worker == 0 && look_ && Clock::now() >= due_) look();
    }

    void stop() { stopped_.store(true, std::memory_order_relaxed); }

private:
    using Clock = std::chrono::steady_clock;

    void look();

    std::function<void()> look_;
    Clock::time_point due_;
    std::atomic<bool> stopped_{false};
};

// Calls task(item, worker) for every item in 0..items-1 on at most `threads` threads, the calling one (worker 0) included.
// Items are handed out in order, worker < threads. A call from inside a task runs serially. The first exception, a task's or
// the watch's, ends the work: no thread begins another item, and it is thrown here when all threads have left theirs.
void parallel(int threads, int64_t items, const std::function<void(int64_t item, int worker)>& task, Watch& watch);

// The one lock that threads of different calls share outside the pool, for moments only. A fork waits for it, so that no
// child begins with it taken for ever.
std::mutex& shared_lock();

}  // namespace firstspike
