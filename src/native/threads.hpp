// A small persistent thread pool: one job at a time, the caller works along.
#pragma once

#include <cstdint>
#include <functional>

namespace firstspike {

// Calls task(item) for every item in 0..items-1, on at most `threads` threads, the calling one included. Items are handed
// out in order; tasks must not throw. A call from inside a task runs serially.
void parallel(int threads, int64_t items, const std::function<void(int64_t)>& task);

}  // namespace firstspike
