#include "threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace firstspike {
namespace {

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// This thread is at work on a job, or waits for one to end: a call that it makes now (a signal's handler may) runs serially.
thread_local bool inside_job = false;

class Inside {
public:
    Inside() { inside_job = true; }
    ~Inside() { inside_job = false; }
};

// Forks that this process comes from: another number than a pool's own, and its threads are not here.
std::atomic<int> forks{0};

class Pool {
public:
    void run(int threads, int64_t items, const std::function<void(int64_t, int)>& task, Watch& watch) {
        take_turn(watch);
        const Inside inside;
        {
            std::lock_guard lock(state_);
            const int helpers = hire(static_cast<int>(std::min<int64_t>(threads, items)) - 1);
            task_ = &task;
            watch_ = &watch;
            items_ = items;
            next_.store(0, std::memory_order_relaxed);
            helpers_ = helpers;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        drain(0);
        wait_for_helpers(watch);
        std::exception_ptr error;
        {
            std::lock_guard lock(state_);
            error = std::exchange(error_, nullptr);
            busy_ = false;
        }
        free_.notify_one();
        if (error) std::rethrow_exception(error);
    }

private:
    // About 20 microseconds: the gap between two layers is shorter than a sleep and a wake-up.
    static constexpr int spins = 1000;
    static constexpr const char* forked = "a fork in a signal's handler left native work without its threads";

    // One job at a time: waits for that of another caller.
    void take_turn(Watch& watch) {
        std::unique_lock lock(state_);
        while (!free_.wait_for(lock, Watch::period, [this] { return !busy_; })) {
            lock.unlock();
            watch.check(0);
            lock.lock();
        }
        busy_ = true;
    }

    // So many threads, or as many as the system gives: fewer do the same work.
    int hire(int helpers) {
        try {
            while (static_cast<int>(workers_.size()) < helpers) {
                const int index = static_cast<int>(workers_.size());
                workers_.emplace_back([this, index, seen = generation_.load()] { work(index, seen); });
            }
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
        return std::min(helpers, static_cast<int>(workers_.size()));
    }

    // Who has not come by now finds no work left: a helper whose processor is busy elsewhere is not waited for.
    void wait_for_helpers(Watch& watch) {
        if (abandoned()) throw std::runtime_error(forked);
        std::unique_lock lock(state_);
        helpers_ = 0;
        if (active_.load() == 0) return;
        lock.unlock();
        for (int spin = 0; spin < spins && active_.load(std::memory_order_acquire) != 0; ++spin) relax();
        lock.lock();
        while (!done_.wait_for(lock, Watch::period, [this] { return active_.load() == 0; })) {
            lock.unlock();
            try {
                watch.check(0);
            } catch (...) {
                fail(watch);
            }
            if (abandoned()) throw std::runtime_error(forked);
            lock.lock();
        }
    }

    void drain(int worker) {
        Watch& watch = *watch_;
        try {
            for (int64_t item = next_.fetch_add(1); item < items_; item = next_.fetch_add(1)) {
                watch.check(worker);
                (*task_)(item, worker);
            }
        } catch (...) {
            fail(watch);
        }
    }

    // Keeps the exception at hand if it is the job's first: those of threads that were stopped come after it.
    void fail(Watch& watch) {
        if (!abandoned()) {
            std::lock_guard lock(state_);
            if (!error_) error_ = std::current_exception();
        }
        watch.stop();
    }

    void work(int index, uint64_t seen) {
        inside_job = true;
        for (;;) {
            for (int spin = 0; spin < spins && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
            {
                std::unique_lock lock(state_);
                wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
                seen = generation_.load();
                if (index >= helpers_) continue;
                active_.fetch_add(1);
            }
            drain(index + 1);
            std::lock_guard lock(state_);
            if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_one();
        }
    }

    // In a child that was forked by a signal's handler, from within look(): the locks may be anyone's.
    bool abandoned() const { return forks.load(std::memory_order_relaxed) != born_; }

    const int born_ = forks.load();
    std::mutex state_;
    std::condition_variable wake_, done_, free_;
    std::vector<std::thread> workers_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int64_t> next_{0};
    std::atomic<int> active_{0};
    int64_t items_ = 0;
    const std::function<void(int64_t, int)>* task_ = nullptr;
    Watch* watch_ = nullptr;
    int helpers_ = 0;
    std::exception_ptr error_;
    bool busy_ = false;
};

std::mutex shared;
Pool* pool = nullptr;  // under the shared lock; lives until the process ends

// A child has none of its parent's threads: it leaves the old pool behind, whatever its locks are, and starts its own.
[[maybe_unused]] const int handlers = pthread_atfork([] { shared.lock(); }, [] { shared.unlock(); },
                                                     [] {
                                                         pool = nullptr;
                                                         forks.fetch_add(1);
                                                         shared.unlock();
                                                     });

Pool& the_pool() {
    std::lock_guard lock(shared);
    if (pool == nullptr) pool = new Pool;
    return *pool;
}

}  // namespace

std::mutex& shared_lock() { return shared; }

void Watch::look() {
    look_();
    due_ = Clock::now() + period;
}

void parallel(int threads, int64_t items, const std::function<void(int64_t, int)>& task, Watch& watch) {
    if (threads <= 1 || items <= 1 || inside_job) {
        for (int64_t item = 0; item < items; ++item) {
            watch.check(0);
            task(item, 0);
        }
        return;
    }
    the_pool().run(threads, items, task, watch);
}

}  // namespace firstspike
