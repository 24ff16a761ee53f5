// Which instruction set to use: every kernel file is compiled once per set, into a namespace of that name.
#pragma once

#include <string>
#include <vector>

namespace firstspike {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2, amx = 3 };  // amx: avx512 with matrix tiles

// The sets this build holds and this processor has, best last; `portable` always.
std::vector<Isa> available();

const char* name(Isa isa);

// By name, or the best one for "auto". Throws std::invalid_argument if it is unknown or not available.
Isa choose(const std::string& name);

}  // namespace firstspike
