#include "threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
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

thread_local bool inside_task = false;

class Pool {
public:
    ~Pool() {
        {
            std::lock_guard lock(state_);
            stop_ = true;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    void run(int threads, int64_t items, const std::function<void(int64_t, int)>& task) {
        std::lock_guard one_job(jobs_);
        const int helpers = static_cast<int>(std::min<int64_t>(threads, items)) - 1;
        {
            std::lock_guard lock(state_);
            while (static_cast<int>(workers_.size()) < helpers) {
                const int index = static_cast<int>(workers_.size());
                workers_.emplace_back([this, index, seen = generation_.load()] { work(index, seen); });
            }
            task_ = &task;
            items_ = items;
            next_.store(0, std::memory_order_relaxed);
            helpers_ = helpers;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        drain(0);
        // Who has not come by now finds no work left: a helper whose processor is busy elsewhere is not waited for.
        std::unique_lock lock(state_);
        helpers_ = 0;
        if (active_.load() != 0) {
            lock.unlock();
            for (int spin = 0; spin < spins && active_.load(std::memory_order_acquire) != 0; ++spin) relax();
            lock.lock();
            done_.wait(lock, [this] { return active_.load() == 0; });
        }
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }

private:
    // About 20 microseconds: the gap between two layers is shorter than a sleep and a wake-up.
    static constexpr int spins = 1000;

    void drain(int worker) {
        inside_task = true;
        for (int64_t item = next_.fetch_add(1); item < items_; item = next_.fetch_add(1)) {
            try {
                (*task_)(item, worker);
            } catch (...) {
                std::lock_guard lock(state_);
                if (!error_) error_ = std::current_exception();
            }
        }
        inside_task = false;
    }

    void work(int index, uint64_t seen) {
        for (;;) {
            for (int spin = 0; spin < spins && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
            {
                std::unique_lock lock(state_);
                wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
                seen = generation_.load();
                if (stop_) return;
                if (index >= helpers_) continue;
                active_.fetch_add(1);
            }
            drain(index + 1);
            std::lock_guard lock(state_);
            if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_one();
        }
    }

    std::mutex jobs_, state_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int64_t> next_{0};
    std::atomic<int> active_{0};
    int64_t items_ = 0;
    const std::function<void(int64_t, int)>* task_ = nullptr;
    int helpers_ = 0;
    std::exception_ptr error_;
    bool stop_ = false;
};

Pool* pool = nullptr;
std::once_flag registered;
std::mutex creating;

Pool& the_pool() {
    // A forked child has none of its parent's threads: it leaves the old pool behind and starts its own.
    std::call_once(registered, [] { pthread_atfork(nullptr, nullptr, [] { pool = nullptr; }); });
    std::lock_guard lock(creating);
    if (pool == nullptr) pool = new Pool;  // lives until the process ends
    return *pool;
}

}  // namespace

void parallel(int threads, int64_t items, const std::function<void(int64_t, int)>& task) {
    if (threads <= 1 || items <= 1 || inside_task) {
        for (int64_t item = 0; item < items; ++item) task(item, 0);
        return;
    }
    the_pool().run(threads, items, task);
}

}  // namespace firstspike
