// A small persistent thread pool: one job at a time, the caller works along.
#pragma once

#include <cstdint>
#include <functional>

namespace firstspike {

// Calls task(item, worker) for every item in 0..items-1 on at most `threads` threads, the calling one (worker 0) included.
// Items are handed out in order, worker < threads. A call from inside a task runs serially. The first exception a task throws is
// thrown here, after all items ended.
void parallel(int threads, int64_t items, const std::function<void(int64_t item, int worker)>& task);

}  // namespace firstspike
