// How native work ends on Ctrl+C: a watch that looks for pending signals.
#pragma once

#include "threads.hpp"

namespace firstspike {

// Made with the interpreter's lock held, used by work that lets go of it. Only Python's main thread handles signals; a watch
// of another thread has nothing to look for.
Watch watch_signals();

}  // namespace firstspike
